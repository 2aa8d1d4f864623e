"""Running work: one task for each name, joined by callers that want the same, and waited for before a process ends.

Cancelling a caller cancels no work: it may hold the only living credential (F78, F81).
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
        """Begin work that no caller waits for, unless it is running already; returns whether it was begun."""
        if name in self._running:
            return False
        self._start(name, work)
        return True

    async def join(self, name: str, work: Work[T]) -> T:
        """The result or error of the work of this name: of the running one, else of a new one."""
        task: asyncio.Task[T] | None = self._running.get(name)
        if task is None:
            task = self._start(name, work)
            task.add_done_callback(seen)
        return await asyncio.shield(task)

    async def share(self, name: str, work: Work[T]) -> T:
        """As `join`, but only with callers that ask before the work begins: a later caller may know of something newer,
        and begins anew. Work that has begun is not drained: it only reads, and after the drain it can start no flight.
        """

        async def begun() -> T:
            del self._running[name]
            return await work()

        return await self.join(name, begun)

    async def one_ended(self, at_most: float) -> None:
        """Wait, at most so many seconds, until one of the running tasks has ended."""
        await asyncio.wait(list(self._running.values()), timeout=at_most, return_when=asyncio.FIRST_COMPLETED)

    async def drain(self) -> bool:
        """Wait until nothing runs; returns whether anything did."""
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
        # Not by the loop's task factory: an eager factory begins the work before its name is known here.
        task = self._running[name] = asyncio.Task(work(), loop=asyncio.get_running_loop(), name=name)
        # Not in a `finally` of the task: a task that is cancelled before it begins runs none of its code.
        task.add_done_callback(partial(self._ended, name))
        return task

    def _ended(self, name: str, task: asyncio.Task[Any]) -> None:
        if self._running.get(name) is task:
            del self._running[name]


def seen(task: asyncio.Task[Any]) -> None:
    """Retrieve the task's exception: waiting callers get it raised; if all have left, asyncio reports nothing."""
    if not task.cancelled():
        task.exception()


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` to its end and return its result. A cancellation of the caller takes effect only then; anyio, for
    one, cancels whatever is awaited again and again.
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
    """Do it for all concurrently; returns whether all went well. A failure is given to `failed`, and stops no other."""

    async def safely(one: str) -> bool:
        try:
            await do(one)
        except Exception as error:  # noqa: BLE001 - see above
            failed(one, error)
            return False
        return True

    return all(await asyncio.gather(*map(safely, ids)))


class Drains(Protocol):
    """Something that may still be running when a process ends."""

    async def drain(self) -> bool:
        """Wait until what is running is stored; returns whether there was anything to wait for."""
        ...


async def drained(*parts: Drains) -> None:
    """Drain until one round finds nothing to wait for: while one part ends, another may begin something (F78).

    For example, a move to an API key begins while the last refresh returns, or a refused call leads to a refresh.
    """
    while any([await part.drain() for part in parts]):
        pass
