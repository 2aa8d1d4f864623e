"""Whose properties are asked for anew, and what the answer changes."""

from __future__ import annotations

from collections.abc import Sequence

from cloudbeds_auth.core.groups import EVERY, FIRST, Relisted, relist
from cloudbeds_auth.core.nouns import Role
from cloudbeds_auth.core.upkeep import DAY, spread
from cloudbeds_auth.ports.groups import PROPERTIES_CHANGED, PROPERTY_ELSEWHERE
from cloudbeds_auth.store.memory.shelf import Shelf
from cloudbeds_auth.store.memory.tables import GrantRow
from cloudbeds_auth.store.sql.transactions import Instant


class Groups(Shelf):
    """`ports.groups.GroupStore`."""

    async def claim_listings(self, limit: int, hold: float) -> Sequence[str]:
        """See ports.groups."""
        wall = self._write().wall
        # Further ahead than anything is ever written: the wall clock was set back since.
        for row in self._by_listing()[::-1][:limit]:
            if _list_at(row) > wall + EVERY + DAY:
                row.list_at = wall
        due = [row for row in self._by_listing() if _list_at(row) <= wall][:limit]
        for row in due:
            row.list_at = wall + hold
        return sorted(row.connection_id for row in due)

    async def relist(self, grant_id: str, named: tuple[str, ...]) -> Relisted | None:
        """See ports.groups."""
        now = self._write()
        row = self._locked(now, grant_id)
        if row is None or row.role is not Role.ACTIVE:
            return None
        set_listing(row, now, learnt=True)
        if not named:
            return Relisted(row.property_ids)
        names = tuple(dict.fromkeys(named))
        taken = {one: others[0] for one in names if (others := self._others(row, one))}
        change = relist(row.property_ids, names, taken)
        news = tuple(one for one in change.elsewhere if one not in row.named_elsewhere)
        row.property_ids, row.named_elsewhere = change.property_ids, change.elsewhere
        if change.added or change.dropped:
            self._tell(now, row, PROPERTIES_CHANGED, added=list(change.added), dropped=list(change.dropped))
        if news:
            self._tell(now, row, PROPERTY_ELSEWHERE, properties={one: taken[one] for one in news})
        return Relisted(change.property_ids, change.added, change.dropped, news)

    def _others(self, row: GrantRow, property_id: str) -> list[str]:
        """The connections that cover a property, but for this grant's own."""
        return sorted(home for home in self._covering_now(property_id) if home != row.connection_id)

    def _by_listing(self) -> list[GrantRow]:
        rows = self._tables.grants.values()
        asked = [one for one in rows if one.list_at is not None and one.role is Role.ACTIVE and one.reauth is None]
        return sorted(asked, key=_list_at)


def set_listing(row: GrantRow, now: Instant, *, learnt: bool) -> None:
    """Connected a moment ago: asked about soon, unless that was done just now."""
    row.list_at = now.wall + (spread(EVERY, row.id) if learnt else FIRST)


def _list_at(row: GrantRow) -> float:
    assert row.list_at is not None  # noqa: S101 - only rows that are asked about some time
    return row.list_at
