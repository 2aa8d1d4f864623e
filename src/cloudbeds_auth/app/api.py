"""`/api/v1`: connections, their history and tokens, for programs. Each route declares the one scope it needs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from cloudbeds_auth.app.admission import address_of
from cloudbeds_auth.app.permits import Permit, need
from cloudbeds_auth.app.relaying import ProxiedCall, passing_body, read_all
from cloudbeds_auth.app.shapes import (
    AccessTokenShape,
    AuthorizationShape,
    ClaimShape,
    ConnectionShape,
    ConnectionsShape,
    EventShape,
    EventsShape,
    NewAuthorizationShape,
)
from cloudbeds_auth.errors import InvalidRequest
from cloudbeds_auth.rules import proxy_policy as policy
from cloudbeds_auth.rules.documents import stamp
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection
from cloudbeds_auth.rules.permissions import Scope
from cloudbeds_auth.rules.redirects import allowed_return

PAGE = 100
MIN_VALID = 60.0  # seconds, unless the caller says
LARGEST_USERINFO = 1024 * 1024  # bytes

Reading = Annotated[Permit, Depends(need(Scope.READ))]
Proxying = Annotated[Permit, Depends(need(Scope.PROXY))]
Tokens = Annotated[Permit, Depends(need(Scope.TOKEN))]
Connecting = Annotated[Permit, Depends(need(Scope.CONNECT))]
Administering = Annotated[Permit, Depends(need(Scope.ADMIN))]

router = APIRouter(prefix="/api/v1")


@router.post("/authorizations", status_code=201)
async def create_authorization(body: NewAuthorizationShape, permit: Connecting) -> AuthorizationShape:
    """A one-time `connect_url` to hand to a hotel; the `reference` is trusted because it came this way."""
    settings = permit.vault.settings
    if body.return_to is not None:
        allowed_return(body.return_to, settings.return_origins)
    link = await permit.vault.create_link(
        app=body.app, reference=body.reference, return_to=body.return_to, expires_in=body.expires_in
    )
    return AuthorizationShape(connect_url=link.url, expires_at=stamp(link.expires_at))


@router.get("/connections")
async def list_connections(
    permit: Reading,
    state: State | None = None,
    reference: str | None = None,
    property: Annotated[str | None, Query()] = None,  # noqa: A002 - the name in the public contract
    app: str | None = None,
    cursor: str | None = None,
    lacking_scopes: bool = False,
) -> ConnectionsShape:
    """Connections, newest first, filtered; never a token.

    `lacking_scopes`: only those whose approval lacks a scope that the app asks for now, each with its connect link.
    """
    if permit.caller.connections is not None:
        mine = [await permit.vault.connection(one) for one in sorted(permit.caller.connections)]
        found = [
            one
            for one in mine
            if _matches(one, state, reference, property, app)
            and (not lacking_scopes or await permit.vault.missing_scopes(one.id))
        ]
        return ConnectionsShape(connections=[ConnectionShape.of(one) for one in found], next=None)
    page = await permit.vault.connections(
        state=None if state is None else state.value,
        reference=reference,
        property_id=property,
        app=app,
        cursor=cursor,
        limit=PAGE,
        lacking_scopes=lacking_scopes,
    )
    return ConnectionsShape(connections=[ConnectionShape.of(one) for one in page.connections], next=page.next)


@router.get("/connections/{identifier}")
async def get_connection(identifier: str, permit: Reading) -> ConnectionShape:
    """One connection, with the link that mends it when the hotel has to approve again."""
    return ConnectionShape.of(await permit.vault.connection(await permit.resolve(identifier)))


@router.post("/connections/{identifier}/refresh")
async def refresh_connection(identifier: str, permit: Administering) -> ConnectionShape:
    """Refresh now; the connection as it is then."""
    return ConnectionShape.of(await permit.vault.refresh(await permit.resolve(identifier)))


@router.post("/connections/{identifier}/claim")
async def claim_connection(identifier: str, body: ClaimShape, permit: Connecting) -> ConnectionShape:
    """Take what a hotel began in the Marketplace; the connection that it is from now on, which this hotel may have had
    before.
    """
    return ConnectionShape.of(await permit.vault.claim(await permit.resolve(identifier), body.reference))


@router.delete("/connections/{identifier}")
async def disconnect(identifier: str, permit: Administering, forget: bool = False) -> ConnectionShape:
    """Tell the vendor, then forget the tokens; with `forget`, even when the vendor cannot be told."""
    connection_id = await permit.resolve(identifier)
    return ConnectionShape.of(await permit.vault.disconnect(connection_id, forget=forget))


@router.get("/connections/{identifier}/access-token")
async def get_access_token(
    identifier: str,
    permit: Tokens,
    min_valid: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
    rejected_generation: Annotated[int | None, Query(ge=0)] = None,
) -> AccessTokenShape:
    """A token valid for `min_valid` seconds. Naming the rejected generation heals a 401; the same one back means:
    proven good, the endpoint itself refuses.
    """
    connection_id = await permit.resolve(identifier)
    if min_valid is not None:  # judged before anything is refreshed for it
        lifetime = await permit.vault.engine.views.lifetime(connection_id)
        if min_valid > lifetime / 2:
            raise InvalidRequest(
                f"min_valid is more than half of the token's lifetime of {lifetime:.0f} s", connection_id=connection_id
            )
    seconds = MIN_VALID if min_valid is None else min_valid
    return AccessTokenShape.of(await permit.vault.access_token(connection_id, seconds, rejected_generation))


@router.get("/connections/{identifier}/events")
async def list_events(identifier: str, permit: Reading, cursor: str | None = None) -> EventsShape:
    """A connection's history, newest first."""
    events = await permit.vault.events(await permit.resolve(identifier), cursor=cursor, limit=PAGE)
    following = events[-1].cursor if len(events) == PAGE else None
    return EventsShape(events=[EventShape.of(event) for event in events], next=following)


class VendorAnswer(Response):
    """An answer that is the vendor's and not ours."""

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Mark it for the door, then send it."""
        scope["state"]["vendor"] = True
        await super().__call__(scope, receive, send)


@router.get("/connections/{identifier}/userinfo", response_class=Response)
async def get_userinfo(identifier: str, permit: Proxying, request: Request) -> Response:
    """The vendor's `userinfo` for this connection: the article's protected call, its status and body passed on."""
    connection_id = await permit.resolve(identifier)
    call = ProxiedCall(
        "GET",
        f"/api/{permit.vault.settings.api_version}/userinfo",
        policy.query_of(request.scope["query_string"]),
        policy.request_headers(
            ((name, value) for name, value in request.headers.raw if name == b"accept"),
            policy.property_of(identifier),
        ),
    )
    async with permit.relay.shares.place(address_of(request.scope)):
        relayed = await permit.relay.call(connection_id, call)
        headers = policy.response_headers(relayed.answer.headers)
        passing = passing_body(relayed.answer)
        body = await read_all(relayed.answer, LARGEST_USERINFO)
    passing.see(body)
    permit.relay.heed(relayed, passing.refusal())
    answer = VendorAnswer(body, relayed.answer.status)
    answer.raw_headers = [
        *((name, value) for name, value in headers if name != b"content-length"),
        (b"content-length", str(len(answer.body)).encode()),
    ]
    return answer


def _matches(
    one: Connection, state: State | None, reference: str | None, property_id: str | None, app: str | None
) -> bool:
    """The list's filters, for a caller that is bound to a few connections."""
    return (
        (state is None or one.state is state)
        and (reference is None or one.reference == reference)
        and (property_id is None or property_id in one.property_ids)
        and (app is None or one.app == app)
    )
