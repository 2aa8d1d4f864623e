"""Runs transactions: `await db.read(read_grant(id))`, `await db.write(commit_pair(…))`; one class, both databases.

Concurrent reads by id share a transaction. A server may be milliseconds away, and a transaction takes several round
trips: while `AT_ONCE` reads run, further ones wait and share the next transaction. So a crowd of readers never takes
the connection that the commit of a pair needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context
from copy import copy
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from cloudbeds_auth.errors import ConfigurationError, StoreReadOnly, StoreUnavailable
from cloudbeds_auth.ports import ACTING, KeyNotAtHand, SealBroken, Sealer, Wakeups
from cloudbeds_auth.rules.audit import Acting
from cloudbeds_auth.rules.authentic import MacKey
from cloudbeds_auth.transactions.authentic import FROM_BEFORE, authenticate, authenticated, begin_anew, read_key, unlock
from cloudbeds_auth.transactions.seals import SEALS, SealBlocks, check_keys, read_needed, read_seals
from cloudbeds_auth.transactions.statements import (
    Body,
    Call,
    Instant,
    IsDead,
    Transaction,
    Tx,
    query,
    query_one,
    transaction,
)

T = TypeVar("T")

UNOPENED = MacKey(b"")  # until the MAC key has been read; nothing is compared with it
GIVE_KEY = (
    "give the missing key, too, behind the first (CLOUDBEDS_AUTH_ENCRYPTION_KEYS, or the key file beside the "
    "database); after `cloudbeds-auth database rekey` the first one is enough"
)
AT_ONCE = 3  # transactions of one kind of read
MOST = 200  # ids in one of them
HISTORY_BEHIND = "history_behind"  # in `meta` of a database that hotels were moved to: how much of their histories came


class Together(Generic[T]):
    """Reads by id for many callers at once; `read` leaves out ids that it does not find."""

    def __init__(self, read: Callable[[Sequence[str]], Awaitable[Mapping[str, T]]]) -> None:
        self._read = read
        self._waiting: dict[str, asyncio.Future[T | None]] = {}  # ids whose read has not begun
        self._reading: set[asyncio.Task[None]] = set()  # each takes the waiting ids before it ends

    async def ask(self, one: str) -> T | None:
        """The result for this id of a read that begins now or later, None if it is not found; raises as `read` does."""
        if not one.isprintable():
            return None  # no row has such an id, and PostgreSQL would refuse it, and with it the whole read
        found = self._waiting.get(one)
        if found is None:
            found = self._waiting[one] = asyncio.get_running_loop().create_future()
            if len(self._reading) < AT_ONCE:
                # It reads for all that wait, so it runs in no caller's context.
                task = asyncio.create_task(self._read_all(), name="read together", context=Context())
                self._reading.add(task)
                task.add_done_callback(self._reading.discard)  # of one that was cancelled
        return await asyncio.shield(found)

    async def _read_all(self) -> None:
        while self._waiting:
            ids = list(self._waiting)[:MOST]
            await self._read_some({one: self._waiting.pop(one) for one in ids})
        # Without an await after the check above: no read would serve a caller that came before the callback ran.
        self._reading.discard(asyncio.current_task())

    async def _read_some(self, asked: Mapping[str, asyncio.Future[T | None]]) -> None:
        try:
            found = await self._read(list(asked))
        except Exception as error:  # noqa: BLE001 - raised in each caller, a copy for each
            for answer in asked.values():
                answer.set_exception(copy(error))
                answer.exception()  # retrieved: every caller may have been cancelled
        else:
            for one, answer in asked.items():
                answer.set_result(found.get(one))


class Driver(Protocol):
    """What a database must be able to do: run a transaction to its end, durably, or not at all.

    Production: `database.sqlite.SqliteDriver`, `database.postgres.PostgresDriver`. Temporary failures are raised as
    StoreUnavailable.
    """

    @property
    def wakeups(self) -> Wakeups | None:
        """How other processes notify this one, if the database can."""
        ...

    async def read(self, body: Body[T]) -> T:
        """Run a transaction that writes nothing, over one consistent view."""
        ...

    async def write(self, body: Body[T], *, synced: bool = True) -> T:
        """Run a transaction; committed and synced when this returns, rolled back when it raises.

        Not `synced`: the commit outlives the process, but a crash of the machine or the server may lose it.
        """
        ...

    async def close(self) -> None:
        """Wait for running transactions, and close."""
        ...


class Browse(Protocol):
    """Runs a transaction that reads much, without delaying those that callers wait for."""

    async def __call__(self, body: Body[T]) -> T:
        """As `Driver.read`."""
        ...


class Database:
    """Runs transactions over a driver; `browse`: the driver's separate way for transactions that read much, if any.

    `read` and `write` raise `errors.StoreUnavailable` if the database cannot do it now; then nothing was written, or
    everything if the answer to the commit was lost.
    """

    def __init__(self, driver: Driver, sealer: Sealer, is_dead: IsDead, browse: Browse | None = None) -> None:
        self._driver = driver
        self._browse = browse or driver.read
        self._sealer = sealer
        self._blocks = SealBlocks(sealer)
        self._is_dead = is_dead
        self._read_only = False
        self._mac_key: MacKey | None = None
        self._together: dict[object, Together[Any]] = {}

    @property
    def mac_key(self) -> MacKey:
        """The key that authenticates the rows, the same in every process. Raises StoreUnavailable before `open`."""
        if self._mac_key is None:
            raise StoreUnavailable("this database has not been opened yet")
        return self._mac_key

    @property
    def read_only(self) -> bool:
        """Whether this is a copy of another installation's database: then every write raises StoreReadOnly."""
        return self._read_only

    @property
    def wakeups(self) -> Wakeups | None:
        """What wakes a caller that waits for another process; None if the database sends no notifications."""
        return self._driver.wakeups

    async def open(
        self, own: Body[bool] | None = None, count: Callable[[], Awaitable[Mapping[str, int]]] | None = None
    ) -> None:
        """Check that the keys open the stored values; raises ConfigurationError before anything is sent (F68, F70).

        `own` decides, in a transaction, whether the database is this installation's own; `count` returns how many
        stored values are sealed with each key, for the error. Rows from before there were MACs are given theirs here,
        in batches; after a kill, the next opening continues.
        """
        missing, self._mac_key, former = await self._write(unlock(), key=UNOPENED)
        if missing:
            raise keys_missing(missing, None if count is None else await count())
        if former:
            await self.authenticate()
        if own is not None:
            self._read_only = not await self._driver.write(own)

    async def open_anew(self) -> None:
        """Open the database and accept every row as it is, under a new MAC key if the stored one does not open.

        Raises ConfigurationError, and changes nothing, if an encryption key is missing.
        """
        missing = await self._write(begin_anew(), key=UNOPENED)
        if missing:
            raise keys_missing(missing, None)
        await self.open()
        await self.authenticate(anew=True)

    async def read(self, call: Call[T]) -> T:
        """Run a transaction that writes nothing, over one consistent view."""
        with seals_checked():
            return await self._driver.read(self._body(call))

    async def browse(self, call: Call[T]) -> T:
        """As `read`, for lists, histories and counts: no transaction that a caller of a token waits for is delayed."""
        with seals_checked():
            return await self._browse(self._body(call))

    async def write(self, call: Call[T], *, synced: bool = True) -> T:
        """Run a transaction; committed and synced when this returns, rolled back when it raises.

        Not `synced`: the commit outlives the process, but a crash of the machine or the server may lose it. For turns
        alone: after a new start of either, a whole window is waited for.
        """
        if self._read_only:
            raise StoreReadOnly
        with seals_checked():
            return await self._write(call, synced=synced)

    async def read_one(self, call: Callable[[Sequence[str]], Call[Mapping[str, T]]], wanted: str) -> T | None:
        """The result for `wanted` of a transaction that reads by ids; many callers share a few transactions."""
        together = self._together.get(call)
        if together is None:
            together = self._together[call] = Together(lambda ids: self.read(call(ids)))
        found: T | None = await together.ask(wanted)
        return found

    async def authenticate(self, *, anew: bool = False) -> None:
        """Give its MAC to every row that has none, or to each row `anew`; from then on, refuse rows without one."""
        for table in FROM_BEFORE:
            after: str | None = ""
            while after is not None:
                after = await self._write(authenticate(table, after, anew=anew))
        await self._write(authenticated())

    async def needed_keys(self) -> Collection[str]:
        """The ids of the encryption keys that stored values may be sealed with, missing ones included."""
        return await self._driver.read(self._body(read_needed(), UNOPENED))

    async def check(self) -> None:
        """Write once, and check the keys; raises StoreUnavailable."""
        await self.write(_checked())
        missing = await self._write(check_keys())
        if missing:
            error = keys_missing(missing, None)
            raise StoreUnavailable(error.detail, next_step=error.next_step)

    async def report(self) -> Mapping[str, str]:
        """Facts about the database and the key that seals; no secrets.

        `key_id`, how many values each key has sealed (`seals:ID`), the longest token list and its connection; for
        SQLite `sqlite` (its version), `file`, `journal_mode`, `synchronous` as in effect on this connection; for
        PostgreSQL `postgresql` (its version), `database`, `fsync`, `full_page_writes`, `synchronous_commit`, `role`
        (primary or standby), `asynchronous_standbys` (how many). `history_behind`: how much of their histories came
        with hotels that were moved here; absent if all did.
        """
        return {**await self.browse(_report()), "key_id": self._sealer.key_id}

    async def close(self) -> None:
        """Wait for running transactions, and close."""
        await self._driver.close()

    async def _write(self, call: Call[T], *, synced: bool = True, key: MacKey | None = None) -> T:
        result, block = await self._driver.write(self._body(self._blocks.counting(call), key), synced=synced)
        self._blocks.note(block)
        return result

    def _body(self, call: Call[T], key: MacKey | None = None) -> Body[T]:
        return partial(self._begun, call, key, ACTING.get())

    def _begun(self, call: Call[T], key: MacKey | None, acting: Acting, now: Instant) -> Transaction[T]:
        if key is None and self._mac_key is None:
            self._mac_key = yield from read_key(self._sealer)
        key = key or self.mac_key
        tx = Tx(now.wall, now.steady, now.clock_id, now.started, self._sealer, key, self._is_dead, acting=acting)
        return (yield from call(tx))


@transaction
def _checked(tx: Tx) -> Transaction[None]:
    yield from query("set_meta", name="checked_at", value=f"{tx.wall:.0f}")


@transaction
def _report(tx: Tx) -> Transaction[Mapping[str, str]]:
    (row,) = yield from query("report")
    longest = yield from query_one("longest_list")
    length, whose = (0, "") if longest is None else (longest["length"], longest["connection_id"])
    behind = yield from query_one("meta", name=HISTORY_BEHIND)
    histories = {} if behind is None else {HISTORY_BEHIND: str(behind["value"])}
    seals = {f"{SEALS}{key_id}": str(count) for key_id, count in (yield from read_seals()(tx)).items()}
    return {**row, **seals, **histories, "longest_token_list": str(length), "longest_token_list_of": whose}


def keys_missing(key_ids: Sequence[str], counts: Mapping[str, int] | None) -> ConfigurationError:
    """The error for missing encryption keys. `counts`: how many stored values are sealed with each key, if known."""
    said = [f"the key {one} is missing, with which {_values(one, counts)} sealed" for one in key_ids]
    forgotten = counts is not None and not any(counts.get(one) for one in key_ids)
    return ConfigurationError(
        f"the encryption keys do not open this database: {'; '.join(said)}",
        next_step="`cloudbeds-auth database rekey` forgets a key that nothing is sealed with"
        if forgotten
        else GIVE_KEY,
    )


def _values(key_id: str, counts: Mapping[str, int] | None) -> str:
    return "stored values are" if counts is None else f"{counts.get(key_id, 0)} stored values are"


class DoesNotOpen(StoreUnavailable):
    """One row's secret does not open, which affects its hotel alone: the database serves all others (F71)."""


@contextmanager
def seals_checked() -> Iterator[None]:
    """While secrets are opened, raises DoesNotOpen for one that does not open."""
    try:
        yield
    except SealBroken as error:
        raise DoesNotOpen(
            f"a stored token of this connection does not open: {error}",
            next_step=GIVE_KEY
            if isinstance(error, KeyNotAtHand)
            else "an operator looks at the database; connecting the hotel again replaces the row",
        ) from error
