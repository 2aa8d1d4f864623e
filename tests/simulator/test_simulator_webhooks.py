"""The simulator's webhooks: subscribed, listed, deleted; posted when an app's state changes, until they are taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.simulator.driver import CLIENT, Driver
from tests.support.endpoint import Endpoint, listening

from cloudbeds_simulator.webhooks import REPETITIONS


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    """On a free port."""
    async with listening() as made:
        yield made


async def subscribed(sim: Driver, url: str, **more: str) -> tuple[str, str]:
    """An access token, and the number of a subscription made with it."""
    token = (await sim.connect())["access_token"]
    form = {"object": "integration", "action": "appstate_changed", "endpointUrl": url, **more}
    reply = await sim.api("POST", "postWebhook", token, data=form)
    assert reply.json["success"] is True, reply.json
    return token, reply.json["data"]["subscriptionID"]


async def test_subscribing_again_is_the_same_subscription(sim: Driver) -> None:
    """Listed with the header's name and never its value; deleted by its number in the query."""
    header = {"authHeaderName": "X-Secret", "authHeaderValue": "canary"}
    token, number = await subscribed(sim, "http://127.0.0.1:1/hook", **header)
    form = {"object": "integration", "action": "appstate_changed", "endpointUrl": "http://127.0.0.1:1/hook"}
    again = await sim.api("POST", "postWebhook", token, data=form | header)
    assert again.json["data"]["subscriptionID"] == number
    listed = await sim.api("GET", "getWebhooks", token)
    (row,) = listed.json["data"]
    assert (row["id"], row["authHeader"], row["subscriptionData"]["url"]) == (
        number, {"name": "X-Secret"}, "http://127.0.0.1:1/hook",
    )  # fmt: skip
    assert b"canary" not in listed.body
    await sim.api("DELETE", f"deleteWebhook?subscriptionID={number}", token)
    assert (await sim.api("GET", "getWebhooks", token)).json["data"] == []


async def test_json_is_not_read(sim: Driver) -> None:
    """As an integrator found."""
    token = (await sim.connect())["access_token"]
    body = {"object": "integration", "action": "appstate_changed", "endpointUrl": "http://127.0.0.1:1/hook"}
    reply = await sim.api("POST", "postWebhook", token, json=body)
    assert reply.json == {"success": False, "message": "Parameter endpointUrl is required"}


async def test_a_hotel_that_disconnects(sim: Driver, endpoint: Endpoint) -> None:
    """The endpoint is told, with the header; the subscription is deleted, and the sessions end."""
    token, _ = await subscribed(sim, endpoint.url, authHeaderName="X-Secret", authHeaderValue="ours")
    await sim.control("POST", "app-state", property="100001", state="disabled")
    headers, payload = await endpoint.came.get()
    assert (headers["X-Secret"], headers["User-Agent"]) == ("ours", "CloudBeds-Webhooks/4.0.0")
    assert payload["clientID"] == CLIENT
    assert (payload["oldState"], payload["newState"]) == ("enabled", "disabled")
    assert (payload["propertyID"], payload["propertyID_str"]) == (100001, "100001")
    assert payload["event"] == "integration/appstate_changed"
    assert sim.simulator.model.subscriptions.known == {}
    assert (await sim.api("GET", "userinfo", token)).status == 401


async def test_a_state_that_is_told_before_the_sessions_end(sim: Driver, endpoint: Endpoint) -> None:
    """With `keep` the token still works, and `getAppState` says what happened."""
    token, _ = await subscribed(sim, endpoint.url)
    await sim.control("POST", "app-state", property="100001", state="disabled", keep=True)
    await endpoint.came.get()
    reply = await sim.api("GET", "getAppState", token)
    assert reply.json["data"]["app_state"] == "disabled"


async def test_a_state_that_stays_is_told_to_nobody(sim: Driver, endpoint: Endpoint) -> None:
    """Enabled it was already; pending is a change."""
    await subscribed(sim, endpoint.url)
    await sim.control("POST", "app-state", property="100001", state="enabled")
    await sim.control("POST", "app-state", property="100001", state="pending")
    _, payload = await endpoint.came.get()
    assert payload["newState"] == "pending"
    assert endpoint.came.empty()


async def test_an_endpoint_that_refuses(sim: Driver, endpoint: Endpoint) -> None:
    """Told again, five times at most."""
    await sim.control("POST", "settings", webhook_interval=0.001)
    endpoint.statuses = [500] * 9
    await subscribed(sim, endpoint.url)
    await sim.control("POST", "app-state", property="100001", state="pending")
    for _ in range(1 + REPETITIONS):
        await endpoint.came.get()
    await asyncio.gather(*sim.simulator.delivery._tasks)
    assert endpoint.came.empty()
    sent = (await sim.control("GET", "webhooks"))["sent"]
    assert [one["status"] for one in sent] == [500] * (1 + REPETITIONS)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/hook", "http://192.0.2.1/hook", "http://hook.example/"])
async def test_an_endpoint_that_is_not_there(sim: Driver, url: str) -> None:
    """Nothing listens, or it is not on this machine, to which nothing is ever posted."""
    await sim.control("POST", "settings", webhook_interval=0.001)
    await subscribed(sim, url)
    await sim.control("POST", "app-state", property="100001", state="pending")
    await asyncio.gather(*sim.simulator.delivery._tasks)
    sent = (await sim.control("GET", "webhooks"))["sent"]
    assert {one["status"] for one in sent} == {None}


async def test_an_unknown_state(sim: Driver) -> None:
    """400, and nothing changes."""
    reply = await sim.ask("POST", "/_control/app-state", json={"property": "100001", "state": "gone"})
    assert reply.status == 400


async def test_a_subscription_needs_the_scope_of_its_object(sim: Driver) -> None:
    """`integration` needs none; of what is not asked for, nothing is made, in the words of any missing scope."""
    token = (await sim.connect(scope="read:hotel read:guest"))["access_token"]
    form = {"action": "created", "endpointUrl": "http://127.0.0.1:1/hook"}
    refused = await sim.api("POST", "postWebhook", token, data={"object": "reservation", **form})
    assert refused.json == {
        "success": False,
        "message": "Scope required for this call was not granted by property.",
    }
    assert (await sim.api("POST", "postWebhook", token, data={"object": "guest", **form})).json["success"] is True
    (shown,) = (await sim.control("GET", "state"))["subscriptions"]
    assert (shown["entity"], shown["property_id"], shown["header"]) == ("guest", "100001", None)


async def test_subscribing_again_may_make_a_second_one(sim: Driver) -> None:
    """That it does not was seen by one integrator only, so it is a setting."""
    await sim.control("POST", "settings", subscribed_again="new")
    token, first = await subscribed(sim, "http://127.0.0.1:1/hook")
    form = {"object": "integration", "action": "appstate_changed", "endpointUrl": "http://127.0.0.1:1/hook"}
    numbers = [(await sim.api("POST", "postWebhook", token, data=form)).json["data"]["subscriptionID"] for _ in "xy"]
    assert len({first, *numbers}) == 3
    await sim.control("POST", "app-state", property="100001", state="disabled")
    assert (await sim.control("GET", "state"))["subscriptions"] == []


async def test_something_happens_at_a_property(sim: Driver, endpoint: Endpoint) -> None:
    """Posted to those that subscribed to it there, and to nobody else."""
    await subscribed(sim, endpoint.url, object="guest", action="created", authHeaderName="X", authHeaderValue="ours")
    posted = {"property": "100001", "event": "guest/created", "payload": {"guestID": "7"}}
    assert await sim.control("POST", "event", **posted) == {"due": 1}
    headers, payload = await endpoint.came.get()
    assert (headers["X"], payload["guestID"], payload["propertyID_str"]) == ("ours", "7", "100001")
    for other in ({"property": "100002"}, {"event": "guest/removed"}):
        assert await sim.control("POST", "event", **(posted | other)) == {"due": 0}
