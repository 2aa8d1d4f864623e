"""What there is to do, for people: queues, the window of the rate limit, the outbox, and how the jobs went."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.engine.test_jobs import Ticks
from tests.support.fakes import APP, pair
from tests.support.stage import Stage, another

from cloudbeds_auth.engine.jobs import Job, JobRecord, Jobs
from cloudbeds_auth.engine.workload import UNUSED, Workloads
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.rules.rate_limit import Limit, Rate, WindowUse
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.apps import add_app
from cloudbeds_auth.transactions.upkeep import Queue

AURORA = replace(APP, id="aurora", client_id="client-2", secrets=(Secret("s"),), redirect_uri="http://localhost/a")


async def test_what_waits(stage: Stage) -> None:
    """Of each queue how many, and for how long; and what of the rate of each client id is in use, as a share of those
    of the settings.
    """
    await stage.connected(pair(1, property_ids=("1000",)))
    await stage.one.store.write(add_app(AURORA))
    process = another(stage.one, limit=Limit(Rate(10)))
    limiter = process.world.limiter(APP)
    await limiter.spend(1.0)
    await limiter.pause(2.0)
    found = await process.workloads.read()
    assert set(found.queues) == set(Queue)
    assert found.queues[Queue.LISTINGS].waiting + found.queues[Queue.LISTINGS].soon == 1
    assert found.queues[Queue.RETRIES].waiting == 0
    first, second = found.windows
    assert (first.app.id, first.use.taken, first.use.spaced, first.waiting) == ("default", 1, True, 0)
    assert first.use.paused == pytest.approx(2.0)
    assert (second.app.id, second.use, second.waiting) == ("aurora", UNUSED, 0)
    assert (found.outbox.waiting, found.outbox.given_up) == (1, 0)
    assert await process.workloads.shares() == {"default": pytest.approx(0.1)}
    await limiter.stop()


async def test_without_a_limit(stage: Stage) -> None:
    """No window is shown, and no share."""
    assert (await stage.one.workloads.read()).windows == []
    assert await stage.one.workloads.shares() == {}


async def test_how_a_job_went(stage: Stage) -> None:
    """Its last success, its failures, and the kind of the last one."""
    ticks = Ticks(5.0, StoreUnavailable("away"), ValueError("a bug"))
    jobs = Jobs(stage.one.world, [Job("ticks", ticks.tick, first=10.0, after_failure=20.0)])
    workloads = Workloads(stage.one.world, jobs)
    assert (await workloads.read()).jobs == {"ticks": JobRecord()}
    stage.dice.roll, began = 0.999999999, stage.clock.wall()
    jobs.start(upkeep=True)
    await asyncio.sleep(60.0)
    await jobs.stop()
    record = (await workloads.read()).jobs["ticks"]
    assert (record.failures, record.error) == (2, "ValueError")
    assert record.succeeded_at is not None
    assert record.failed_at is not None
    assert record.succeeded_at - began == pytest.approx(55.0)
    assert record.failed_at - began == pytest.approx(35.0)


def test_nothing_in_use() -> None:
    """Of a client id that sent nothing since the store's start."""
    assert WindowUse(0, 0, 0.0, spaced=False) == UNUSED
