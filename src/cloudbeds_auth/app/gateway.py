"""The door: the outermost layer, raw ASGI. It checks the host, identifies the caller, and admits or refuses.

Default deny: without a credential every path answers 401, whether it exists or not, except those open to anyone.
Code behind the door checks no credential again; it calls `may(caller, scope, connection)`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from cloudbeds_auth.app.admission import Guesses, address_of
from cloudbeds_auth.app.body import Arriving, ClientGone
from cloudbeds_auth.app.connections import occupy, stay
from cloudbeds_auth.app.headers import Ours
from cloudbeds_auth.app.limits import Limits, Tally
from cloudbeds_auth.app.problems import (
    AddressTooLong,
    BodyTooLarge,
    HeadersTooLarge,
    LengthRequired,
    MethodNotAllowed,
    Misdirected,
    send_problem,
)
from cloudbeds_auth.app.public_paths import APP, Anyone, Further, told
from cloudbeds_auth.errors import Error, InvalidRequest, Unauthenticated
from cloudbeds_auth.ports import Clock, Observer
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.permissions import ADMIN, Caller
from cloudbeds_auth.rules.proxy_policy import query_of, refuse_token
from cloudbeds_auth.rules.secret import Secret

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
LONGEST_TARGET = 16 * 1024  # bytes of path and query
MOST_HEADERS = 100
LARGEST_HEADERS = 64 * 1024  # bytes of all names and values
LARGEST_BODY = 64 * 1024  # bytes, outside the proxy
FRAMING = frozenset({b"content-length", b"transfer-encoding"})  # without either there is no body (RFC 9112 section 6.3)

Authenticate = Callable[[str], Awaitable[Caller | None]]


def admin_only(token: Secret) -> Authenticate:
    """Knows one credential, the admin token; compared over hashes, in constant time (A24)."""
    expected = _digest(token.reveal())

    async def authenticate(credential: str) -> Caller | None:
        return ADMIN if hmac.compare_digest(_digest(credential), expected) else None

    return authenticate


class Door:
    """`proxy` gets what lies below `/proxy/`, `inside` everything else.

    `hosts`: host names that may be asked for; `further`: those and the callbacks of apps that the settings do not name;
    `authenticate`: credential to caller, None for a stranger.
    """

    def __init__(
        self,
        inside: ASGIApp,
        proxy: ASGIApp,
        *,
        hosts: Iterable[str],
        anyone: Anyone,
        further: Further,
        authenticate: Authenticate,
        observer: Observer,
        clock: Clock,
        limits: Limits,
        tally: Tally,
    ) -> None:
        self._inside = inside
        self._proxy = proxy
        self._hosts = frozenset(host.strip().lower() for host in hosts)
        self._anyone = anyone
        self._further = further
        self._authenticate = authenticate
        self._observer = observer
        self._clock = clock
        self._limits = limits
        self._tally = tally
        self._guesses = Guesses(limits, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http":
            await _refuse_other(scope, receive, send)
            return
        begun = self._clock.steady()
        ours = Ours(send, scope.setdefault("state", {}))
        if any(name in FRAMING for name, _ in scope["headers"]):
            receive = Arriving(receive, self._limits)
        try:
            await self._admit(scope)
            occupy(scope)
        except ClientGone:
            return
        except Error as error:
            ours.status = error.status
            await send_problem(send, error, *_extra(error))
        else:
            if scope["raw_path"].startswith(b"/proxy/"):
                await self._proxy(scope, receive, send)  # reports to the observer itself
                return
            await self._inside(scope, receive, ours)
        self._observer.happened(
            Happening.REQUEST,
            method=scope["method"],
            path=told(scope["raw_path"].decode("latin-1")),
            status=ours.status,
            address=address_of(scope),
            seconds=self._clock.steady() - begun,
        )

    async def _admit(self, scope: Scope) -> None:
        """Every check before routing; puts the caller into the scope's state. Raises the refusal."""
        _limits(scope)
        names = [name for name, _ in scope["headers"]]
        await self._host(scope)
        if scope["method"] not in METHODS:
            raise MethodNotAllowed(f"{scope['method']} is not served here")
        if b"upgrade" in names:
            raise InvalidRequest("no protocol is upgraded to here")
        refuse_token(scope["query_string"])
        if not scope["raw_path"].startswith(b"/proxy/"):
            small_body(scope)
        path = scope["raw_path"].decode("latin-1")
        if self._anyone.may(path):
            return
        if (app := await self._further.app_at(path)) is not None:
            scope["path"] = self._further.home  # one handler for all; it never reads the path
            scope["state"][APP] = app
            return
        query_of(scope["query_string"])
        scope["state"]["caller"] = await self._caller(scope)

    async def _caller(self, scope: Scope) -> Caller:
        """The caller whose credential it is; after wrong ones from the same address, not at once (A23)."""
        given, address = credential(scope), address_of(scope)
        if wait := self._guesses.wait(address, given):
            with self._guesses.waiting(address):
                await stay(scope, self._clock.sleep(wait))
        caller = await self._authenticate(given)
        if caller is None:
            self._guesses.wrong(address, given)
            self._tally.add(Happening.CREDENTIAL_REFUSED, address=address)
            raise Unauthenticated("this credential is not known here")
        self._guesses.right(address, given)
        return caller

    async def _host(self, scope: Scope) -> None:
        """Only the names that we are known by: a rebound or forged name is refused before anything else (A13, A19)."""
        found = [value for name, value in scope["headers"] if name == b"host"]
        if len(found) != 1:
            raise InvalidRequest("exactly one Host header is needed")
        host = found[0].decode("latin-1").lower()
        name = host_name(host)
        if host not in self._hosts and name not in self._hosts and not await self._further.knows_host(name):
            raise Misdirected


def credential(scope: Scope) -> str:
    """The caller's credential; raises Unauthenticated when there is none, or several that differ."""
    found: set[str] = set()
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, given = value.decode("latin-1").strip().partition(" ")
            if scheme.lower() != "bearer" or not given.strip():
                raise Unauthenticated("only `Authorization: Bearer …` is understood")
            found.add(given.strip())
        elif name == b"x-api-key":
            found.add(value.decode("latin-1").strip())
    if not found:
        raise Unauthenticated
    if len(found) > 1:
        raise Unauthenticated("several credentials came with the request, and they differ")
    return found.pop()


def host_name(host: str) -> str:
    """A Host header without its port; IPv6 addresses without brackets."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        return name if bracket and (not port or (port.startswith(":") and _is_number(port[1:]))) else ""
    name, colon, port = host.partition(":")
    return name if not colon or _is_number(port) else ""


def _is_number(port: str) -> bool:
    return port.isascii() and port.isdigit()  # `²` is a digit, and no port


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()


def _limits(scope: Scope) -> None:
    """Bounded before anything is read; the server's protocol has the same bounds for what is still arriving."""
    if len(scope["raw_path"]) + len(scope["query_string"]) > LONGEST_TARGET:
        raise AddressTooLong(f"an address has at most {LONGEST_TARGET} bytes here")
    headers = scope["headers"]
    if len(headers) > MOST_HEADERS or sum(len(name) + len(value) for name, value in headers) > LARGEST_HEADERS:
        raise HeadersTooLarge(f"at most {MOST_HEADERS} headers of {LARGEST_HEADERS} bytes in all are taken")


def small_body(scope: Scope) -> None:
    """Outside the proxy a body is a small JSON document whose length is known before it is read."""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            raise LengthRequired
        if name == b"content-length" and (not value.isdigit() or len(value) > 9 or int(value) > LARGEST_BODY):
            raise BodyTooLarge(f"a body has at most {LARGEST_BODY} bytes here")


def _extra(error: Error) -> tuple[tuple[bytes, bytes], ...]:
    """What a refusal at the door adds: the methods that there are; no further request on a doubtful connection."""
    if isinstance(error, MethodNotAllowed):
        return ((b"allow", ", ".join(sorted(METHODS)).encode()), (b"connection", b"close"))
    return ((b"connection", b"close"),) if isinstance(error, InvalidRequest) else ()


async def _refuse_other(scope: Scope, receive: Receive, send: Send) -> None:
    """WebSockets are refused; any other kind of scope is ignored."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
