"""The HTTP policy: TLS, timeouts, limits, and what never happens; the only place, for every client of the library.

httpx2 is imported only where something is sent: a vault that only lends fresh tokens never imports it.

Never: a proxy, certificate or netrc from the environment (A32); a redirect followed (A33); a cookie kept; an unverified
certificate (A55); a retry. A request is finished or aborted, and its socket closed, before `ask`
returns, even when it is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.version import VERSION

if TYPE_CHECKING:
    import ssl

    import httpx2

TOKEN_BODY_LIMIT = 64 * 1024  # bytes (docs/rotation.md#numbers)
RESOURCE_BODY_LIMIT = 1024 * 1024  # bytes; a page of a hundred hotels with their descriptions
LEAVING = frozenset({"http11.send_request_headers.started", "http11.send_request_body.started"})
"""The names in httpx2's `trace` extension of the moments before bytes leave; the tokens are in the body."""


class StoodStill(Exception):
    """The request may no longer be sent: its sender stood still before the first byte left."""


class Unusable(Exception):
    """The answer is not read: it is too large, or encoded although plain bytes were asked for. Says why."""


def no_connection() -> tuple[type[Exception], ...]:
    """Failures before the first byte of a request leaves: the server cannot have acted."""
    import httpx2

    return (
        httpx2.ConnectError,  # refused, no such name, TLS handshake failed
        httpx2.ConnectTimeout,
        httpx2.PoolTimeout,
        httpx2.UnsupportedProtocol,
        httpx2.LocalProtocolError,  # a header that h11 refuses to write
    )


def no_answer() -> tuple[type[Exception], ...]:
    """What `ask` raises if no usable answer came."""
    import httpx2

    return httpx2.HTTPError, OSError, Unusable  # OSError: TimeoutError and TLS too


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer within the limits."""

    status: int
    headers: httpx2.Headers = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def content_type(self) -> str:
        """The Content-Type header, empty when there is none."""
        return self.headers.get("content-type", "")


@cache
def user_agent() -> str:
    """Who calls: product, version and Python version."""
    import platform

    return f"cloudbeds-auth/{VERSION} (+python {platform.python_version()})"


@cache
def tls() -> ssl.SSLContext:
    """The system's trust store, with host names checked, TLS 1.2 or newer; `SSL_CERT_FILE` and the like are ignored."""
    import ssl

    import httpx2

    context = httpx2.create_ssl_context(verify=True, trust_env=False)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def timeouts(timing: Timing) -> httpx2.Timeout:
    """Timeouts of each step; `ask` bounds the whole call."""
    import httpx2

    return httpx2.Timeout(timing.deadline, connect=timing.connect, pool=timing.connect)


def client(timing: Timing, transport: httpx2.AsyncBaseTransport | None, *, keep_alive: int) -> httpx2.AsyncClient:
    """A client under this policy; `keep_alive` is how many idle connections it may hold. `transport` is for tests."""
    import httpx2

    return httpx2.AsyncClient(**manners(timing, keep_alive=keep_alive), transport=transport)


def manners(timing: Timing, *, keep_alive: int) -> dict[str, Any]:
    """The arguments that put a client of httpx2 under this policy."""
    from http.cookiejar import CookieJar, DefaultCookiePolicy

    import httpx2

    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": user_agent()}
    if keep_alive == 0:
        headers["Connection"] = "close"
    return {
        "verify": tls(),
        "trust_env": False,
        "follow_redirects": False,
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        "headers": headers,
        "timeout": timeouts(timing),
        "limits": httpx2.Limits(max_keepalive_connections=keep_alive),
    }


def pool(*, keep_alive: int) -> httpx2.AsyncHTTPTransport:
    """Connections under this policy, for several clients; `keep_alive` is how many idle ones it may hold."""
    import httpx2

    limits = httpx2.Limits(max_keepalive_connections=keep_alive)
    return httpx2.AsyncHTTPTransport(verify=tls(), trust_env=False, limits=limits)


def at_any_time() -> bool:
    """A request that needs no lease may always be sent."""
    return True


async def ask(
    timing: Timing,
    transport: httpx2.AsyncBaseTransport | None,
    method: str,
    url: str,
    *,
    limit: int | None,
    may_send: Callable[[], bool] = at_any_time,
    **parts: Any,
) -> Reply:
    """Send once and read the whole answer: at most `limit` bytes (None: only its head), within `timing.deadline`.

    Over a connection of its own: an answer that comes twice must not be taken for the next request's (F18). `parts` are
    those of httpx2's `build_request`; `transport` replaces the network in tests and is never closed here. `may_send` is
    called once the connection is up, directly before the first byte. Raises StoodStill if it returns False, Unusable,
    TimeoutError for the deadline, and what httpx2 or the socket raises.
    """
    import httpx2

    sockets, once = _Sockets(may_send), client(timing, transport, keep_alive=0)
    request = once.build_request(method, url, extensions={"trace": sockets.trace}, **parts)
    try:
        async with asyncio.timeout(timing.deadline):
            response = await once.send(request, stream=True)
            try:
                body = b"" if limit is None else await _body(response, limit)
                return Reply(response.status_code, response.headers, body)
            finally:
                await response.aclose()
    finally:
        await sockets.close_unused()
        if transport is None:
            # A socket that does not close cleanly must not turn a received pair into an error.
            with suppress(OSError, httpx2.HTTPError):
                await once.aclose()


async def _body(response: httpx2.Response, limit: int) -> bytes:
    """The raw bytes. An encoded body is refused, not decoded: small on the wire, it may be huge in memory (F28)."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Unusable(f"HTTP {response.status_code}: the answer is encoded although plain bytes were asked for")
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > limit:
            raise Unusable(f"HTTP {response.status_code}: the answer is larger than {limit // 1024} KiB")
    return bytes(body)


class _Sockets:
    """Follows a request on its connection, as an httpx2 trace extension.

    Closes a socket whose TLS handshake was cancelled: until the handshake ends, no other part of the HTTP stack owns
    the socket. Stops a request that `may_send` no longer allows.
    """

    def __init__(self, may_send: Callable[[], bool]) -> None:
        self._may_send = may_send
        self._opened: Any = None

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Remember the socket between "connected" and "handshake done"; raises StoodStill before bytes leave."""
        if event == "connection.connect_tcp.complete":
            self._opened = info["return_value"]
        elif event in {"connection.start_tls.complete", "http11.send_request_headers.started"}:
            self._opened = None
        if event in LEAVING and not self._may_send():
            raise StoodStill

    async def close_unused(self) -> None:
        """Close a socket that no connection took over."""
        if self._opened is not None:
            with suppress(OSError):
                await self._opened.aclose()
