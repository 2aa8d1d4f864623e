"""A hotel that comes back: its approval goes where its connection is, once somebody named it."""

from __future__ import annotations

from cloudbeds_auth.core.lifecycle import NEWER_APPROVAL
from cloudbeds_auth.core.nouns import Role
from cloudbeds_auth.core.upkeep import PARKED
from cloudbeds_auth.store.memory.authorizations import Authorizations
from cloudbeds_auth.store.memory.rows import left
from cloudbeds_auth.store.memory.tables import ConnectionRow, GrantRow
from cloudbeds_auth.store.sql.arrivals import Leaving
from cloudbeds_auth.store.sql.transactions import Instant


class Returns(Authorizations):
    """`ports.returning.ReturnStore`."""

    async def bring_home(self, grant_id: str, generation: int, named: tuple[str, ...], new_grant_id: str) -> str | None:
        """See ports.returning."""
        now = self._write()
        row = self._locked(now, grant_id)
        if row is None or row.role is not Role.CANDIDATE or row.generation != generation:
            return None
        connection, grants = self._tables.connections[row.connection_id], self._of_connection(row.connection_id)
        if grants[-1] is not row and grants[-1].role is Role.CANDIDATE:
            return None
        if connection.connected_at is not None:
            return connection.id
        home = None if grants[-1] is not row else self._covering(row.app, named)
        if home is None or home == connection.id:
            row.property_ids = tuple(dict.fromkeys((*row.property_ids, *named)))
            return connection.id
        if row.intent is not None or left(row.lease_until, row.clock_id, now) > 0:
            return None
        self._leave(now, grants, connection, self._tables.connections[home], named, new_grant_id)
        return home

    async def outcome(self, authorization_id: str) -> str | None:
        """See ports.returning."""
        begun = self._tables.authorizations.get(authorization_id)
        return None if begun is None else begun.outcome

    async def covered(self, connection_id: str) -> tuple[str, ...]:
        """See ports.returning."""
        connection = self._tables.connections.get(connection_id)
        pointed = None if connection is None else self._tables.grants.get(connection.active_grant or "")
        return () if pointed is None else pointed.property_ids

    def _leave(
        self,
        now: Instant,
        grants: list[GrantRow],
        own: ConnectionRow,
        home: ConnectionRow,
        named: tuple[str, ...],
        new_grant_id: str,
    ) -> None:
        """The newest goes; what was approved before it there is of no use any more."""
        for older in grants[:-1]:
            if older.role is Role.CANDIDATE:
                self._supersede(now, older, NEWER_APPROVAL)
        leaving = Leaving(f"moved to {home.id}", "hotel", now.wall + PARKED)
        self._move_tokens(now, grants[-1], named, home.id, new_grant_id, leaving)
        if own.reference is not None:
            home.reference = own.reference
        for begun in self._tables.authorizations.values():
            if begun.outcome == own.id:
                begun.outcome = home.id
