"""The transport of a connection, between uvicorn and the socket: how answers go out, and how the last one ends it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudbeds_auth.app.http_limits import BoundedProtocol

LARGE = 16 * 1024  # bytes: a piece of this size is sent at once, and those before it


class AnswerTransport:
    """Sends what is written in one step of the event loop together, a head with its body: with uvloop, each write is a
    system call and a packet, and wakes the caller.

    It is closed in such a way that the last answer arrives even if the caller is still sending (RFC 9112 section 9.6):
    a socket closed with unread bytes is reset, and the caller loses what it has not read yet.
    """

    def __init__(self, transport: asyncio.Transport, protocol: BoundedProtocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self._closing = False
        self._held: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether nothing is written any more."""
        return self._closing or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send soon, unless the last answer was given."""
        if self._closing or not data:
            return
        self._held.append(data)
        if len(data) > LARGE:
            self._flush()
        elif len(self._held) == 1:
            self._protocol.loop.call_soon(self._flush)

    def close(self) -> None:
        """Send what was written, and its end; then wait for the caller's end, for a while."""
        if self.is_closing():
            return
        self._flush()
        self._closing = True
        if self._protocol.sends():
            self._protocol.flow.resume_reading()
            with suppress(OSError):  # it is gone already
                self._transport.write_eof()
        else:
            self._transport.close()
        self._protocol.linger()

    def _flush(self) -> None:
        held, self._held = self._held, []
        if held and not self._transport.is_closing():
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))
