"""What is due costs the same however many grants there are, and comes over from an earlier schema."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.database.bench import SqliteBench, about

from cloudbeds_auth.database import durability
from cloudbeds_auth.database import schema as schemas
from cloudbeds_auth.engine.usage import record_calls
from cloudbeds_auth.rules.history import Calls
from cloudbeds_auth.transactions.statements import QUERIES
from cloudbeds_auth.transactions.upkeep import next_due

DAY = 86400.0
PARAMETERS: dict[str, Any] = {
    "now": 5.0, "steady": 5.0, "clock_id": "boot", "until": 65.0, "limit": 4, "horizon": 1e9,
}  # fmt: skip
SEARCHES = {
    "claim_due": "grants_due", "pull_due": "grants_due_from", "next_due": "grants_due",
    "claim_listings": "grants_list", "pull_listings": "grants_list",
}  # fmt: skip
OF_THE_LIMIT = "SCAN late"  # over those that the search found, and no more than its limit


def schema(rows: int) -> apsw.Connection:
    """A database in memory with so many grants, a few of them due and a few too far ahead."""
    connection = apsw.Connection(":memory:")
    for _, sql in schemas.migrations():
        for statement in schemas.statements(sql):
            connection.execute(statement)
    connection.execute("INSERT INTO connections (id, app, created_at) VALUES ('con_1', 'default', 0)")
    connection.executemany(
        "INSERT INTO grants (id, connection_id, app, ordinal, kind, role, state, generation, expires_at, lifetime,"
        " stale_at, clock_id, received_at, due_at, list_at, due_from, measured_at)"
        " VALUES (?1, 'con_1', 'default', 1, 'oauth', 'active', 'fresh', 1, 0, 1, 0, 'boot', 0, ?2, ?2,"
        " CASE WHEN ?2 = 2e9 THEN 1e9 ELSE 1 END, CASE WHEN ?2 = 2e9 THEN 1e9 END)",
        ((f"gra_{at:07d}", at if at < 8 else 2e9 if at < 16 else None if at % 3 else 1e6 + at) for at in range(rows)),
    )
    connection.execute("ANALYZE")
    return connection


def steps(connection: apsw.Connection, name: str) -> int:
    """Instructions of SQLite's machine that a query takes."""
    counted = 0

    def one() -> bool:
        nonlocal counted
        counted += 1
        return False

    connection.set_progress_handler(one, 1)
    connection.execute(QUERIES[name], PARAMETERS).fetchall()
    connection.set_progress_handler(None)
    return counted


@pytest.mark.parametrize("name", SEARCHES)
def test_it_is_a_search_over_the_index(name: str) -> None:
    """No plan scans the table, and none sorts."""
    with closing(schema(1000)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {QUERIES[name]}", PARAMETERS)]
    index = SEARCHES[name]
    assert any(f"USING INDEX {index}" in line or f"USING COVERING INDEX {index}" in line for line in plan), plan
    scans = [line for line in plan if line.startswith("SCAN") and line != OF_THE_LIMIT]
    assert not [*scans, *(line for line in plan if "TEMP B-TREE" in line)], plan


@pytest.mark.parametrize("name", SEARCHES)
def test_the_work_does_not_grow(name: str) -> None:
    """Twenty times the grants, the same number of steps."""
    with closing(schema(1000)) as small, closing(schema(20_000)) as large:
        assert steps(small, name) == steps(large, name)


@pytest.fixture
def former(tmp_path: Path) -> Iterator[Path]:
    """A database of the first schema with grants of every sort."""
    path = tmp_path / "former"
    connection = apsw.Connection(str(path))
    durability.claim_file(connection, str(path))
    durability.settle_pragmas(connection, version=durability.version_number())
    for statement in schemas.statements(schemas.migrations()[0][1]):
        connection.execute(statement)
    connection.execute("INSERT INTO meta (name, value) VALUES ('schema_version', '1')")
    connection.execute("INSERT INTO connections (id, app, created_at) VALUES ('con_1', 'default', 0)")
    for at, (kind, role, used, reauth) in enumerate([
        ("oauth", "active", 900, None), ("oauth", "active", None, None), ("api_key", "active", 900, None),
        ("oauth", "candidate", None, None), ("oauth", "superseded", 900, None), ("oauth", "active", 900, "revoked"),
    ]):  # fmt: skip
        connection.execute(
            "INSERT INTO grants (id, connection_id, app, ordinal, kind, role, state, generation, expires_at, lifetime,"
            " stale_at, clock_id, received_at, used_at, reauth)"
            " VALUES (?, 'con_1', 'default', ?, ?, ?, 'fresh', 1, 1100, 1000, 1000, 'boot', 100, ?, ?)",
            (f"gra_{at}", at, kind, role, used, reauth),
        )
    yield path
    connection.close()


async def test_an_earlier_database(former: Path) -> None:
    """Grants in use are due when they turn stale, idle ones later, candidates now, what is over never. Of those in use
    it is asked which properties they cover: at once where none is known, else within a day.
    """
    with closing(apsw.Connection(str(former))) as connection:
        connection.execute("UPDATE grants SET property_ids = '[\"1000\"]' WHERE id = 'gra_1'")
    db = SqliteBench(former)
    await db.open()
    listed = [at for (at,) in db.sql("SELECT list_at FROM grants ORDER BY id")]
    assert listed == [100, 100 + DAY, 100, None, None, 100]
    found = [due for (due,) in db.sql("SELECT due_at FROM grants ORDER BY id")]
    assert found == [1000, 100 + 30 * DAY, 900 + 20 * DAY, 100, None, None]
    await db.close()


@pytest.mark.parametrize(("state", "due"), [("fresh", 3240.0), ("in_doubt", 86400.0)])
async def test_a_call_makes_an_idle_grant_due(db: SqliteBench, state: str, due: float) -> None:
    """The earlier of both moments; one that recovers keeps the moment of its next attempt."""
    grant = await db.connected()
    db.sql("UPDATE grants SET due_at = ?, state = ?", db.clock.wall + 86400, state)
    await record_calls(db.store, [Calls(grant.id, 1, db.clock.wall, db.clock.wall, 1, 0, {})])
    assert await db.store.read(next_due()) == about(due)
