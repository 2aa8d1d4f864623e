"""What is too old is forgotten, a little at a time: history, and who approved what has ended.

Counted calls become fewer and coarser lines long before that.
"""

from __future__ import annotations

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.errors import InvalidRequest, UnknownConnection
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.history import STEPS
from cloudbeds_auth.rules.schedule import DAY
from cloudbeds_auth.transactions.connections import read_connection
from cloudbeds_auth.transactions.history import roll_up, take_over
from cloudbeds_auth.transactions.retention import forget, sweep
from cloudbeds_auth.transactions.runner import Database

AT_ONCE = 500  # lines that one transaction deletes
MERGED_AT_ONCE = 200  # … or merges: some 10 ms of SQLite's one writer
EVERY = 3600.0  # seconds between two ticks when nothing was left over
NEXT = 1.0  # … and when something may be: no burst of deletions


class Retention:
    """Forgets what is older than `days`, and one connection when it is asked for."""

    def __init__(self, world: World, days: int) -> None:
        self._world = world
        self._days = days

    async def tick(self) -> float:
        """Delete at most one batch, and merge one of counted calls; seconds until the next tick.

        Raises StoreUnavailable.
        """
        swept = await self._world.db.write(sweep(self._days * DAY, AT_ONCE))
        if swept:
            self._world.observer.happened(Happening.SWEPT, rows=swept)
        more = await roll_up_calls(self._world.db, MERGED_AT_ONCE)
        return NEXT if more or swept >= AT_ONCE else EVERY

    async def forget(self, connection_id: str, *, actor: str) -> None:
        """Forget who approved, every token and what the calls were, of a connection that has ended.

        Raises UnknownConnection; InvalidRequest when it is still connected.
        """
        if await self._world.db.write(forget(connection_id, actor=actor)):
            return
        if await self._world.db.read(read_connection(connection_id)) is None:
            raise UnknownConnection(connection_id=connection_id)
        raise InvalidRequest(
            "this hotel is still connected",
            connection_id=connection_id,
            next_step="disconnect it first, then forget it",
        )


async def roll_up_calls(db: Database, limit: int) -> bool:
    """Merge at most `limit` lines of counted calls for each step to a coarser one; whether there may be more."""
    more = [await db.write(take_over(limit))]
    for span, coarser, age in STEPS:
        more.append(await db.write(roll_up(span=span, coarser=coarser, age=age, limit=limit)))
    return any(more)
