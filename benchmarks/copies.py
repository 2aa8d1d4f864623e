"""Many hotels in a database: copies of the one that is connected, made by SQL, each sealed for its own place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import apsw
import psycopg

from cloudbeds_auth import Settings
from cloudbeds_auth.database import maintenance
from cloudbeds_auth.database.key_files import load_keys
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.transactions.rows import access_place, token_place

TABLES = ("connections", "grants", "tokens", "properties")  # each refers to those before it
DUE = ("due_at", "poll_at", "list_at", "subscribe_at")  # when the jobs look after a grant
QUIET = 3_600  # seconds in which they have nothing to do for a copy, and then as many in which all are due
PROPERTIES = 1_000_000  # the property id of a copy is this and its number
NUMBERS = 1_000_000_000  # in place of the end of an id: this and the number of the copy

Hotel = Mapping[str, Mapping[str, Any]]  # its row of each table


class Plain:
    """One connection to a database without the product, for rows by the million."""

    def __init__(self, settings: Settings) -> None:
        self.is_postgres = settings.is_postgres
        self.connection: Any
        if settings.is_postgres:
            self.connection = psycopg.connect(settings.database_url, autocommit=True)
        else:
            self.connection = apsw.Connection(str(settings.database_path))
            self.connection.set_busy_timeout(60_000)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None) -> None:
        self.connection.close()

    def __call__(self, sql: str) -> Sequence[tuple[Any, ...]]:
        """The rows of a statement."""
        cursor = self.connection.execute(sql)
        return cursor.fetchall() if not self.is_postgres or cursor.description else []

    def load(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Add rows."""
        if self.is_postgres:
            with self.connection.cursor().copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            with self.connection:
                marks = ", ".join("?" * len(columns))
                self.connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)

    def columns(self, table: str) -> Sequence[str]:
        """Of a table, in order."""
        if self.is_postgres:
            return [column.name for column in self.connection.execute(f"SELECT * FROM {table} LIMIT 0").description]
        return [row[1] for row in self(f"PRAGMA table_info({table})")]

    def analyze(self) -> None:
        """As autovacuum leaves a server's tables a minute later; nobody does that to a file."""
        if self.is_postgres:
            self("VACUUM ANALYZE")


def multiply(settings: Settings, number: int) -> Sequence[str]:
    """Add so many hotels to a database that has one; their connection ids."""
    with Plain(settings) as sql:
        first = rows_of(sql, TABLES)
        with sealed(sql, settings, first, number):
            for table in TABLES:
                spread(sql, table, first)
    with ThreadPoolExecutor(1) as aside:  # a loop may run here
        aside.submit(asyncio.run, maintenance.accept_all(settings)).result()
    with Plain(settings) as sql:
        sql.analyze()
    return [copy_id(first["connections"]["id"], at) for at in range(1, number + 1)]


def rows_of(sql: Plain, tables: Sequence[str]) -> Hotel:
    """The first row of each table."""
    return {table: dict(zip(sql.columns(table), sql(f"SELECT * FROM {table}")[0], strict=True)) for table in tables}


@contextmanager
def sealed(sql: Plain, settings: Settings, first: Hotel, number: int) -> Iterator[None]:
    """A table for the time being: the numbers of the copies, and what is sealed of each, sealed for its place."""
    sealer = AesGcmSealer(load_keys(settings, database_has_rows=True))
    grant, token = first["grants"], first["tokens"]
    generation, position = grant["generation"], token["position"]
    access = sealer.open(grant["access_sealed"], access_place(grant["id"], generation))
    refresh = sealer.open(token["sealed"], token_place(grant["id"], position, generation))

    def rows() -> Iterator[Sequence[object]]:
        for at in range(1, number + 1):
            one = copy_id(grant["id"], at)
            yield (
                at, sealer.seal(access, access_place(one, generation)),
                sealer.seal(refresh, token_place(one, position, generation)),
            )  # fmt: skip

    binary = "BYTEA" if sql.is_postgres else "BLOB"
    sql(f"CREATE TABLE sealed (at INTEGER PRIMARY KEY, access {binary}, refresh {binary})")
    sql.load("sealed", ("at", "access", "refresh"), rows())
    yield
    sql("DROP TABLE sealed")


def copy_id(first: str, at: int) -> str:
    """An id of the copy with this number; `first`: that of the hotel it is a copy of."""
    return f"{first[: -len(str(NUMBERS))]}{NUMBERS + at}"


def ids(first: Hotel) -> tuple[str, str]:
    """Of the connection and the grant of a copy, as SQL; `n.at`: its number."""
    home, grant = (
        f"'{first[one]['id'][: -len(str(NUMBERS))]}' || ({NUMBERS} + n.at)" for one in ("connections", "grants")
    )
    return home, grant


def spread(sql: Plain, table: str, first: Hotel, more: Mapping[str, str] | None = None, where: str = "TRUE") -> None:
    """A row of this table for each copy: its own ids, nothing due; `more`: further columns as SQL, of the row `f` that
    is copied and of `n.at`.
    """
    home, grant = ids(first)
    due = f"{time.time() + QUIET} + n.at % {QUIET}"
    own: Mapping[str, Mapping[str, str]] = {
        "connections": {"id": home, "active_grant": grant},
        "grants": {
            "id": grant, "connection_id": home, "property_ids": f"'[\"' || ({PROPERTIES} + n.at) || '\"]'",
            "access_sealed": "n.access", **dict.fromkeys(DUE, due),
        },
        "tokens": {"grant_id": grant, "sealed": "n.refresh"},
        "properties": {"grant_id": grant, "property_id": f"'' || ({PROPERTIES} + n.at)"},
    }  # fmt: skip
    columns, values = sql.columns(table), {**own[table], **(more or {})}
    sql(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values.get(one, f'f.{one}') for one in columns)}"
        f" FROM sealed n, (SELECT * FROM {table}) f WHERE {where}"
    )
