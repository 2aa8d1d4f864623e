"""Which connection is meant, and which grant it has now: reads that a crowd of callers shares."""

from __future__ import annotations

from collections.abc import Sequence

from cloudbeds_auth.rules.model import Grant
from cloudbeds_auth.transactions.connections import read_current_grants, read_ids
from cloudbeds_auth.transactions.runner import Database, seals_checked


async def resolve(db: Database, connection_or_property: str) -> Sequence[str]:
    """The ids of current connections under a connection id or covering a property id."""
    return await db.read_one(read_ids, connection_or_property) or []


async def current_grant(db: Database, connection_id: str) -> Grant | None:
    """The connection's active grant, else its newest candidate, else a disconnected one; None: unknown."""
    found = await db.read_one(read_current_grants, connection_id)
    if found is None:
        return None
    with seals_checked():
        return found()
