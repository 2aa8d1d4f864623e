"""F52 and F53: clocks that disagree with the vendor's, and moments at which clocks misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.support.cloud import Cloud
from tests.support.fakes import Notebook, issued
from tests.support.stage import Stage
from tests.support.vaults import House
from tests.support.virtual import BEGAN, WALL, VirtualClock, VirtualLoop

from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.vault import TokenVault

LIFETIME = 28_800.0
TEN_MINUTES = 600.0
LEAP_SECOND = 1_483_228_799.0  # 2016-12-31T23:59:59Z: one second long, and one more
DAYLIGHT_SAVING = 1_774_746_000.0  # 2026-03-29T01:00:00Z: Berlin's clocks go from 2 to 3
YEAR_2038 = 2_147_483_647.0  # the last second of a signed 32 bit integer


@pytest.fixture
async def connected(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[SimpleNamespace]:
    """A vault, and a connected hotel at a vendor whose clock is so many seconds ahead of ours."""
    loop = asyncio.get_running_loop()
    cloud = Cloud(lambda: WALL + loop.time() - BEGAN + request.param, "V2/n", ("1000",), LIFETIME)
    house = House(tmp_path / "vault.sqlite3", VirtualClock(), cloud, Notebook())
    vault = await house.open()
    begun = await vault.begin_authorization()
    code, state = cloud.approve(begun.url, "1000")
    connection = await vault.finish_authorization(code=code, state=state)
    yield SimpleNamespace(house=house, cloud=cloud, vault=vault, id=connection.id)
    await vault.aclose()


async def served(hotel: SimpleNamespace, vault: TokenVault) -> bool:
    """Whether a protected call goes through."""
    status: int = await hotel.house.call(vault, hotel.id)
    return status == 200


@pytest.mark.row("F52")
@pytest.mark.parametrize("connected", [-TEN_MINUTES, TEN_MINUTES, 3600.0], indirect=True)
async def test_clocks_that_disagree(connected: SimpleNamespace) -> None:
    """A lifetime is counted from when the answer came: a vendor ahead or behind costs nothing, a day through."""
    for _ in range(24):
        assert await served(connected, connected.vault)
        await connected.house.clock.sleep(3600.0)
    grant = connected.cloud.received["1000"]
    assert connected.cloud.refreshes[grant.number] == 2
    answers = [entry for what, entry in connected.house.observer.told if what == "token_answer"]
    assert {answer["answer"] for answer in answers} == {"Issued"}


@pytest.mark.row("F52")
@pytest.mark.parametrize("connected", [0.0], indirect=True)
async def test_a_token_that_ends_ten_minutes_early(connected: SimpleNamespace) -> None:
    """By the vendor's clock it is over, by ours it is not: the 401 heals with one refresh, and the caller sees none."""
    await connected.house.clock.sleep(LIFETIME - LIFETIME * 0.2)
    connected.cloud.expire("1000")
    two = await connected.house.open()
    assert await served(connected, connected.vault)
    assert await served(connected, two)
    await two.aclose()
    assert connected.cloud.refreshes[connected.cloud.received["1000"].number] == 1


@pytest.mark.row("F53")
@pytest.mark.parametrize("moment", [LEAP_SECOND, DAYLIGHT_SAVING, YEAR_2038, YEAR_2038 + 86_400.0, 0.0])
@pytest.mark.parametrize("uptime", [-10_000.0, 0.0, 3e9])
async def test_a_strange_moment(stage: Stage, moment: float, uptime: float) -> None:
    """Connected just before it: fresh, stale and refreshed behind, expired and refreshed, as at any other time."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.now = uptime
    stage.clock.jump += moment - 1.0 - stage.clock.wall()
    grant = await stage.connected()
    access, look = stage.one.access, stage.one.views
    assert (await access.access_token(grant.connection_id)).reveal() == "A-1"
    await stage.clock.sleep(3300.0)
    assert (await look.connection(grant.connection_id)).state is State.STALE
    stage.endpoint.will(issued(2))
    assert (await access.access_token(grant.connection_id)).reveal() == "A-1"
    await stage.one.idle()
    found = await look.connection(grant.connection_id)
    assert (found.generation, found.state) == (2, State.FRESH)
    assert found.expires_at is not None
    assert found.expires_at.timestamp() == pytest.approx(moment - 1.0 + 3300.0 + 3600.0)
    await stage.clock.sleep(3700.0)
    stage.endpoint.will(issued(3))
    assert (await access.access_token(grant.connection_id)).reveal() == "A-3"
    assert stage.endpoint.sent == ["R-1", "R-2"]
