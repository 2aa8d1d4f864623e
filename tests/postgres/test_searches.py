"""Searches among very many grants, by PostgreSQL's own plan."""

from __future__ import annotations

import psycopg
import pytest
from tests.support.processes import Processes

from cloudbeds_auth.database.postgres import SQL

FILL = """
INSERT INTO grants (id, connection_id, app, ordinal, kind, role, state, generation, expires_at, lifetime, stale_at,
    clock_id, received_at, due_at)
SELECT 'gra_' || n, 'con_' || n, 'default', 1, 'oauth', CASE WHEN n % 1000 = 0 THEN 'parked' ELSE 'active' END, 'fresh',
    1, 0, 1, 0, 'boot', n, n FROM generate_series(1, 20000) n;
INSERT INTO properties SELECT 'gra_' || n, n FROM generate_series(1, 20000) n;
"""
SEARCHES: dict[str, dict[str, object]] = {
    "parked_too_long": {"now": 1e9},
    "count_parked": {},
    "set_aside": {"app": "default", "property_id": "7", "connection_id": "con_8", "received_at": 9.0},
    "set_aside_since": {"app": "default", "property_id": "7", "connection_id": "con_8", "received_at": 1.0, "now": 9.0},
    "connections_covering": {"app": "default", "property_id": "7"},
}


@pytest.mark.parametrize("name", SEARCHES)
async def test_grants_that_wait_are_found_by_an_index(processes: Processes, name: str) -> None:
    """However many hotels there are: an approval that comes in waits for it, and others wait for that one."""
    await processes.store()
    async with await psycopg.AsyncConnection.connect(processes.url) as connection:
        await connection.execute("SET session_replication_role = replica")  # no connections are needed
        await connection.execute(FILL)
        await connection.execute("ANALYZE")
        plan = await (await connection.execute(f"EXPLAIN {SQL[name]}", SEARCHES[name])).fetchall()
    assert not [line for (line,) in plan if "Seq Scan" in line and "connections" not in line], plan
