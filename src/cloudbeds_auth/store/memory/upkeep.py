"""What is due, who does it, and whose turn it is at the vendor."""

from __future__ import annotations

from collections.abc import Sequence

from cloudbeds_auth.core.budget import Rate, Turn, closed, reserve
from cloudbeds_auth.core.hints import POLL
from cloudbeds_auth.core.nouns import Role
from cloudbeds_auth.core.upkeep import DAY, FURTHEST, HORIZON
from cloudbeds_auth.store.memory.shelf import Shelf
from cloudbeds_auth.store.memory.tables import GrantRow
from cloudbeds_auth.store.sql.transactions import Instant


class Upkeep(Shelf):
    """`ports.upkeep.UpkeepStore`."""

    async def reserve_turn(self, client_id: str, rate: Rate, patience: float) -> Turn:
        """See ports.upkeep."""
        now = self._write()
        turn = reserve(self._arrival(client_id, now), now.steady, rate.interval, patience)
        if turn.taken:
            self._tables.budgets[client_id] = (turn.arrival, now.clock_id)
        return turn

    async def pause_turns(self, client_id: str, seconds: float) -> None:
        """See ports.upkeep."""
        now = self._write()
        arrival = closed(self._arrival(client_id, now), now.steady, seconds)
        self._tables.budgets[client_id] = (arrival, now.clock_id)

    async def claim_due(self, limit: int, hold: float) -> Sequence[str]:
        """See ports.upkeep."""
        wall = self._write().wall
        # Further ahead than anything is ever written: the wall clock was set back since.
        for row in self._by_due()[::-1][:limit]:
            if _due_at(row) > wall + HORIZON:
                row.due_at = wall
        due = [row for row in self._by_due() if _due_at(row) <= wall][:limit]
        for row in due:
            row.due_at = wall + hold
        return [row.id for row in sorted(due, key=lambda row: (row.expires_at, row.id))]

    async def claim_polls(self, limit: int, every: float) -> Sequence[str]:
        """See ports.upkeep."""
        wall = self._write().wall
        asked = [(row.poll_at, row.id, row) for row in self._tables.grants.values() if row.poll_at is not None]
        asked = [one for one in asked if one[2].role is Role.ACTIVE and one[2].reauth is None]
        due = sorted(one for one in asked if one[0] <= wall or one[0] > wall + POLL + DAY)[:limit]
        for _, _, row in due:
            row.poll_at = wall + every
        return sorted(row.connection_id for _, _, row in due)

    async def next_due(self) -> float | None:
        """See ports.upkeep."""
        waiting = self._by_due()
        return max(0.0, _due_at(waiting[0]) - self._instant().wall) if waiting else None

    def _arrival(self, client_id: str, now: Instant) -> float:
        arrival, clock_id = self._tables.budgets.get(client_id, (now.steady, now.clock_id))
        return arrival if clock_id == now.clock_id and arrival <= now.steady + FURTHEST else now.steady

    def _by_due(self) -> list[GrantRow]:
        return sorted((row for row in self._tables.grants.values() if row.due_at is not None), key=_due_at)


def _due_at(row: GrantRow) -> float:
    assert row.due_at is not None  # noqa: S101 - only rows that are due some time
    return row.due_at
