"""Seeded bugs of the vendor's rate: turns that are counted in memory instead of in the store."""

from __future__ import annotations

from typing import Any

from tests.simulation.patch import Patch

from cloudbeds_auth.engine import call_budget as call_budget_module
from cloudbeds_auth.engine import rate_limiter as budget_module
from cloudbeds_auth.errors import RateLimited
from cloudbeds_auth.rules.rate_limit import reserve


def each_process_for_itself(patch: Patch) -> None:
    _in_memory(patch, {}, lambda world: world.owner)


def forgotten_at_a_start(patch: Patch) -> None:
    """All processes share the turns, and whoever starts begins anew."""
    arrivals: dict[str, float] = {}
    sound = patch.of(budget_module.Budget, "__init__")

    def begin(self: Any, world: Any) -> None:
        sound(self, world)
        arrivals.clear()

    patch.put(budget_module.Budget, "__init__", begin)
    _in_memory(patch, arrivals, lambda world: "all")


def calls_not_counted(patch: Patch) -> None:
    """What callers send has no turn; tokens and proofs have."""

    async def spend(self: Any, connection_id: str) -> None:
        """At once."""

    patch.put(call_budget_module.CallBudget, "spend", spend)


def _in_memory(patch: Patch, arrivals: dict[str, float], whose: Any) -> None:
    async def spend(self: Any, app: Any, patience: float, line: str = "") -> None:
        world, now = self._world, self._world.clock.steady()
        if world.limit is None:
            return
        turn = reserve(arrivals.get(whose(world), now), now, world.limit.rate.interval, patience)
        arrivals[whose(world)] = turn.arrival
        if not turn.taken:
            raise RateLimited(retry_after=turn.wait)
        await world.clock.sleep(turn.wait)

    patch.put(budget_module.Budget, "spend", spend)
