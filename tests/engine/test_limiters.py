"""The limiters of a process: as many as there is use for, however many hotels have keys of their own."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from tests.support.fakes import APP
from tests.support.hotels import BusyVendor, limited
from tests.support.stage import Process, Stage
from tests.support.virtual import settle

from cloudbeds_auth.engine import limiters
from cloudbeds_auth.engine.context import of_key
from cloudbeds_auth.rules.rate_limit import TurnLine

FEW = 5


@pytest.fixture
async def process(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Process:
    """Another process that keeps ten requests a second, and for which few limiters are many."""
    monkeypatch.setattr(limiters, "MANY", FEW)
    return await limited(stage, BusyVendor())


async def called(process: Process, *numbers: int) -> None:
    """One request for each of these hotels, which have a key of their own."""
    for number in numbers:
        await process.world.limiter(of_key(APP, f"con_{number}")).spend(5.0)


async def test_those_that_are_idle_are_forgotten(stage: Stage, process: Process) -> None:
    """A hotel that calls again has another one: its turns are kept by the store, whose row is known to be there."""
    await called(process, *range(FEW))
    await stage.clock.sleep(60.0)
    await called(process, FEW)
    assert set(process.world.limiters) == {("default", f"con_{FEW}")}
    unsynced = process.driver.unsynced["set_budget"]
    await called(process, 0)
    assert process.driver.unsynced["set_budget"] == unsynced + 1


async def test_what_the_store_would_not_say_is_kept(stage: Stage, process: Process) -> None:
    """A pause, requests that wait, a store that was away; they are looked through again when they have doubled."""
    await called(process, *range(FEW))
    await stage.clock.sleep(60.0)
    await process.world.limiter(of_key(APP, "con_0")).pause(900.0)
    process.driver.refuse("budget", times=1)
    await process.world.limiter(of_key(APP, "con_1")).spend(30.0, TurnLine("key_1", "con_1"))
    process.driver.refuse("budget", times=1)
    waiting = asyncio.create_task(process.world.limiter(of_key(APP, "con_2")).spend(30.0, TurnLine("key_1", "con_2")))
    await settle()
    await called(process, FEW)
    kept = {name for _, name in process.world.limiters}
    assert {"con_0", "con_2", f"con_{FEW}"} <= kept
    assert not {"con_3", "con_4"} & kept
    await waiting
    await stage.clock.sleep(1000.0)
    await called(process, *range(10, 10 + 2 * FEW))
    assert "con_0" not in {name for _, name in process.world.limiters}


async def test_requests_of_ours_that_wait_are_counted_by_app(process: Process) -> None:
    """Those of every client id of the app together; neither callers' nor one that gave up."""
    keyed = process.world.limiter(of_key(APP, "con_1"))
    own = process.world.limiter(APP)
    asking = [asyncio.create_task(one) for limiter in (own, keyed) for one in [limiter.spend(5.0) for _ in range(15)]]
    asking.append(asyncio.create_task(own.spend(5.0, TurnLine("key_1", "con_2"))))
    await settle()
    waiting = process.world.limiters.shared.waiting
    assert waiting["default"] == own.waiting + keyed.waiting > 0
    for one in asking:
        one.cancel()
    for one in asking:
        with suppress(asyncio.CancelledError):
            await one
    assert waiting == {"default": 0}
