"""The proxy's pooled client: passes bytes to the vendor and back unchanged."""

from __future__ import annotations

import asyncio
import functools
import io
import select
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import aiohttp
import yarl
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDict

from cloudbeds_auth.ports import Broken, Lost, Unsent

KEEP_ALIVE = 15.0  # seconds; shorter than the vendor's, which then rarely closes a connection under a request
MOST_CONNECTIONS = 200
WHOLE = 1024 * 1024  # bytes; larger bodies are written piece by piece, so that other calls are not delayed
POOL_WAIT = 30.0  # seconds to wait for a free place in the pool and a connection
LONGEST_HEADER = 32 * 1024  # bytes

# What aiohttp raises before anything has left this machine.
_UNSENT = (
    aiohttp.ClientConnectorError,  # TLS and certificates too
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.InvalidURL,
)


class _Request(aiohttp.ClientRequest):
    """Sends only the headers it is given, none that aiohttp would add: the caller's request stays unchanged."""

    _skip_auto_headers = CIMultiDict({"Content-Type": None})

    def update_headers(self, headers: Any) -> None:
        """Take the headers as they are, after `Host`."""
        self.headers = CIMultiDict(Host=self.url.host_port_subcomponent or "")
        self.headers.extend(headers)

    def update_auto_headers(self, skip_auto_headers: object) -> None:
        """Add nothing."""


class _Asked(ResponseHandler):
    """A connection that closes on anything that is not the answer to a request (A75).

    aiohttp reads on while a connection waits for its next request, and would take an answer that comes meanwhile for
    the next request's.
    """

    _body: aiohttp.StreamReader | None = None  # of the newest request's final answer

    @property
    def waits(self) -> bool:
        """Whether the last request was answered completely."""
        return self._body is not None and self._body.is_eof()

    def set_response_params(self, **params: Any) -> None:
        """A request is about to be sent."""
        self._body = None
        super().set_response_params(**params)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """A head has come, and its body follows."""
        message, body = data
        if message.code >= 200:
            self._body = body
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Bytes from the vendor."""
        if data and self.waits and self.transport is not None:
            self.transport.abort()
        else:
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The end of the connection. A body that only this delimits is whole if the vendor closed it, and broke off if
        it was reset; aiohttp takes both for its end. Over TLS an end without `close_notify` counts as closed: asyncio
        does not tell the two apart (RFC 9112 section 9.8). Cloudbeds gives lengths, or chunks.
        """
        if exc is not None and self._body is not None and not self._body.is_eof():
            self._body.set_exception(aiohttp.ClientPayloadError("the connection was reset"))
        super().connection_lost(exc)


class _Connector(aiohttp.TCPConnector):
    """The pool, which hands out no connection that has unread bytes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        asked: Callable[..., ResponseHandler] = _Asked
        self._factory = functools.partial(asked, loop=self._loop)

    async def connect(self, *args: Any, **options: Any) -> Any:
        """A kept connection without unread bytes, or a new one."""
        while True:
            connection = await super().connect(*args, **options)
            if not _speaks(connection.protocol):
                return connection
            connection.close()


def _speaks(protocol: ResponseHandler | None) -> bool:
    """Whether a kept connection has bytes, or an end of stream, that the event loop has not seen yet."""
    if not isinstance(protocol, _Asked) or not protocol.waits or protocol.transport is None:
        return False
    found = select.poll()
    found.register(protocol.transport.get_extra_info("socket"), select.POLLIN)
    return bool(found.poll(0))


class AiohttpAnswer:
    """One answer of the vendor; the caller must always `close` it."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status: int = response.status
        self.headers: Sequence[tuple[bytes, bytes]] = [(name.lower(), value) for name, value in response.raw_headers]

    @property
    def ended(self) -> bool:
        """Whether the last chunk was read."""
        return self._response.content.at_eof()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives; as the reader is bounded, back-pressure reaches the vendor. Raises Lost."""
        content = self._response.content
        try:
            while chunk := await content.readany():
                yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Lost(type(error).__name__) from error

    def close(self) -> None:
        """Close the socket, unless the answer was read to its end: then aiohttp has returned it to the pool."""
        self._response.close()


class AiohttpUpstream:
    """`ports.Upstream` over aiohttp.

    Timeouts in seconds: `connect` to make a connection, `idle` while the vendor sends nothing at all, `head` until the
    head of the answer is complete, if the request was handed over as a whole. A body may take as long as it flows.
    `context` is the TLS policy; without one, aiohttp verifies against the system's authorities.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connect: float = 5.0,
        idle: float = 60.0,
        head: float = 120.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=None, connect=POOL_WAIT, sock_connect=connect, sock_read=idle)
        self._head = head
        self._context = context
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes | AsyncIterator[bytes]
    ) -> AiohttpAnswer:
        """Send one request, once; raises Unsent, Broken or Lost."""
        session = self._session or self._open()
        try:
            # How long a streamed body takes depends on its sender, and the caller's own timeouts end it.
            async with asyncio.timeout(self._head if isinstance(body, bytes) else None):
                response = await session.request(
                    method,
                    yarl.URL(self._base + target, encoded=True),  # else yarl would rewrite %2F and %2e
                    headers=headers,
                    data=_payload(body),
                    allow_redirects=False,
                )
        except _UNSENT as error:
            raise Unsent(type(error).__name__) from error
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            raise Broken(type(error).__name__) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Lost(type(error).__name__) from error
        return AiohttpAnswer(response)

    async def aclose(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        """The session, which is made at the first request, where the event loop runs."""
        self._session = aiohttp.ClientSession(
            connector=_Connector(
                ssl=self._context if self._context is not None else True,
                limit=MOST_CONNECTIONS,
                keepalive_timeout=KEEP_ALIVE,
            ),
            timeout=self._timeout,
            request_class=_Request,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            max_field_size=LONGEST_HEADER,
            max_line_size=LONGEST_HEADER,
        )
        # Otherwise aiohttp repeats a PUT or DELETE whose answer was lost, and a GET without a turn.
        self._session._retry_connection = False
        return self._session


def _payload(body: bytes | AsyncIterator[bytes]) -> bytes | io.BytesIO | AsyncIterator[bytes] | None:
    """The body for aiohttp: None for an empty body, so that none is announced where the method has none."""
    if isinstance(body, bytes) and len(body) > WHOLE:
        return io.BytesIO(body)
    return body or None
