"""Migrations on PostgreSQL: how long one may take, and how a process that starts meanwhile waits for it."""

from __future__ import annotations

import logging
from typing import Final

from cloudbeds_auth.database import schema
from cloudbeds_auth.transactions.statements import Body, Instant, Statement, Transaction, query

log: Final = logging.getLogger(__name__)

BULK_WITHIN = 3600.0  # seconds for work on every row, and for each of its statements
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"
FREE = f"SELECT pg_try_advisory_xact_lock(hashtextextended('{schema.WORK}', 0)) AS free"


def alone(step: Body[None], now: Instant) -> Transaction[None]:
    """Run a migration, after waiting for one of another process. That wait holds nothing that a call needs. Locks
    that the migration itself takes are waited for no longer than usual, because calls would queue behind it.
    """
    (free,) = yield Statement("free_to_migrate", FREE, {})
    if not free["free"]:
        log.warning("another process brings the database's schema up to date: waiting until it is done")
        yield Statement("wait_long", f"SET LOCAL lock_timeout = '{BULK_WITHIN:.0f}s'", {})
        yield from query("one_at_a_time", work=schema.WORK)
        yield Statement("wait_no_longer", LOCK_TIMEOUT, {})
    yield from step(now)
