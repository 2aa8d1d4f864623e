"""How long a lease waits while the calls of many hotels are written, over PostgreSQL at a distance.

    .venv/bin/python -m benchmarks.lease_wait [--hotels 1500] [--latency 0.002]

Each statement takes the latency on top of its own time. One process flushes all hotels, whose use is all to be noted;
another one takes and gives back a lease of one hotel after another meanwhile, and then for as long alone.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from contextlib import AsyncExitStack
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import psycopg
from tests.support.postgres import database, server
from tests.support.processes import Processes

from cloudbeds_auth import system
from cloudbeds_auth.database import postgres
from cloudbeds_auth.engine.history import CallRecorder
from cloudbeds_auth.rules.model import AccessToken, moment
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.grants import Leased, release_lease, take_lease
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.statements import Rows, Statement

CONNECTIONS = "INSERT INTO connections (id, app, created_at) SELECT 'con_' || at, 'a', 0 FROM generate_series(1, %s) at"
GRANTS = """
INSERT INTO grants (id, connection_id, app, ordinal, kind, role, state, generation, expires_at, lifetime, stale_at,
    clock_id, received_at)
SELECT 'gra_' || at, 'con_' || at, 'a', 1, 'oauth', 'active', 'fresh', 1, 0, 28800, 0, '', 0
FROM generate_series(1, %s) at
"""


async def measured(url: str, hotels: int, latency: float) -> None:
    """Print how long the flush took, and the lease that waited longest."""
    near = postgres._execute

    async def far(connection: postgres.Connection, statement: Statement) -> Rows:
        await asyncio.sleep(latency)
        return await near(connection, statement)

    postgres._execute = far
    async with AsyncExitStack() as stack:
        processes = Processes(url, stack)
        counting, refreshing = await processes.store(), await processes.store()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(CONNECTIONS, (hotels,))
            connection.execute(GRANTS, (hotels,))
        world: Any = SimpleNamespace(clock=system.SystemClock(), store=counting, owner="benchmark")
        recorder, names = CallRecorder(world), [f"gra_{at}" for at in range(1, hotels + 1)]
        for name in names:
            recorder.note(AccessToken(Secret("A"), moment(2e9), 1, grant_id=name), "GET", "/api/v1.3/getRooms", 200)
        began = time.perf_counter()
        flush = asyncio.create_task(recorder.flush(everything=True))
        beside = await leases(refreshing, names, flush)
        took = time.perf_counter() - began
        alone = await leases(refreshing, names, asyncio.create_task(asyncio.sleep(took)))
    print(f"{hotels} hotels flushed in {took:.1f} s; leases beside it: {shown(beside)}; alone: {shown(alone)}")


async def leases(store: Database, names: list[str], end: asyncio.Task[None]) -> list[float]:
    """How many milliseconds each one took, until that task is done."""
    waits = []
    for name in cycle(names):
        if end.done():
            break
        asked = time.perf_counter()
        lease = await store.write(take_lease(name, "benchmark", 30.0))
        waits.append(1000 * (time.perf_counter() - asked))
        assert isinstance(lease, Leased)
        await store.write(release_lease(name, lease.epoch))
    await end
    return sorted(waits)


def shown(waits: list[float]) -> str:
    """How many, and how long they took."""
    return f"{len(waits)}, the middle one {waits[len(waits) // 2]:.0f} ms, the longest {waits[-1]:.0f} ms"


def main() -> None:
    """Over a server of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hotels", type=int, default=1500)
    parser.add_argument("--latency", type=float, default=0.002, help="seconds")
    asked = parser.parse_args()
    with server() as made, database(made.url) as url:
        asyncio.run(measured(url, asked.hotels, asked.latency))


if __name__ == "__main__":
    main()
