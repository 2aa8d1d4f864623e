"""The loops of an open vault, in virtual time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from tests.support.fakes import APP
from tests.support.hotels import BusyVendor, hotels, limited, upkeep_of
from tests.support.stage import Process, Stage
from tests.support.virtual import VirtualClock

from cloudbeds_auth.background import Background
from cloudbeds_auth.engine.properties import PAUSE, Groups
from cloudbeds_auth.engine.retention import Retention
from cloudbeds_auth.engine.upkeep import LONGEST
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.runtime import Engine
from cloudbeds_auth.wire.token_endpoint import HttpTokenEndpoint

STALE = 3240.0


def background(process: Process, *, upkeep: bool) -> Background:
    """Over the parts of an engine that the loops use."""
    idle: Any = SimpleNamespace(pause=lambda: 1e9)
    engine: Any = SimpleNamespace(
        world=process.world, calls=process.calls, upkeep=upkeep_of(process), retention=Retention(process.world, 400),
        outbound=None, inbound=idle, groups=idle,
    )  # fmt: skip
    return Background(engine, upkeep=upkeep)


@pytest.mark.parametrize(("upkeep", "renewed"), [(True, ["R-0", "R-1"]), (False, [])])
async def test_upkeep_is_asked_for(stage: Stage, upkeep: bool, renewed: list[str]) -> None:
    """With it, grants are refreshed when they turn stale and not before; without it, when somebody asks."""
    vendor = BusyVendor()
    await hotels(stage, 2)
    loops = background(await limited(stage, vendor), upkeep=upkeep)
    loops.start()
    await asyncio.sleep(STALE - 1)
    assert vendor.moments == []
    await asyncio.sleep(LONGEST + 5)
    await loops.stop()
    assert vendor.renewed == renewed


async def test_the_loop_outlives_the_store(stage: Stage) -> None:
    """A database that is away is told about, and what is due is done when it is back."""
    vendor = BusyVendor()
    await hotels(stage, 1)
    process = await limited(stage, vendor)
    loops = background(process, upkeep=True)
    loops.start()
    process.driver.dark = True
    await asyncio.sleep(STALE + 60)
    assert ("background_failed", {"error": "StoreUnavailable"}) in stage.notes.told
    assert vendor.moments == []
    process.driver.dark = False
    await asyncio.sleep(LONGEST + 5)
    assert vendor.renewed == ["R-0"]
    await loops.stop()


async def test_fifty_do_not_wake_together(stage: Stage) -> None:
    """Each waits between half and all of what it might."""
    upkeep, waits = upkeep_of(stage.one), []
    for roll in (0.0, 0.5, 0.999):
        stage.dice.roll = roll
        waits.append(await upkeep.tick())
    assert waits == sorted(set(waits))
    assert LONGEST / 2 <= min(waits) <= max(waits) <= LONGEST


async def test_counted_calls_are_written(stage: Stage) -> None:
    """The other loop, with upkeep or without."""
    (grant,) = await hotels(stage, 1, used=False)
    loops = background(stage.one, upkeep=False)
    loops.start()
    stage.one.calls.note(grant.token(), "GET", "/api/v1.3/userinfo", 200)
    await asyncio.sleep(2)
    await loops.stop()
    assert "calls" in await stage.kinds(grant.connection_id)


@pytest.mark.parametrize("upkeep", [True, False])
async def test_groups_are_asked_for(stage: Stage, upkeep: bool) -> None:
    """The loop of upkeep beside the others: it outlives the store, and is one of upkeep's alone."""
    (grant,) = await hotels(stage, 1)
    stage.vendor.listed = ("1000", "1001")
    idle: Any = SimpleNamespace(pause=lambda: 1e9)
    asking = Groups(stage.one.world, stage.one.access, stage.one.health)
    engine: Any = SimpleNamespace(
        world=stage.one.world, calls=stage.one.calls, upkeep=upkeep_of(stage.one),
        retention=Retention(stage.one.world, 400), outbound=None, inbound=idle, groups=asking,
    )  # fmt: skip
    loops = Background(engine, upkeep=upkeep)
    loops.start()
    stage.one.driver.dark = True
    await asyncio.sleep(100)
    stage.one.driver.dark = False
    await asyncio.sleep(PAUSE)
    await loops.stop()
    assert (await stage.row(grant.id)).property_ids == (("1000", "1001") if upkeep else ("1000",))


class Slow(httpx2.AsyncBaseTransport):
    """Answers after seven seconds."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(7.0)
        return httpx2.Response(200, json={}, request=request)


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
    await Engine.settled(engine, 5.0)
    assert clock.steady() - began == pytest.approx(settled)
    await asyncio.gather(*asking)
