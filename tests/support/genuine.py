"""Rows that a test writes behind the product's back, made as if the product had written them; and an oracle."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import psycopg
from tests.support.keys import KEY

from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.rules.authentic import Chain, MacKey
from cloudbeds_auth.transactions.authentic import COVERED, MAC_KEY
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.verification import verify_connections, verify_keys

Sql = Callable[..., list[tuple[Any, ...]]]
AT_ONCE = 100
WRITES = ("UPDATE", "INSERT", "DELETE")


class PostgresSql:
    """Statements for a server behind everybody's back, `?` for each value."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def __call__(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(statement.replace("%", "%%").replace("?", "%s"), values)
        return cursor.fetchall() if cursor.description is not None else []


def written(sql: Sql, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run a statement; what it wrote has the MACs that it would have had."""
    found = sql(statement, *values)
    if re.search(r"\bproperties\b", statement):
        _name_properties(sql)
    if statement.lstrip().upper().startswith(WRITES):
        take_as_it_is(sql)
    return found


def _name_properties(sql: Sql) -> None:
    """Each grant names those that lead to it, and no others."""
    there: dict[str, list[str]] = {grant_id: [] for (grant_id,) in sql("SELECT id FROM grants")}
    for grant_id, property_id in sql("SELECT grant_id, property_id FROM properties ORDER BY property_id"):
        there[grant_id].append(property_id)
    for grant_id, named in sql("SELECT id, property_ids FROM grants"):
        if set(there[grant_id]) != set(json.loads(named)):
            sql("UPDATE grants SET property_ids = ? WHERE id = ?", json.dumps(there[grant_id]), grant_id)


def take_as_it_is(sql: Sql) -> None:
    """Every row that is not genuine has its MAC from now on, and a history that was altered begins behind it."""
    sealed = sql("SELECT value FROM meta WHERE name = 'mac_key'")
    if not sealed:
        return
    key = MacKey(bytes.fromhex(AesGcmSealer([KEY]).open(bytes.fromhex(sealed[0][0]), MAC_KEY).reveal()))
    for table, columns in COVERED.items():
        for *row, mac in sql(f"SELECT {', '.join(columns)}, mac FROM {table}"):
            if mac != (good := key.mac(table, row)):
                sql(f"UPDATE {table} SET mac = ? WHERE id = ?", good, row[0])
    newest = (
        "SELECT id, chain, (SELECT MAX(sequence) FROM events WHERE connection_id = connections.id) FROM connections"
    )
    for home, text, sequence in sql(newest):
        chain = Chain.parse(text)
        if not chain.is_of(key, home) or chain.last != (sequence or 0):
            sql("UPDATE connections SET chain = ? WHERE id = ?", Chain.begun(key, home, sequence or 0).text, home)


async def altered(database: Database) -> list[str]:
    """Everything that is not as the product wrote it; a slow machine cannot read it all in the time of one
    transaction.
    """
    found: list[str] = []
    for verify in (verify_connections, verify_keys):
        page = await database.read(verify(limit=AT_ONCE))
        found += page.problems
        while page.last is not None:
            page = await database.read(verify(page.last, limit=AT_ONCE))
            found += page.problems
    return found
