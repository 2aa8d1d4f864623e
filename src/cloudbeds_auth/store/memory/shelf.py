"""What every part of the memory store stands on: its tables, and how a row is found, locked, ended and told of."""

from __future__ import annotations

from collections.abc import Callable

from cloudbeds_auth.core.lifecycle import Event as Happening
from cloudbeds_auth.core.nouns import Event, Role, moment
from cloudbeds_auth.errors import StoreReadOnly
from cloudbeds_auth.store.memory.rows import of_another_clock
from cloudbeds_auth.store.memory.tables import ConnectionRow, GrantRow, Tables
from cloudbeds_auth.store.sql.transactions import Instant


class Shelf:
    """What every part of the store stands on.

    `is_dead(owner, clock_id)` says whether the process behind a lease is certainly gone.
    """

    def __init__(
        self,
        instant: Callable[[], Instant],
        is_dead: Callable[[str, str], bool] = lambda owner, clock_id: False,
        *,
        tables: Tables | None = None,
        read_only: bool = False,
    ) -> None:
        self._tables = Tables() if tables is None else tables
        self._instant = instant
        self._is_dead = is_dead
        self._read_only = read_only

    @property
    def read_only(self) -> bool:
        """Whether every write raises StoreReadOnly, as for a copy of another installation's database."""
        return self._read_only

    def _write(self) -> Instant:
        """The moment of a transaction that writes. What can raise comes before the first change: nothing is undone."""
        if self._read_only:
            raise StoreReadOnly
        return self._instant()

    def _locked(self, now: Instant, grant_id: str) -> GrantRow | None:
        """The row for writing, its steady moments brought to this clock; a pending intent stays pending."""
        row = self._tables.grants.get(grant_id)
        if row is not None and of_another_clock(row, now):
            row.clock_id = now.clock_id
            row.lease_owner = row.lease_until = row.not_before = None
            row.refusals, row.first_refused, row.first_reason = 0, None, None
            row.intent_at = None if row.intent is None else now.steady
        return row

    def _of_connection(self, connection_id: str) -> list[GrantRow]:
        """Its grants, oldest first."""
        return [row for row in self._tables.grants.values() if row.connection_id == connection_id]

    def _waiting(self, connection_id: str) -> GrantRow | None:
        """Its newest candidate."""
        candidates = [row for row in self._of_connection(connection_id) if row.role is Role.CANDIDATE]
        return candidates[-1] if candidates else None

    def _current(self, connection: ConnectionRow) -> GrantRow | None:
        """The grant that speaks for a connection now: the active one, else the newest candidate (or what waits to be
        claimed), else a former one.
        """
        pointed = self._tables.grants.get(connection.active_grant or "")
        if pointed is not None and pointed.role is not Role.DISCONNECTED:
            return pointed
        waiting = [row for row in self._of_connection(connection.id) if row.role in {Role.CANDIDATE, Role.PARKED}]
        return waiting[-1] if waiting else pointed

    def _covering_now(self, property_id: str) -> list[str]:
        """The connections that cover a property now."""
        homes: dict[str, None] = {}
        for row in self._tables.grants.values():
            pointed = self._tables.grants.get(self._tables.connections[row.connection_id].active_grant or "")
            lasts = pointed is not None and pointed.role is not Role.DISCONNECTED
            speaks = row.role is Role.ACTIVE or (row.role is Role.CANDIDATE and not lasts)
            if speaks and property_id in row.property_ids:
                homes[row.connection_id] = None
        return list(homes)

    def _spoken_for(self, connection: ConnectionRow) -> tuple[str, ...]:
        """The properties it covers: the grant in use says so; where none was ever proven, the newest. What waits to be
        claimed covers nothing.
        """
        if connection.active_grant is not None:
            return self._tables.grants[connection.active_grant].property_ids
        newest = self._of_connection(connection.id)[-1]
        return () if newest.role is Role.PARKED else newest.property_ids

    def _end(self, now: Instant, row: GrantRow, actor: str, detail: str) -> None:
        """Forget the tokens of one grant."""
        row.end()
        row.ended_at = now.wall
        self._tell(now, row, Happening.DISCONNECTED, actor=actor, detail=detail)

    def _tell(
        self,
        now: Instant,
        row: GrantRow,
        kind: Happening | str,
        *,
        generation: int | None = None,
        actor: str = "vault",
        **data: object,
    ) -> None:
        """One line of history, of the row's generation unless another is named."""
        lines = self._tables.events.setdefault(row.connection_id, [])
        of = row.generation if generation is None else generation
        sequence = lines[-1].sequence + 1 if lines else 1
        lines.append(Event(sequence, moment(now.wall), str(kind), actor, row.id, of, data))
