"""Virtual time: an event loop that jumps to the next timer as soon as nothing else can run.

Every sleep and every `asyncio.timeout` of a test passes at once, in order, and the same way each time. What would run
on a thread (a transaction of SQLite) runs in place. For real sockets use a real loop.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

from cloudbeds_auth.transactions.statements import Instant

BEGAN = 1_000.0  # steady seconds
WALL = 1_800_000_000.0  # unix seconds at BEGAN


class Stuck(RuntimeError):
    """Everything waits and no timer is left: the test would hang for ever."""


class _Selector(selectors.DefaultSelector):
    """Never blocks: waiting moves the loop's time."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if found or timeout == 0:
            return found
        if timeout is None:
            raise Stuck("nothing is running and no timer is set")
        self.loop.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is `now`, moved by whoever would otherwise wait."""

    def __init__(self) -> None:
        self.now = BEGAN
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)
        self._clock_resolution = 1e-6  # a year from the beginning, less would not move a float

    def time(self) -> float:
        """Virtual seconds."""
        return self.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Run it in place, and hand the outcome over in a later turn of the loop, as a thread would."""
        future = self.create_future()
        try:
            found = func(*args)
        except Exception as error:  # noqa: BLE001 - handed over, as a thread does
            self.call_soon(self._hand_over, future.set_exception, future, error)
        else:
            self.call_soon(self._hand_over, future.set_result, future, found)
        return future

    @staticmethod
    def _hand_over(give: Callable[[Any], None], future: asyncio.Future[Any], outcome: object) -> None:
        if not future.cancelled():
            give(outcome)


class VirtualClock:
    """ports.Clock of the running loop, virtual or not; `jump` sets the wall clock ahead or back.

    `behind`: by how much the database's own clock is, after a failover to a host whose clock lags.
    """

    def __init__(self) -> None:
        self.jump = 0.0
        self.behind = 0.0
        self.boot = "boot-1"

    def wall(self) -> float:
        return WALL + self.steady() - BEGAN + self.jump

    def steady(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def instant(self) -> Instant:
        """The store's clock."""
        return Instant(self.wall() - self.behind, self.steady() - self.behind, self.boot, self.boot)


async def settle(turns: int = 60) -> None:
    """Let everything run that can without time passing."""
    for _ in range(turns):
        await asyncio.sleep(0)
