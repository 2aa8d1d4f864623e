"""A connection's history: calls are counted in memory and written later, and what is too old is deleted.

Long before they are deleted, counted calls are merged into fewer and coarser lines, a little at a time. Who approved a
grant is deleted some time after the grant has ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.errors import InvalidRequest, StoreReadOnly, StoreUnavailable
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.history import STEPS, Calls, tally
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.schedule import DAY
from cloudbeds_auth.transactions.history import add_calls, forget, note_use, roll_up, sweep, take_over
from cloudbeds_auth.transactions.runner import Database

EVERY = 0.5  # seconds between two reads of the counted calls, at most
SOON = 1.0  # seconds until a generation's first calls are written
LATER = 60.0  # seconds between the lines after that
AT_ONCE = 100  # lines of one transaction; fewer after one that failed
DELETED_AT_ONCE = 500  # lines that one transaction deletes
MERGED_AT_ONCE = 200  # … or merges: some 10 ms of SQLite's one writer
SWEPT_EVERY = 3600.0  # seconds between two ticks when nothing was left over
SWEPT_FOR = 60.0  # seconds of one tick, at most; then it reports how much was deleted, and the next one begins
REST = 3.0  # times a batch's duration until the next one: three quarters of the time are left for everything else

Key = tuple[str, int]  # a grant and its generation


@dataclass(slots=True)
class _Noted:
    """One call: when it was, by both clocks, and whether it was answered 401."""

    key: Key
    wall: float
    steady: float
    line: str
    refused: bool


@dataclass(slots=True)
class _Bucket:
    """The calls of one generation since the last line; `line` is the name under which they are written."""

    line: str
    due: float
    first: float
    last: float = 0.0
    count: int = 0
    refused: int = 0
    methods: dict[str, int] = field(default_factory=dict)

    def merge(self, later: _Bucket) -> None:
        """Add what was counted since this bucket was taken out to be written."""
        self.last = later.last
        self.count += later.count
        self.refused += later.refused
        for path, number in later.methods.items():
            tally(self.methods, path, number)


class CallRecorder:
    """Counts calls; `flush` writes what is due: a generation's first call within a second, so that people see it, later
    ones once a minute. A killed process loses the counts of its last minute, and nothing else.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._noted: deque[_Noted] = (
            deque()
        )  # from any thread, without a lock: a signal handler of the thread may close the vault
        self._buckets: dict[Key, _Bucket] = {}
        self._written: dict[str, int] = {}
        self._numbers = count(1)
        self._at_once = AT_ONCE

    def note(self, token: AccessToken, method: str, path: str, status: int) -> None:
        """Note a call with this token that was answered with this HTTP status. May be called from any thread."""
        clock = self._world.clock
        key = token.grant_id, token.generation
        self._noted.append(_Noted(key, clock.wall(), clock.steady(), f"{method} {path}", status == 401))

    def _count(self) -> None:
        """Put what was noted into its buckets; on the vault's loop only."""
        while self._noted:
            call = self._noted.popleft()
            bucket = self._buckets.get(call.key) or self._opened(call)
            bucket.last = call.wall
            bucket.count += 1
            bucket.refused += call.refused
            tally(bucket.methods, call.line, 1)

    def _opened(self, call: _Noted) -> _Bucket:
        grant_id, generation = call.key
        due = call.steady + (LATER if self._written.get(grant_id) == generation else SOON)
        bucket = self._buckets[call.key] = _Bucket(f"{self._world.owner}/{next(self._numbers)}", due, call.wall)
        return bucket

    async def tick(self) -> float:
        """Write the lines that are due; seconds until the next tick."""
        await self.flush()
        return EVERY

    async def flush(self, *, everything: bool = False) -> None:
        """Write the lines that are due, a batch at a time; what the store does not accept now is kept for next time.

        After a failure batches are half as large, until a slow database can do one.
        """
        now = self._world.clock.steady()
        self._count()
        due = [key for key, bucket in self._buckets.items() if everything or bucket.due <= now]
        while due:
            batch, due = due[: self._at_once], due[self._at_once :]
            if not await self._write(batch):
                self._at_once = max(1, len(batch) // 2)
                return
            self._at_once = min(2 * self._at_once, AT_ONCE)

    async def _write(self, keys: Sequence[Key]) -> bool:
        """False: the database cannot do it now. A copy of another installation's database keeps no history."""
        taken = {key: self._buckets.pop(key) for key in keys if key in self._buckets}
        try:
            await record_calls(self._world.db, [_line(key, bucket) for key, bucket in taken.items()])
        except StoreReadOnly:
            return True
        except StoreUnavailable:
            self._put_back(taken)
            return False
        except BaseException:  # cancelled, or not a database's failure
            self._put_back(taken)
            raise
        self._written.update(taken.keys())
        return True

    def _put_back(self, taken: dict[Key, _Bucket]) -> None:
        """Keep them to be written again under the same names: lines written after all are replaced, not added."""
        for key, bucket in taken.items():
            if key in self._buckets:
                bucket.merge(self._buckets[key])
            self._buckets[key] = bucket


async def record_calls(db: Database, counted: Sequence[Calls]) -> None:
    """Add lines of counted calls to the history; those of a grant that is gone are dropped.

    More than one transaction: first the lines, which lock no row of a grant; then, for some grants whose recorded last
    use is longest ago, the time of last use and when each is due therefore. A grant whose row is locked is left to the
    next time.
    """
    used = await db.write(add_calls(counted))
    for grant_id, at in used.items():
        await db.write(note_use(grant_id, at))


def _line(key: Key, bucket: _Bucket) -> Calls:
    return Calls(*key, bucket.first, bucket.last, bucket.count, bucket.refused, bucket.methods, bucket.line)


class Retention:
    """Deletes what is older than `days`, and forgets a connection on request."""

    def __init__(self, world: World, days: int) -> None:
        self._world = world
        self._days = days

    async def tick(self) -> float:
        """Delete what is due, and merge counted calls, a batch at a time; seconds until the next tick.

        Raises StoreUnavailable.
        """
        clock, swept, more = self._world.clock, 0, True
        until = clock.steady() + SWEPT_FOR
        try:
            while more and clock.steady() < until:
                begun = clock.steady()
                deleted = await self._world.db.write(sweep(self._days * DAY, DELETED_AT_ONCE))
                swept += deleted
                more = await roll_up_calls(self._world.db, MERGED_AT_ONCE) or deleted >= DELETED_AT_ONCE
                await clock.sleep(REST * (clock.steady() - begun))
        finally:
            if swept:
                self._world.observer.happened(Happening.SWEPT, rows=swept)
        return 0.0 if more else SWEPT_EVERY

    async def forget(self, connection_id: str) -> None:
        """Delete who approved, every token and what the calls were, of a connection that has ended or was set aside.

        Raises UnknownConnection; InvalidRequest if it is still connected, or waits for a day.
        """
        if await self._world.db.write(forget(connection_id)):
            return
        await self._world.known(connection_id)
        raise InvalidRequest(
            "this hotel is still connected",
            connection_id=connection_id,
            next_step="disconnect it first, then forget it",
        )


async def roll_up_calls(db: Database, limit: int) -> bool:
    """For each step to coarser lines, merge at most `limit` lines of counted calls; whether there may be more."""
    more = [await db.write(take_over(limit))]
    for span, coarser, age in STEPS:
        more.append(await db.write(roll_up(span=span, coarser=coarser, age=age, limit=limit)))
    return any(more)
