"""Many hotels in a database: copies of the one that is connected, each sealed for its own place."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import psycopg

from cloudbeds_auth import Secret, Settings
from cloudbeds_auth.database.key_files import load_keys
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.ports import Place
from cloudbeds_auth.transactions.rows import access_place, token_place

TABLES = ("connections", "grants", "tokens", "properties")  # each refers to those before it
SEALED = {"grants": "access_sealed", "tokens": "sealed"}
DUE = ("due_at", "poll_at", "list_at", "subscribe_at")
QUIET = 86_400.0  # seconds in which upkeep has nothing to do for a copy
PROPERTIES = 1_000_000  # the first copy's property id

Row = Mapping[str, Any]


def multiply(settings: Settings, number: int) -> Sequence[str]:
    """Add so many hotels to a database that has one; their connection ids."""
    sealer = AesGcmSealer(load_keys(settings, database_has_rows=True))
    # Both drivers are of the form of PEP 249, and differ in how a parameter is marked.
    connection: Any = (psycopg if settings.is_postgres else sqlite3).connect(_place_of(settings))
    with closing(connection), connection:
        cursor = connection.cursor()
        hotel = {table: _only(cursor, table) for table in TABLES}
        for table, row in hotel.items():
            secret = sealer.open(row[SEALED[table]], _sealed_for(table, row)) if table in SEALED else None
            marks = ", ".join(["%s" if settings.is_postgres else "?"] * len(row))
            cursor.executemany(
                f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})",
                (tuple(_copy(hotel, table, at, sealer, secret).values()) for at in range(number)),
            )
        if settings.is_postgres:
            cursor.execute("ANALYZE")  # as the server does by itself a minute later
    return [f"{hotel['connections']['id']}_{at}" for at in range(number)]


def _place_of(settings: Settings) -> str:
    return settings.database_url if settings.is_postgres else str(settings.database_path)


def _only(cursor: Any, table: str) -> Row:
    (row,) = cursor.execute(f"SELECT * FROM {table}").fetchall()
    return dict(zip((column[0] for column in cursor.description), row, strict=True))


def _copy(hotel: Mapping[str, Row], table: str, at: int, sealer: AesGcmSealer, secret: Secret | None) -> Row:
    """The row of this table for another hotel: its own ids, nothing due, sealed anew."""
    ids = {row["id"]: f"{row['id']}_{at}" for row in (hotel["connections"], hotel["grants"])}
    ours, other = hotel["properties"]["property_id"], str(PROPERTIES + at)
    ids |= {ours: other, f'["{ours}"]': f'["{other}"]'}
    copy = {name: ids.get(value, value) if isinstance(value, str) else value for name, value in hotel[table].items()}
    copy |= {name: time.time() + QUIET for name in DUE if name in copy}
    if secret is not None:
        copy[SEALED[table]] = sealer.seal(secret, _sealed_for(table, copy))
    return copy


def _sealed_for(table: str, row: Row) -> Place:
    if table == "grants":
        return access_place(row["id"], row["generation"])
    return token_place(row["grant_id"], row["position"], row["generation"])
