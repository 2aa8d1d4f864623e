"""A hotel with an API key over the real service, vault and database: connected, shown, called, never refreshed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.app.running import Running, a_service
from tests.app.tab import Tab
from tests.support.simulator import Vendor, vendor

from cloudbeds_auth.rules.permissions import Bounds, Caller, Scope
from cloudbeds_auth.vault import TokenVault

BOUND = Caller("website", frozenset({Scope.CONNECT}), Bounds(references=frozenset({"tenant-9"})))
World = tuple[Running[TokenVault], Vendor]


@pytest.fixture(params=["bearer", "x-api-key"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A service that asks for keys, and the vendor."""
    tmp_path.chmod(0o700)
    async with vendor() as simulated:
        settings = simulated.settings(tmp_path, credential="api-key", credential_header=request.param)
        async with (
            TokenVault.open(settings) as vault,
            a_service(vault, {"bound": BOUND}) as service,
        ):
            yield service, simulated


async def ask(service: Running[TokenVault], path: str, method: str = "GET") -> tuple[int, Any]:
    """As the administrator: status and JSON."""
    headers = {"Authorization": f"Bearer {service.vault.admin_token.reveal()}"}
    async with service.http.request(method, service.url + path, headers=headers) as answer:
        return answer.status, json.loads(await answer.read())


async def connected(world: World) -> str:
    """A hotel that opens a bare `/connect` and approves; the connection that it is told."""
    service, simulated = world
    tab = Tab(service)
    _, location, _ = await tab.open("/connect?return_to=/done")
    code, state = await simulated.approve(location)
    status, location, _ = await tab.open(f"/callback?code={code}&state={state}")
    assert status == 303
    return location.partition("connection_id=")[2].partition("&")[0]


async def test_a_hotel_with_a_key(world: World) -> None:
    """No end in any document, calls in the header that was asked for, and 409 where somebody wants a refresh."""
    service, simulated = world
    connection = await connected(world)
    _, shown = await ask(service, f"/api/v1/connections/{connection}")
    assert (shown["credential"], shown["state"], shown["expires_at"]) == ("api_key", "fresh", None)
    status, token = await ask(service, f"/api/v1/connections/{connection}/access-token?min_valid=999999")
    assert (status, token["access_token"][:5], token["expires_at"]) == (200, "cbat_", None)
    for path in (f"/proxy/{connection}/api/v1.3/userinfo", "/api/v1/connections/100001/userinfo"):
        assert (await ask(service, path))[0] == 200
    wanted = service.vault.settings.credential_header == "x-api-key"
    seen = [one for one in simulated.simulator.journal.entries if one.target in {"userinfo", "resource"}]
    assert {one.key_header for one in seen} == {wanted}
    status, problem = await ask(service, f"/api/v1/connections/{connection}/refresh", "POST")
    assert (status, problem["code"], problem["connection_id"]) == (409, "not_refreshable", connection)
    assert simulated.token_requests() == []


async def test_a_hotel_that_connects_again(world: World) -> None:
    """A bare Connect, and an answer that names no property: the same connection, with the newer key."""
    service, _ = world
    first = await connected(world)
    _, before = await ask(service, "/api/v1/connections/100001/access-token")
    assert await connected(world) == first
    status, after = await ask(service, "/api/v1/connections/100001/access-token")
    assert (status, after["access_token"] != before["access_token"]) == (200, True)
    assert len((await ask(service, "/api/v1/connections"))[1]["connections"]) == 1


async def test_a_key_that_the_hotel_revoked(world: World) -> None:
    """No refresh is tried: `/userinfo` is asked, the caller is told to try later, and nobody to reconnect yet."""
    service, simulated = world
    connection = await connected(world)
    for grant in simulated.simulator.model.covering("100001"):
        simulated.simulator.model.end(grant, "disconnected")
    status, problem = await ask(service, f"/proxy/{connection}/api/v1.3/getHotels")
    assert (status, problem["code"]) == (503, "refresh_in_doubt")
    assert simulated.token_requests() == []


@pytest.mark.row("A27")
async def test_a_pasted_key_of_another_callers_hotel(world: World) -> None:
    """A caller for one reference does not take another one's hotel over by a key of it, named or not."""
    service, _ = world
    connection = await connected(world)
    _, token = await ask(service, f"/api/v1/connections/{connection}/access-token")
    headers = {"Authorization": "Bearer bound"}
    for more in ({}, {"connection_id": connection}, {"expected_properties": ["100001"]}):
        body = {"api_key": token["access_token"], "reference": "tenant-9", **more}
        async with service.http.post(f"{service.url}/api/v1/connections", headers=headers, json=body) as answer:
            assert (answer.status, json.loads(await answer.read())["code"]) == (403, "forbidden")
    _, shown = await ask(service, f"/api/v1/connections/{connection}")
    assert (shown["reference"], shown["generation"]) == (None, 1)
