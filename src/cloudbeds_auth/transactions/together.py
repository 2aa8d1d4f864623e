"""Reads by id that come at one moment, in one transaction: a herd of callers costs the database a few of them.

A server may be milliseconds away, and a transaction is several round trips. While `AT_ONCE` reads run, those that are
asked for wait and share the next one. So a herd never takes the connection that the commit of a pair needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from typing import Generic, TypeVar

T = TypeVar("T")

AT_ONCE = 3  # transactions of one kind of read
MOST = 200  # ids in one of them


class Together(Generic[T]):
    """Reads by id for many callers; `read` leaves out what it does not find."""

    def __init__(self, read: Callable[[Sequence[str]], Awaitable[Mapping[str, T]]]) -> None:
        self._read = read
        self._waiting: dict[str, asyncio.Future[T | None]] = {}  # of which the read has not begun
        self._reading: set[asyncio.Task[None]] = set()  # that take what waits before they end

    async def ask(self, one: str) -> T | None:
        """What a read that begins now or later finds under this id, None for nothing; raises what `read` raises."""
        if not one.isprintable():
            return None  # no row has such an id, and PostgreSQL would refuse it, and the others with it
        found = self._waiting.get(one)
        if found is None:
            found = self._waiting[one] = asyncio.get_running_loop().create_future()
            if len(self._reading) < AT_ONCE:
                task = asyncio.create_task(self._read_all(), name="read together")
                self._reading.add(task)
                task.add_done_callback(self._reading.discard)  # of one that was cancelled
        return await asyncio.shield(found)

    async def _read_all(self) -> None:
        while self._waiting:
            ids = list(self._waiting)[:MOST]
            await self._read_some({one: self._waiting.pop(one) for one in ids})
        # In the same step as the look at what waits: whoever comes before the callback would wait for nobody.
        self._reading.discard(asyncio.current_task())

    async def _read_some(self, asked: Mapping[str, asyncio.Future[T | None]]) -> None:
        try:
            found = await self._read(list(asked))
        except Exception as error:  # noqa: BLE001 - raised where it is asked for, one for each
            for answer in asked.values():
                answer.set_exception(copy(error))
                answer.exception()  # retrieved: every caller may have been cancelled
        else:
            for one, answer in asked.items():
                answer.set_result(found.get(one))
