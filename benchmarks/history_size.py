"""How large a hotel becomes in the database: polled once a minute and refreshed as it ages, in compressed time.

    .venv/bin/python -m benchmarks.history_size [--days 70] [--hotels 2] [--processes 1] [--only sqlite]

Every transaction is the one that ships, and upkeep merges and deletes as it does. PostgreSQL's dead rows are vacuumed
four times a simulated day, as autovacuum would in real time. What is measured is what the database holds: of SQLite its
file, of PostgreSQL the tables with their indexes. From day 40 on a hotel gains the same each day; a year is told from
that.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.fakes import pair
from tests.support.postgres import database, server
from tests.support.postgres_stage import Elsewhere, PostgresDatabase
from tests.support.stage import SqliteDatabase, Stage, StageDatabase, stage
from tests.support.virtual import VirtualLoop

from cloudbeds_auth.engine.history import Retention, record_calls
from cloudbeds_auth.rules.history import Calls
from cloudbeds_auth.rules.model import Fence, Grant
from cloudbeds_auth.transactions.grants import Leased, commit_pair, release_lease, take_lease, write_intent
from cloudbeds_auth.transactions.refusals import confirm

HOUR, DAY = 3600.0, 86400.0
STEADY = 40  # days until what is added is days and events alone
LIFETIME = 8 * HOUR
METHODS = {"GET /api/v1.3/getReservations": 1, "GET /api/v1.3/getRoomBlocks": 1}
BEFORE = 10_000  # lines of the form before, one an event, to measure one by
TABLES = ("calls", "events", "grants", "tokens", "connections", "properties", "meta")


@dataclass
class Hotel:
    """A connected hotel, and when it is refreshed next."""

    grant: Grant
    generation: int
    due: float


@contextmanager
def databases(only: str | None) -> Iterator[dict[str, StageDatabase]]:
    """By name; PostgreSQL is a server of its own."""
    with TemporaryDirectory() as folder, server() as made, database(made.url) as url:
        elsewhere = Elsewhere()
        every: dict[str, StageDatabase] = {
            "sqlite": SqliteDatabase(Path(folder) / "vault.sqlite3"),
            "postgresql": PostgresDatabase(url, elsewhere),
        }
        yield {name: place for name, place in every.items() if only in {None, name}}
        elsewhere.close()


def size(place: StageDatabase) -> int:
    """Bytes that the database holds now."""
    if isinstance(place, SqliteDatabase):
        place.sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return place.path.stat().st_size
    return sum(place.sql("SELECT pg_total_relation_size(?)", table)[0][0] for table in TABLES)


async def refreshed(made: Stage, hotel: Hotel) -> None:
    """As a refresh and its proof leave it: intent, pair, proof."""
    store = made.one.store
    lease = await store.write(take_lease(hotel.grant.id, "benchmark", 60.0))
    assert isinstance(lease, Leased)
    fence, row = Fence(hotel.grant.id, hotel.generation, lease.epoch), await made.row(hotel.grant.id)
    assert await store.write(write_intent(fence, row.tokens[-1].position, lease=60.0, hold=0.0))
    await store.write(commit_pair(fence, row.tokens[-1], pair("next", lifetime=LIFETIME), stale_after=0.9 * LIFETIME))
    await store.write(confirm(hotel.grant.id, hotel.generation + 1))
    await store.write(release_lease(hotel.grant.id, lease.epoch))
    hotel.generation += 1
    hotel.due += 0.9 * LIFETIME


async def six_hours(made: Stage, hotels: list[Hotel], processes: int) -> None:
    """Each hotel is polled once a minute by each process."""
    now, lines = made.clock.wall(), []
    for minute in range(360):
        for number, hotel in enumerate(hotels):
            at = now + 60.0 * minute + number / 7
            if at > hotel.due:
                await refreshed(made, hotel)
            lines += [
                Calls(hotel.grant.id, hotel.generation, at + p / 3, at + p / 3 + 40, 2, 0, METHODS, f"host/{p}/{at}")
                for p in range(processes)
            ]
    await made.clock.sleep(6 * HOUR)
    await record_calls(made.one.store, lines)
    while await Retention(made.one.world, 400).tick() <= 1.0:
        pass


async def measured(name: str, place: StageDatabase, days: int, hotels: int, processes: int) -> None:
    """Print what a hotel takes, and would take after a year."""
    async with stage(place) as made:
        begin = size(place)
        now = made.clock.wall()
        connected = [
            await made.connected(pair(at, lifetime=LIFETIME, property_ids=(str(1000 + at),))) for at in range(hotels)
        ]
        there = [Hotel(grant, 1, now + 0.9 * LIFETIME) for grant in connected]
        kib: dict[int, float] = {}
        for day in range(1, days + 1):
            for _ in range(4):
                await six_hours(made, there, processes)
                if isinstance(place, PostgresDatabase):
                    place.sql("VACUUM")
            kib[day] = (size(place) - begin) / hotels / 1024
            if day in {1, STEADY, days}:
                rows = dict(place.sql("SELECT span, COUNT(*) FROM calls GROUP BY span ORDER BY span"))
                (events,) = place.sql("SELECT COUNT(*) FROM events")[0]
                each = {span: round(count / hotels) for span, count in rows.items()}
                print(f"{name}: day {day}: {kib[day]:,.0f} KiB a hotel; lines {each}, events {events // hotels}")
        if days > STEADY:
            gained = (kib[days] - kib[STEADY]) / (days - STEADY)
            print(f"{name}: {gained:,.2f} KiB a day: {kib[days] + (365 - days) * gained:,.0f} KiB a hotel after a year")
        print(f"{name}: a line a minute, as events: {as_events(place, there[0].grant):,.0f} bytes each", flush=True)


def as_events(place: StageDatabase, grant: Grant) -> float:
    """Bytes of one line in the form of earlier versions."""
    begin = size(place)
    data = json.dumps({"count": 2, "first": 1.8e9 + 0.1, "last": 1.8e9 + 40.1, "methods": METHODS, "refused": 0})
    place.sql(
        "WITH RECURSIVE n (at) AS (SELECT 1 UNION ALL SELECT at + 1 FROM n WHERE at < ?) INSERT INTO events"
        " SELECT ?, 1000000 + at, 1800000000.1 + at, 'calls', 'caller', ?, 1, ? FROM n",
        *(BEFORE, grant.connection_id, grant.id, data),
    )
    return (size(place) - begin) / BEFORE


def main() -> None:
    """Both databases, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("days", 70), ("hotels", 2), ("processes", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    asked = parser.parse_args()
    with databases(asked.only) as places:
        for name, place in places.items():
            loop = VirtualLoop()
            loop.run_until_complete(measured(name, place, asked.days, asked.hotels, asked.processes))
            loop.close()


if __name__ == "__main__":
    main()
