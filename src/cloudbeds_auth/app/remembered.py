"""What strangers may ask as often as they like is asked of the database at most once a second (A79)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from cloudbeds_auth.ports import Clock

FOR = 1.0  # seconds for which the answer of the database is remembered
T = TypeVar("T")


class Remembered(Generic[T]):
    """What `ask` returns or raises, for all that ask while it runs and for a second after it ended."""

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, T]], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._asked: asyncio.Task[T] | None = None
        self._until = 0.0

    async def __call__(self) -> T:
        """Ask, or remember. Being cancelled does not cancel it for the others."""
        if self._asked is None or (self._asked.done() and self._clock.steady() >= self._until):
            self._asked = asyncio.create_task(self._ask())
            self._asked.add_done_callback(self._answered)
        return await asyncio.shield(self._asked)

    def _answered(self, asked: asyncio.Task[T]) -> None:
        self._until = self._clock.steady() + FOR
        if not asked.cancelled():
            asked.exception()  # retrieved, also where all that asked are gone
