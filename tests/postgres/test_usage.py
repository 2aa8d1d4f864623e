"""Counting calls over PostgreSQL: it holds up no refresh, and no refresh holds it up."""

from __future__ import annotations

import asyncio
import json
from typing import TypeVar

import psycopg
import pytest
from tests.support.processes import Processes

from cloudbeds_auth.database.postgres import SQL, PostgresDriver
from cloudbeds_auth.engine.history import record_calls
from cloudbeds_auth.rules.history import Calls
from cloudbeds_auth.transactions.connections import read_connection
from cloudbeds_auth.transactions.grants import Leased, take_lease
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.statements import Body, Statement, Transaction

T = TypeVar("T")
SOON = 1.0  # seconds; a lock is waited for twice as long, and then again


class Held(PostgresDriver):
    """Holds its next transaction open, before its COMMIT, for as long as the server sleeps."""

    hold = False

    async def write(self, body: Body[T], *, synced: bool = True) -> T:
        if not self.hold:
            return await super().write(body, synced=synced)
        self.hold = False
        return await super().write(lambda now: self._held(body(now)), synced=synced)

    @staticmethod
    def _held(running: Transaction[T]) -> Transaction[T]:
        result = yield from running
        yield Statement("asleep", "SELECT pg_sleep(4)", {})
        return result


@pytest.mark.row("F96")
async def test_a_lease_while_calls_are_written(processes: Processes) -> None:
    """A flush that stands still in the middle of its transaction is in nobody's way: the lease comes at once."""
    driver = await processes.opened(Held(processes.url))
    counting, refreshing = await processes.store(driver), await processes.store()
    hotels = [await processes.hotel(refreshing) for _ in range(3)]
    driver.hold = True
    lines = [Calls(hotel.id, 1, 1.0, 2.0, 1, 0, {"GET /x": 1}) for hotel in hotels]
    flush = asyncio.create_task(record_calls(counting, lines))
    try:
        await asyncio.sleep(0.5)
        for hotel in hotels:
            async with asyncio.timeout(SOON):
                assert isinstance(await refreshing.write(take_lease(hotel.id, "us", 30.0)), Leased)
        assert not flush.done()
    finally:
        await flush


@pytest.mark.row("F96")
async def test_calls_are_written_while_a_row_is_held(processes: Processes) -> None:
    """Another transaction holds a hotel's rows: the count is written all the same, and the time of last use later."""
    store = await processes.store()
    hotel = await processes.hotel(store)
    line = Calls(hotel.id, 1, 1.0, 2.0, 1, 0, {"GET /x": 1})
    async with await psycopg.AsyncConnection.connect(processes.url) as other:
        await other.execute("SELECT 1 FROM connections WHERE id = %s FOR UPDATE", (hotel.connection_id,))
        await other.execute("SELECT 1 FROM grants WHERE id = %s FOR UPDATE", (hotel.id,))
        async with asyncio.timeout(SOON):
            await record_calls(store, [line])
    assert "calls" in [event.kind for event in await store.read(read_history(hotel.connection_id))]
    seen = await store.read(read_connection(hotel.connection_id))
    assert seen is not None
    assert seen.used_at is None
    await record_calls(store, [line])
    seen = await store.read(read_connection(hotel.connection_id))
    assert seen is not None
    assert seen.used_at is not None


FILL = """
INSERT INTO calls SELECT 'con_' || hotel, span, 60000000 * at + hotel, 1, '', 'gra_' || hotel, 60000000 * at, 1, 0, '{}'
FROM generate_series(1, 50) hotel, (VALUES (60, 400), (3600, 200), (86400, 100)) spans (span, lines),
    generate_series(1::bigint, lines) at
"""
PERIOD = {"connection_id": "con_7", "generation": 1, "begins": 0, "ends": 3_600_000_000}
LINE = {"connection_id": "con_7", "span": 60, "first_us": 60_000_007, "generation": 1, "line": ""}
SEARCHES: dict[str, dict[str, object]] = {
    "calls": {"connection_id": "con_7", "span": 60, "first_us": 10**17, "limit": 100},
    "calls_within": {"periods": json.dumps([PERIOD] * 100), "span": 3600},
    "drop_calls": {"lines": json.dumps([LINE] * 100)},
    "old_calls": {"span": 60, "before": 10**10, "limit": 100},
    "sweep_calls": {"span": 60, "before": 10**10, "limit": 100},
}


@pytest.mark.row("F98")
@pytest.mark.parametrize("name", SEARCHES)
async def test_lines_are_found_by_an_index(processes: Processes, name: str) -> None:
    """However many hotels there are, and whatever the planner takes a period to hold."""
    await processes.store()
    async with await psycopg.AsyncConnection.connect(processes.url) as connection:
        await connection.execute(FILL)
        await connection.execute("ANALYZE calls")
        plan = await (await connection.execute(f"EXPLAIN {SQL[name]}", SEARCHES[name])).fetchall()
    assert not [line for (line,) in plan if "Seq Scan on calls" in line], plan
