"""The control API: what it shows and how it steers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.simulator.driver import CLIENT, SECRET, Driver

from cloudbeds_simulator.__main__ import DEFAULT_REDIRECTS
from cloudbeds_simulator.control_api import ROUTES
from cloudbeds_simulator.switches import SimulatedClock, mint
from cloudbeds_simulator.webhooks import is_loopback


async def test_state_shows_pairs(sim: Driver) -> None:
    """The state shows every pair of a grant with its times and who is accepted."""
    first = await sim.connect()
    second = (await sim.refresh(first["refresh_token"])).json
    await sim.api("GET", "userinfo", second["access_token"])
    grant = (await sim.control("GET", "state"))["grants"][0]
    old, new = grant["pairs"]
    assert (old["ordinal"], old["access_token"], old["refresh_token"]) == (
        0,
        first["access_token"],
        first["refresh_token"],
    )
    assert (old["access_accepted"], old["refresh_accepted"]) == (False, False)
    assert (new["access_accepted"], new["refresh_accepted"]) == (True, True)
    assert old["superseded_at"] == new["issued_at"] <= new["first_used_at"]
    assert new["expires_at"] - new["issued_at"] == 28800
    assert (grant["grant"], grant["current"], grant["property_ids"], grant["revoked"]) == (1, 1, ["100001"], False)


async def test_requests_and_counts(sim: Driver) -> None:
    """The log keeps the order of requests with tokens, outcome and status, and counts them."""
    told = await sim.connect()
    after = (await sim.control("GET", "requests"))["last"]
    await sim.api("GET", "userinfo", told["access_token"])
    await sim.api("GET", "getHotels", "nonsense")
    await sim.api("GET", "getNothing")
    await sim.refresh(told["refresh_token"])
    await sim.refresh("nonsense")
    await sim.token(client_secret="wrong", grant_type="refresh_token", refresh_token="x")
    log = (await sim.control("GET", "requests", after=after))["requests"]
    assert [(one["target"], one["outcome"], one["status"], one["answered"]) for one in log] == [
        ("userinfo", "accepted", 200, True),
        ("resource", "401", 401, True),
        ("resource", "unknown_method", 404, True),
        ("token", "issued", 200, True),
        ("token", "refused", 400, True),
        ("token", "client_refused", 401, True),
    ]
    assert log[0]["access_token"] == told["access_token"]
    assert (log[3]["refresh_token"], log[3]["grant_type"], log[3]["ordinal"]) == (
        told["refresh_token"],
        "refresh_token",
        1,
    )
    assert await sim.control("GET", "counts") == {
        "token": {
            "authorization_code": {"issued": 1},
            "refresh_token": {"issued": 1, "refused": 1, "client_refused": 1},
        },
        "resource": {"accepted": 1, "401": 1, "unknown_method": 1},
    }


async def test_expire(sim: Driver) -> None:
    """Access tokens can be made to expire now, all or one grant's, and refresh tokens are not touched."""
    first, second = await sim.connect(), await sim.connect()
    assert await sim.control("POST", "expire", grant=1) == {"expired": [1]}
    assert (await sim.api("GET", "userinfo", first["access_token"])).status == 401
    assert (await sim.api("GET", "userinfo", second["access_token"])).status == 200
    assert await sim.control("POST", "expire") == {"expired": [1, 2]}
    assert (await sim.api("GET", "userinfo", second["access_token"])).status == 401
    assert (await sim.refresh(first["refresh_token"])).status == 200


async def test_advance(sim: Driver) -> None:
    """Moving the clock forward lets tokens expire without waiting."""
    told = await sim.connect()
    await sim.control("POST", "advance", seconds=28799)
    assert (await sim.api("GET", "userinfo", told["access_token"])).status == 200
    await sim.control("POST", "advance", seconds=2)
    assert (await sim.api("GET", "userinfo", told["access_token"])).status == 401


async def test_revoke_property(sim: Driver) -> None:
    """The grants that cover a hotel end."""
    told = await sim.connect()
    assert await sim.control("POST", "revoke", property="100002") == {"revoked": []}
    assert await sim.control("POST", "revoke", property="100001") == {"revoked": [1]}
    assert (await sim.refresh(told["refresh_token"])).status == 400
    grant = (await sim.control("GET", "state"))["grants"][0]
    assert (grant["revoked"], grant["ended"]) == (True, "disconnected")


async def test_reset_secret(sim: Driver) -> None:
    """An app's secret can be reset alone: the old one stops, and its other fields and its grants stay."""
    told = await sim.connect()
    app = await sim.control("POST", "apps", client_id="simulated-app", client_secret="new")
    assert (app["client_secret"], app["name"], app["redirect_uris"]) == (
        "new",
        "Demo App",
        sorted(DEFAULT_REDIRECTS),
    )
    assert (await sim.refresh(told["refresh_token"])).json["error"] == "invalid_client"
    fields = {"grant_type": "refresh_token", "refresh_token": told["refresh_token"], "client_secret": "new"}
    assert (await sim.token(**fields)).status == 200


async def test_new_app_gets_a_secret(sim: Driver) -> None:
    """A new app without a secret gets a random one."""
    app = await sim.control("POST", "apps", client_id="another", redirect_uris=["https://a.example/cb"])
    assert len(app["client_secret"]) == 40
    assert app["client_secret"] != SECRET


async def test_wait_wakes_up(sim: Driver) -> None:
    """A wait returns as soon as a matching request is logged, and finds one that was there before."""
    told = await sim.connect()
    waiting = asyncio.create_task(sim.control("GET", "wait", target="userinfo", outcome="accepted", answered="true"))
    await asyncio.sleep(0)
    await sim.api("GET", "userinfo", "nonsense")
    await sim.api("GET", "userinfo", told["access_token"])
    found = (await waiting)["entry"]
    assert (found["access_token"], found["status"]) == (told["access_token"], 200)
    assert (await sim.control("GET", "wait", target="userinfo", status=401))["entry"]["n"] == found["n"] - 1


async def test_wait_times_out(sim: Driver) -> None:
    """A wait that nothing ends answers null, and looks only behind the number given."""
    await sim.refresh("x")
    told = await sim.control("GET", "wait", target="token", after=1, timeout=0.05)
    assert told == {"entry": None}


@pytest.mark.parametrize(
    ("method", "route", "body", "status"),
    [
        ("GET", "nothing", None, 404),
        ("POST", "state", {}, 404),
        ("POST", "settings", {"variant": "V9"}, 400),
        ("POST", "settings", [1], 400),
        ("POST", "faults", {"kind": "explode", "target": "token"}, 400),
        ("POST", "faults", [{"kind": "empty", "target": "token"}, {"kind": "explode"}], 400),
        ("POST", "hotels", {"property_id": "1"}, 400),
        ("POST", "apps", {"client_id": "x", "redirect_uris": "https://a.example"}, 400),
        ("POST", "apps", {"client_id": "x", "level": "hotel"}, 400),
        ("POST", "revoke", {}, 400),
        ("POST", "revoke", {"grant": 7}, 400),
        ("POST", "revoke", {"grant": 1, "face": "smile"}, 400),
        ("POST", "choose", {"property_ids": ["nowhere"]}, 400),
        ("POST", "choose", {"property_ids": "100001"}, 400),
        ("POST", "advance", {"seconds": -1}, 400),
        ("POST", "advance", {"seconds": "inf"}, 400),
        ("POST", "expire", {"grant": 0}, 400),
    ],
)
async def test_nonsense(sim: Driver, method: str, route: str, body: Any, status: int) -> None:
    """A request that makes no sense is refused with a reason and changes nothing."""
    before = await sim.control("GET", "state")
    reply = await sim.ask(method, f"/_control/{route}", json=body)
    assert reply.status == status
    assert reply.json["error"]
    after = await sim.control("GET", "state")
    assert {**after, "now": 0} == {**before, "now": 0}


async def test_broken_json(sim: Driver) -> None:
    """A body that is not JSON is refused."""
    assert (await sim.ask("POST", "/_control/advance", data=b"{")).status == 400


@pytest.mark.parametrize(
    ("remote", "allowed"), [("127.0.0.1", True), ("::1", True), ("192.0.2.1", False), (None, False), ("x", False)]
)
def test_loopback_only(remote: str | None, allowed: bool) -> None:
    """Only a loopback peer may use the control API."""
    assert is_loopback(remote) == allowed


def test_every_route_says_what_it_is_for(sim: Driver) -> None:
    """The first page lists exactly the routes that there are."""
    assert ROUTES.keys() == sim.simulator.control.routes
    assert all(route.purpose for route in ROUTES.values())


async def test_stranger_is_refused(sim: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer from elsewhere gets 403 from every control route."""
    monkeypatch.setattr("cloudbeds_simulator.local_requests.is_loopback", lambda _: False)
    assert (await sim.ask("GET", "/_control/state")).status == 403


def test_clock() -> None:
    """The simulator's clock is the real one plus every advance, and never goes back."""
    clock = SimulatedClock(read=lambda: 100.0)
    assert clock.advance(5) == clock.now() == 105.0
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)


def test_mint() -> None:
    """Minted values have the documented lengths and do not repeat."""
    assert [len(mint(kind)) for kind in ("access", "refresh", "code")] == [40, 40, 32]
    assert mint("access") != mint("access")


async def test_reset(sim: Driver) -> None:
    """As at the start: what was connected, added, switched, armed, advanced and logged is gone, a late deed too."""
    begun = await sim.control("GET", "state")
    told = await sim.connect()
    await sim.control("POST", "settings", variant="V7/y", expires_in=60)
    await sim.control("POST", "apps", client_id="other", redirect_uris=["http://localhost:1/x"])
    await sim.control("POST", "hotels", property_id="7", name="New", user={"user_id": "1", "first_name": "N",
                      "last_name": "N", "email": "n@n.example"})  # fmt: skip
    await sim.control("POST", "advance", seconds=1000)
    await sim.fault("duplicate", grant_type="refresh_token", seconds=0.05)
    assert (await sim.refresh(told["refresh_token"])).status == 200
    await sim.fault("status", times=None)
    reset = await sim.control("POST", "reset")
    assert reset | {"now": 0} == begun | {"now": 0}
    assert abs(reset["now"] - begun["now"]) < 500
    await asyncio.sleep(0.1)
    assert (await sim.control("GET", "requests")) == {"requests": [], "last": 0}
    assert (await sim.api("GET", "getHotels", told["access_token"])).status == 401
    assert (await sim.refresh((await sim.connect())["refresh_token"])).status == 200


async def test_reset_ends_the_posts_of_webhooks(sim: Driver) -> None:
    """One that was to be repeated is not, and none is listed that was posted before; later ones are posted."""
    url = "http://127.0.0.1:1/hook"  # nothing listens there
    form = {"object": "guest", "action": "created", "endpointUrl": url}

    async def posts_once() -> None:
        token = (await sim.connect())["access_token"]
        assert (await sim.api("POST", "postWebhook", token, data=form)).json["success"] is True
        await sim.control("POST", "event", property="100001", event="guest/created")
        while not (await sim.control("GET", "webhooks"))["sent"]:
            await asyncio.sleep(0.01)

    await posts_once()
    (repeating,) = sim.simulator.delivery._tasks
    await sim.control("POST", "reset")
    assert repeating.cancelled()
    assert await sim.control("GET", "webhooks") == {"sent": []}
    await posts_once()


async def test_a_revoked_hotel_keeps_the_apps_state(sim: Driver) -> None:
    """Unlike a hotel that disconnects (`app-state`): its subscriptions stay, and nothing is posted."""
    token = (await sim.connect())["access_token"]
    form = {"object": "integration", "action": "appstate_changed", "endpointUrl": "http://127.0.0.1:1/hook"}
    await sim.api("POST", "postWebhook", token, data=form)
    await sim.control("POST", "revoke", property="100001")
    assert len((await sim.control("GET", "state"))["subscriptions"]) == 1
    assert await sim.control("GET", "webhooks") == {"sent": []}
    assert not sim.simulator.delivery._tasks
    assert sim.simulator.model.app_states[CLIENT, "100001"] == "enabled"


async def test_reset_lets_hanging_requests_go(sim: Driver) -> None:
    """Whoever waited is answered, as somebody who is unknown now."""
    told = await sim.connect()
    await sim.fault("hang_before")
    waiting = asyncio.create_task(sim.refresh(told["refresh_token"]))
    while (await sim.control("GET", "requests"))["requests"][-1]["grant_type"] != "refresh_token":
        await asyncio.sleep(0.01)
    await sim.control("POST", "reset")
    assert (await waiting).status == 400
