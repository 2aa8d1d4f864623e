"""The token endpoint over real sockets: both encodings, every switch, every error body."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from tests.simulator.driver import CLIENT, SECRET, Driver

LEAGUE = "Check the `refresh_token` parameter"


async def test_success(sim: Driver) -> None:
    """A code is answered with a bearer token for 8 hours, a refresh token and the property."""
    told = await sim.connect()
    assert set(told) == {"access_token", "token_type", "expires_in", "refresh_token", "resources"}
    assert (told["token_type"], told["expires_in"]) == ("Bearer", 28800)
    assert told["resources"] == [{"type": "property", "id": "100001"}]
    assert len(told["access_token"]) == len(told["refresh_token"]) == 40


async def test_multipart(sim: Driver) -> None:
    """The token endpoint takes a multipart form as well."""
    first = await sim.connect()
    form = aiohttp.FormData()
    fields = {"grant_type": "refresh_token", "client_id": CLIENT, "client_secret": SECRET}
    for name, value in {**fields, "refresh_token": first["refresh_token"]}.items():
        form.add_field(name, value, content_type="text/plain")
    assert form.is_multipart
    reply = await sim.ask("POST", "/api/v1.2/access_token", data=form)
    assert reply.status == 200
    assert reply.json["refresh_token"] != first["refresh_token"]


async def test_json_is_ignored(sim: Driver) -> None:
    """A JSON body is not read as a form: every parameter is missing."""
    reply = await sim.ask("POST", "/api/v1.3/access_token", json={"grant_type": "refresh_token"})
    assert (reply.status, reply.json["error"], reply.json["hint"]) == (
        400,
        "invalid_request",
        "Check the `grant_type` parameter",
    )


ERRORS: list[tuple[dict[str, str], int, dict[str, str]]] = [
    (
        {"client_id": "nobody"},
        401,
        {"error": "server_error", "error_description": "Entity not found: CloudBeds\\MyFrontDesk\\API\\Models\\Client"},
    ),
    ({"client_secret": "wrong"}, 401, {"error": "invalid_client", "message": "Client authentication failed"}),
    ({}, 400, {"error": "invalid_request", "message": "The refresh token is invalid."}),
    (
        {"grant_type": "authorization_code", "code": "used"},
        401,
        {"error": "server_error", "error_description": "The authorization code is invalid or has expired."},
    ),
    (
        {"grant_type": "password"},
        400,
        {
            "error": "unsupported_grant_type",
            "message": "The authorization grant type is not supported by the authorization server.",
        },
    ),
]


@pytest.mark.parametrize(("fields", "status", "body"), ERRORS)
async def test_errors(sim: Driver, fields: dict[str, str], status: int, body: dict[str, str]) -> None:
    """Every refusal has its documented or observed body."""
    reply = await sim.token(**{"grant_type": "refresh_token", "refresh_token": "never issued", **fields})
    assert (reply.status, reply.json) == (status, body)
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["X-Request-ID"]


async def test_client_is_checked_first(sim: Driver) -> None:
    """A wrong secret or an unknown client is told before the token is looked at, and spends nothing."""
    parent = (await sim.connect())["refresh_token"]
    for wrong, error in (({"client_secret": "wrong"}, "invalid_client"), ({"client_id": "nobody"}, "server_error")):
        reply = await sim.token(**{"grant_type": "refresh_token", "refresh_token": parent, **wrong})
        assert reply.json["error"] == error
    assert [len(one["pairs"]) for one in (await sim.control("GET", "state"))["grants"]] == [1]


async def test_missing_parameter(sim: Driver) -> None:
    """A missing refresh token is another invalid_request, with the parameter in the hint."""
    reply = await sim.token(grant_type="refresh_token")
    assert (reply.status, reply.json["error"], reply.json["hint"]) == (400, "invalid_request", LEAGUE)
    assert "refresh token" not in reply.json["message"]


@pytest.mark.parametrize(
    ("face", "status", "error"),
    [("400", 400, "invalid_request"), ("401", 401, "invalid_request"), ("invalid_grant", 400, "invalid_grant")],
)
async def test_refused_face(sim: Driver, face: str, status: int, error: str) -> None:
    """A refused refresh token can show any of three faces, all with the same message."""
    await sim.control("POST", "settings", refused_face=face)
    reply = await sim.refresh("never issued")
    assert (reply.status, reply.json) == (status, {"error": error, "message": "The refresh token is invalid."})


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"expires_in": 60}, "expires_in", 60),
        ({"expires_in_form": "str"}, "expires_in", "28800"),
        ({"expires_in_form": "absent"}, "expires_in", None),
        ({"refresh_token": "absent"}, "refresh_token", None),
        ({"resources": "dict"}, "resources", {"propertyID": "100001"}),
        ({"resources": "missing"}, "resources", None),
    ],
)
async def test_answer_switches(sim: Driver, change: dict[str, Any], field: str, value: object) -> None:
    """The token answer takes every shape that was documented or seen."""
    await sim.control("POST", "settings", **change)
    assert (await sim.connect()).get(field) == value


async def test_group(sim: Driver) -> None:
    """A grant over a whole group lists every property and the association."""
    user = {"user_id": "7", "first_name": "G", "last_name": "A", "email": "g@group.example"}
    for one in ("501", "502"):
        await sim.control("POST", "hotels", property_id=one, name=f"Hotel {one}", user=user, group="77")
    await sim.control("POST", "choose", property_ids=["501", "502"])
    listed = [(one["type"], one["id"]) for one in (await sim.connect())["resources"]]
    assert listed == [("property", "501"), ("property", "502"), ("association", "77")]


async def test_rotation_over_the_wire(sim: Driver) -> None:
    """Under V2/n the parent works until the newest access token is used, then it is refused and the child works."""
    first = await sim.connect()
    await sim.refresh(first["refresh_token"])
    second = (await sim.refresh(first["refresh_token"])).json
    assert (await sim.api("GET", "userinfo", second["access_token"])).status == 200
    assert (await sim.refresh(first["refresh_token"])).status == 400
    assert (await sim.refresh(second["refresh_token"])).status == 200


async def test_repeated_pair_tells_what_is_left(sim: Driver) -> None:
    """Under V0 the repeated answer's expires_in is what is left of the same pair's life, down to nothing."""
    await sim.control("POST", "settings", variant="V0/n", expires_in=100)
    parent = (await sim.connect())["refresh_token"]
    first = (await sim.refresh(parent)).json
    await sim.control("POST", "advance", seconds=500)
    second = (await sim.refresh(parent)).json
    assert second["expires_in"] == 0
    assert {**second, "expires_in": 100} == first


async def test_code_expires(sim: Driver) -> None:
    """A code older than ten minutes is refused as an authorization code, not as a client."""
    code = await sim.code()
    await sim.control("POST", "advance", seconds=601)
    reply = await sim.exchange(code)
    assert (reply.status, reply.json["error_description"]) == (
        401,
        "The authorization code is invalid or has expired.",
    )


async def test_get_is_unknown(sim: Driver) -> None:
    """The token endpoint answers POST only."""
    assert (await sim.ask("GET", "/api/v1.3/access_token")).status == 404
