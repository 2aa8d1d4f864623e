"""A transaction as a generator: it yields statements, is sent their rows, and returns what it found.

So the SQL stands in the open, and one text of each transaction runs over any driver: a thread of SQLite, a connection
of PostgreSQL, a simulation that stops between two statements. A transaction never does anything else between its
statements than compute, and a driver may run it again from the start when the database asks for that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, TypeVar

Row = Mapping[str, Any]
Rows = Sequence[Row]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Statement:
    """One named query with its parameters."""

    name: str
    sql: str
    parameters: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Instant:
    """The store's own time at the start of a transaction.

    `wall`: unix seconds, for people. `steady`: seconds for durations, comparable under the same `clock_id` only.
    """

    wall: float
    steady: float
    clock_id: str


Transaction = Generator[Statement, Rows, T]
Body = Callable[[Instant], Transaction[T]]


def load(*files: str) -> dict[str, str]:
    """The queries of `queries/*.sql` by name (`-- name: …`), comments left out."""
    found: dict[str, str] = {}
    for file in files:
        text = resources.files("cloudbeds_auth.transactions").joinpath("queries", file).read_text("utf-8")
        for block in text.split("-- name: ")[1:]:
            name, _, sql = block.partition("\n")
            lines = [line for line in sql.splitlines() if not line.startswith("--")]
            found[name.strip()] = "\n".join(lines).strip()
    return found


_EVERYWHERE = ("grants.sql", "authorizations.sql", "connections.sql", "keys.sql", "upkeep.sql", "move.sql")
# The last file is of the database that most have; another driver has its own text for those names.
QUERIES = load(
    "grants.sql",
    "authorizations.sql",
    "importing.sql",
    "connections.sql",
    "keys.sql",
    "apps.sql",
    "origins.sql",
    "upkeep.sql",
    "calls.sql",
    "groups.sql",
    "outbox.sql",
    "retention.sql",
    "move.sql",
    "sqlite.sql",
)


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
