"""uvicorn's HTTP/1.1 protocol with bounds on what is still arriving: a head has a deadline, a size and a shape.

uvicorn with httptools lets one header trickle for ever and keeps a head of any size in memory (A40, A41); it also
reads the authority of an absolute-form target and drops it, so such a target is refused here (A29).
"""

from __future__ import annotations

import asyncio
import re

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cloudbeds_auth.app.door import LARGEST_HEADERS, LONGEST_TARGET, MOST_HEADERS

HEAD_WITHIN = 20.0  # seconds from the first byte of a head, or from the connection, to its end
_TARGET = re.compile(rb"/[!\"$-~]*\Z")  # RFC 9112 section 3.2.1: origin-form; no fragment
_FIELD_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110 section 5.6.2


class Refused(Exception):
    """The head is refused; raised through the parser, which reports it as a parse error."""


class BoundedProtocol(HttpToolsProtocol):
    """Refuses a head with 400 or 431 and closes; a connection whose head does not come is closed."""

    _head_timer: asyncio.TimerHandle | None = None
    _in_head = False
    _head_size = 0  # bytes of names and values that are complete
    _head_pieces = 0  # bytes that came for a head after the piece that it began in
    _refusal = 400

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection has so long to send its first head."""
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """One piece; a head that goes on and on is bounded here, because the parser tells complete headers only."""
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head:
            self._head_pieces += len(data)
            if self._head_pieces > LARGEST_HEADERS + LONGEST_TARGET:
                self._refusal = 431
                self._in_head = False
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """A new head begins."""
        super().on_message_begin()
        self._in_head = True
        self._head_size = self._head_pieces = 0
        self._arm()

    def on_url(self, url: bytes) -> None:
        """The target grows."""
        super().on_url(url)
        if len(self.url) > LONGEST_TARGET:
            self._refuse(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header more. Trailers come this way too: they are counted and dropped."""
        self._head_size += len(name) + len(value)
        if self._head_size > LARGEST_HEADERS or len(self.headers) >= MOST_HEADERS:
            self._refuse(431)
        if not _FIELD_NAME.match(name):
            self._refuse(400)
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is here: it is judged before anything is started for it."""
        self._disarm()
        self._in_head = False
        if not _TARGET.match(self.url):
            self._refuse(400)
        self._framing()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """The refusal, with the status that it deserves."""
        self._disarm()
        if self._refusal == 400:
            super().send_400_response(msg)
            return
        reason = {414: b"URI Too Long", 431: b"Request Header Fields Too Large"}[self._refusal]
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % (self._refusal, reason)
        )
        self.transport.close()

    def _framing(self) -> None:
        """One way to tell where the body ends, or none: what two parsers may read differently is refused (A37)."""
        lengths = [value for name, value in self.headers if name == b"content-length"]
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if len(lengths) > 1 or len(codings) > 1 or (lengths and codings) or codings not in ([], [b"chunked"]):
            self._refuse(400)

    def _refuse(self, status: int) -> None:
        self._refusal = status
        raise Refused

    def _arm(self) -> None:
        self._disarm()
        self._head_timer = self.loop.call_later(HEAD_WITHIN, self._too_late)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.abort()
