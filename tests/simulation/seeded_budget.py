"""Seeded bugs of the vendor's rate: turns that are counted in memory instead of in the store."""

from __future__ import annotations

from typing import Any

from tests.simulation.patch import Patch

from cloudbeds_auth.engine.access import Access
from cloudbeds_auth.engine.rate_limiter import RateLimiter
from cloudbeds_auth.errors import RateLimited
from cloudbeds_auth.rules.rate_limit import OURS, TurnLine, Turns


def each_process_for_itself(patch: Patch) -> None:
    _in_memory(patch, {}, lambda limiter: limiter)


def forgotten_at_a_start(patch: Patch) -> None:
    """All processes share the turns, and each that starts begins anew."""
    stored: dict[object, Turns] = {}
    sound = patch.of(RateLimiter, "__init__")

    def begin(self: Any, *parts: Any, **named: Any) -> None:
        sound(self, *parts, **named)
        stored.clear()

    patch.put(RateLimiter, "__init__", begin)
    _in_memory(patch, stored, lambda limiter: "all")


def calls_not_counted(patch: Patch) -> None:
    """What callers send has no turn; tokens and proofs have."""

    async def turn(self: Any, connection_id: str, caller: str = "") -> None:
        """At once."""

    patch.put(Access, "turn", turn)


def _in_memory(patch: Patch, stored: dict[object, Turns], whose: Any) -> None:
    async def spend(self: Any, patience: float, line: TurnLine = OURS) -> None:
        now = self._clock.steady()
        if self._limit is None:
            return
        turns = stored.get(whose(self), Turns())
        moment = turns.next(now, self._rate)
        if moment - now > patience:
            raise RateLimited(retry_after=moment - now)
        stored[whose(self)] = turns.give(moment, now, self._rate)
        await self._clock.sleep(moment - now)

    patch.put(RateLimiter, "spend", spend)
