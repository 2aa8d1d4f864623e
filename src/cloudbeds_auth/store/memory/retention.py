"""What is forgotten: one connection on request, and what is too old."""

from __future__ import annotations

from dataclasses import replace

from cloudbeds_auth.core.nouns import Event, Role
from cloudbeds_auth.ports.grants import CALL_REFUSED
from cloudbeds_auth.ports.retention import FORGOTTEN
from cloudbeds_auth.store.memory.shelf import Shelf


class Retention(Shelf):
    """`ports.retention.RetentionStore`."""

    async def forget(self, connection_id: str, *, actor: str) -> bool:
        """See ports.retention."""
        now = self._write()
        connection = self._tables.connections.get(connection_id)
        if connection is None:
            return False
        current = self._current(connection)
        if current is not None and current.role is not Role.DISCONNECTED:
            return False
        grants = self._of_connection(connection_id)
        for row in grants:
            if row.role is not Role.DISCONNECTED:
                self._end(now, row, actor, FORGOTTEN)
            row.user = None
        lines = self._tables.events.get(connection_id, [])
        lines[:] = [_without_calls(line) for line in lines]
        self._tell(now, grants[-1], FORGOTTEN, actor=actor)
        return True

    async def sweep(self, age: float, limit: int) -> int:
        """See ports.retention."""
        before = self._write().wall - age
        ended = [row for row in self._tables.grants.values() if row.user and row.ended_at and row.ended_at < before]
        people = sorted(ended, key=lambda row: row.ended_at or 0.0)[:limit]
        for row in people:
            row.user = None
        old = [
            (line.at, home, line)
            for home, lines in self._tables.events.items()
            for line in lines
            if line.at.timestamp() < before
        ]
        events = sorted(old, key=lambda one: one[0])[:limit]
        for _, home, line in events:
            self._tables.events[home].remove(line)
        return len(people) + len(events)


def _without_calls(line: Event) -> Event:
    return replace(line, data={}) if line.kind in {"calls", CALL_REFUSED} else line
