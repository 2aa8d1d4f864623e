"""A step of the schema on PostgreSQL: how long it may take, and what another process that starts does meanwhile."""

from __future__ import annotations

import logging
from typing import Final

from cloudbeds_auth.database import schema
from cloudbeds_auth.transactions.statements import Body, Instant, Statement, Transaction, query

log: Final = logging.getLogger(__name__)

BULK_WITHIN = 3600.0  # seconds for what may read or write every row, and for each statement of it
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"
FREE = f"SELECT pg_try_advisory_xact_lock(hashtextextended('{schema.WORK}', 0)) AS free"


def alone(step: Body[None], now: Instant) -> Transaction[None]:
    """Another process may be at a step of the schema: it is waited for, while nothing is held that a call needs. What
    the step itself locks is waited for no longer than anywhere else: calls would wait behind it.
    """
    (free,) = yield Statement("free_to_migrate", FREE, {})
    if not free["free"]:
        log.warning("another process brings the database's schema up to date: waiting until it is done")
        yield Statement("wait_long", f"SET LOCAL lock_timeout = '{BULK_WITHIN:.0f}s'", {})
        yield from query("one_at_a_time", work=schema.WORK)
        yield Statement("wait_no_longer", LOCK_TIMEOUT, {})
    yield from step(now)
