"""Webhooks out: a message is written with the change that it tells of (`core.notices`)."""

from __future__ import annotations

from collections.abc import Sequence

from cloudbeds_auth.core.notices import LONGEST_WAIT
from cloudbeds_auth.ports.outbox import Message, Outbox
from cloudbeds_auth.store.memory.announcing import Announcing
from cloudbeds_auth.store.memory.tables import MessageRow


class OutboxShelf(Announcing):
    """`ports.outbox.OutboxStore`."""

    async def claim_messages(self, limit: int, hold: float) -> Sequence[Message]:
        """See ports.outbox."""
        now = self._write()
        self._sweep(now)
        waiting = [row for row in self._tables.outbox.values() if row.due_at is not None]
        due = [row for row in waiting if _due_at(row) <= now.wall or _due_at(row) > now.wall + LONGEST_WAIT]
        claimed = sorted(due, key=lambda row: (_due_at(row), row.at, row.connection_id, row.sequence))[:limit]
        for row in claimed:
            row.due_at = now.wall + hold
        in_order = sorted(claimed, key=lambda row: (row.at, row.connection_id, row.sequence))
        return [Message(row.id, row.connection_id, row.kind, row.body, row.attempts) for row in in_order]

    async def next_message(self) -> float | None:
        """See ports.outbox."""
        now = self._instant()
        moments = [_due_at(row) for row in self._tables.outbox.values() if row.due_at is not None]
        in_sight = [now.wall if at > now.wall + LONGEST_WAIT else at for at in moments]
        return max(0.0, min(in_sight) - now.wall) if in_sight else None

    async def message_delivered(self, message_id: str) -> None:
        """See ports.outbox."""
        self._write()
        self._tables.outbox.pop(message_id, None)

    async def message_failed(self, message_id: str, problem: str, again_in: float | None) -> None:
        """See ports.outbox."""
        now = self._write()
        row = self._tables.outbox.get(message_id)
        if row is not None:
            row.attempts += 1
            row.problem = problem
            row.due_at = None if again_in is None else now.wall + again_in

    async def outbox(self) -> Outbox:
        """See ports.outbox."""
        now, rows = self._instant(), self._tables.outbox.values()
        waiting = [row for row in rows if row.due_at is not None]
        given_up = sorted((row for row in rows if row.due_at is None), key=lambda row: (-row.at, row.id))
        oldest = max((now.wall - row.at for row in waiting), default=0.0)
        return Outbox(len(waiting), max(0.0, oldest), len(given_up), given_up[0].problem if given_up else None)


def _due_at(row: MessageRow) -> float:
    assert row.due_at is not None  # noqa: S101 - only rows that wait
    return row.due_at
