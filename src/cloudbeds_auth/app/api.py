"""The API for programs, `/api/v1`: connections, their history and tokens; each route declares the one scope it needs.

And for machines: health and readiness, metrics (without names, addresses or secrets), the description of the API, and
the webhooks that Cloudbeds sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, cast

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from cloudbeds_auth.app import asgi
from cloudbeds_auth.app.api_description import describe_api
from cloudbeds_auth.app.draining import Draining
from cloudbeds_auth.app.limits import sharing
from cloudbeds_auth.app.permits import Administering, Connecting, Measuring, Permit, Proxying, Reading, Tokens
from cloudbeds_auth.app.problems import AboutToStop, RequestTimedOut
from cloudbeds_auth.app.relaying import ProxiedCall, Relay
from cloudbeds_auth.app.schemas import (
    DAY,
    AccessTokenShape,
    AuditEntryShape,
    AuditShape,
    AuthorizationShape,
    ClaimShape,
    ConnectionShape,
    ConnectionsShape,
    EventShape,
    EventsShape,
    NewAuthorizationShape,
    NewConnectionShape,
)
from cloudbeds_auth.app.vendor_hook import HOOK, HOOK_HEADER, NOTED, require_hook_secrets
from cloudbeds_auth.errors import (
    AmbiguousProperty,
    Error,
    InvalidRequest,
    StoreUnavailable,
    UnknownConnection,
    UpstreamFailed,
)
from cloudbeds_auth.ports import REQUEST_ID
from cloudbeds_auth.rules import proxy_policy as policy
from cloudbeds_auth.rules.documents import audit_document, stamp
from cloudbeds_auth.rules.inputs import checked_cursor
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection
from cloudbeds_auth.rules.permissions import line, may, of_connection
from cloudbeds_auth.rules.presentation import lacking
from cloudbeds_auth.rules.property_pin import judge_call
from cloudbeds_auth.rules.secret import Secret

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

PAGE = 100
MIN_VALID = 60.0  # seconds, unless the caller says
LARGEST_USERINFO = 1024 * 1024  # bytes
CHECK_WITHIN = 5.0  # seconds for the store's answer to `/readyz` and `/metrics`
HOOK_WITHIN = 1.5  # seconds for the body; Cloudbeds counts an answer after two as none


T = TypeVar("T")

machines: Final = APIRouter()
router: Final = APIRouter(prefix="/api/v1")


@machines.get("/healthz")
async def alive() -> dict[str, str]:
    """The process runs and answers."""
    return {"status": "ok"}


@machines.get("/readyz", responses={503: {"description": "the database failed, or the service is about to stop"}})
async def ready(request: Request) -> dict[str, Any]:
    """The database is writable and the keys open it; otherwise 503 with the code of what failed. Also 503 as soon as
    the service is about to stop.
    """
    draining: Draining = request.app.state.draining
    draining.asked()
    problem: type[Error] | None = AboutToStop if draining.begun else await request.app.state.unready()
    if problem is not None:
        raise problem  # without the details, which are not for strangers (A58)
    return {"status": "ready", "checks": {"store": "ok"}}


async def unready(vault: TokenVault) -> type[Error] | None:
    """What keeps the service from being ready, else None. Writes to the database."""
    try:
        async with asyncio.timeout(CHECK_WITHIN):
            await vault.check()
    except Error as error:
        return type(error)
    except TimeoutError:
        return StoreUnavailable
    return None


@machines.get("/metrics", response_class=Response)
async def metrics(request: Request, permit: Measuring) -> Response:
    """Prometheus text. If the database does not answer, only the gauges read from it are missing."""
    vault, engine = permit.vault, permit.vault.engine
    asked = (engine.views.count_states(), vault.outbox(), engine.upkeep.overdue(), engine.workloads.shares())
    text, media = request.app.state.metrics(*await asyncio.gather(*map(_gauge, asked)))
    return Response(text, headers={"content-type": media})


async def _gauge(asked: Awaitable[T]) -> T | None:
    """The value from the database; None if there is none in time."""
    with suppress(Error, TimeoutError):
        async with asyncio.timeout(CHECK_WITHIN):
            return await asked
    return None


@machines.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request, permit: Administering) -> dict[str, Any]:
    """The description of the API (OpenAPI)."""
    return describe_api(request.app)


@machines.post(HOOK, include_in_schema=False)
async def hook(request: Request, secret: str) -> Response:
    """The endpoint at which Cloudbeds reports that a hotel's app state changed."""
    await note_hook(request.app.state.vault, request, secret)
    return asgi.response(NOTED)


async def note_hook(vault: TokenVault, request: Request, secret: str) -> None:
    """Pass the body on as a hint that the vault confirms; the answer does not wait for that.

    Raises Unauthenticated if one of the two secrets is wrong, RequestTimedOut if the body does not arrive, and
    InvalidRequest if it breaks off.
    """
    require_hook_secrets(vault.settings, secret, request.headers.get(HOOK_HEADER, ""))
    try:
        async with asyncio.timeout(HOOK_WITHIN):
            body = await asgi.body_of(request)
    except TimeoutError:
        raise RequestTimedOut from None
    vault.engine.app_states.hint(body)


@router.post("/authorizations", status_code=201)
async def create_authorization(body: NewAuthorizationShape, permit: Connecting) -> AuthorizationShape:
    """Create a one-time `connect_url` to give to a hotel; a `reference` given here is trusted."""
    permit.require_hotel(body.reference, body.expected_properties or ())
    link = await permit.vault.create_link(
        app=body.app or "default", reference=body.reference, return_to=body.return_to,
        expires_in=body.expires_in or DAY,
        expected_properties=body.expected_properties or (), code_challenge=body.code_challenge,
    )  # fmt: skip
    key_url = None if body.code_challenge else permit.vault.engine.world.key_url(link.token)
    return AuthorizationShape(connect_url=link.url, key_url=key_url, expires_at=stamp(link.expires_at))


@router.post("/connections", status_code=201)
async def add_api_key(body: NewConnectionShape, permit: Connecting) -> ConnectionShape:
    """Add an API key that a hotel created at Cloudbeds itself; returns its connection. Cloudbeds checks the key first:
    a key that it does not accept is `key_refused`, one of another hotel than expected is `property_mismatch`.
    """
    home = None if body.connection_id is None else await permit.resolve_whole(body.connection_id, body.reference)
    if home is None:
        permit.require_hotel(body.reference, body.expected_properties or ())
    connection_id = await permit.vault.engine.pasted_keys.add(
        Secret(body.api_key.get_secret_value()), app=body.app, reference=body.reference, connection_id=home,
        expected_properties=body.expected_properties or (), caller=permit.caller,
    )  # fmt: skip
    return ConnectionShape.of(await permit.vault.connection(connection_id))


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
    """List connections, newest first, filtered; never a token.

    `lacking_scopes`: only those whose approval lacks a scope that the app now asks for, each with its connect link.
    """
    if not permit.caller.for_all:
        mine, following = await _mine(permit, cursor)
        found = [one for one in mine if _matches(one, state, reference, property, app)]
        if lacking_scopes:
            found = [shown for one in found if (shown := await _lacking(permit.vault, one)) is not None]
        return ConnectionsShape(connections=[ConnectionShape.of(one) for one in found], next=following)
    page = await permit.vault.connections(
        state=None if state is None else state.value,
        reference=reference,
        property_id=property,
        app=app,
        cursor=cursor,
        limit=PAGE,
        lacking_scopes=lacking_scopes,
    )
    return ConnectionsShape(connections=[ConnectionShape.of(one) for one in page], next=page.next)


@router.get("/connections/{identifier}")
async def get_connection(identifier: str, permit: Reading) -> ConnectionShape:
    """One connection, with a connect link if the hotel has to approve again."""
    return ConnectionShape.of(await permit.vault.connection(await permit.resolve(identifier)))


@router.post("/connections/{identifier}/refresh")
async def refresh_connection(identifier: str, permit: Administering) -> ConnectionShape:
    """Refresh now; returns the connection afterwards."""
    return ConnectionShape.of(await permit.vault.refresh(await permit.resolve(identifier)))


@router.post("/connections/{identifier}/claim")
async def claim_connection(identifier: str, body: ClaimShape, permit: Connecting) -> ConnectionShape:
    """Claim an approval that a hotel began in the Marketplace, or that waits for its `code_verifier`; returns the
    connection that it now belongs to, which may be an existing one of this hotel.
    """
    claimed = await permit.vault.engine.authorizer.claim(
        await permit.find(identifier), body.reference, body.code_verifier, caller=permit.caller
    )
    return ConnectionShape.of(await permit.vault.connection(claimed))


@router.delete("/connections/{identifier}")
async def disconnect(identifier: str, permit: Administering, forget: bool = False) -> ConnectionShape:
    """Notify Cloudbeds, then forget the tokens; with `forget`, even if Cloudbeds cannot be notified."""
    connection_id = await permit.resolve(identifier)
    return ConnectionShape.of(await permit.vault.disconnect(connection_id, forget=forget))


@router.get("/connections/{identifier}/access-token")
async def get_access_token(
    identifier: str,
    permit: Tokens,
    min_valid: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
    rejected_generation: Annotated[int | None, Query(ge=0)] = None,
) -> AccessTokenShape:
    """A token valid for at least `min_valid` more seconds. After a 401, name the rejected generation: the same one back
    means that it was proven good, and the endpoint itself refuses.
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
    """A connection's history, newest event first."""
    events = await permit.vault.events(await permit.resolve(identifier), cursor=cursor, limit=PAGE)
    following = events[-1].cursor if len(events) == PAGE else None
    return EventsShape(events=[EventShape.of(event) for event in events], next=following)


@router.get("/audit")
async def list_audit(permit: Administering, cursor: str | None = None) -> AuditShape:
    """The audit log, newest entry first."""
    entries = await permit.vault.audit(cursor=cursor, limit=PAGE)
    following = entries[-1].id if len(entries) == PAGE else None
    return AuditShape(entries=[AuditEntryShape(**audit_document(one)) for one in entries], next=following)


@router.get("/connections/{identifier}/userinfo", response_class=Response)
async def get_userinfo(identifier: str, permit: Proxying, request: Request) -> Response:
    """Cloudbeds' `userinfo` for this connection, the protected call of its article; status and body are passed on."""
    hotel, path = await permit.hotel(identifier), f"/api/{permit.vault.settings.api_version}/userinfo"
    judged = judge_call(
        permit.caller, hotel, "GET", path, policy.query_of(request.scope["query_string"]),
        named=policy.property_of(identifier), header=policy.header_in(request.headers.raw, b"x-property-id"),
    )  # fmt: skip
    given = [(name, value) for name, value in request.headers.raw if name in {b"accept", b"x-property-id"}]
    headers_sent = policy.request_headers(given, judged.property_id, REQUEST_ID.get())
    shares, relay = sharing(request.scope), cast(Relay, request.app.state.relay)
    call = ProxiedCall(permit.caller, shares, "GET", path, judged.query, headers_sent)
    async with relay.shares.place(shares):
        await permit.vault.keys.require_good(permit.caller)
        relayed = await relay.call(hotel.id, call)
        body, whole = await relayed.read(LARGEST_USERINFO)
    if not whole:
        raise UpstreamFailed("the answer is larger than it may be here")
    headers = policy.response_headers(relayed.answer.headers)
    relay.note_refusal(relayed)
    request.scope["state"]["vendor"] = True  # the gateway gives it no headers of ours
    answer = Response(body, relayed.answer.status)
    answer.raw_headers = [
        *((name, value) for name, value in headers if name != b"content-length"),
        (b"content-length", str(len(answer.body)).encode()),
    ]
    return answer


async def _mine(permit: Permit, cursor: str | None) -> tuple[Sequence[Connection], str | None]:
    """A page of the connections of a caller that is bound to named hotels, newest first, and the next page's cursor.

    At most one page of those with the same reference is held in memory.
    """
    vault, caller, found = permit.vault, permit.caller, dict[str, Connection]()
    before = checked_cursor(cursor)
    reach = next(one.reach for one in line(caller) if one.reach is not None)
    for one in (*reach.connections, *reach.properties):
        with suppress(UnknownConnection, AmbiguousProperty):
            known = await vault.connection(await vault.resolve(one))
            if before is None or known.id < before:
                found[known.id] = known
    more = False
    for reference in reach.references:
        page = await vault.connections(reference=reference, cursor=before, limit=PAGE)
        found.update((known.id, known) for known in page)
        more = more or page.next is not None
    newest = sorted(found, reverse=True)
    following = newest[PAGE - 1] if len(newest) > PAGE or (more and len(newest) == PAGE) else None
    mine = [found[one] for one in newest[:PAGE]]
    return [known for known in mine if may(caller, permit.scope, of_connection(known))], following


async def _lacking(vault: TokenVault, one: Connection) -> Connection | None:
    """The connection as `Views.lacking_scopes` shows it; None if its approval lacks nothing."""
    missing = await vault.missing_scopes(one.id)
    return replace(await vault.engine.views.with_link(one), next_step=lacking(missing)) if missing else None


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
