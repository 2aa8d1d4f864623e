"""Keys for callers over HTTP: made, used, narrowed, revoked; and what a key for a part of a group cannot reach."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yarl
from tests.app.running import AS_ADMIN, Running, Vendor, a_service
from tests.app.vaults import RealVault

from cloudbeds_auth.app import api
from cloudbeds_auth.app.gateway import known_to
from cloudbeds_auth.rules.permissions import ADMIN, METRICS, Caller

KEYS = "/api/v1/keys"


async def answered(
    service: Running[RealVault], method: str, path: str, key: str, **parts: Any
) -> tuple[int, dict[str, Any]]:
    """Status and document, asked with this credential."""
    headers = {"Authorization": f"Bearer {key}", **parts.pop("headers", {})}
    url = yarl.URL(service.url + path, encoded=True)
    async with service.http.request(method, url, headers=headers, **parts) as answer:
        return answer.status, await answer.json(content_type=None)


async def made(service: Running[RealVault], by: Any = None, **body: Any) -> dict[str, Any]:
    """A new key, by the administrator unless another key makes it."""
    credential = by or AS_ADMIN["Authorization"].removeprefix("Bearer ")
    status, document = await answered(service, "POST", KEYS, credential, json={"name": "a job"} | body)
    assert status == 201, document
    return document


async def test_a_key_is_shown_once(service: Running[RealVault]) -> None:
    """The answer to its making alone holds it."""
    key = await made(service, scopes=["read"], expires_in=3600)
    assert key["key"].startswith("cbauth_")
    status, shown = await answered(service, "GET", f"{KEYS}/{key['id']}", key["key"])
    assert (status, shown["code"]) == (404, "invalid_request"), "it is no child of its own"
    admin = AS_ADMIN["Authorization"].removeprefix("Bearer ")
    assert await answered(service, "GET", f"{KEYS}/{key['id']}", admin) == (
        200,
        {name: value for name, value in key.items() if name != "key"},
    )
    assert await answered(service, "GET", KEYS, admin) == (
        200,
        {"keys": [{name: value for name, value in key.items() if name != "key"}], "next": None},
    )
    status, found = await answered(service, "GET", "/api/v1/connections", key["key"])
    assert (status, [one["id"] for one in found["connections"]]) == (200, ["con_1"])


async def test_a_revoked_key_is_refused(service: Running[RealVault]) -> None:
    """At once in this process."""
    key = await made(service, scopes=["read"])
    admin = AS_ADMIN["Authorization"].removeprefix("Bearer ")
    assert (await answered(service, "GET", "/api/v1/connections", key["key"]))[0] == 200
    status, ended = await answered(service, "DELETE", f"{KEYS}/{key['id']}", admin)
    assert (status, ended["revoked_at"] is None) == (200, False)
    assert (await answered(service, "GET", "/api/v1/connections", key["key"]))[0] == 401


@pytest.mark.row("A25")
async def test_a_key_that_is_revoked_while_its_body_comes(service: Running[RealVault], vendor: Vendor) -> None:
    """Is refused, and nothing is sent: a slow body outlives no revocation."""
    key = await made(service, scopes=["proxy"])

    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        await service.vault.keys.revoke(key["id"])
        yield b"b"

    status, problem = await answered(service, "POST", "/proxy/con_1/api/v1.3/x", key["key"], data=body())
    assert (status, problem["code"]) == (401, "unauthenticated")
    assert not vendor.seen


@pytest.mark.row("A25")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (KEYS, {"name": "another", "scopes": ["admin"]}),
        ("/api/v1/authorizations", {}),
        ("/api/v1/connections", {"api_key": "cbat_1"}),
        ("/api/v1/connections/con_1/claim", {}),
    ],
)
async def test_a_key_that_is_revoked_while_a_small_body_comes(
    service: Running[RealVault], monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    """Does nothing more, and makes no key that would be good for ever: its caller was known by the head alone."""
    key = await made(service, scopes=["admin"])
    known, authenticate = asyncio.Event(), service.vault.keys.authenticate

    async def noticed(text: str, address: str) -> Caller | None:
        found = await authenticate(text, address)
        known.set()
        return found

    monkeypatch.setattr(service.vault.keys, "authenticate", noticed)
    text = json.dumps(body).encode()

    async def slowly() -> AsyncIterator[bytes]:
        yield text[:1]
        await known.wait()
        await service.vault.keys.revoke(key["id"])
        yield text[1:]

    headers = {"Content-Type": "application/json", "Content-Length": str(len(text))}
    status, problem = await answered(service, "POST", path, key["key"], data=slowly(), headers=headers)
    assert (status, problem["code"]) == (401, "unauthenticated")
    assert [one.id for one in await service.vault.keys.list()] == [key["id"]]
    assert not service.vault.links


async def test_a_child_key(service: Running[RealVault]) -> None:
    """A key makes, sees and ends its own children, and no other key; a child makes none."""
    parent, other = await made(service, scopes=["read", "proxy"]), await made(service, scopes=["read"])
    child = await made(service, parent["key"], scopes=["read"])
    assert child["parent"] == child["created_by"] == parent["id"]
    for credential, expected in ((parent, [child["id"]]), (other, []), (child, [])):
        _, found = await answered(service, "GET", KEYS, credential["key"])
        assert [one["id"] for one in found["keys"]] == expected
    body = {"name": "x", "scopes": ["proxy"]}
    assert (await answered(service, "POST", KEYS, child["key"], json=body))[0] == 403
    assert (await answered(service, "POST", KEYS, other["key"], json=body))[0] == 403
    for credential, named, status in ((other, child, 404), (parent, other, 404), (parent, child, 200)):
        assert (await answered(service, "DELETE", f"{KEYS}/{named['id']}", credential["key"]))[0] == status
    assert (await answered(service, "GET", "/api/v1/connections", child["key"]))[0] == 401


@pytest.mark.row("A28")
async def test_a_key_for_reading(service: Running[RealVault], vendor: Vendor) -> None:
    """At Cloudbeds it reads: nothing else is sent."""
    key = await made(service, scopes=["proxy"], read_only=True)
    assert (await answered(service, "GET", "/proxy/con_1/api/v1.3/x", key["key"]))[0] == 200
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        status, problem = await answered(service, method, "/proxy/con_1/api/v1.3/x", key["key"])
        assert (status, problem["code"]) == (403, "forbidden")
    assert [seen.method for seen in vendor.seen] == ["GET"]


@pytest.mark.row("A61")
async def test_whose_turn_a_call_takes(service: Running[RealVault], vendor: Vendor) -> None:
    """That of the key, which its children share; of the admin token that of the address. A key's rate is kept."""
    parent = await made(service, scopes=["proxy"], rate=0.1)
    child = await made(service, by=parent["key"], scopes=["proxy"])
    admin = AS_ADMIN["Authorization"].removeprefix("Bearer ")
    for key in (child["key"], admin):
        status, _ = await answered(service, "GET", "/proxy/con_1/api/v1.3/getHotels", key)
        assert status == 200
    assert service.vault.callers == [parent["id"], "127.0.0.1"]
    status, problem = await answered(service, "GET", "/proxy/con_1/api/v1.3/getHotels", parent["key"])
    assert (status, problem["code"]) == (503, "rate_limited")
    assert len(vendor.seen) == 2


@pytest.mark.row("A61")
async def test_both_turns_of_a_call(service: Running[RealVault], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the key's turn left of the five seconds is what its client id's is waited for."""
    key, waits = await made(service, scopes=["proxy"], rate=0.1), list[float]()

    async def of_key(*_: object) -> float:
        return 1.5

    async def of_client_id(connection_id: str, caller: str, patience: float) -> None:
        waits.append(patience)

    monkeypatch.setattr(service.vault.engine, "turn_of_key", of_key)
    monkeypatch.setattr(service.vault, "turn", of_client_id)
    assert (await answered(service, "GET", "/proxy/con_1/api/v1.3/getHotels", key["key"]))[0] == 200
    assert waits == [1.5]


async def test_a_key_for_some_methods(service: Running[RealVault], vendor: Vendor) -> None:
    """However they are written."""
    key = await made(service, scopes=["proxy"], methods=["getHotels"])
    for path, status in (("getHotels", 200), ("GETHOTELS", 200), ("get%48otels", 200), ("getGuest", 403)):
        assert (await answered(service, "GET", f"/proxy/con_1/api/v1.3/{path}", key["key"]))[0] == status
    assert len(vendor.seen) == 3


@pytest.mark.row("A27")
@pytest.mark.parametrize(
    ("reach", "reached"),
    [
        ({"connections": ["con_1"]}, True),
        ({"properties": ["1000"]}, True),
        ({"connections": ["con_2"]}, False),
        ({"properties": ["2000"]}, False),
        ({"references": ["tenant-8"]}, False),
        ({"connections": []}, False),
    ],
)
async def test_a_key_for_a_hotel(
    service: Running[RealVault], vendor: Vendor, reach: dict[str, list[str]], reached: bool
) -> None:
    """Reaches it, and no other, by whatever it is named."""
    key = await made(service, scopes=["proxy", "read"], **reach)
    for named in ("con_1", "1000"):
        for path in (f"/proxy/{named}/api/v1.3/x", *(f"/api/v1/connections/{named}{more}" for more in ("", "/events"))):
            assert (await answered(service, "GET", path, key["key"]))[0] == (200 if reached else 403)
    assert len(vendor.seen) == 2 * reached
    _, found = await answered(service, "GET", "/api/v1/connections", key["key"])
    assert len(found["connections"]) == reached


@pytest.mark.row("A27", control=True)
async def test_a_hotel_that_a_key_is_not_for(
    service: Running[RealVault], vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused, and nothing is sent; unasked whether it may, it would reach every hotel."""
    key = await made(service, scopes=["proxy"], references=["tenant-8"])
    path = "/proxy/con_1/api/v1.3/x"
    assert (await answered(service, "GET", path, key["key"]))[0] == 403
    assert vendor.seen == []
    monkeypatch.setattr("cloudbeds_auth.app.permits.may", lambda *_: True)
    monkeypatch.setattr("cloudbeds_auth.rules.property_pin.pinned", lambda *_: None)
    assert (await answered(service, "GET", path, key["key"]))[0] == 200


@pytest.mark.row("A27")
async def test_a_key_for_a_property_of_a_group(service: Running[RealVault], vendor: Vendor) -> None:
    """Names that property alone: in header, query, form and JSON; Cloudbeds is always told which one."""
    await service.vault.connect("con_7", "7000", "7001")
    key = (await made(service, scopes=["proxy", "read"], properties=["7000"]))["key"]
    path = "/proxy/con_7/api/v1.3/getRoom"
    allowed: list[dict[str, Any]] = [
        {},
        {"headers": {"X-PROPERTY-ID": "7000"}},
        {"data": {"propertyID": "7000"}},
        {"json": {"propertyID": "7000"}},
    ]
    refused: list[dict[str, Any]] = [
        {"headers": {"X-PROPERTY-ID": "7001"}},
        {"data": {"propertyID": "7001"}},
        {"json": {"room": {"propertyID": 7001}}},
        {"data": b"propertyID=7001"},
        {"data": b"\x1f\x8b", "headers": {"Content-Encoding": "gzip"}},
        {"json": {"propertyID": "7000"}, "headers": {"Connection": "content-type"}},
    ]
    for parts in allowed:
        assert (await answered(service, "POST", path, key, **parts))[0] == 200
    for parts in refused:
        assert (await answered(service, "POST", path, key, **parts))[0] == 403
    assert (await answered(service, "GET", f"{path}?propertyID=7001", key))[0] == 403
    assert (await answered(service, "GET", "/proxy/7001/api/v1.3/getRoom", key))[0] == 403
    assert (await answered(service, "GET", "/proxy/con_7/housekeeping/v1/inspections/7001", key))[0] == 403
    told = [(seen.header("X-PROPERTY-ID"), seen.target.partition("?")[2]) for seen in vendor.seen]
    assert told == [("7000", "propertyID=7000")] * len(allowed)
    assert (await answered(service, "GET", "/api/v1/connections/con_7/access-token", key))[0] == 403


@pytest.mark.row("A27")
async def test_userinfo_for_a_property_of_a_group(service: Running[RealVault], vendor: Vendor) -> None:
    """Is limited as any call in the proxy is."""
    await service.vault.connect("con_7", "7000", "7001")
    key = (await made(service, scopes=["proxy"], properties=["7000"]))["key"]
    userinfo = "/api/v1/connections/con_7/userinfo"
    for path in (f"{userinfo}?property_id=7001", f"{userinfo}?organization_id=1", userinfo.replace("con_7", "7001")):
        assert (await answered(service, "GET", path, key))[0] == 403
    assert (await answered(service, "GET", userinfo, key, headers={"X-Property-ID": "7001"}))[0] == 403
    other = (await made(service, scopes=["proxy"], methods=["getHotels"]))["key"]
    assert (await answered(service, "GET", userinfo, other))[0] == 403
    assert not vendor.seen
    assert (await answered(service, "GET", f"{userinfo}?role_details=true", key))[0] == 200
    (seen,) = vendor.seen
    assert seen.header("X-PROPERTY-ID") == "7000"
    assert seen.target.partition("?")[2] == "role_details=true&propertyID=7000"


async def test_a_bound_key_learns_nothing_of_other_hotels(service: Running[RealVault]) -> None:
    """One that is there and one that is not are answered alike."""
    key = (await made(service, scopes=["proxy", "read"], properties=["7000"]))["key"]
    for path in ("/proxy/{}/api/v1.3/getRoom", "/api/v1/connections/{}", "/api/v1/connections/{}/events"):
        answers = [await answered(service, "GET", path.format(named), key) for named in ("con_1", "con_9", "1000", "9")]
        assert {(status, document["code"], document["detail"]) for status, document in answers} == {
            (403, "forbidden", "this credential is not for this connection")
        }
        assert all(document.get("connection_id") is None for _, document in answers)


async def test_a_bound_key_learns_of_its_own_hotel(service: Running[RealVault]) -> None:
    """That it is not connected, and not that it is foreign."""
    key = (await made(service, scopes=["proxy", "read"], properties=["7000"], connections=["con_9"]))["key"]
    for named in ("7000", "con_9"):
        for path in (f"/proxy/{named}/api/v1.3/getRoom", f"/api/v1/connections/{named}"):
            status, problem = await answered(service, "GET", path, key)
            assert (status, problem["code"]) == (404, "unknown_connection")


async def test_who_may_connect_a_hotel(service: Running[RealVault]) -> None:
    """A key that is bound: with a reference or properties of its own."""
    key = (await made(service, scopes=["connect"], references=["tenant-7"], properties=["1000"]))["key"]
    for body, status in (
        ({"reference": "tenant-7"}, 201),
        ({"expected_properties": ["1000"]}, 201),
        ({}, 403),
        ({"reference": "tenant-8"}, 403),
        ({"expected_properties": ["1000", "1001"]}, 403),
        ({"expected_properties": ["1000"], "reference": "tenant-8"}, 403),
    ):
        assert (await answered(service, "POST", "/api/v1/authorizations", key, json=body))[0] == status


async def test_who_may_change_a_connection(service: Running[RealVault]) -> None:
    """A key that is for all of it, and for the reference that it gets."""
    of_property = (await made(service, scopes=["connect"], properties=["1000"]))["key"]
    of_connection = (await made(service, scopes=["connect"], connections=["con_1"]))["key"]
    claim, paste = "/api/v1/connections/con_1/claim", "/api/v1/connections"
    for key, reference in ((of_property, "tenant-7"), (of_connection, "tenant-8")):
        pasted = {"api_key": "cbat_x", "connection_id": "con_1", "reference": reference}
        for path, body in ((claim, {"reference": reference}), (paste, pasted)):
            status, problem = await answered(service, "POST", path, key, json=body)
            assert (status, problem["detail"][:40]) == (403, "this credential is not for the whole con")
    both = (await made(service, scopes=["connect"], connections=["con_1"], references=["tenant-7"]))["key"]
    status, problem = await answered(service, "POST", claim, both, json={"reference": "tenant-7"})
    assert status != 403, problem


@pytest.mark.parametrize(
    "body",
    [
        {"scopes": []},
        {"scopes": ["write"]},
        {"scopes": ["token"], "read_only": True},
        {"scopes": ["read"], "expires_in": 0},
        {"scopes": ["read"], "expires_in": "60"},
        {"scopes": ["read"], "read_only": 0},
        {"scopes": ["read"], "name": ""},
        {"scopes": ["read"], "unknown": 1},
    ],
)
async def test_what_is_no_key(service: Running[RealVault], body: dict[str, Any]) -> None:
    """Is refused, and nothing is stored."""
    admin = AS_ADMIN["Authorization"].removeprefix("Bearer ")
    status, problem = await answered(service, "POST", KEYS, admin, json={"name": "a job"} | body)
    assert (status, problem["code"]) == (400, "invalid_request")
    assert not await service.vault.keys.list()


async def test_the_token_for_metrics(vault: RealVault) -> None:
    """Opens no route of keys, and makes none."""
    async with a_service(vault, {"reader-of-numbers": METRICS}) as service:
        for method in ("GET", "POST"):
            body = {"name": "a", "scopes": ["metrics"]}
            status, problem = await answered(service, method, KEYS, "reader-of-numbers", json=body)
            assert (status, problem["code"]) == (403, "forbidden")


async def test_pages_of_a_bound_key(service: Running[RealVault], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hotel once, newest first, no more than a page at a time."""
    monkeypatch.setattr(api, "PAGE", 2)
    for number in range(2, 6):
        await service.vault.connect(f"con_{number}", f"{number}000")
    key = (await made(service, scopes=["read"], connections=["con_1", "con_2", "con_4", "con_5", "con_9"]))["key"]
    _, first = await answered(service, "GET", "/api/v1/connections", key)
    assert ([one["id"] for one in first["connections"]], first["next"]) == (["con_5", "con_4"], "con_4")
    _, second = await answered(service, "GET", f"/api/v1/connections?cursor={first['next']}", key)
    assert ([one["id"] for one in second["connections"]], second["next"]) == (["con_2", "con_1"], None)
    status, _ = await answered(service, "GET", "/api/v1/connections?cursor=x", key)
    assert status == 400


async def test_the_admin_token_is_known(vault: RealVault) -> None:
    """Beside the keys; nothing else is."""
    async with a_service(vault):
        authenticate = known_to(vault)
        from cloudbeds_auth.app.limits import hash_of

        token = vault.admin_token.reveal()
        assert await authenticate(token, hash_of(token), "192.0.2.7") is ADMIN
        assert await authenticate("x", hash_of("x"), "192.0.2.7") is None
