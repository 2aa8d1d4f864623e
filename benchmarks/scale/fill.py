"""A database with very many hotels, of the last schema without MACs: opening it computes them for every row.

One hotel is connected by the product, and copied. Most copies are healthy and nothing is due for an hour; one in a
thousand waits to try again, one is disconnected, one in ten belongs to one of twenty further apps.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace

from benchmarks import copies, hotels
from benchmarks.copies import Hotel, Plain, rows_of, sealed, spread
from benchmarks.hotels import Fleet
from cloudbeds_auth import Connection, Secret, Settings
from cloudbeds_auth.database import durability, schema
from cloudbeds_auth.database.key_files import load_keys
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.ports import Place
from cloudbeds_auth.rules.subscriptions import settings_of
from cloudbeds_auth.transactions.apps import secret_place
from cloudbeds_auth.transactions.history import ALL, TAKEN_OVER
from cloudbeds_auth.transactions.seals import FORMER
from cloudbeds_auth.transactions.subscriptions import WANTED

FORMER_SCHEMA = 25  # the last without MACs
EVENTS, DAYS = 8, 4  # of each hotel: lines of history, and days of counted calls
AGE = 45.0  # days between two of them
SHARED = 20  # apps to which one hotel in ten belongs
MOST_APPS, EACH_APP = 100_000, 10  # hotels
DAY = 86_400.0


def fill(fleet: Fleet, number: int) -> Connection:
    """So many hotels into an empty database of a former schema; the first one's connection, which the others copy."""
    first, connection = _connected(fleet)
    _former_schema(fleet.settings)
    with Plain(fleet.settings) as sql:
        if not sql.is_postgres:  # the file is given up if this fails
            sql("PRAGMA journal_mode = OFF")
            sql("PRAGMA synchronous = OFF")
        for table, row in first.items():
            shared = [name for name in sql.columns(table) if name in row]
            sql.load(table, shared, [[row[name] for name in shared]])
        _apps(sql, fleet.settings, first["issuers"]["issuer"], min(MOST_APPS, max(SHARED, number // EACH_APP)))
        with sealed(sql, fleet.settings, first, number - 1):
            for table, more in _odd().items():
                spread(sql, table, first, more, "n.at % 1000 <> 30" if table == "tokens" else "TRUE")
            _history(sql, first)
        nothing_due(sql, f"connection_id = '{connection.id}'")
        if sql.is_postgres:
            sql("ANALYZE")
    return connection


def size(settings: Settings) -> int:
    """Bytes that the database holds, what was not written to its file yet included."""
    with Plain(settings) as sql:
        if sql.is_postgres:
            return int(sql("SELECT pg_database_size(current_database())")[0][0])
        ((pages,),), ((each,),) = sql("PRAGMA page_count"), sql("PRAGMA page_size")
        return int(pages) * int(each)


def _connected(fleet: Fleet) -> tuple[Hotel, Connection]:
    """The rows of a hotel that was connected by this version, in a database of its own."""
    with hotels.sqlite() as url:
        there = replace(fleet, database_url=url)
        connection = there.connect(hotels.PROPERTIES[0])
        with Plain(there.settings) as sql:
            return rows_of(sql, ("issuers", *copies.TABLES)), connection


def _former_schema(settings: Settings) -> None:
    if not settings.is_postgres:
        os.close(os.open(settings.database_path, os.O_CREAT | os.O_EXCL, 0o600))
    with Plain(settings) as sql:
        if not sql.is_postgres:
            durability.claim_file(sql.connection, str(settings.database_path))
            durability.settle_pragmas(sql.connection, version=durability.version_number())
        former = [one for one in schema.migrations() if one[0] <= FORMER_SCHEMA]
        for _, text in former:
            for statement in schema.statements(text):
                sql(statement)
        sql(f"INSERT INTO meta (name, value) VALUES ('schema_version', '{FORMER_SCHEMA}')")
        sealer = AesGcmSealer(load_keys(settings, database_has_rows=True))
        canary = sealer.seal(Secret("canary"), Place("meta", "canary", 0, 0)).hex()
        sql(f"INSERT INTO meta (name, value) VALUES ('{FORMER}', '{canary}')")


def _apps(sql: Plain, settings: Settings, issuer: str, number: int) -> None:
    """Registrations of hotels that bring their own client id, each with a redirect URI of its own."""
    now, sealer = time.time(), AesGcmSealer(load_keys(settings, database_has_rows=True))
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


def _odd() -> Mapping[str, Mapping[str, str]]:
    """By table: in what copies differ from the first hotel, beside their ids."""
    now = time.time()
    app = f"CASE n.at % 10 WHEN 9 THEN 'hotel-' || (n.at / 10 % {SHARED}) ELSE f.app END"
    client_id = f"CASE n.at % 10 WHEN 9 THEN 'client-' || (n.at / 10 % {SHARED}) ELSE f.client_id END"
    due = f"{now + copies.QUIET} + n.at % {copies.QUIET}"
    return {
        "connections": {"app": app, "reference": "'tenant-' || (n.at / 3)", "sequence": str(EVENTS)},
        "grants": {
            "app": app, "client_id": client_id, "role": _ended("'disconnected'", "f.role"),
            "state": "CASE n.at % 1000 WHEN 20 THEN 'backing_off' WHEN 30 THEN 'disconnected' ELSE f.state END",
            "access_sealed": _ended("NULL", "n.access"), "ended_at": _ended(str(now), "NULL"), "due_from": str(now),
            **dict.fromkeys(copies.DUE, _ended("NULL", due)),
        },
        "tokens": {},
        "properties": {},
    }  # fmt: skip


def _ended(then: str, otherwise: str) -> str:
    return f"CASE n.at % 1000 WHEN 30 THEN {then} ELSE {otherwise} END"


def _history(sql: Plain, first: Hotel) -> None:
    """Lines of history and of counted calls, weeks apart."""
    now, (home, grant) = time.time(), copies.ids(first)
    sql(
        "INSERT INTO events (connection_id, sequence, at, kind, actor, grant_id, generation, data)"
        f" SELECT {home}, k.at, {now} - {AGE * DAY} * ({EVENTS} - k.at) - n.at % 86400, 'proved', 'vault', {grant}, 1,"
        f" '{{}}' FROM sealed n, ({_numbers(EVENTS)}) k"
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


def nothing_due(sql: Plain, which: str = "TRUE") -> None:
    """Hotels were compared by these settings, no history is of an earlier form, and these grants wait for an hour."""
    for name, value in ((WANTED, settings_of((), decided=False)), (TAKEN_OVER, ALL)):
        sql(f"INSERT INTO meta (name, value) VALUES ('{name}', '{value}')")
    moments = ", ".join(f"{one} = {time.time() + copies.QUIET}" for one in copies.DUE)
    sql(f"UPDATE grants SET {moments} WHERE {which}")
