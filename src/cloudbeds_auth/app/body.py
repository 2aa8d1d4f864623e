"""A request's body, under a time limit; a proxied one is kept where it is small enough, else streamed once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.types import Message, Receive

from cloudbeds_auth.app.limits import Limits
from cloudbeds_auth.app.problems import BodyTooLarge, RequestTimedOut


class ClientGone(Exception):
    """The caller hung up; an answer would have no recipient."""


class Arriving:
    """A `receive` that gives up a body which comes too slowly: raises RequestTimedOut (A71, A72).

    What counts is the time in which the caller is waited for, and not that in which nothing is read. An answer that
    streams events to its caller has no body to wait for, so nothing here ends it.
    """

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive = receive
        self._limits = limits
        self._waited = 0.0
        self._came = 0
        self._ended = False

    async def __call__(self) -> Message:
        """The next message; after the body's end no time limit applies."""
        if self._ended:
            return await self._receive()
        now = asyncio.get_running_loop().time
        begun = now()
        left = self._limits.body + min(0.0, self._came / self._limits.body_rate - self._waited)
        try:
            async with asyncio.timeout(left):
                message = await self._receive()
        except TimeoutError:
            raise RequestTimedOut from None
        self._waited += now() - begun
        self._came += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        return message


class Body:
    """Owns `receive`. `length`: the announced Content-Length, None without one. Limits are bytes.

    After `fill`, either the whole body is here (`replayable`) or the rest is streamed once by `content`.
    `answered` is set before the last byte of the answer: hanging up after it is no loss.
    `failure` is what ended a streamed body early: it is the cause, whichever error the upstream client raises.
    """

    def __init__(self, receive: Receive, *, length: int | None, keep: int, limit: int) -> None:
        self._receive = receive
        self._length = length
        self._keep = keep
        self._limit = limit
        self._kept = b""
        self._size = 0
        self._ended = asyncio.Event()
        self._streamed = False
        self.answered = False
        self.failure: Exception | None = None

    @property
    def replayable(self) -> bool:
        """Whether the whole body is here and can be sent as often as needed."""
        return self._ended.is_set() and not self._streamed

    async def fill(self) -> None:
        """Read what may be kept. Raises BodyTooLarge, RequestTimedOut, ClientGone."""
        if self._length is not None and self._length > self._limit:
            raise BodyTooLarge(f"the body has {self._length} bytes, more than {self._limit}")
        if self._length is not None and self._length > self._keep:
            return
        parts: list[bytes] = []
        while not self._ended.is_set() and self._size <= self._keep:
            parts.append(await self._next())
        self._kept = b"".join(parts)

    def content(self) -> bytes | AsyncIterator[bytes]:
        """What is sent: the bytes, or a stream that is good for one sending."""
        if self._ended.is_set() and not self._streamed:
            return self._kept
        self._streamed = True
        return _Rest(self)

    async def hung_up(self) -> None:
        """Return when the caller is gone; a body that still streams notices by itself."""
        await self._ended.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def take(self) -> bytes | None:
        """The next bytes of the stream, None at its end."""
        if self._kept:
            kept, self._kept = self._kept, b""
            return kept
        while not self._ended.is_set():
            try:
                chunk = await self._next()
            except (ClientGone, BodyTooLarge, RequestTimedOut) as error:
                self.failure = error
                raise
            if chunk:
                return chunk
        return None

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        self._size += len(chunk)
        if self._size > self._limit:
            raise BodyTooLarge(f"the body has more than {self._limit} bytes")
        if not message.get("more_body", False):
            self._ended.set()
        return chunk


class _Rest:
    """The stream of a body; a plain iterator, because an abandoned generator would have to be finalised."""

    def __init__(self, body: Body) -> None:
        self._body = body

    def __aiter__(self) -> _Rest:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._body.take()
        if chunk is None:
            raise StopAsyncIteration
        return chunk
