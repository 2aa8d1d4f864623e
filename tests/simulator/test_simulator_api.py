"""The protected methods over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
from typing import Any

import aiohttp
import pytest
from tests.simulator.driver import Driver

DENIED = "The resource owner or authorization server denied the request."


async def test_userinfo(sim: Driver) -> None:
    """Userinfo names the hotel user who approved, without a success envelope."""
    reply = await sim.api("GET", "userinfo", (await sim.connect())["access_token"])
    user = {"user_id": "9001", "first_name": "Ada", "last_name": "Lindqvist"}
    assert reply.json == user | {"email": "ada.lindqvist@hotel-1.example", "acl": None, "roles": None}


async def test_userinfo_details_and_number(sim: Driver) -> None:
    """Roles come when asked for, and the user id can be a number."""
    await sim.control("POST", "settings", user_id="int")
    reply = await sim.api("GET", "userinfo?role_details=true", (await sim.connect())["access_token"])
    assert (reply.json["user_id"], reply.json["roles"][0]["name"]) == (9001, "Owner")


@pytest.mark.parametrize("fault", [None, "slow", "truncate"])
async def test_head(sim: Driver, fault: str | None) -> None:
    """The head of a GET's answer and no body, whole or harmed: what comes next on the connection is the next answer."""
    token = (await sim.connect())["access_token"]
    if fault is not None:
        await sim.control("POST", "faults", kind=fault, target="api", seconds=0.0)
    host, port = sim.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for method in ("HEAD", "GET"):
        head = f"{method} /api/v1.3/userinfo HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        writer.write((head + ("\r\n" if method == "HEAD" else "Connection: close\r\n\r\n")).encode())
    answers = (await reader.read()).split(b"HTTP/1.1 ")[1:]
    writer.close()
    bodies = [answer.partition(b"\r\n\r\n")[2] for answer in answers]
    assert bodies[0] == b""
    assert b"Content-Length: " in answers[0]
    if fault != "truncate":
        assert b'"user_id"' in bodies[1]


async def test_no_header(sim: Driver) -> None:
    """Without an Authorization header the 401 says so; a token elsewhere is not looked at."""
    token = (await sim.connect())["access_token"]
    reply = await sim.api("GET", f"userinfo?access_token={token}", headers={"x-api-key": token})
    assert reply.status == 401
    assert reply.json == {
        "error": "access_denied",
        "error_description": DENIED,
        "hint": 'Missing "Authorization" header',
    }


@pytest.mark.parametrize(
    ("face", "body"),
    [
        ("message", {"error": "access_denied", "message": DENIED}),
        ("hint", {"error": "access_denied", "hint": "Access token is invalid"}),
        ("problem", {"type": "unauthorized", "title": "Unauthorized", "status": 401, "detail": "401 UNAUTHORIZED"}),
    ],
)
async def test_denied_face(sim: Driver, face: str, body: dict[str, Any]) -> None:
    """A token that is not accepted gets one of the documented 401 bodies."""
    await sim.control("POST", "settings", denied_face=face)
    reply = await sim.api("GET", "getHotels", "nonsense")
    assert (reply.status, reply.json) == (401, body)


@pytest.mark.parametrize(
    ("face", "status", "words"),
    [
        ("denied", 401, DENIED),
        ("problem", 401, "401 UNAUTHORIZED"),
        ("not_available", 200, "Application is not available to be connected. Reach out to Demo App support"),
        ("user_inactive", 200, "User who approved this connection is not active anymore"),
    ],
)
async def test_dead_faces(sim: Driver, face: str, status: int, words: str) -> None:
    """A grant that ended answers with the face it was ended with, and its refresh token is refused."""
    told = await sim.connect()
    await sim.control("POST", "revoke", grant=1, face=face)
    reply = await sim.api("GET", "userinfo", told["access_token"])
    assert reply.status == status
    assert words in reply.body.decode()
    assert (await sim.refresh(told["refresh_token"])).json["message"] == "The refresh token is invalid."


async def test_reading(sim: Driver) -> None:
    """The reading methods answer with rows of the granted property, in any API version."""
    token = (await sim.connect())["access_token"]
    assert (await sim.api("GET", "getHotels", token)).json["data"][0]["propertyID"] == "100001"
    assert (await sim.api("GET", "getHotelDetails", token)).json["data"]["propertyName"] == "Hotel Aurora"
    rows = await sim.ask("GET", "/api/v2.0/getReservations", headers={"Authorization": f"bearer {token}"})
    assert (rows.json["success"], rows.json["total"]) == (True, 2)
    where = (await sim.api("GET", "oauth/metadata", token)).json
    assert (where["success"], where["data"]["api"]["url"]) == ("true", sim.base)


async def test_writing(sim: Driver) -> None:
    """Forms, JSON and queries are taken by the methods that take them."""
    token = (await sim.connect())["access_token"]
    note = {"reservationID": "1", "reservationNote": "late arrival"}
    assert (await sim.api("POST", "postReservationNote", token, data=note)).json["data"]["reservationNoteID"]
    put = await sim.api("PUT", "putReservation", token, data={"reservationID": "1", "status": "canceled"})
    assert put.json["data"] == {"reservationID": "1", "status": "canceled"}
    assert (await sim.api("PATCH", "patchRate", token, json={"rates": []})).json["jobReferenceID"]
    assert (await sim.api("DELETE", "deleteWebhook?subscriptionID=9", token)).json == {"success": True}


@pytest.mark.parametrize(
    ("verb", "name"),
    [("POST", "postReservationNote"), ("PUT", "putReservation"), ("POST", "postFile"), ("DELETE", "deleteWebhook")],
)
async def test_missing_parameters(sim: Driver, verb: str, name: str) -> None:
    """A method without its parameters answers 200 with success false."""
    reply = await sim.api(verb, name, (await sim.connect())["access_token"])
    assert (reply.status, reply.json["success"]) == (200, False)
    assert "required" in reply.json["message"]


async def test_upload(sim: Driver) -> None:
    """An uploaded file is measured and hashed."""
    content = bytes(range(256)) * 5000
    form = aiohttp.FormData({"name": "x"})
    form.add_field("file", io.BytesIO(content), filename="plan.bin")
    reply = await sim.api("POST", "postFile", (await sim.connect())["access_token"], data=form)
    digest = hashlib.sha256(content).hexdigest()
    assert reply.json["data"] == {"fileName": "plan.bin", "size": len(content), "sha256": digest}


async def test_echo(sim: Driver) -> None:
    """Echo tells method, raw path, query, headers and body as received, and of the token only that it was there."""
    token = (await sim.connect())["access_token"]
    path = "echo/a%2Fb/../%41?x=1&x=%20&y="
    reply = await sim.api("MKCOL", path, token, data=b"\x00\xff", headers={"X-Odd": "kept"})
    told = reply.json
    assert (told["method"], told["path"]) == ("MKCOL", f"/api/v1.3/{path}")
    assert told["query"] == [["x", "1"], ["x", " "], ["y", ""]]
    assert ["X-Odd", "kept"] in told["headers"]
    assert told["authorization"] is True
    assert token not in reply.body.decode()
    assert (told["body_length"], told["body_sha256"]) == (2, hashlib.sha256(b"\x00\xff").hexdigest())


async def test_echo_multipart_raw(sim: Driver) -> None:
    """Echo hashes a multipart body byte for byte."""
    body = b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    reply = await sim.api("POST", "echo/x", (await sim.connect())["access_token"], data=body, headers=headers)
    assert reply.json["body_sha256"] == hashlib.sha256(body).hexdigest()


async def test_echo_compressed_raw(sim: Driver) -> None:
    """Echo hashes a compressed body as it was sent, and takes headers of many kilobytes."""
    body = gzip.compress(b"x" * 1000)
    headers = {"Content-Encoding": "gzip", "X-Long": "y" * 40_000}
    reply = await sim.api("POST", "echo/x", (await sim.connect())["access_token"], data=body, headers=headers)
    assert reply.json["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert ["X-Long", "y" * 40_000] in reply.json["headers"]


@pytest.mark.parametrize(("verb", "name"), [("GET", "getNothing"), ("POST", "putReservation"), ("POST", "getHotels")])
async def test_unknown_method(sim: Driver, verb: str, name: str) -> None:
    """A name that does not exist, or not for this verb, is an unknown method, spelt with status."""
    reply = await sim.api(verb, name, "whatever")
    assert (reply.status, reply.json) == (404, {"status": False, "error": "Unknown method."})


@pytest.mark.parametrize(
    "path", ["/nothing", "/oauth", "/api/getHotels", "/api/v1.3/oauth/access_token", "/api/v1.3/getUserInfo"]
)
async def test_html_404(sim: Driver, path: str) -> None:
    """Any path without an API version, and two observed traps, get a 404 page."""
    reply = await sim.ask("GET", path)
    assert (reply.status, reply.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


async def test_scope_missing(sim: Driver) -> None:
    """A scope that was not granted is told with status 200, and still is a use of the token."""
    await sim.control("POST", "apps", client_id="simulated-app", scopes=["read:hotel"])
    reply = await sim.api("GET", "getReservations", (await sim.connect())["access_token"])
    assert (reply.status, reply.json["message"]) == (200, "Scope required for this call was not granted by property.")


async def test_property_rules(sim: Driver) -> None:
    """A grant over several properties wants one named, and none outside it, by parameter or header."""
    await sim.control("POST", "choose", property_ids=["100001", "100002"])
    token = (await sim.connect())["access_token"]
    assert 'specify "propertyID"' in (await sim.api("GET", "getHotelDetails", token)).json["message"]
    named = await sim.api("GET", "getHotelDetails?propertyID=100002", token)
    assert named.json["data"]["propertyName"] == "Harbour House"
    foreign = await sim.api("GET", "getReservations", token, headers={"X-Property-ID": "100003"})
    assert foreign.json["message"].startswith("None of the included property id's match")


async def test_app_state(sim: Driver) -> None:
    """The app state is enabled on approval; disabling it ends the sessions."""
    told = await sim.connect()
    state = await sim.api("GET", "getAppState", told["access_token"])
    assert state.json["data"]["app_state"] == "enabled"
    assert (await sim.api("POST", "postAppState", told["access_token"], data={"app_state": "odd"})).json[
        "success"
    ] is False
    disabled = {"app_state": "disabled", "propertyID": "100001"}
    assert (await sim.api("POST", "postAppState", told["access_token"], data=disabled)).json["success"] is True
    assert (await sim.api("GET", "getAppState", told["access_token"])).status == 401
    assert (await sim.refresh(told["refresh_token"])).status == 400


async def test_app_state_of_a_property_level_client(sim: Driver) -> None:
    """It may neither get nor post one: nothing changes, and its sessions live on."""
    await sim.control("POST", "apps", client_id="simulated-app", level="property")
    told = await sim.connect()
    asked = await sim.api("GET", "getAppState", told["access_token"])
    assert (asked.status, asked.json["success"]) == (200, False)
    posted = await sim.api("POST", "postAppState", told["access_token"], data={"app_state": "disabled"})
    assert (posted.status, posted.json["success"]) == (200, False)
    assert (await sim.refresh(told["refresh_token"])).status == 200


@pytest.mark.parametrize(("variant", "parent_lives"), [("V2/n", True), ("V4/n", False), ("V5/n", True)])
async def test_unknown_method_as_use(sim: Driver, variant: str, parent_lives: bool) -> None:
    """A 404 before any method was reached is a first use only under V4."""
    await sim.control("POST", "settings", variant=variant)
    parent = (await sim.connect())["refresh_token"]
    child = (await sim.refresh(parent)).json
    assert (await sim.api("GET", "getNothing", child["access_token"])).status == 404
    assert ((await sim.refresh(parent)).status == 200) == parent_lives
