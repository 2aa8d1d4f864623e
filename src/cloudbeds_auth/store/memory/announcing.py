"""How a connection stands, and the message that a change of it makes (`core.notices`)."""

from __future__ import annotations

from cloudbeds_auth.core.notices import NOTICES, SHOWN, UNTRIED, Standing, message_body, message_id, standing
from cloudbeds_auth.store.memory.rows import connection_of
from cloudbeds_auth.store.memory.shelf import Shelf
from cloudbeds_auth.store.memory.tables import ConnectionRow, MessageRow
from cloudbeds_auth.store.sql.transactions import Instant


class Announcing(Shelf):
    """What every part of the store stands on that changes how a connection stands."""

    def _standing(self, connection: ConnectionRow) -> Standing:
        """How it stands now, by the grant that its pointer is at."""
        row = self._tables.grants.get(connection.active_grant or "")
        return Standing.AWAY if row is None else standing(row.role, row.reauth)

    def _announce(self, now: Instant, connection_id: str, before: Standing) -> None:
        """Write the message that the change since `before` makes, if it makes one; the last step of a transaction."""
        connection = self._tables.connections[connection_id]
        notice = NOTICES.get((before, self._standing(connection)))
        if notice is None:
            return
        self._sweep(now)
        sequence, at = len(self._tables.events[connection_id]), now.wall
        body = message_body(notice, at, sequence, connection_of(connection, self._current(connection), now))
        name = message_id(notice, connection_id, sequence, at)
        self._tables.outbox.setdefault(name, MessageRow(name, connection_id, sequence, notice.value, at, body, at))

    def _sweep(self, now: Instant) -> None:
        """Forget messages that nobody has tried to send, or that were given up, long ago."""
        for row in list(self._tables.outbox.values()):
            if row.at < now.wall - (SHOWN if row.attempts else UNTRIED):
                del self._tables.outbox[row.id]
