"""Cloudbeds' webhooks come back with the hotel: a vault and the simulator, over both databases."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.endpoint import Endpoint, listening
from tests.support.simulator import CLIENT, Vendor, vendor

from cloudbeds_auth.doctor import hotels
from cloudbeds_auth.doctor.examination import Level, Subject
from cloudbeds_auth.rules.model import Connection
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.system import SystemClock
from cloudbeds_auth.transactions.outbox import claim_messages
from cloudbeds_auth.transactions.subscriptions import want_subscriptions
from cloudbeds_auth.vault import TokenVault
from cloudbeds_simulator.records import Hotel, HotelUser

CREATED, CHANGED = "reservation/created", "reservation/status_changed"
HEADER = "a-header-that-nobody-guesses-0123456"


@dataclass
class Scene:
    """A simulator, an endpoint, and settings of a vault that keeps hotels subscribed."""

    vendor: Vendor
    endpoint: Endpoint
    settings: Settings

    def there(self) -> dict[str, set[str]]:
        """What the simulator has: events for the endpoint, by property."""
        found: dict[str, set[str]] = {}
        for one in self.vendor.simulator.model.subscriptions.known.values():
            if one.endpoint == self.endpoint.url:
                found.setdefault(one.property_id, set()).add(f"{one.entity}/{one.action}")
        return found

    def asked(self, method: str) -> int:
        """How often the simulator was asked this."""
        return sum(one.path.endswith(method) for one in self.vendor.simulator.journal.entries)

    async def hotel_disconnects(self, property_id: str = "100001") -> None:
        """In Cloudbeds, by its user."""
        answer = await self.vendor.session.post(
            f"{self.vendor.base}/_control/app-state", json={"property": property_id, "state": "disabled"}
        )
        assert answer.status == 200


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    """On a free port."""
    async with listening() as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path, endpoint: Endpoint) -> AsyncIterator[Scene]:
    """Two hotels of one group, and settings that name two events."""
    given: dict[str, Any] = {}
    if request.param == "postgresql":
        given = {
            "database_url": request.getfixturevalue("postgres_url"),
            "encryption_keys": (b64encode(secrets.token_bytes(32)).decode(),),
            "admin_token": secrets.token_hex(32),
        }
    async with vendor() as made:
        given |= {"subscriptions": (CREATED, CHANGED), "subscriptions_url": endpoint.url}
        yield Scene(made, endpoint, made.settings(tmp_path, subscriptions_secret=Secret(HEADER), **given))


async def another_day(vault: TokenVault) -> None:
    """Every hotel's turn comes, and is taken."""
    await vault.engine.world.db.write(want_subscriptions(secrets.token_hex(4)))
    vault.engine.subscriber._begun = False  # a process that starts with its settings after another's
    await vault.engine.subscriber.tick()


def examined(settings: Settings, vault: TokenVault) -> Subject:
    """What `doctor` looks into."""
    return Subject(SystemClock(), settings, unlocked=vault)


async def shown(vault: TokenVault, hotel: Connection) -> dict[str, str]:
    """The states of a hotel's subscriptions."""
    return {one.event: one.state for one in (await vault.connection(hotel.id)).subscriptions}


async def test_a_hotel_connects_leaves_and_comes_back(scene: Scene) -> None:
    """Subscribed at each connect; Cloudbeds deletes them when it leaves, and posts to the program's endpoint, with its
    header, as long as they are there.
    """
    async with TokenVault.open(scene.settings) as vault:
        hotel = await scene.vendor.connect(vault)
        await vault.engine.subscriber.tick()
        assert scene.there() == {"100001": {CREATED, CHANGED}}
        assert await shown(vault, hotel) == {CREATED: "subscribed", CHANGED: "subscribed"}
        happened = {"property": "100001", "event": CREATED, "payload": {"reservationID": "7"}}
        await scene.vendor.session.post(f"{scene.vendor.base}/_control/event", json=happened)
        headers, payload = await scene.endpoint.came.get()
        assert (headers["X-Hook-Secret"], payload["reservationID"]) == (HEADER, "7")
        await scene.hotel_disconnects()
        assert scene.there() == {}
        again = await scene.vendor.connect(vault, connection_id=hotel.id)
        assert again.id == hotel.id
        await vault.engine.subscriber.tick()
        assert scene.there() == {"100001": {CREATED, CHANGED}}
        assert await shown(vault, hotel) == {CREATED: "subscribed", CHANGED: "subscribed"}


async def test_a_group_grows(scene: Scene) -> None:
    """The hotel that joined is subscribed as soon as Cloudbeds lists it; the others are not asked for anew."""
    model = scene.vendor.simulator.model
    user = HotelUser("7", "G", "A", "g@group.example")
    for one in ("501", "502"):
        model.add_hotel(Hotel(one, f"Hotel {one}", user, "77"))
    async with TokenVault.open(scene.settings) as vault:
        hotel = await scene.vendor.connect(vault, "501", "502")
        await vault.engine.subscriber.tick()
        model.add_hotel(Hotel("503", "Hotel 503", user, "77"))
        await vault.engine.property_lists._ask(hotel.id)
        await vault.engine.subscriber.tick()
        assert scene.there() == {one: {CREATED, CHANGED} for one in ("501", "502", "503")}
        assert scene.asked("postWebhook") == 6


@pytest.mark.parametrize("again", ["same", "new"])
async def test_the_daily_comparison_mends_and_never_doubles(scene: Scene, again: str) -> None:
    """One that was deleted by hand is made anew, a lost answer leaves one, and a day without a change makes none; also
    where Cloudbeds would make a second one of what is there.
    """
    model = scene.vendor.simulator.model
    model.configure({"subscribed_again": again})
    async with TokenVault.open(scene.settings) as vault:
        hotel = await scene.vendor.connect(vault)
        scene.vendor.fault("reset_after", "postWebhook")
        await vault.engine.subscriber.tick()
        for _ in range(2):
            await another_day(vault)
        assert (len(model.subscriptions.known), scene.asked("postWebhook")) == (2, 2)
        lost = next(one for one in model.subscriptions.known.values() if one.action == "created")
        del model.subscriptions.known[lost.number]
        await another_day(vault)
        assert scene.there() == {"100001": {CREATED, CHANGED}}
        assert scene.asked("postWebhook") == 3
        assert await shown(vault, hotel) == {CREATED: "subscribed", CHANGED: "subscribed"}


async def test_another_secret_leaves_one_of_each(scene: Scene) -> None:
    """Also where Cloudbeds makes a second one: the former is ended."""
    model = scene.vendor.simulator.model
    model.configure({"subscribed_again": "new"})
    async with TokenVault.open(scene.settings) as vault:
        await scene.vendor.connect(vault)
        await vault.engine.subscriber.tick()
    renewed = scene.settings.model_copy(update={"subscriptions_secret": Secret(HEADER[::-1])})
    async with TokenVault.open(renewed) as vault:
        await vault.engine.subscriber.tick()
    assert [one.header for one in model.subscriptions.known.values()] == [("X-Hook-Secret", HEADER[::-1])] * 2


async def test_a_program_whose_settings_name_none(scene: Scene) -> None:
    """It starts last and ends nothing, also where its turn comes; settings that say `none` end all."""
    async with TokenVault.open(scene.settings) as vault:
        hotel = await scene.vendor.connect(vault)
        await vault.engine.subscriber.tick()
    before = scene.there()
    async with TokenVault.open(scene.settings.model_copy(update={"subscriptions": None})) as vault:
        await vault.engine.subscriber.tick()
        await vault.engine.subscriber._compare(hotel.id)
    assert scene.there() == before != {}
    async with TokenVault.open(scene.settings.model_copy(update={"subscriptions": ()})) as vault:
        await another_day(vault)
        assert scene.there() == {}


@pytest.mark.parametrize("level", ["partner", "property"])
async def test_a_disconnect_here_ends_only_ours(scene: Scene, level: str) -> None:
    """One that somebody made by hand is not ended by us, though Cloudbeds deletes all of a partner's app."""
    app = {"client_id": CLIENT, "level": level}
    await scene.vendor.session.post(f"{scene.vendor.base}/_control/apps", json=app)
    async with TokenVault.open(scene.settings.model_copy(update={"client_level": level})) as vault:
        hotel = await scene.vendor.connect(vault)
        theirs = {"object": "guest", "action": "created", "endpointUrl": "https://elsewhere.example/"}
        made = await vault.call(hotel.id, "POST", "postWebhook", data=theirs)
        assert made.json()["success"] is True
        await vault.engine.subscriber.tick()
        await vault.disconnect(hotel.id)
        assert (scene.there(), scene.asked("deleteWebhook")) == ({}, 2)
        left = [one.endpoint for one in scene.vendor.simulator.model.subscriptions.known.values()]
        assert left == ([theirs["endpointUrl"]] if level == "property" else [])


async def test_a_missing_scope_is_told(scene: Scene) -> None:
    """In the hotel's problem and by `doctor`, which also says which scope the settings do not ask for."""
    settings = scene.settings.model_copy(update={"scopes": ("read:hotel",)})
    async with TokenVault.open(settings) as vault:
        hotel = await scene.vendor.connect(vault)
        await vault.engine.subscriber.tick()
        found = await vault.connection(hotel.id)
        assert (found.state.value, found.problem) == ("fresh", "missing_scope")
        assert "CLOUDBEDS_SCOPES" in (found.next_step or "")
        findings = await hotels.subscribed(examined(settings, vault))
        assert {one.level for one in findings} == {Level.WARNING}
        text = "\n".join(one.what for one in findings)
        assert f"{CREATED} needs the scope read:reservation" in text
        assert f"{hotel.id}: not subscribed to {CREATED} at 100001: missing_scope" in text
        assert [one.level for one in await hotels.calls_refused(examined(settings, vault))] == [Level.OK]
    async with TokenVault.open(scene.settings) as vault:  # its app asks for every scope
        await scene.vendor.connect(vault, connection_id=hotel.id)
        await vault.engine.subscriber.tick()
        assert await shown(vault, hotel) == {CREATED: "subscribed", CHANGED: "subscribed"}
        assert (await vault.connection(hotel.id)).problem is None
        assert [one.level for one in await hotels.subscribed(examined(scene.settings, vault))] == [Level.OK]


async def test_what_may_end_a_connection_is_said_ahead(scene: Scene) -> None:
    """An approver without an owner's role: the hotel is served, `doctor` says what to do, and an owner's approval ends
    it.
    """
    model = scene.vendor.simulator.model
    owner = model.hotels["100001"]
    model.add_hotel(replace(owner, user=replace(owner.user, role="Front desk")))
    async with TokenVault.open(scene.settings) as vault:
        hotel = await scene.vendor.connect(vault)
        await vault.engine.subscriber.tick()
        found = await vault.connection(hotel.id)
        assert (found.state.value, found.problem) == ("fresh", "approver_no_owner")
        assert found.connect_url
        (finding,) = await hotels.at_risk(examined(scene.settings, vault))
        assert (finding.level, "approver_no_owner: Front desk" in finding.what) == (Level.WARNING, True)
        assert [one.level for one in await hotels.calls_refused(examined(scene.settings, vault))] == [Level.OK]
        assert (await vault.call(hotel.id, "GET", "getReservations")).status_code == 200
        model.add_hotel(owner)
        await scene.vendor.connect(vault, connection_id=hotel.id)
        await vault.engine.subscriber.tick()
        assert (await vault.connection(hotel.id)).problem is None
        assert [one.level for one in await hotels.at_risk(examined(scene.settings, vault))] == [Level.OK]
        sent = [one.kind for one in await vault.engine.world.db.write(claim_messages(9, 60.0))]
        assert sent == ["connection.connected", "connection.at_risk", "connection.risk_over"]
