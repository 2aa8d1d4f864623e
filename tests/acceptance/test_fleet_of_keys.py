"""A fleet of keys over real HTTP, against the simulator: pasted, exchanged, died, replaced; over both databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.simulator import Vendor, vendor

from cloudbeds_auth import (
    KeyRefused,
    PropertyMismatch,
    ReauthorizationRequired,
    Secret,
    Settings,
    State,
    TokenVault,
    TryAgain,
)
from cloudbeds_auth.rules.refresh import Timing

HOTELS = [str(number) for number in range(100_001, 100_013)]
ENDPOINT = "http://127.0.0.1:9/hotel-events"
NEW, MOVED, EXCHANGED, OAUTH = HOTELS[:3], HOTELS[3:6], HOTELS[6:9], HOTELS[9:]


@pytest.fixture(autouse=True)
def scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for rule 12's minute."""
    short = replace(Timing.scaled(1.0), refusal_interval=0.2)
    monkeypatch.setattr(Timing, "of", lambda deadline: short)


@pytest.fixture
async def cloud() -> AsyncIterator[Vendor]:
    """The simulator."""
    async with vendor(hotels=len(HOTELS)) as running:
        yield running


@pytest.fixture
def installation(cloud: Vendor, settings: dict[str, str], tmp_path: Path) -> Settings:
    """Over either database."""
    given = {name.removeprefix("CLOUDBEDS_AUTH_").lower(): value for name, value in settings.items()}
    return cloud.settings(
        tmp_path, scopes="read:hotel read:guest", subscriptions=("guest/details_changed",), subscriptions_url=ENDPOINT,
        subscriptions_secret=Secret("a-header-that-nobody-guesses-0123456"), **given,
    )  # fmt: skip


def key_of(cloud: Vendor, *hotels: str, **more: Any) -> str:
    """A key that these hotels make."""
    return cloud.simulator.model.make_key(hotels, more.get("scopes", ()), cloud.simulator.clock.now()).key.value


def delete(cloud: Vendor, key: str) -> None:
    """The hotel deletes it."""
    model = cloud.simulator.model
    found = model.find(key, cloud.simulator.clock.now())
    model.end(found, "deleted by the hotel")  # type: ignore[arg-type]


async def served(vault: TokenVault, hotel: str) -> None:
    """A call for this hotel is answered, for this hotel."""
    answer = await vault.call(hotel, "GET", "getHotels")
    assert [one["propertyID"] for one in answer.json()["data"]] == [hotel]


async def subscribed(cloud: Vendor, vault: TokenVault) -> Counter[str]:
    """How often each hotel is subscribed at the simulator, once all were looked after."""
    for _ in HOTELS:
        await vault.engine.subscriber.tick()
    known = cloud.simulator.model.subscriptions.known.values()
    return Counter(one.property_id for one in known if one.endpoint == ENDPOINT)


async def until_dead(vault: TokenVault, hotel: str) -> ReauthorizationRequired:
    """Call until it is settled that the key is dead."""
    while True:
        try:
            await vault.call(hotel, "GET", "getHotels")
        except ReauthorizationRequired as error:
            return error
        except TryAgain:
            await asyncio.sleep(0.05)  # the vendor is asked twice, an interval apart


async def fleet(cloud: Vendor, vault: TokenVault) -> dict[str, str]:
    """Every hotel comes in by its way; the ids of their connections."""
    ids = {hotel: (await cloud.connect(vault, hotel)).id for hotel in (*MOVED, *EXCHANGED, *OAUTH)}
    for hotel in NEW:
        ids[hotel] = (await vault.add_api_key(key_of(cloud, hotel), reference=f"tenant-{hotel}")).id
    for hotel in MOVED:
        assert (await vault.add_api_key(key_of(cloud, hotel), expected_properties=[hotel])).id == ids[hotel]
    for hotel in EXCHANGED:
        assert (await vault.migrate_to_api_key(hotel)).id == ids[hotel]
    return ids


async def test_a_fleet_of_keys(cloud: Vendor, installation: Settings) -> None:
    """Every hotel keeps its connection through all of it, is served, and is subscribed once; nothing of a hotel that
    has a key is refreshed, and Cloudbeds is told nothing.
    """
    async with TokenVault.open(installation) as vault:
        ids = await fleet(cloud, vault)
        assert await subscribed(cloud, vault) == dict.fromkeys(HOTELS, 1)
    cloud.expire()  # only tokens end
    since = len(cloud.simulator.journal.entries)
    async with TokenVault.open(installation) as vault:  # another process, later
        for hotel in HOTELS:
            await served(vault, hotel)
        kinds = {one.property_ids[0]: one.credential for one in await vault.connections()}
        assert kinds == {hotel: "oauth" if hotel in OAUTH else "api_key" for hotel in HOTELS}
        assert {one.property_ids[0]: one.id for one in await vault.connections()} == ids
        refreshed = [one for one in cloud.simulator.journal.entries[since:] if one.grant_type == "refresh_token"]
        assert len(refreshed) == len(OAUTH)

        for hotel in (NEW[0], MOVED[0]):  # each deletes its key, and makes another one
            delete(cloud, (await vault.access_token(hotel)).reveal())
            assert "paste a new one" in (await until_dead(vault, hotel)).next_step
            shown = await vault.connection(hotel)
            assert (shown.id, shown.state) == (ids[hotel], State.REAUTHORIZATION_REQUIRED)
            mended = await vault.add_api_key(key_of(cloud, hotel), connection_id=ids[hotel])
            assert (mended.id, mended.state) == (ids[hotel], State.FRESH)
            await served(vault, hotel)
        twice = dict.fromkeys((NEW[0], MOVED[0]), 2)  # that of a deleted key is not the new one's to end
        assert await subscribed(cloud, vault) == dict.fromkeys(HOTELS, 1) | twice
    assert not [one for one in cloud.simulator.journal.entries if "postAppState" in one.path]


async def test_keys_that_do_not_come_in(cloud: Vendor, installation: Settings) -> None:
    """Wrong, deleted, without the scope, another hotel's: a clear answer, and the hotel is served as before."""
    async with TokenVault.open(installation) as vault:
        known = await vault.add_api_key(key_of(cloud, NEW[0]), reference="tenant-1")
        deleted = key_of(cloud, NEW[1])
        delete(cloud, deleted)
        for key, says in (
            ("cbat_mistyped", "refuses"),
            (deleted, "refuses"),
            (key_of(cloud, NEW[0], scopes=["read:guest"]), "read:hotel"),
        ):
            with pytest.raises(KeyRefused, match=says):
                await vault.add_api_key(key, connection_id=known.id)
        with pytest.raises(PropertyMismatch):
            await vault.add_api_key(key_of(cloud, NEW[1]), reference="tenant-1")
        await served(vault, NEW[0])
        assert len(await vault.connections()) == 1


async def test_a_key_of_an_organization(cloud: Vendor, installation: Settings) -> None:
    """It covers all its properties; each call says which one it is about."""
    async with TokenVault.open(installation) as vault:
        group = await vault.add_api_key(key_of(cloud, *NEW))
        assert group.property_ids == tuple(NEW)
        for hotel in NEW:
            assert (await vault.connection(hotel)).id == group.id
