"""uvicorn's HTTP/1.1 protocol with bounds on everything that a connection may take, in time and in bytes.

uvicorn with httptools lets a header trickle in for ever and keeps a head of any size in memory (A40, A41); it keeps
reading the body of a request that was refused long ago (A71), and skips chunk extensions of any size (A37); it also
drops the authority of an absolute-form target, so such a target is refused here (A29).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from enum import Enum
from typing import Any, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from cloudbeds_auth.app.http_connections import CONNECTION, CONNECTIONS, Connections, HttpConnection
from cloudbeds_auth.app.http_transport import AnswerTransport
from cloudbeds_auth.app.limits import LARGEST_EXTENSIONS, LARGEST_HEADERS, LONGEST_TARGET, MOST_HEADERS
from cloudbeds_auth.app.problems import HeadTooLarge, TargetTooLong, answer_for, raw_headers
from cloudbeds_auth.errors import Error, InvalidRequest, RateLimited
from cloudbeds_auth.os_files import reset_when_closed, unsent
from cloudbeds_auth.rules.happenings import Happening

PIECE = 4096  # bytes that the parser is given at a time: what it passes over in silence is known as exactly as that
CHUNK = 16  # bytes around a chunk: its size and two line ends
_TARGET = re.compile(rb"/[!\"$-~]*\Z")  # RFC 9112 section 3.2.1: origin-form; no fragment
_FIELD_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110 section 5.6.2
_CLOSE = (b"connection", b"close")


class LimitExceeded(Exception):
    """The head is refused; raised through the parser, which reports it as a parse error."""


def _has_length(answer: Message) -> bool:
    """Whether the beginning of an answer says how long it is."""
    return any(name.lower() == b"content-length" for name, _ in answer.get("headers", ()))


class Part(Enum):
    """The part of a request that is arriving."""

    NOTHING = 0
    HEAD = 1
    BODY = 2


class BoundedProtocol(HttpToolsProtocol):
    """Refuses with 400, 414 or 431, and 503 where there are too many; cuts off a caller that is too slow."""

    _connection: HttpConnection | None = None
    _running: RequestResponseCycle | None = None  # the request that is served; `cycle` is the newest, which may wait
    _timer: asyncio.TimerHandle | None = None  # until the head is here, or until the connection is closed
    _stalled: asyncio.TimerHandle | None = None  # until the caller reads
    _part = Part.NOTHING
    _head_size = 0  # bytes of names and values that are complete
    _body_size = 0  # bytes of bodies, all of them
    _silent = 0  # bytes of this part that the parser passed over in silence
    _silent_most = LARGEST_HEADERS
    _unframed = False  # the end of the connection is that of the answer
    _thrown_away = 0  # bytes that came after the last answer
    _refusal: type[InvalidRequest] = InvalidRequest

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._connections: Connections = self.app_state[CONNECTIONS]
        self._limits = self._connections.limits
        self._service: ASGIApp = self.app
        self.app: ASGIApp = self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """If an answer begins before its request has ended, the connection ends with the answer: nothing more is read.
        It also ends if the service is about to stop.

        When the service stops, the server cancels requests that take too long: that is not an error of the
        application, and the caller's connection ends, because the outcome of a call is unknown then.

        HTTP/1.0 callers do not understand chunks (RFC 9112 section 6.1): an answer of unknown length ends with its
        connection, which is reset if the answer is incomplete.
        """
        cycle = self._running
        assert cycle is not None  # noqa: S101 - this request's turn has come

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                early = scope is self.scope and self._part is Part.BODY
                self._unframed = scope["http_version"] < "1.1" and not _has_length(message)
                if early or self._unframed or self._connections.ending:
                    headers = [one for one in message.get("headers", ()) if one != _CLOSE]
                    message = {**message, "headers": [*headers, _CLOSE]}
                if self._unframed:
                    cycle.chunked_encoding = False  # as if its length was known: that of each part, when it comes
            elif self._unframed:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        try:
            await self._service(scope, receive, closing)
        except asyncio.CancelledError:
            self._cut("stopped")
        finally:
            if self._unframed and not cycle.response_complete:
                self._drop()

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The connection must send its first head within `limits.head`; without room for it, it is answered 503."""
        super().connection_made(cast(asyncio.Transport, AnswerTransport(transport, self)))
        self._connection = self._connections.open(self.client[0] if self.client else "local", self._drop)
        if self._connection is None:
            self._answer(RateLimited("too many connections are open", retry_after=1.0))
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._disarm()
        self.resume_writing()
        self._unset_keepalive_if_required()
        if self._connection is not None:
            self._connections.close(self._connection)
        self._disconnect()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The service stops: what is sent for as long as somebody looks ends, too."""
        self._connections.ending = True
        super().shutdown()

    def pause_writing(self) -> None:
        """The caller is behind with reading: within `limits.reading` it must catch up, or keep to `reading_rate`."""
        super().pause_writing()
        self._await_reading()

    def resume_writing(self) -> None:
        """The caller has caught up."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    def sends(self) -> bool:
        """Whether more of a request may be on its way."""
        return self._part is not Part.NOTHING

    def linger(self) -> None:
        """The last answer is given: the other side's end is waited for, at most `limits.linger`."""
        self._set_timer(self._limits.linger, self.transport.abort)
        if self._connection is not None:
            self._connection.release()
        self._disconnect()

    # What arrives

    def data_received(self, data: bytes) -> None:
        """Bytes, a piece at a time."""
        for begin in range(0, len(data), PIECE):
            if self.transport.is_closing():
                self._thrown_away += len(data) - begin
                if self._thrown_away > self._limits.linger_bytes:
                    self.transport.abort()
                return
            self._take(data[begin : begin + PIECE])

    def on_message_begin(self) -> None:
        """A new head begins."""
        super().on_message_begin()
        self.scope["state"][CONNECTION] = self._connection
        self._begin(Part.HEAD, LARGEST_HEADERS + LONGEST_TARGET)
        self._head_size = 0
        self._await_head()

    def on_url(self, url: bytes) -> None:
        """The target grows."""
        super().on_url(url)
        if len(self.url) > LONGEST_TARGET:
            self._refuse(TargetTooLong)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header more. Trailers come this way too: they are counted and dropped."""
        self._head_size += len(name) + len(value)
        if self._head_size > LARGEST_HEADERS or len(self.headers) >= MOST_HEADERS:
            self._refuse(HeadTooLarge)
        if not _FIELD_NAME.match(name):
            self._refuse()
        if self._part is Part.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is here: it is judged before anything is started for it."""
        self._disarm()
        self._begin(Part.BODY, LARGEST_EXTENSIONS)
        if not _TARGET.match(self.url):
            self._refuse()
        self._framing()
        if len(self.pipeline) >= self._limits.pipelined:
            self._report("pipelines")
            self._refuse()
        super().on_headers_complete()
        if self.pipeline:
            self.flow.resume_reading()  # else it would go unnoticed that the caller hangs up on the request that runs

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._silent_most += CHUNK

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._body_size += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here as a whole."""
        self._begin(Part.NOTHING, LARGEST_HEADERS)
        super().on_message_complete()
        self.flow.resume_reading()  # else it would go unnoticed that the caller hangs up

    def on_response_complete(self) -> None:
        """An answer is written; the next request of the connection is let in for itself."""
        if self._connection is not None:
            self._connection.release()
        super().on_response_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """A request's turn has come."""
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:
        """The refusal, with the status that it deserves; where an answer is under way already, its end."""
        if self.pipeline or (self._runs() and self.cycle.response_started):
            self._drop()
        else:
            self._part = Part.HEAD  # of an unknown message
            self._answer(self._refusal("the request is malformed, or larger than this service takes"))

    def _take(self, piece: bytes) -> None:
        """What the parser reports is bounded where it does; what it passes over in silence is bounded here."""
        part, size = self._part, self._body_size
        super().data_received(piece)
        if self.transport.is_closing():
            return
        if part is self._part is Part.NOTHING and self._timer is None and not self._runs():
            self._await_head()  # a line end before a head, which ended the wait for the next request
        if part is not self._part:
            return
        self._silent += len(piece) - (self._body_size - size)
        if self._silent > self._silent_most:
            self._refusal = InvalidRequest if self._part is Part.BODY else HeadTooLarge
            self.send_400_response("")

    def _begin(self, part: Part, silent_most: int) -> None:
        self._part, self._silent, self._silent_most = part, 0, silent_most

    def _runs(self) -> bool:
        """Whether a request waits for its answer, or for the rest of it."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _framing(self) -> None:
        """One way to find where the body ends, or none: what two parsers may read differently is refused (A37)."""
        lengths = [value for name, value in self.headers if name == b"content-length"]
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if len(lengths) > 1 or len(codings) > 1 or (lengths and codings) or codings not in ([], [b"chunked"]):
            self._refuse()

    # How it ends

    def _refuse(self, refusal: type[InvalidRequest] = InvalidRequest) -> None:
        self._refusal = refusal
        raise LimitExceeded

    def _answer(self, error: Error) -> None:
        """An answer without the application, and the connection's last."""
        answer = answer_for(error)
        headers = [*self.server_state.default_headers, *raw_headers(answer), _CLOSE]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[answer.status] + lines + b"\r\n" + answer.body)
        self.transport.close()

    def _await_head(self) -> None:
        self._set_timer(self._limits.head, self._too_late)

    def _await_reading(self) -> None:
        self._stalled = self.loop.call_later(self._limits.reading, self._behind, self._unread())

    def _behind(self, before: int) -> None:
        """The caller did not catch up. Nothing is written meanwhile, so the difference to `before` has gone out."""
        if before - self._unread() < self._limits.reading * self._limits.reading_rate:
            self._cut("slow_reader")
        else:
            self._await_reading()

    def _unread(self) -> int:
        """Bytes that the caller's machine has not taken: ours, and the kernel's, which are many more."""
        return self.transport.get_write_buffer_size() + unsent(self.transport.get_extra_info("socket").fileno())

    def _too_late(self) -> None:
        if self._part is Part.HEAD:
            self._cut("slow_head")
        else:
            self._drop()  # connected, and no request came

    def _cut(self, why: str) -> None:
        """Close at once, and report it."""
        self._report(why)
        self._drop()

    def _report(self, why: str) -> None:
        if self._connection is not None:
            self._connections.tally.add(Happening.CONNECTION_REFUSED, address=self._connection.address, why=why)

    def _drop(self) -> None:
        """Close at once; as an error, where an end would say that an answer is whole."""
        if self._unframed and self._runs():
            reset_when_closed(self.transport.get_extra_info("socket").fileno())
        self._disconnect()
        self.transport.abort()

    def _disconnect(self) -> None:
        """Let the application know that its answer will not be read; what waits behind it is not begun."""
        self.pipeline.clear()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
            if self._connection is not None:
                self._connection.hang_up()

    def _set_timer(self, seconds: float, then: Callable[[], None]) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, then)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
