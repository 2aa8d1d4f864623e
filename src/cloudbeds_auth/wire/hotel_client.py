"""A single protected call: its address, and its error when no answer comes. Also clients for one hotel each, over one
pool of connections to Cloudbeds.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import h11
import httpx2

from cloudbeds_auth.errors import InvalidRequest, UpstreamFailed
from cloudbeds_auth.rules.auth_flow import require_origin, unanswered
from cloudbeds_auth.rules.redirects import origin_of
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.threads import OwnThreads
from cloudbeds_auth.wire import http_client

if TYPE_CHECKING:
    from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth

KEEP_ALIVE = 20  # idle connections
NOT_FOLLOWED = {"follow_redirects": False}


class HotelClient(httpx2.AsyncClient):
    """A client that raises what `vault.call` raises: UpstreamFailed if nothing was sent or the call only reads,
    OutcomeUnknown if a write may have happened. While a body is streamed, httpx2's own errors are raised.
    """

    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        """As `httpx2.AsyncClient.send`, but a redirect is an answer, whatever `follow_redirects` says: if it were
        followed after a write, a failure of the second request would say that nothing was sent.
        """
        with in_our_words(request.method):
            return await super().send(readable(request), **how | NOT_FOLLOWED)


class HotelClients:
    """Lends clients; closing one of them leaves the connections to the others."""

    def __init__(self, base_url: str, timing: Timing) -> None:
        self._base_url = base_url
        self._timing = timing
        self._pool = http_client.pool(keep_alive=KEEP_ALIVE)

    def client(self, auth: httpx2.Auth) -> HotelClient:
        """A client for the vendor's origin, with `auth`."""
        return HotelClient(
            **http_client.manners(self._timing, keep_alive=KEEP_ALIVE),
            transport=_Lent(self._pool),
            base_url=self._base_url,
            auth=auth,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


class _Lent(httpx2.AsyncBaseTransport):
    """A transport that is closed by `HotelClients`, not by the client."""

    def __init__(self, pool: httpx2.AsyncBaseTransport) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self._pool.handle_async_request(request)


_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")  # RFC 3986 section 3.1


def address(path: str, base_url: str, version: str) -> str:
    """The URL of `path` at the vendor; `path` is a full URL there, a path, or the bare name of an API method.

    `userinfo` means `/api/{version}/userinfo`. Raises ForeignOrigin for a URL anywhere else.
    """
    if _ABSOLUTE.match(path):
        require_origin(origin_of(path), base_url)
        return path
    below = path.lstrip("/") if path.startswith("/") else f"api/{version}/{path}"
    return f"{base_url}/{below}"


async def call(
    http: httpx2.AsyncClient, auth: CloudbedsAuth, method: str, url: str, parts: Mapping[str, Any]
) -> httpx2.Response:
    """Send the request with `auth`, and translate network errors: a write that may have arrived is no failure. A
    redirect is an answer, as for `HotelClient`.

    Raises UpstreamFailed if nothing was sent or the request only reads, else OutcomeUnknown; and what `auth` raises.
    """
    kept = {name: part for name, part in parts.items() if name not in NOT_FOLLOWED}
    with written():
        request = http.build_request(method, url, **kept)
    with in_our_words(method):
        return await http.send(readable(request), auth=auth, **NOT_FOLLOWED)


class _ReadBeside(httpx2.AsyncByteStream):
    """A body whose reading blocks, a file or an iterator: read in a thread of its own, so the loop is not blocked."""

    def __init__(self, body: httpx2.SyncByteStream) -> None:
        self._body = body
        self._thread = OwnThreads(1, "cloudbeds-auth-body")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        try:
            parts = iter(self._body)
            while (part := await loop.run_in_executor(self._thread, next, parts, None)) is not None:
                yield part
        finally:
            self._thread.shutdown(wait=False)


def readable(request: httpx2.Request) -> httpx2.Request:
    """The request, with its body in a form that an asynchronous client can read."""
    if isinstance(request.stream, httpx2.SyncByteStream) and not isinstance(request.stream, httpx2.AsyncByteStream):
        request.stream = _ReadBeside(request.stream)
    return request


@contextmanager
def written() -> Iterator[None]:
    """A context in which a request is put together, of which nothing is sent yet. Raises InvalidRequest."""
    try:
        yield
    except (httpx2.InvalidURL, UnicodeEncodeError) as error:  # the second: half a character (a lone surrogate)
        raise InvalidRequest(f"this request cannot be written: {error}") from None


@contextmanager
def in_our_words(method: str) -> Iterator[None]:
    """A context that translates errors while a request of this method is sent and its answer read, as `call` says."""
    try:
        yield
    except http_client.no_connection() as error:
        raise UpstreamFailed(f"Cloudbeds cannot be reached; nothing was sent ({_named(error)})") from error
    except RuntimeError as error:
        if "new thread" not in str(error):
            raise
        raise UpstreamFailed(f"the address could not be looked up; nothing was sent ({error})") from error  # F79
    except (httpx2.HTTPError, OSError, h11.LocalProtocolError) as error:  # the last: not as long as its Content-Length
        raise unanswered(method, _named(error)) from error


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
