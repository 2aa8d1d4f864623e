"""A transaction as a generator: it yields statements, is sent their rows, and returns its result.

So the SQL is plain to read, and the same code of each transaction runs over any driver: a thread of SQLite, a
connection of PostgreSQL, a simulation that stops between two statements. Between its statements a transaction only
computes, and a driver may run it again from the start if the database asks for that.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from importlib import resources
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from cloudbeds_auth.ports import Sealer
from cloudbeds_auth.rules.audit import PROGRAM, Acting
from cloudbeds_auth.rules.authentic import Chain, MacKey

Row = Mapping[str, Any]
Rows = Sequence[Row]
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
P = ParamSpec("P")
IsDead = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Statement:
    """One named query with its parameters."""

    name: str
    sql: str
    parameters: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Insert(Statement):
    """Rows for one table, at least one, all with the same columns. `sql` inserts one of them, and ends with `unless`,
    the clause that skips rows. A driver may have a faster way.
    """

    table: str
    rows: Rows
    unless: str


@dataclass(frozen=True, slots=True)
class SelectForUpdate(Statement):
    """Selects rows that this transaction is about to change. If others could change them meanwhile, they are locked
    until its end, and rows that another transaction holds are left out.
    """


@dataclass(frozen=True, slots=True)
class Instant:
    """The store's own time at the start of a transaction.

    `wall`: unix seconds, for people. `steady`: seconds for durations, comparable under the same `clock_id` only.
    `started` identifies this start of the machine, or of the PostgreSQL server: across a restart, writes that were not
    synced may be lost. `acting`: who asked for the transaction.
    """

    wall: float
    steady: float
    clock_id: str
    started: str
    acting: Acting = field(default=PROGRAM, kw_only=True)


@dataclass(frozen=True, slots=True)
class Tx(Instant):
    """What the runner passes to a transaction besides its arguments: the moment, the sealer, the MAC key, and
    `is_dead(owner, clock_id)`, whether the process that holds a lease is certainly gone. `chains`: the ends of
    histories, by connection, that this transaction has read.
    """

    sealer: Sealer
    mac_key: MacKey
    is_dead: IsDead
    chains: dict[str, Chain] = field(default_factory=dict)


Transaction = Generator[Statement, Rows, T]
Body = Callable[[Instant], Transaction[T]]


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """A transaction with its arguments, ready to be run, more than once if the database asks for that."""

    function: Callable[..., Transaction[T_co]]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of the transaction."""
        return self.function.__name__

    def __call__(self, tx: Tx) -> Transaction[T_co]:
        """The generator of its statements; `yield from` runs it as part of another transaction."""
        return self.function(tx, *self.args, **self.kwargs)


def transaction(function: Callable[Concatenate[Tx, P], Transaction[T]]) -> Callable[P, Call[T]]:
    """Turn a generator of statements into a function that callers use: `await db.write(commit_pair(fence, …))`."""

    @wraps(function)
    def named(*args: P.args, **kwargs: P.kwargs) -> Call[T]:
        return Call(function, args, kwargs)

    return named


OWN = ("sqlite.sql", "postgres.sql")  # the same names in both, with each database's own text


def load(own: str) -> dict[str, str]:
    """The queries of `queries/*.sql` by name, without comments; of the files in `OWN`, only those of `own`."""
    found: dict[str, str] = {}
    for file in resources.files("cloudbeds_auth.transactions").joinpath("queries").iterdir():
        if file.name.endswith(".sql") and (file.name not in OWN or file.name == own):
            named(file.name, file.read_text("utf-8"), found)
    return found


def named(file: str, text: str, found: dict[str, str]) -> None:
    """Add the queries of a file, each below its line `-- name: …`, to `found`. Raises ValueError for a second one of
    the same name.
    """
    for block in text.split("-- name: ")[1:]:
        name, _, sql = block.partition("\n")
        if name in found:
            raise ValueError(f"{file} has a second query named {name}")
        found[name] = "\n".join(line for line in sql.splitlines() if not line.startswith("--")).strip()


QUERIES = load("sqlite.sql")


def as_keys(ids: Iterable[str]) -> str:
    """Several ids as one parameter: the keys of a JSON object, which both databases read with `json_each`."""
    return json.dumps(dict.fromkeys(ids))


def query(name: str, /, **parameters: object) -> Transaction[Rows]:
    """Run one named query."""
    rows = yield Statement(name, QUERIES[name], parameters)
    return rows


def query_one(name: str, /, **parameters: object) -> Transaction[Row | None]:
    """Run one named query; its first row, if any."""
    rows = yield Statement(name, QUERIES[name], parameters)
    return rows[0] if rows else None


def drive(transaction: Transaction[T], execute: Callable[[Statement], Rows]) -> T:
    """Drive a transaction's generator with something that executes statements."""
    try:
        statement = next(transaction)
        while True:
            statement = transaction.send(execute(statement))
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        transaction.close()


async def drive_async(transaction: Transaction[T], execute: Callable[[Statement], Awaitable[Rows]]) -> T:
    """As `drive`, with an `execute` that is awaited."""
    try:
        statement = next(transaction)
        while True:
            statement = transaction.send(await execute(statement))
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        transaction.close()
