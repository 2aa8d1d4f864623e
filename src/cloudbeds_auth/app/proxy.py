"""`/proxy/{id}/{path}`: sends the caller's request to the vendor with the credential, and passes the answer on.

A raw ASGI route, dispatched before the framework, because speed matters here. `relaying` makes the call.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from starlette.types import Message, Receive, Scope, Send

from cloudbeds_auth.app.gateway import HOTEL
from cloudbeds_auth.app.http_connections import ClientGone, until_hung_up
from cloudbeds_auth.app.limits import LONGEST_PATH, address_of, sharing
from cloudbeds_auth.app.permits import reached
from cloudbeds_auth.app.problems import VENDOR, TargetTooLong, Unexpected, request_id, send_problem
from cloudbeds_auth.app.relaying import Body, ProxiedCall, Relay, Relayed
from cloudbeds_auth.errors import Error, Forbidden, InvalidRequest
from cloudbeds_auth.ports import REQUEST_ID, Lost
from cloudbeds_auth.rules import proxy_policy as policy
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.permissions import Caller, may
from cloudbeds_auth.rules.property_pin import judge_call, require_pinned

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

log: Final = logging.getLogger(__name__)

DESCRIBING = ("content-type", "content-encoding")
BODILESS = frozenset({204, 304})  # a Content-Length there belongs to another answer's body (RFC 9110 section 8.6)


class Proxy:
    """The route; `Caller` is in the scope's state already."""

    def __init__(self, vault: TokenVault, relay: Relay) -> None:
        self._vault = vault
        self._world = vault.engine.world
        self._relay = relay
        self._settings = vault.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; errors before the first byte become problems, later ones cut the answer short."""
        started = False

        async def seen(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._serve(scope, receive, seen)
        except ClientGone:
            self._world.observer.happened(
                Happening.CALLER_GONE,
                connection_id=scope["state"].get(HOTEL),
                method=scope["method"],
                path=_path(scope),
                caller=scope["state"]["caller"].name,
                address=address_of(scope),
            )
        except Exception as error:
            problem = error if isinstance(error, Error) else Unexpected()
            if problem is not error:
                log.exception("an unexpected error in the proxy")
            self._report_refusal(scope, problem)
            if not started:
                await send_problem(send, problem)

    def _report_refusal(self, scope: Scope, problem: Error) -> None:
        self._world.observer.happened(
            Happening.PROXY_REFUSED,
            connection_id=scope["state"].get(HOTEL) or problem.connection_id,
            method=scope["method"],
            route="/proxy",
            path=_path(scope),
            caller=scope["state"]["caller"].name,
            status=problem.status,
            code=problem.code,
            reason=problem.detail,
            address=address_of(scope),
        )

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if len(scope["raw_path"]) > LONGEST_PATH:
            raise TargetTooLong
        target = policy.upstream_path(scope["raw_path"])
        caller: Caller = scope["state"]["caller"]
        needed = policy.scope_for(target.path)
        if not may(caller, needed):
            raise Forbidden(f"the scope `{needed.value}` is needed for this method of Cloudbeds")
        looking = self._vault.engine.find_to_relay(target.id)
        hotel = await reached(caller, needed, self._vault.keys, target.id, looking, scope["state"])
        judged = judge_call(
            caller, hotel, scope["method"], target.path, scope["query_string"].decode("ascii"),  # the gateway judged it
            named=policy.property_of(target.id), header=policy.header_in(scope["headers"], b"x-property-id"),
        )  # fmt: skip
        headers = policy.request_headers(scope["headers"], judged.property_id, REQUEST_ID.get())
        length = announced_length(scope)
        body = Body(receive, length=length, keep=self._settings.replay_limit, limit=self._settings.body_limit)
        address, shares = address_of(scope), sharing(scope)
        async with self._relay.shares.place(shares):
            await body.fill()
            if judged.properties is not None:
                sent = dict(headers)
                media, encoding = (sent.get(name, "") for name in DESCRIBING)
                require_pinned(judged.properties, media, encoding, body.kept)
            await self._vault.keys.require_good(caller)  # a body may have taken its time
            if length and not body.replayable:
                headers.append(("content-length", str(length)))  # a stream keeps its framing
            call = ProxiedCall(caller, shares, scope["method"], target.path, judged.query, headers, body)
            await until_hung_up(scope, self._exchange(hotel.id, call, send, address))

    async def _exchange(self, connection_id: str, call: ProxiedCall, send: Send, address: str) -> None:
        """Call the vendor and pass its answer on."""
        begun = self._world.clock.steady()
        relayed = await self._relay.call(connection_id, call)
        try:
            complete = await self._pass_on(relayed, send)
        finally:
            relayed.answer.close()
        self._relay.report(connection_id, call, relayed, complete=complete, address=address, begun=begun)

    async def _pass_on(self, relayed: Relayed, send: Send) -> bool:
        """Head and body as they come; False when the body broke off, which the caller sees as a cut connection."""
        answer, passing = relayed.answer, relayed.passing
        headers = [*policy.response_headers(answer.headers), *VENDOR, *request_id()]
        if answer.status in BODILESS:  # the server would wait for that many bytes, and cut the connection
            headers = [(name, value) for name, value in headers if name != b"content-length"]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        more = True
        try:
            async for chunk in answer.chunks():
                if passing.looking:
                    passing.see(chunk)
                more = not answer.ended
                await send({"type": "http.response.body", "body": chunk, "more_body": more})
        except Lost:
            return False  # an unfinished answer: the server closes the connection
        if more:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        return True


def _path(scope: Scope) -> str:
    """As it came, without the query."""
    path: bytes = scope["raw_path"]
    return path.decode("latin-1")


def announced_length(scope: Scope) -> int | None:
    """The request's Content-Length; 0 when it has no body at all, None when it is chunked."""
    length: int | None = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            if not value.isdigit() or len(value) > 18:
                raise InvalidRequest("the Content-Length is no number")
            length = int(value)
    return length
