"""Work in hand: one task for each name, joined by callers that want the same, and waited for before a process ends.

Cancelling a caller cancels no work: what was begun may hold the only living credential (F78, F81).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]


class Tasks:
    """The tasks that run, by name."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[Any]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def __contains__(self, name: str) -> bool:
        return name in self._running

    def begin(self, name: str, work: Work[None]) -> bool:
        """Begin what no caller waits for, unless it runs already; whether it was begun."""
        if name in self._running:
            return False
        self._start(name, work)
        return True

    async def join(self, name: str, work: Work[T]) -> T:
        """What the work of this name returns or raises: that which runs, else a new one."""
        task: asyncio.Task[T] | None = self._running.get(name)
        if task is None:
            task = self._start(name, work)
            task.add_done_callback(seen)
        return await asyncio.shield(task)

    async def share(self, name: str, work: Work[T]) -> T:
        """As `join`, with the callers that ask before it begins: a later one may know of something newer, and begins
        anew. What has begun is not drained: it reads, and after the drain no flight takes off for it.
        """

        async def begun() -> T:
            del self._running[name]
            return await work()

        return await self.join(name, begun)

    async def one_ended(self, at_most: float) -> None:
        """Wait until one of those that run has ended, at most so many seconds."""
        await asyncio.wait(list(self._running.values()), timeout=at_most, return_when=asyncio.FIRST_COMPLETED)

    async def drain(self) -> bool:
        """Wait until nothing runs; whether anything did."""
        waited = bool(self._running)
        while self._running:
            await asyncio.wait(list(self._running.values()))
        return waited

    async def stop(self) -> None:
        """Cancel what runs, and wait until it has ended."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _start(self, name: str, work: Work[T]) -> asyncio.Task[T]:
        # Not by the loop's task factory: an eager one begins the work before its name is known here.
        task = self._running[name] = asyncio.Task(work(), loop=asyncio.get_running_loop(), name=name)
        # Not in a `finally` of the task: one that is cancelled before it began runs no line of its own.
        task.add_done_callback(partial(self._ended, name))
        return task

    def _ended(self, name: str, task: asyncio.Task[Any]) -> None:
        if self._running.get(name) is task:
            del self._running[name]


def seen(task: asyncio.Task[Any]) -> None:
    """Its exception was raised to each caller that still waits; where all have left it is no event of its own."""
    if not task.cancelled():
        task.exception()


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """What it returns or raises. A caller that is cancelled meanwhile is so when it has ended; anyio, for one, cancels
    again whatever is awaited then.
    """
    task = asyncio.Task(work, loop=asyncio.get_running_loop())
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        raise
    return task.result()


async def each(
    ids: Iterable[str], do: Callable[[str], Awaitable[object]], failed: Callable[[str, Exception], None]
) -> bool:
    """Do it for each at once; whether all went well. One that raises is reported by `failed`, and stops no other."""

    async def safely(one: str) -> bool:
        try:
            await do(one)
        except Exception as error:  # noqa: BLE001 - see above
            failed(one, error)
            return False
        return True

    return all(await asyncio.gather(*map(safely, ids)))


class Drains(Protocol):
    """What may be under way when a process ends."""

    async def drain(self) -> bool:
        """Wait until what is under way is stored; whether there was anything to wait for."""
        ...


async def drained(*parts: Drains) -> None:
    """Until one round finds nothing to wait for: while one part ends, another may begin something (F78).

    A hotel is moved to an API key while the last refresh comes back; a refused call that is looked into asks for one.
    """
    while any([await part.drain() for part in parts]):
        pass
