"""A driver that fails, forgets and reports as a test wants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.transactions.runner import Driver
from cloudbeds_auth.transactions.statements import Body, Instant, Transaction

T = TypeVar("T")


class FailingDriver:
    """A driver over another one that refuses the transactions in which a named statement occurs.

    `refuse(name, times, error)`: rolled back. `forget(name, times)`: committed, and the answer lost (F63).
    `after(name, act)`: once, when such a transaction is done and before anything else. `dark`: everything, reads too.
    `writes_fail`: every write, as on a full disk. `seen` counts the statements by name, `unsynced` those that need not
    be synced.
    """

    wakeups = None

    def __init__(self, inner: Driver) -> None:
        self.inner = inner
        self.dark = False
        self.writes_fail = False
        self.seen: Counter[str] = Counter()
        self.unsynced: Counter[str] = Counter()
        self._refused: dict[str, int] = {}
        self._errors: dict[str, Exception] = {}
        self._forgotten: dict[str, int] = {}
        self._afterwards: dict[str, Callable[[], Awaitable[object]]] = {}

    def refuse(self, name: str, times: int = 1, error: Exception | None = None) -> None:
        self._refused[name] = times
        self._errors[name] = error or StoreUnavailable(f"the test refused {name}")

    def forget(self, name: str, times: int = 1) -> None:
        self._forgotten[name] = times

    def after(self, name: str, act: Callable[[], Awaitable[object]]) -> None:
        self._afterwards[name] = act

    async def read(self, body: Body[T]) -> T:
        if self.dark:
            raise StoreUnavailable("the test took the database away")
        seen: list[str] = []
        result = await self.inner.read(self._watched(body, seen))
        await self._act_after(seen)
        return result

    async def write(self, body: Body[T], *, synced: bool = True) -> T:
        if self.dark or self.writes_fail:
            raise StoreUnavailable("the test took the disk away")
        seen: list[str] = []
        result = await self.inner.write(self._watched(body, seen), synced=synced)
        self.unsynced.update(() if synced else seen)
        if any(_count_down(self._forgotten, name) for name in seen):
            raise StoreUnavailable("the test lost the answer of a commit")
        await self._act_after(seen)
        return result

    async def close(self) -> None:
        await self.inner.close()

    async def _act_after(self, seen: list[str]) -> None:
        for name in seen:
            act = self._afterwards.pop(name, None)
            if act is not None:
                await act()

    def _watched(self, body: Body[T], seen: list[str]) -> Body[T]:
        def watched(now: Instant) -> Transaction[T]:
            running = body(now)
            try:
                statement = next(running)
                while True:
                    seen.append(statement.name)
                    self.seen[statement.name] += 1
                    if _count_down(self._refused, statement.name):
                        raise self._errors[statement.name]
                    statement = running.send((yield statement))
            except StopIteration as done:
                value: T = done.value
                return value

        return watched


def _count_down(counts: dict[str, int], name: str) -> bool:
    if counts.get(name, 0) <= 0:
        return False
    counts[name] -= 1
    return True
