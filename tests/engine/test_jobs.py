"""The jobs of an open vault and the loop that runs them, in virtual time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from tests.engine.test_webhooks import Receiver
from tests.support.fakes import APP
from tests.support.hotels import BusyVendor, hotels, limited
from tests.support.stage import Process, Stage, another
from tests.support.virtual import VirtualClock

from cloudbeds_auth.engine.jobs import AFTER_FAILURE, Job, Jobs
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.rules.schedule import PAUSE
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.runtime import OpenEngine
from cloudbeds_auth.transactions.seals import SEEN_EVERY, SEEN_FOR, is_seen
from cloudbeds_auth.wire.token_endpoint import HttpTokenEndpoint

STALE = 3240.0
ALWAYS = {"write calls", "write uses of keys", "write failures"}
UPKEEP = {"upkeep", "key in use", "retention", "app states", "groups", "subscriptions"}


class Ticks:
    """Work that says when to come again, or fails, as the test wants; `moments` are those at which it was asked."""

    def __init__(self, *ends: float | Exception) -> None:
        self.ends = list(ends)
        self.began = asyncio.get_running_loop().time()
        self.moments: list[float] = []

    async def tick(self) -> float:
        self.moments.append(asyncio.get_running_loop().time() - self.began)
        end = self.ends.pop(0) if self.ends else 1e6
        if isinstance(end, Exception):
            raise end
        return end


async def run(process: Process, seconds: float, *jobs: Job) -> None:
    """These jobs for so long."""
    running = Jobs(process.world, jobs)
    running.start(upkeep=True)
    await asyncio.sleep(seconds)
    await running.stop()


@pytest.mark.parametrize(
    ("upkeep", "receiver", "names"),
    [
        (True, Receiver(), {*ALWAYS, "webhooks"} | UPKEEP),
        (True, None, ALWAYS | UPKEEP),
        (False, Receiver(), ALWAYS),
    ],
)
async def test_which_jobs_run(stage: Stage, upkeep: bool, receiver: Receiver | None, names: set[str]) -> None:
    """Without upkeep counted calls and uses of keys are written and no more; messages wait where no address is set.
    Each is started once and stopped.
    """
    before = asyncio.all_tasks()
    jobs = another(stage.one, deliverer=receiver).jobs
    jobs.start(upkeep=upkeep)
    jobs.start(upkeep=upkeep)
    running = asyncio.all_tasks() - before
    assert sorted(task.get_name() for task in running) == sorted(names)
    await jobs.stop()
    assert all(task.cancelled() for task in running)


async def test_the_loop_outlives_whatever_goes_wrong(stage: Stage) -> None:
    """It is an event, and the next tick comes after the pause of its row; one that has more to do comes at once."""
    stage.dice.roll = 0.999999999
    ticks = Ticks(0.0, StoreUnavailable("away"), 5.0, ValueError("a bug"))
    await run(stage.one, 60, Job("ticks", ticks.tick, first=10.0, after_failure=20.0))
    assert ticks.moments == pytest.approx([10.0, 10.0, 30.0, 35.0, 55.0])
    told = [facts for what, facts in stage.notes.told if what == "background_failed"]
    assert told == [{"error": "StoreUnavailable"}, {"error": "ValueError"}]


async def test_fifty_do_not_wake_together(stage: Stage) -> None:
    """Each waits between half and all of what it might."""
    for roll, first in ((0.0, 5.0), (0.5, 7.5), (0.999, 9.995)):
        stage.dice.roll, ticks = roll, Ticks()
        await run(stage.one, 11, Job("ticks", ticks.tick, first=10.0))
        assert ticks.moments == pytest.approx([first])


async def test_a_copy_of_another_installation_does_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 16: nothing is claimed and nothing fails; its callers' calls are still seen to. The original does it all."""
    always, ticks = Ticks(), Ticks()
    monkeypatch.setattr(stage.one.store, "_read_only", True)
    await run(stage.one, 2 * PAUSE, Job("always", always.tick, always=True), Job("ticks", ticks.tick))
    assert (len(always.moments), len(ticks.moments)) == (1, 0)
    monkeypatch.setattr(stage.one.store, "_read_only", False)
    await run(stage.one, PAUSE, Job("ticks", ticks.tick))
    assert len(ticks.moments) == 1
    assert stage.notes.times("background_failed") == 0


async def test_grants_are_refreshed_when_they_turn_stale(stage: Stage) -> None:
    """And not before. A database that is away is an event, and what is due is done when it is back."""
    vendor = BusyVendor()
    await hotels(stage, 2)
    process = await limited(stage, vendor)
    jobs = Jobs(process.world, [Job("upkeep", process.upkeep.tick, first=AFTER_FAILURE)])
    jobs.start(upkeep=True)
    await asyncio.sleep(STALE - 1)
    assert vendor.moments == []
    process.driver.dark = True
    await asyncio.sleep(60)
    assert ("background_failed", {"error": "StoreUnavailable"}) in stage.notes.told
    assert vendor.moments == []
    process.driver.dark = False
    await asyncio.sleep(PAUSE + 5)
    assert vendor.renewed == ["R-0", "R-1"]
    await jobs.stop()


async def test_a_service_says_with_which_key_it_seals(stage: Stage) -> None:
    """At once, and again each minute; what runs without upkeep is no service, and does not."""
    jobs = another(stage.one).jobs
    jobs.start(upkeep=False)
    await asyncio.sleep(SEEN_EVERY)
    assert not await stage.one.store.read(is_seen())
    await jobs.stop()
    jobs.start(upkeep=True)
    await asyncio.sleep(1.0)
    assert await stage.one.store.read(is_seen())
    await asyncio.sleep(SEEN_FOR)
    assert await stage.one.store.read(is_seen())
    await jobs.stop()
    await asyncio.sleep(SEEN_FOR)
    assert not await stage.one.store.read(is_seen())


async def test_counted_calls_are_written(stage: Stage) -> None:
    """With upkeep or without."""
    (grant,) = await hotels(stage, 1, used=False)
    jobs = stage.one.jobs
    jobs.start(upkeep=False)
    stage.one.calls.note(grant.token(), "GET", "/api/v1.3/userinfo", 200)
    await asyncio.sleep(2)
    await jobs.stop()
    assert "calls" in await stage.kinds(grant.connection_id)


class Slow(httpx2.AsyncBaseTransport):
    """Answers after seven seconds."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(7.0)
        return httpx2.Response(200, stream=httpx2.ByteStream(b"{}"), request=request)


@pytest.mark.row("F106")
@pytest.mark.parametrize(
    ("begun", "settled"),
    [
        pytest.param([], 5.0, id="nothing is under way"),
        pytest.param([0.0], 12.0, id="an answer is awaited"),
        pytest.param([0.0, 3.0], 15.0, id="two answers"),
        pytest.param([0.0, 11.0], 23.0, id="a refusal led to another request"),
    ],
)
async def test_how_long_a_program_that_ends_waits(begun: list[float], settled: float) -> None:
    """Five seconds from the last answer that was under way: in them the pair is committed."""
    clock = VirtualClock()
    endpoint = HttpTokenEndpoint("https://cloudbeds.example/token", Timing(), Slow())
    engine: Any = SimpleNamespace(token_endpoint=endpoint, world=SimpleNamespace(clock=clock))

    async def ask(after: float) -> None:
        await asyncio.sleep(after)
        await endpoint.refresh(APP, Secret("secret"), Secret("R-1"), lambda: True)

    asking = [asyncio.create_task(ask(after)) for after in begun]
    await asyncio.sleep(0)
    began = clock.steady()
    await OpenEngine.settled(engine, 5.0)
    assert clock.steady() - began == pytest.approx(settled)
    await asyncio.gather(*asking)
