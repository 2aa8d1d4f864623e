"""Looking and leaving: lists, histories, disconnect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from cloudbeds_auth.core.lifecycle import State
from cloudbeds_auth.core.nouns import Connection, Grant, Role
from cloudbeds_auth.core.nouns import Event as Line
from cloudbeds_auth.ports.connections import Page
from cloudbeds_auth.store.memory.announcing import Announcing
from cloudbeds_auth.store.memory.rows import connection_of, grant_of


class Connections(Announcing):
    """`ports.connections.ConnectionStore`."""

    async def resolve(self, connection_or_property: str) -> Sequence[str]:
        """See ports.connections."""
        asked, connections = connection_or_property, self._tables.connections
        if asked.startswith("con_"):
            return [asked] if asked in connections else []
        return self._covering_now(asked)

    async def current_grant(self, connection_id: str) -> Grant | None:
        """See ports.connections."""
        connection = self._tables.connections.get(connection_id)
        row = None if connection is None else self._current(connection)
        return None if row is None else grant_of(row, self._instant())

    async def connection(self, connection_id: str) -> Connection | None:
        """See ports.connections."""
        connection = self._tables.connections.get(connection_id)
        return None if connection is None else connection_of(connection, self._current(connection), self._instant())

    async def connections(
        self,
        *,
        states: Sequence[State] | None = None,
        reference: str | None = None,
        property_id: str | None = None,
        app: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page:
        """See ports.connections."""
        now, tables = self._instant(), self._tables.connections
        newest_first = sorted((name for name in tables if cursor is None or name < cursor), reverse=True)
        seen = (connection_of(tables[name], self._current(tables[name]), now) for name in newest_first)
        found = [
            one
            for one in seen
            if (reference is None or one.reference == reference)
            and (app is None or one.app == app)
            and (property_id is None or property_id in one.property_ids)
            and (states is None or one.state in states)
        ]
        page = tuple(found[:limit])
        return Page(page, page[-1].id if len(found) > limit else None)

    async def count_states(self) -> Mapping[State, int]:
        """See ports.connections."""
        now = self._instant()
        proven = [one for one in self._tables.connections.values() if one.active_grant is not None]
        return Counter(connection_of(one, self._current(one), now).state for one in proven)

    async def events(self, connection_id: str, *, cursor: int | None = None, limit: int = 100) -> Sequence[Line]:
        """See ports.connections."""
        lines = self._tables.events.get(connection_id, [])
        before = lines if cursor is None else [line for line in lines if line.sequence < cursor]
        return before[: -limit - 1 : -1]

    async def disconnect(self, connection_id: str, *, actor: str, detail: str = "", only: str | None = None) -> bool:
        """See ports.store. The epoch grows, so an attempt that still runs finds its fence moved."""
        now = self._write()
        connection = self._tables.connections.get(connection_id)
        if connection is None:
            return False
        grants = self._of_connection(connection_id)
        living = {row.id for row in grants if row.role in {Role.ACTIVE, Role.CANDIDATE}}
        if only is not None and living != {only}:
            return False
        stood = self._standing(connection)
        for row in grants:
            if row.role is Role.DISCONNECTED:
                continue
            self._end(now, row, actor, detail)
        self._announce(now, connection_id, stood)
        return True
