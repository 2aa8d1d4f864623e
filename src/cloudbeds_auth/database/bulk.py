"""Work on every row of a table, in batches. Each batch is a transaction of its own: other users of the database wait
for one batch at most, and a kill undoes one batch at most.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.transactions.runner import Driver
from cloudbeds_auth.transactions.statements import (
    Body,
    Insert,
    Instant,
    Row,
    Rows,
    Statement,
    Transaction,
    query,
    query_one,
)

BATCH = 1_000  # rows
RUN = "copying_run"  # in `meta`: the last run of a command that moves hotels from here, moves them here, or adopts them

TABLES: dict[str, tuple[str, ...]] = {
    "apps": ("name",),
    "connections": ("id",),
    "grants": ("id",),
    "tokens": ("grant_id", "position"),
    "properties": ("grant_id", "property_id"),
    "links": ("hash",),
    "authorizations": ("id",),
    "circuits": ("app", "fingerprint"),
    "budgets": ("client_id",),
    "issuers": ("app",),
    "outbox": ("id",),
    "caller_keys": ("id",),
    "sign_in_codes": ("hash",),
    "sessions": ("id",),
    "audit": ("id",),
    "events": ("connection_id", "sequence"),
    "calls": ("connection_id", "span", "first_us", "generation", "line"),
}
"""Every table but `meta`, with its key. A table comes after the tables that it refers to; histories come last."""

BY_ITSELF = ("circuits", "budgets", "issuers")  # the tables that a service fills before any hotel is connected

Key = tuple[object, ...]
Progress = Callable[[str, int, int], None]
"""Called with the progress: a label, how many are done, how many there are."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of a table with keys after `after` (empty: from the first row on), up to and including `to`."""

    table: str
    after: Key
    to: Key

    @property
    def where(self) -> str:
        """The condition, for a WHERE clause."""
        return _after(self.table, self.after) + f" AND ({_listed(self.table)}) <= ({_named(self.table, 'to')})"

    @property
    def parameters(self) -> Mapping[str, object]:
        """The parameters of the condition."""
        return _bound(self.table, "after", self.after) | _bound(self.table, "to", self.to)


async def each(
    driver: Driver,
    table: str,
    work: Callable[[Batch], Awaitable[None]],
    progress: Progress,
    *,
    what: str | None = None,
    after: Key = (),
    size: int | None = None,
) -> int:
    """Call `work` with each batch of a table's rows after the key `after`, in key order; returns the number of rows.

    Progress is labelled `what`, or with the table's name. A batch has at most `size` rows, or `BATCH`.
    """
    shown, done = what or table, 0
    total = await driver.read(partial(_count, table, after))
    progress(shown, 0, total)
    while keys := await driver.read(partial(_keys, table, after, size or BATCH)):
        batch = Batch(table, after, tuple(keys[-1].values()))
        await work(batch)
        after, done = batch.to, done + len(keys)
        progress(shown, done, max(done, total))
    return done


async def each_grant(driver: Driver, name: str, progress: Progress, what: str, first: Body[None]) -> None:
    """Run the named query, which takes :after and :to, for each batch of grants; `first` begins each transaction."""

    async def work(batch: Batch) -> None:
        after, to = batch.after[0] if batch.after else "", batch.to[0]

        def body(now: Instant) -> Transaction[None]:
            yield from first(now)
            yield from query(name, after=after, to=to)

        await driver.write(body)

    await each(driver, "grants", work, progress, what=what)


def begin_run(run: str) -> Transaction[None]:
    """Record that this run moves or adopts the hotels: an earlier one, which may still go on, goes no further."""
    yield from query("one_at_a_time", work=RUN)
    yield from query("set_meta", name=RUN, value=run)


def still(now: Instant, *, name: str, run: str) -> Transaction[None]:
    """Raise ConfigurationError if another run has begun at the database `name` since, or ended there; none begins
    before this transaction ends.
    """
    yield from query("one_at_a_time", work=RUN)
    row = yield from query_one("meta", name=RUN)
    if row is None or row["value"] != run:
        raise ConfigurationError(
            f"{name} was adopted, or another `database copy` began to move the hotels from or to it, meanwhile: this "
            "command goes no further",
            next_step="let the other one finish. If the database was adopted, use it alone; or run this again",
        )


def in_use(now: Instant) -> Transaction[list[str]]:
    """The tables that hold rows, without those that a service fills by itself."""
    tables = [table for table in TABLES if table not in BY_ITSELF]
    sql = " UNION ALL ".join(f"SELECT '{table}' AS name WHERE EXISTS (SELECT 1 FROM {table})" for table in tables)  # noqa: S608
    return [row["name"] for row in (yield Statement("bulk_in_use", sql, {}))]


def rows(batch: Batch, now: Instant) -> Transaction[Rows]:
    """The rows of a batch, in key order."""
    sql = f"SELECT * FROM {batch.table} WHERE {batch.where} ORDER BY {_listed(batch.table)}"  # noqa: S608 - our own names
    return (yield Statement(f"bulk_rows_{batch.table}", sql, batch.parameters))


def update(table: str, row: Row, column: str, value: object) -> Transaction[None]:
    """Write one column of a row."""
    keys = TABLES[table]
    where = " AND ".join(f"{key} = :{key}" for key in keys)
    sql = f"UPDATE {table} SET {column} = :value WHERE {where}"  # noqa: S608
    yield Statement(f"bulk_update_{table}_{column}", sql, {"value": value, **{key: row[key] for key in keys}})


def delete(batch: Batch, now: Instant) -> Transaction[None]:
    """Delete the rows of a batch."""
    yield Statement(f"bulk_delete_{batch.table}", f"DELETE FROM {batch.table} WHERE {batch.where}", batch.parameters)  # noqa: S608


def insert(table: str, found: Rows, *, unless_there: bool = False) -> Transaction[None]:
    """Insert rows, all with the same columns. With `unless_there`, a row whose key exists already is left out."""
    if found:
        columns, values = ", ".join(found[0]), ", ".join(f":{column}" for column in found[0])
        unless = "ON CONFLICT DO NOTHING" if unless_there else ""
        sql = f"INSERT INTO {table} ({columns}) VALUES ({values}) {unless}"  # noqa: S608
        yield Insert(f"bulk_insert_{table}", sql, {}, table, found, unless)


def _count(table: str, after: Key, now: Instant) -> Transaction[int]:
    sql = f"SELECT COUNT(*) AS rows FROM {table} WHERE {_after(table, after)}"  # noqa: S608
    (row,) = yield Statement(f"bulk_count_{table}", sql, _bound(table, "after", after))
    number: int = row["rows"]
    return number


def _keys(table: str, after: Key, size: int, now: Instant) -> Transaction[Rows]:
    listed = _listed(table)
    sql = f"SELECT {listed} FROM {table} WHERE {_after(table, after)} ORDER BY {listed} LIMIT {size}"  # noqa: S608
    return (yield Statement(f"bulk_keys_{table}", sql, _bound(table, "after", after)))


def _after(table: str, after: Key) -> str:
    return f"({_listed(table)}) > ({_named(table, 'after')})" if after else "true"


def _listed(table: str) -> str:
    return ", ".join(TABLES[table])


def _named(table: str, which: str) -> str:
    return ", ".join(f":{which}_{column}" for column in TABLES[table])


def _bound(table: str, which: str, key: Key) -> dict[str, object]:
    return {f"{which}_{column}": value for column, value in zip(TABLES[table], key, strict=False)}
