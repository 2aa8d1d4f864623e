"""A database with very many hotels, of the schema two before this version's.

One hotel is connected by the product. Its rows are copied by SQL, which is the same text for both databases; what is
sealed is sealed anew for each place, with the product's own sealer, so every copy serves. Most hotels are healthy and
nothing is due for an hour; one in a thousand waits to try again, one is disconnected, one in ten belongs to an app of
its own kind.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import apsw
import psycopg

from benchmarks import copies, hotels, upkeep
from benchmarks.hotels import Fleet
from cloudbeds_auth import Connection, Secret
from cloudbeds_auth.database import durability, schema
from cloudbeds_auth.database.key_files import load_keys
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.rules.subscriptions import settings_of
from cloudbeds_auth.transactions.apps import secret_place
from cloudbeds_auth.transactions.history import ALL, TAKEN_OVER
from cloudbeds_auth.transactions.rows import access_place, token_place
from cloudbeds_auth.transactions.subscriptions import WANTED

BEFORE = 2  # migrations that are missing
EVENTS, DAYS = 8, 4  # of each hotel: lines of history, and days of counted calls
AGE = 45.0  # days between two of them
SHARED = 20  # apps to which one hotel in ten belongs
MOST_APPS, EACH_APP = 100_000, 10  # hotels
TABLES = ("issuers", *copies.TABLES)  # what a connected hotel is made of; each refers to those before it
DAY = 86_400.0
FIRST_ID, FIRST_PROPERTY = 1_000_000_000, copies.PROPERTIES

Rows = Sequence[tuple[Any, ...]]
Hotel = Mapping[str, Mapping[str, Any]]  # its row of each table


class Plain:
    """One connection to the database without the product, for rows by the million."""

    def __init__(self, fleet: Fleet) -> None:
        self.is_postgres = fleet.settings.is_postgres
        self._connection: Any
        if self.is_postgres:
            self._connection = psycopg.connect(fleet.database_url, autocommit=True)
        else:
            self._connection = apsw.Connection(str(fleet.settings.database_path))
            self._connection.set_busy_timeout(60_000)

    def close(self) -> None:
        """The end of it."""
        self._connection.close()

    def __call__(self, sql: str) -> Rows:
        """The rows of a statement."""
        cursor = self._connection.execute(sql)
        return cursor.fetchall() if not self.is_postgres or cursor.description else []

    def load(self, table: str, columns: Sequence[str], rows: Iterator[Sequence[object]]) -> None:
        """Add rows."""
        if self.is_postgres:
            with self._connection.cursor().copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            with self._connection:
                marks = ", ".join("?" * len(columns))
                self._connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)

    def columns(self, table: str) -> Sequence[str]:
        """Of a table, in order."""
        if self.is_postgres:
            return [column.name for column in self._connection.execute(f"SELECT * FROM {table} LIMIT 0").description]
        return [row[1] for row in self(f"PRAGMA table_info({table})")]

    def analyze(self) -> None:
        """As autovacuum leaves a server's tables a minute later; nobody does that to a file."""
        if self.is_postgres:
            self("VACUUM ANALYZE")

    def size(self) -> int:
        """Bytes that the database holds, what was not written to the file yet included."""
        if self.is_postgres:
            return int(self("SELECT pg_database_size(current_database())")[0][0])
        ((pages,),), ((each,),) = self("PRAGMA page_count"), self("PRAGMA page_size")
        return int(pages) * int(each)


@contextmanager
def plain(fleet: Fleet) -> Iterator[Plain]:
    """For as long as the block lasts."""
    with closing(Plain(fleet)) as made:
        yield made


def fill(fleet: Fleet, number: int) -> Connection:
    """So many hotels into an empty database of a former schema; the first one's connection, which the others copy."""
    first, connection = _connected(fleet)
    _former_schema(fleet)
    with plain(fleet) as sql:
        if not sql.is_postgres:  # the file is given up if this fails
            sql("PRAGMA journal_mode = OFF")
            sql("PRAGMA synchronous = OFF")
        for table in TABLES:
            shared = [name for name in sql.columns(table) if name in first[table]]
            sql.load(table, shared, iter([[first[table][name] for name in shared]]))
        sealer = AesGcmSealer(load_keys(fleet.settings, database_has_rows=True))
        _apps(sql, sealer, first["issuers"]["issuer"], min(MOST_APPS, max(SHARED, number // EACH_APP)))
        _sealed(sql, sealer, first, number)
        for table in copies.TABLES:
            _multiply(sql, table, first)
        _history(sql, first)
        # Nothing is due: the settings are those that hotels were compared by, and no history is of an earlier form.
        for name, value in ((WANTED, settings_of((), decided=False)), (TAKEN_OVER, ALL)):
            sql(f"INSERT INTO meta (name, value) VALUES ('{name}', '{value}')")
        moments = ", ".join(f"{one} = {time.time() + upkeep.HOUR}" for one in upkeep.MOMENTS)
        sql(f"UPDATE grants SET {moments} WHERE connection_id = '{connection.id}'")
        sql("DROP TABLE sealed")
        if sql.is_postgres:
            sql("ANALYZE")
    return connection


def _connected(fleet: Fleet) -> tuple[Hotel, Connection]:
    """The rows of a hotel that was connected by this version, in a database of its own."""
    with hotels.sqlite() as url:
        there = replace(fleet, database_url=url)
        connection = there.connect(hotels.PROPERTIES[0])
        with plain(there) as sql:
            return {
                table: dict(zip(sql.columns(table), sql(f"SELECT * FROM {table}")[0], strict=True)) for table in TABLES
            }, connection


def _former_schema(fleet: Fleet) -> None:
    if not fleet.settings.is_postgres:
        os.close(os.open(fleet.settings.database_path, os.O_CREAT | os.O_EXCL, 0o600))
    with plain(fleet) as sql:
        if not sql.is_postgres:
            durability.claim_file(sql._connection, str(fleet.settings.database_path))
            durability.settle_pragmas(sql._connection, version=durability.version_number())
        former = schema.migrations()[:-BEFORE]
        for _, text in former:
            for statement in schema.statements(text):
                sql(statement)
        sql(f"INSERT INTO meta (name, value) VALUES ('schema_version', '{former[-1][0]}')")


def _apps(sql: Plain, sealer: AesGcmSealer, issuer: str, number: int) -> None:
    """Registrations of hotels that bring their own client id, each with a redirect URI of its own."""
    now = time.time()
    sql.load(
        "apps",
        ("name", "client_id", "level", "redirect_uri", "redirect_path", "secret_sealed", "created_at"),
        (
            (f"hotel-{at}", f"client-{at}", "property", f"http://localhost:7000/callback/hotel-{at}",
             f"/callback/hotel-{at}", sealer.seal(Secret(f"secret-{at}"), secret_place(f"hotel-{at}", 1)), now)
            for at in range(number)
        ),
    )  # fmt: skip
    sql.load("issuers", ("app", "issuer", "bound_at"), ((f"hotel-{at}", issuer, now) for at in range(number)))


def _sealed(sql: Plain, sealer: AesGcmSealer, first: Hotel, number: int) -> None:
    """What is sealed of each copy, sealed for its place."""
    grant, token = first["grants"], first["tokens"]
    generation, position = grant["generation"], token["position"]
    access = sealer.open(grant["access_sealed"], access_place(grant["id"], generation))
    refresh = sealer.open(token["sealed"], token_place(grant["id"], position, generation))
    bytea = "BYTEA" if sql.is_postgres else "BLOB"
    sql(f"CREATE TABLE sealed (at INTEGER PRIMARY KEY, access {bytea}, refresh {bytea})")

    def rows() -> Iterator[Sequence[object]]:
        for at in range(1, number):
            one = f"{_stem(grant['id'])}{FIRST_ID + at}"
            yield (
                at, sealer.seal(access, access_place(one, generation)),
                sealer.seal(refresh, token_place(one, position, generation)),
            )  # fmt: skip

    sql.load("sealed", ("at", "access", "refresh"), rows())


def _stem(identifier: str) -> str:
    return identifier[: -len(str(FIRST_ID))]


def connection_id(first: str, at: int) -> str:
    """Of the copy with this number."""
    return f"{_stem(first)}{FIRST_ID + at}"


def _multiply(sql: Plain, table: str, first: Hotel) -> None:
    """A row of this table for each copy. `n.at`: its number."""
    now = time.time()
    home, grant = _ids(first)
    app = _kind("'hotel-' || (n.at / 10 % {shared})", "f.app")
    later = dict.fromkeys(upkeep.MOMENTS, f"{now + upkeep.HOUR} + n.at % {upkeep.HOUR:.0f}")
    values: Mapping[str, Mapping[str, str]] = {
        "connections": {
            "id": home, "active_grant": grant, "app": app, "reference": "'tenant-' || (n.at / 3)",
            "sequence": str(EVENTS),
        },
        "grants": {
            "id": grant, "connection_id": home, "app": app,
            "client_id": _kind("'client-' || (n.at / 10 % {shared})", "f.client_id"),
            "property_ids": f"'[\"' || ({FIRST_PROPERTY} + n.at) || '\"]'",
            "role": _ended("'disconnected'", "f.role"),
            "state": "CASE n.at % 1000 WHEN 20 THEN 'backing_off' WHEN 30 THEN 'disconnected' ELSE f.state END",
            "access_sealed": _ended("NULL", "n.access"), "ended_at": _ended(str(now), "NULL"),
            "due_from": str(now), **{one: _ended("NULL", when) for one, when in later.items()},
        },
        "tokens": {"grant_id": grant, "sealed": "n.refresh"},
        "properties": {"grant_id": grant, "property_id": f"'' || ({FIRST_PROPERTY} + n.at)"},
    }  # fmt: skip
    columns = sql.columns(table)
    sql(
        f"INSERT INTO {table} ({', '.join(columns)})"
        f" SELECT {', '.join(values[table].get(one, f'f.{one}') for one in columns)}"
        f" FROM sealed n, (SELECT * FROM {table}) f" + (" WHERE n.at % 1000 <> 30" if table == "tokens" else "")
    )


def _ids(first: Hotel) -> tuple[str, str]:
    """Of the connection and the grant of a copy, as SQL."""
    home, grant = (f"'{_stem(first[one]['id'])}' || ({FIRST_ID} + n.at)" for one in ("connections", "grants"))
    return home, grant


def _kind(further: str, own: str) -> str:
    """One hotel in ten belongs to a further app."""
    return f"CASE n.at % 10 WHEN 9 THEN {further.format(shared=SHARED)} ELSE {own} END"


def _ended(then: str, otherwise: str) -> str:
    return f"CASE n.at % 1000 WHEN 30 THEN {then} ELSE {otherwise} END"


def _history(sql: Plain, first: Hotel) -> None:
    """Lines of history and of counted calls, months apart."""
    now, (home, grant) = time.time(), _ids(first)
    sql(
        "INSERT INTO events (connection_id, sequence, at, kind, actor, grant_id, generation, data)"
        f" SELECT {home}, k.at, {now} - {AGE * DAY} * ({EVENTS} - k.at) - n.at % 86400, 'proved', 'vault', {grant}, 1,"
        " '{}'"
        f" FROM sealed n, ({_numbers(EVENTS)}) k"
    )
    methods = json.dumps({"GET /api/v1.3/getReservations": 720, "GET /api/v1.3/getRoomBlocks": 720})
    begun = f"CAST({now - DAY} - {AGE * DAY} * k.at - n.at % 3600 AS BIGINT) * 1000000"
    sql(
        "INSERT INTO calls"
        " (connection_id, span, first_us, generation, line, grant_id, last_us, count, refused, methods)"
        f" SELECT {home}, {DAY:.0f}, {begun}, 1, '', {grant}, {begun} + 82800000000, 1440, 0, '{methods}'"
        f" FROM sealed n, ({_numbers(DAYS)}) k"
    )


def _numbers(last: int) -> str:
    return " UNION ALL ".join(f"SELECT {at} AS at" for at in range(1, last + 1))
