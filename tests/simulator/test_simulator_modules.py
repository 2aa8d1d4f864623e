"""The newer APIs over real sockets; tests/contrib/test_sdk.py has them through the vendor's package and its models."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.simulator.driver import Driver, Reply

from cloudbeds_simulator.modules import METHODS

EVENT = {"objectType": "reservation", "system": "Demo", "status": "open", "result": "failure", "description": "No room"}


async def ask(sim: Driver, path: str, method: str = "GET", property_id: str = "100001", **parts: Any) -> Reply:
    """By a hotel that has just connected."""
    token = (await sim.connect())["access_token"]
    headers = {"Authorization": f"Bearer {token}"} | ({"X-Property-ID": property_id} if property_id else {})
    return await sim.ask(method, path, headers=headers, **parts)


FILLED = {"propertyId": "100001", "id": "1000011", "enabled": "true"}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.verb} {method.path}")
async def test_every_method_is_served(sim: Driver, method: Any) -> None:
    """At its own path and verb; with another verb it is unknown, and so is a path below it."""
    path = re.sub(r"\{(\w+)\}", lambda name: FILLED[name[1]], method.path)
    assert (await ask(sim, path, method.verb, json=EVENT)).status in {200, 201}
    assert (await ask(sim, path, "DELETE")).status == 404
    assert (await ask(sim, f"{path}/x/y")).status == 404


@pytest.mark.parametrize("path", ["/property/v1/nothing", "/property/v2/system", "/nothing/v1/x"])
async def test_an_unknown_path(sim: Driver, path: str) -> None:
    """A page, as at any path that is no API's."""
    reply = await ask(sim, path)
    assert (reply.status, reply.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


async def test_without_a_token(sim: Driver) -> None:
    """Refused as the classic methods refuse it."""
    reply = await sim.ask("GET", "/property/v1/system", headers={"X-Property-ID": "100001"})
    assert (reply.status, reply.json["error"]) == (401, "access_denied")


@pytest.mark.parametrize("path", ["/property/v1/system", "/amenities/v1/properties/100002/amenities"])
async def test_another_property(sim: Driver, path: str) -> None:
    """403, as documented, whether the header or the path names it."""
    reply = await ask(sim, path, property_id="100002")
    assert (reply.status, reply.json) == (403, {"message": "Forbidden"})


async def test_a_closed_property(sim: Driver) -> None:
    """The same."""
    user = {"user_id": "9001", "first_name": "Ada", "last_name": "Lindqvist", "email": "ada@hotel-1.example"}
    token = (await sim.connect())["access_token"]
    await sim.control("POST", "hotels", property_id="100001", name="Hotel Aurora", user=user, closed=True)
    headers = {"Authorization": f"Bearer {token}", "X-Property-ID": "100001"}
    assert (await sim.ask("GET", "/property/v1/system", headers=headers)).status == 403


async def test_no_property(sim: Driver) -> None:
    """The package always sends the header: without it the call is malformed."""
    reply = await ask(sim, "/property/v1/system", property_id="")
    assert (reply.status, reply.json["errors"][0]["field"]) == (400, "x-property-id")


@pytest.mark.parametrize(
    ("query", "ids", "total"),
    [
        ("", ["1000011", "1000012", "1000013"], None),
        ("?limit=2&includeTotal=true", ["1000011", "1000012"], 3),
        ("?limit=2&offset=2", ["1000013"], None),
        ("?offset=9", [], None),
    ],
)
async def test_pages(sim: Driver, query: str, ids: list[str], total: int | None) -> None:
    """Of what limit and offset ask for; the total where it is asked for."""
    reply = await ask(sim, f"/rates/v1/rate-plans{query}")
    assert [row["id"] for row in reply.json["data"]] == ids
    assert reply.json.get("total") == total


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "offset=-1"])
async def test_a_page_that_cannot_be(sim: Driver, query: str) -> None:
    """400 that names the parameter."""
    reply = await ask(sim, f"/rates/v1/rate-plans?{query}")
    assert (reply.status, reply.json["errors"][0]["field"]) == (400, query.partition("=")[0])


async def test_a_rate_plan_that_is_not_there(sim: Driver) -> None:
    """404 as JSON."""
    reply = await ask(sim, "/rates/v1/rate-plans/7")
    assert (reply.status, reply.json) == (404, {"message": "Not Found"})


@pytest.mark.parametrize("lacking", ["objectType", "system", "status", "result", "description"])
async def test_an_event_that_lacks_something(sim: Driver, lacking: str) -> None:
    """400 that names the field; a description is asked for where something failed."""
    event = {name: value for name, value in EVENT.items() if name != lacking}
    reply = await ask(sim, "/integration/v1/events", "POST", json=event)
    assert (reply.status, reply.json["errors"][0]["field"]) == (400, lacking)


@pytest.mark.parametrize("body", [b"", b"{", b"[]"])
async def test_an_event_that_is_none(sim: Driver, body: bytes) -> None:
    """400."""
    assert (await ask(sim, "/integration/v1/events", "POST", data=body)).status == 400
