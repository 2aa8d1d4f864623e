"""What every part of the SQL store stands on: a driver, a sealer, the canary, and whether it may be written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from cloudbeds_auth.database.driver import Driver
from cloudbeds_auth.errors import ConfigurationError, StoreReadOnly, StoreUnavailable
from cloudbeds_auth.ports.sealer import Place, SealBroken, Sealer
from cloudbeds_auth.ports.wakeups import Wakeups
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.grants import IsDead
from cloudbeds_auth.transactions.statements import Body, Instant, T, Transaction, query, query_one

CANARY = Place("meta", "canary", 0, 0)


class Base:
    """`is_dead(owner, clock_id)` says whether the process behind a lease is certainly gone."""

    def __init__(self, driver: Driver, sealer: Sealer, is_dead: IsDead) -> None:
        self._driver = driver
        self._sealer = sealer
        self._is_dead = is_dead
        self._read_only = False

    @property
    def read_only(self) -> bool:
        """Whether this is a copy of another installation's database: then every write raises StoreReadOnly."""
        return self._read_only

    async def open(self, own: Callable[[Instant], Transaction[bool]] | None = None) -> None:
        """Check that the keys open what rests here; raises ConfigurationError before anything is sent (F68).

        `own` says, in a transaction, whether the database is this installation's own.
        """
        await self._driver.write(self._canary)
        if own is not None:
            self._read_only = not await self._driver.write(own)

    async def check(self) -> None:
        """One real write, and the canary; raises StoreUnavailable."""
        await self._write(lambda now: query("set_meta", name="checked_at", value=f"{now.wall:.0f}"))
        try:
            await self._driver.write(self._canary)
        except ConfigurationError as error:
            raise StoreUnavailable(error.detail, next_step=error.next_step) from error

    async def report(self) -> Mapping[str, str]:
        """See ports.store."""
        return {**await self._read(_report), "key_id": self._sealer.key_id}

    @property
    def wakeups(self) -> Wakeups | None:
        """What wakes whoever waits for another process; None where the database tells nobody."""
        return self._driver.wakeups

    async def close(self) -> None:
        """Finish what runs and close."""
        await self._driver.close()

    def _canary(self, now: Instant) -> Transaction[None]:
        row = yield from query_one("meta", name="key_canary")
        if row is None:
            sealed = self._sealer.seal(Secret("canary"), CANARY)
            yield from query("set_meta", name="key_canary", value=sealed.hex())
            return
        try:
            self._sealer.open(bytes.fromhex(row["value"]), CANARY)
        except SealBroken:
            raise ConfigurationError(
                "the encryption key does not open this database: it was sealed with another one",
                next_step="give the key that sealed it (CLOUDBEDS_AUTH_ENCRYPTION_KEYS, or the key file beside it)",
            ) from None

    async def _read(self, body: Body[T]) -> T:
        with opening():
            return await self._driver.read(body)

    async def _write(self, body: Body[T]) -> T:
        if self._read_only:
            raise StoreReadOnly
        with opening():
            return await self._driver.write(body)


def _report(now: Instant) -> Transaction[Mapping[str, str]]:
    (row,) = yield from query("report")
    longest = yield from query_one("longest_list")
    length, whose = (0, "") if longest is None else (longest["length"], longest["connection_id"])
    return {**row, "longest_token_list": str(length), "longest_token_list_of": whose}


@contextmanager
def opening() -> Iterator[None]:
    """While secrets are opened: one that does not is told as StoreUnavailable."""
    try:
        yield
    except SealBroken as error:
        raise StoreUnavailable(
            "a stored token of this connection does not open: its row was altered or belongs elsewhere",
            next_step="an operator looks at the database; connecting the hotel again replaces the row",
        ) from error
