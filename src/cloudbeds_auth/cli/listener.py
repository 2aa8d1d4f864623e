"""A listener for one redirect, on the registered address only: answers the approval's callback, then closes.

Just enough HTTP for one GET of one path. Whatever else asks, wrong state included, is turned away and the wait goes
on: a page that the browser happens to have open must not be able to end it.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from urllib.parse import parse_qs, urlsplit

from cloudbeds_auth import errors
from cloudbeds_auth.os_files import take_port

HEAD_LIMIT = 16 * 1024
HEAD_SECONDS = 10.0
HEADERS = (
    "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n"
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\nX-Content-Type-Options: nosniff\r\n"
    "Connection: close\r\n"
)
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}


@dataclass(frozen=True, slots=True)
class AnswerPage:
    """What the browser is shown."""

    status: int
    title: str
    text: str

    def encode(self) -> bytes:
        """The whole HTTP answer."""
        body = (
            f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{escape(self.title)}</title>'
            f"<h1>{escape(self.title)}</h1><p>{escape(self.text)}</p></html>\n"
        ).encode()
        head = f"HTTP/1.1 {self.status} {REASONS[self.status]}\r\n{HEADERS}Content-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


Callback = Callable[[Mapping[str, str]], Awaitable[AnswerPage]]


class CallbackListener:
    """Waits for the one redirect that carries `state`; `callback` gets its parameters and says what to show."""

    def __init__(self, redirect_uri: str, state: str, callback: Callback) -> None:
        parts = urlsplit(redirect_uri)
        self._path, self._authority = parts.path, parts.netloc.lower()
        self._state, self._callback = state, callback
        self._spent = False
        self._answered = asyncio.Event()

    async def serve(self, sockets: list[socket.socket]) -> None:
        """Return once the redirect has been answered; the sockets are closed in any case."""
        servers = [await asyncio.start_server(self._handle, sock=sock, limit=HEAD_LIMIT) for sock in sockets]
        try:
            await self._answered.wait()
        finally:
            for server in servers:
                server.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Half a request, or a browser's spare connection: nothing to answer.
            with suppress(TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
                async with asyncio.timeout(HEAD_SECONDS):
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                writer.write((await self._page(head)).encode())
                await writer.drain()
        finally:
            writer.close()
            if self._spent:
                self._answered.set()

    async def _page(self, head: str) -> AnswerPage:
        request, *fields = head.split("\r\n")
        words = request.split(" ")
        hosts = [
            value.strip().lower()
            for name, _, value in (field.partition(":") for field in fields)
            if name.strip().lower() == "host"
        ]
        if len(words) != 3 or hosts != [self._authority]:
            return AnswerPage(400, "Not understood", "This address waits for an approval by Cloudbeds.")
        if words[0] != "GET":
            return AnswerPage(405, "Not understood", "This address waits for an approval by Cloudbeds.")
        target = urlsplit(words[1])
        if target.path != self._path:
            return AnswerPage(404, "Nothing here", "This address waits for an approval by Cloudbeds.")
        return await self._redirected(target.query)

    async def _redirected(self, query: str) -> AnswerPage:
        given = {name: values[0] for name, values in parse_qs(query, max_num_fields=50).items()}
        state = given.get("state", "")
        if self._spent or not hmac.compare_digest(state.encode(), self._state.encode()):
            return AnswerPage(400, "Not this approval", "This approval was not started here, or was answered already.")
        self._spent = True
        return await self._callback(given)


def bind(redirect_uri: str) -> list[socket.socket] | None:
    """Take the address of a redirect URI, under every address its host name has here; None when it is in use.

    Raises ConfigurationError when it cannot be listened on at all.
    """
    parts = urlsplit(redirect_uri)
    taken: list[socket.socket] = []
    try:
        taken = take_port(parts.hostname or "", parts.port or 80)
        for sock in taken:
            sock.listen()
    except OSError as error:
        for sock in taken:
            sock.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise errors.ConfigurationError(
            f"{redirect_uri} cannot be listened on: {error.strerror}",
            next_step="register a redirect URI with a port above 1023 at Cloudbeds and set CLOUDBEDS_REDIRECT_URI",
        ) from None
    return taken
