"""What the background does: a tick that finds nothing, old history, and refreshes of very many."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress

import uvloop

from benchmarks import upkeep
from benchmarks.copies import Plain
from benchmarks.scale import fill
from benchmarks.scale.place import Found, Place
from cloudbeds_auth import TokenVault

KEPT = 300  # days, of which the history here has some more
DELETES = 20.0  # seconds in which rows are deleted, at most
SLOW = 1.0  # seconds that Cloudbeds takes for each answer
SETTLES, REFRESHES = 5.0, 30.0  # seconds before it is counted, and in which it is
DUE = "SELECT (SELECT COUNT(*) FROM events WHERE at < {at}) + (SELECT COUNT(*) FROM calls WHERE last_us < {at} * 1e6)"


def nothing_due(place: Place) -> Iterator[Found]:
    """A tick of each job."""
    for job in upkeep.JOBS:
        yield Found(job, uvloop.run(upkeep.nothing_due(place.fleet, jobs=(job,))))


def retention(place: Place) -> Iterator[Found]:
    """Rows of history that are deleted where less is to be kept than there is."""
    with Plain(place.fleet.settings) as sql:
        due = DUE.format(at=time.time() - KEPT * fill.DAY)
        before = sql(due)[0][0]
        begun = time.monotonic()
        uvloop.run(_deletes(place))
        took = time.monotonic() - begun
        gone = before - sql(due)[0][0]
    yield Found("retention", gone / took, f"{gone:,} of {before:,} due, in {took:.1f} s")


async def _deletes(place: Place) -> None:
    """Run the job as its loop does, which waits between half and all of what a tick says; until nothing is left."""
    settings = place.fleet.settings.model_copy(update={"retention_days": KEPT})
    with suppress(TimeoutError):
        async with TokenVault.open(settings) as vault, asyncio.timeout(DELETES):
            wait = 0.0
            while wait < DELETES:
                await asyncio.sleep(0.75 * wait)
                wait = await vault.engine.retention.tick()


def refreshes(place: Place) -> Iterator[Found]:
    """All hotels are due at once, half of them by a second client id; Cloudbeds takes its time for everything."""
    simulator = place.fleet.simulator
    with Plain(place.fleet.settings) as sql:
        sql(f"UPDATE grants SET due_at = {time.time() - 1}")
    simulator.fault("delay", "any", times=None, seconds=SLOW)
    try:
        with place.serving():
            time.sleep(SETTLES)
            before, begun = simulator.refreshes(), time.monotonic()
            time.sleep(REFRESHES)
            done, took = simulator.refreshes() - before, time.monotonic() - begun
    finally:
        simulator.clear_faults()
    yield Found("refreshes", done / took, f"{done} in {took:.0f} s")
