"""A tick of upkeep over very many grants: rows that are made by SQL, each a copy of a hotel that was connected."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from statistics import median
from typing import Any

import psycopg

from benchmarks.hotels import PROPERTIES, Fleet
from cloudbeds_auth import TokenVault
from cloudbeds_auth.engine.jobs import AT_ONCE, MARKED_AT_ONCE
from cloudbeds_auth.transactions.statements import Transaction, Tx, transaction
from cloudbeds_auth.transactions.upkeep import claim_due, claim_retries, set_due_at

HOUR = 3600.0
KEYS = ("id", "connection_id")
MOMENTS = ("due_at", "poll_at", "list_at", "subscribe_at")  # when the jobs look after a grant
NUMBERS = "WITH RECURSIVE n (at) AS (SELECT 1 UNION ALL SELECT at + 1 FROM n WHERE at < {number})"
JOBS = ("upkeep", "retention", "app_states", "property_lists", "subscriber")
TICKS = 25
WARM = 5  # ticks before these
PER_SECOND = 10  # refreshes


def fill(fleet: Fleet, grants: int) -> Sequence[str]:
    """Connect a hotel and copy it until there are so many; the ids of as many grants as a tick of upkeep takes.

    Nothing is due for an hour, and within the next one all is.
    """
    fleet.connect(PROPERTIES[0])
    asyncio.run(nothing_due(fleet, ticks=1))  # what a first tick finds to do is done
    begins = time.time() + HOUR
    later = dict.fromkeys(MOMENTS, f"{begins} + {HOUR} * at / {grants}")
    with closing(_connected(fleet.database_url)) as connection:
        for table in ("connections", "grants"):
            columns = [name for name, *_ in connection.execute(f"SELECT * FROM {table}").description]
            values = [later.get(one, f"{one} || '_' || at" if one in KEYS else one) for one in columns]
            connection.execute(
                f"{NUMBERS.format(number=grants - 1)} INSERT INTO {table} ({', '.join(columns)})"
                f" SELECT {', '.join(values)} FROM n, (SELECT * FROM {table}) AS first"
            )
        for moment in MOMENTS:
            connection.execute(f"UPDATE grants SET {moment} = {begins} WHERE {moment} < {begins}")
        chosen = [one for (one,) in connection.execute(f"SELECT id FROM grants LIMIT {AT_ONCE}")]
        connection.commit()
    return chosen


def _connected(database_url: str) -> Any:
    if database_url.startswith("sqlite"):
        connection = sqlite3.connect(database_url.removeprefix("sqlite:///"))
        connection.execute("PRAGMA synchronous = OFF")
        return connection
    return psycopg.connect(database_url)


async def nothing_due(fleet: Fleet, ticks: int = TICKS, jobs: Sequence[str] = JOBS) -> float:
    """Milliseconds of a tick of these jobs, one after the other."""
    async with TokenVault.open(fleet.settings) as vault:
        chosen = [getattr(vault.engine, name) for name in jobs]
        took = []
        for _ in range(ticks):
            began = time.perf_counter()
            for job in chosen:
                await job.tick()
            took.append((time.perf_counter() - began) * 1e3)
        return median(took)


async def some_due(fleet: Fleet, chosen: Sequence[str]) -> float:
    """Milliseconds in which upkeep claims these grants, which are due."""
    async with TokenVault.open(fleet.settings) as vault:
        db, took = vault.engine.world.db, []
        for _ in range(TICKS):
            await db.write(plan(chosen, -HOUR))
            began = time.perf_counter()
            await db.write(claim_retries(MARKED_AT_ONCE, HOUR))
            claimed = await db.write(claim_due(AT_ONCE, HOUR))
            took.append((time.perf_counter() - began) * 1e3)
            assert sorted(claimed) == sorted(chosen)
        await db.write(plan(chosen, HOUR))
        return median(took)


async def refreshes(fleet: Fleet) -> float:
    """Milliseconds of CPU for one refresh by upkeep, its proof and what is stored, at ten a second."""
    with closing(_connected(fleet.database_url)) as connection:
        grants = [one for (one,) in connection.execute("SELECT id FROM grants")]
    async with TokenVault.open(fleet.settings.model_copy(update={"rate_limit": 0})) as vault:
        db, upkeep, planned = vault.engine.world.db, vault.engine.upkeep, 0.0
        before, began_cpu = fleet.simulator.refreshes(), 0.0
        for at in range(WARM + TICKS):
            began = time.perf_counter()
            if at == WARM:
                began_cpu, planned = time.process_time(), 0.0
            chosen = [grants[(AT_ONCE * at + one) % len(grants)] for one in range(AT_ONCE)]
            cpu = time.process_time()
            await db.write(plan(chosen, -HOUR))
            planned += time.process_time() - cpu  # which is not upkeep's
            await upkeep.tick()
            await asyncio.sleep(AT_ONCE / PER_SECOND - (time.perf_counter() - began))
        used = time.process_time() - began_cpu - planned
        assert fleet.simulator.refreshes() - before == AT_ONCE * (WARM + TICKS)
        return used / (AT_ONCE * TICKS) * 1e3


@transaction
def plan(tx: Tx, grant_ids: Sequence[str], seconds: float) -> Transaction[None]:
    """They are due in so many seconds."""
    for one in grant_ids:
        yield from set_due_at(tx, one, tx.wall + seconds)
