"""The audit: reads what was done, and records what leaves no other trace in the database.

A change of the database is recorded by its own transaction. Failures caused by strangers are counted, and written once
a minute for a few addresses, so that without a credential no one makes the database write more than that (A79).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.ports import ACTING
from cloudbeds_auth.rules.audit import ENTRY, OTHERS, Acting, AuditAction, AuditEntry
from cloudbeds_auth.rules.inputs import checked_cursor, checked_whole
from cloudbeds_auth.transactions.audit import add_audit, add_failures, read_audit

EVERY = 60.0  # seconds between two writes of failures
MOST_ADDRESSES = 100  # that get an entry of their own in each write
MOST_LISTED = 200


class Audit:
    """Reads entries, and adds those for acts that no transaction of their own records."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._failures: Counter[tuple[str, str]] = Counter()  # by action and address

    async def entries(self, *, cursor: str | None = None, limit: int = 100) -> Sequence[AuditEntry]:
        """Who did what, newest first. `cursor`: the id of the last one of the page before. Raises InvalidRequest."""
        checked_whole("limit", limit, 1, MOST_LISTED)
        return await self._world.db.browse(read_audit(before=checked_cursor(cursor, ENTRY), limit=limit))

    async def record(
        self, action: AuditAction, subject: str | None = None, *, actor: str | None = None, **data: object
    ) -> None:
        """Record an act of the current actor; `actor`: a name to record instead, if no credential gives one.

        Raises StoreUnavailable.
        """
        name, address = ACTING.get()
        await self._world.db.write(add_audit(action, subject, data, Acting(actor or name, address)))

    def fail(self, action: AuditAction) -> None:
        """Count a refused attempt, by the address of the request being served."""
        key = action.value, ACTING.get().address or OTHERS
        if key not in self._failures and len(self._failures) >= MOST_ADDRESSES:
            key = action.value, OTHERS
        self._failures[key] += 1

    async def flush(self) -> None:
        """Write what was counted; a copy of another installation's database writes nothing.

        Raises StoreUnavailable; the counts are kept then.
        """
        failures, self._failures = self._failures, Counter()
        if not failures or self._world.db.read_only:
            return
        try:
            await self._world.db.write(add_failures(failures))
        except StoreUnavailable:
            self._failures += failures
            raise

    async def tick(self) -> float:
        """Write what was counted; returns the seconds until the next write."""
        await self.flush()
        return EVERY
