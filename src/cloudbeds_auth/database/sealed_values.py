"""Lists every place where sealed values are stored, counts how many each key has sealed, and seals them with another
key.

A new kind of sealed value needs an entry in `COLUMNS`, or in `IN_META`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from cloudbeds_auth.database import bulk
from cloudbeds_auth.database.bulk import Batch, Progress
from cloudbeds_auth.database.sealing import KEY_ID, KEY_ID_BYTES
from cloudbeds_auth.ports import Place, SealBroken, Sealer
from cloudbeds_auth.transactions.apps import secret_place
from cloudbeds_auth.transactions.authentic import AUTHENTICATED, MAC_KEY
from cloudbeds_auth.transactions.rows import access_place, token_place
from cloudbeds_auth.transactions.runner import Driver
from cloudbeds_auth.transactions.statements import (
    Instant,
    Row,
    SelectForUpdate,
    Statement,
    Transaction,
    Tx,
    query,
    query_one,
    transaction,
)


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column of sealed values; `place` returns the place for which a row's value is sealed."""

    table: str
    name: str
    place: Callable[[Row], Place]

    @property
    def key_id(self) -> str:
        """An SQL expression: the id of the key that sealed the value."""
        return f"substr({self.name}, {KEY_ID.start + 1}, {KEY_ID_BYTES})"


BATCH = 100  # rows, with one statement each: a refresh waits for no more than these

COLUMNS = (
    SealedColumn("apps", "secret_sealed", lambda row: secret_place(row["name"], row["generation"])),
    SealedColumn("apps", "previous_sealed", lambda row: secret_place(row["name"], row["generation"] - 1)),
    SealedColumn("grants", "access_sealed", lambda row: access_place(row["id"], row["generation"])),
    SealedColumn("tokens", "sealed", lambda row: token_place(row["grant_id"], row["position"], row["generation"])),
)
IN_META: dict[str, Place] = {place.row: place for place in (MAC_KEY, AUTHENTICATED)}
"""The names in `meta` whose values are sealed (and stored as hex), and their places."""


@dataclass
class SealedAnew:
    """How many values were sealed with the sealing key, and the places of those that did not open."""

    values: int = 0
    broken: list[Place] = field(default_factory=list)

    def add(self, other: SealedAnew) -> None:
        """Add another batch's count and places."""
        self.values += other.values
        self.broken += other.broken


async def each_column(
    driver: Driver, work: Callable[[SealedColumn, Batch], Awaitable[None]], progress: Progress, suffix: str = ""
) -> None:
    """Call `work` with each batch of rows of each column; progress is labelled with the table's name and `suffix`."""
    for column in COLUMNS:
        await bulk.each(driver, column.table, partial(work, column), progress, what=column.table + suffix, size=BATCH)


async def count_values(driver: Driver, sealer: Sealer, progress: Progress) -> Counter[str]:
    """How many stored values each key has sealed, by key id."""
    found: Counter[str] = Counter()

    async def work(column: SealedColumn, batch: Batch) -> None:
        found.update(await driver.read(partial(count_batch, column, batch)))

    found.update(await driver.read(partial(count_meta, sealer)))
    await each_column(driver, work, progress, ", counted")
    return found


def count_batch(column: SealedColumn, batch: Batch, now: Instant) -> Transaction[Counter[str]]:
    """How many values of these rows each key has sealed."""
    sql = (
        f"SELECT {column.key_id} AS key_id, COUNT(*) AS number FROM {column.table} "  # noqa: S608 - our own names
        f"WHERE {batch.where} AND {column.name} IS NOT NULL GROUP BY 1"
    )
    rows = yield Statement(f"bulk_count_sealed_{column.table}_{column.name}", sql, batch.parameters)
    return Counter({row["key_id"].hex(): row["number"] for row in rows})


def count_meta(sealer: Sealer, now: Instant) -> Transaction[Counter[str]]:
    """How many values of `meta` each key has sealed."""
    found: Counter[str] = Counter()
    for name in IN_META:
        row = yield from query_one("meta", name=name)
        if row is not None:
            found[sealer.key_of(bytes.fromhex(row["value"]))] += 1
    return found


@transaction
def seal_batch(tx: Tx, column: SealedColumn, batch: Batch) -> Transaction[SealedAnew]:
    """Seal anew the values of these rows that another key sealed; nothing else in the rows changes.

    Where other transactions write at the same time, a row that one of them holds is skipped, not waited for.
    """
    done = SealedAnew()
    sql = f"SELECT * FROM {column.table} WHERE {batch.where} AND {column.key_id} <> :key_id"  # noqa: S608
    parameters = {**batch.parameters, "key_id": bytes.fromhex(tx.sealer.key_id)}
    for row in (yield SelectForUpdate(f"bulk_sealed_{column.table}_{column.name}", sql, parameters)):
        sealed = _anew(tx.sealer, row[column.name], column.place(row), done)
        if sealed is not None:
            yield from bulk.update(column.table, row, column.name, sealed)
    return done


@transaction
def seal_meta(tx: Tx) -> Transaction[SealedAnew]:
    """The same for the values of `meta`."""
    done = SealedAnew()
    for name, place in IN_META.items():
        row = yield from query_one("meta", name=name)
        if row is not None and tx.sealer.key_of(bytes.fromhex(row["value"])) != tx.sealer.key_id:
            sealed = _anew(tx.sealer, bytes.fromhex(row["value"]), place, done)
            if sealed is not None:
                yield from query("set_meta", name=name, value=sealed.hex())
    return done


def _anew(sealer: Sealer, sealed: bytes, place: Place, done: SealedAnew) -> bytes | None:
    """The value, sealed with the sealing key; None if it does not open."""
    try:
        secret = sealer.open(sealed, place)
    except SealBroken:
        done.broken.append(place)
        return None
    done.values += 1
    return sealer.seal(secret, place)
