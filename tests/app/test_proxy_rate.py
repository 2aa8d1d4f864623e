"""`/proxy` under the vendor's rate limit: a turn for each request that is sent, and a 429 that everybody hears."""

from __future__ import annotations

import pytest
from aiohttp import web
from tests.app.running import AS_ADMIN, Running, Vendor
from tests.app.vaults import RealVault

from cloudbeds_auth.errors import RateLimited


async def test_each_request_has_a_turn(service: Running[RealVault], vendor: Vendor) -> None:
    """Those that are sent again after a 401, too."""
    async with service.http.get(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN) as answer:
        assert answer.status == 200
    assert service.vault.turns == len(vendor.seen) == 1
    vendor.good = {"token-2"}
    async with service.http.post(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN, data=b"x") as answer:
        assert answer.status == 200
    assert service.vault.turns == len(vendor.seen) == 3


async def test_a_token_that_is_renewed_while_a_request_waits(service: Running[RealVault], vendor: Vendor) -> None:
    """It goes with the new one: no 401 of a token that died meanwhile costs another turn."""
    vendor.good, service.vault.renewed_while_waiting = {"token-2"}, True
    async with service.http.post(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN, data=b"x") as answer:
        assert answer.status == 200
    assert [one.header("authorization") for one in vendor.seen] == ["Bearer token-2"]
    assert service.vault.calls == [(2, "POST", "/api/x", 200)]


async def test_userinfo_has_a_turn(service: Running[RealVault], vendor: Vendor) -> None:
    """The call that the service makes for a caller is one like every other."""
    async with service.http.get(f"{service.url}/api/v1/connections/con_1/userinfo", headers=AS_ADMIN) as answer:
        assert answer.status == 200
    assert service.vault.turns == len(vendor.seen) == 1


async def test_without_a_turn_nothing_is_sent(service: Running[RealVault], vendor: Vendor) -> None:
    """503 `rate_limited` and when to come again, of ours and not the vendor's."""
    service.vault.no_turn = RateLimited(retry_after=6.2, connection_id="con_1")
    async with service.http.post(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN, data=b"x") as answer:
        problem = await answer.json(content_type="application/problem+json")
        assert (answer.status, problem["code"], problem["connection_id"]) == (503, "rate_limited", "con_1")
        assert answer.headers["X-Cloudbeds-Auth-Code"] == "rate_limited"
        assert answer.headers["Retry-After"] == "7"
    assert vendor.seen == []


@pytest.mark.row("F20")
@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({}, 1.0),
        ({"Retry-After": "9"}, 9.0),
        ({"Retry-After": "1000000000"}, 60.0),
        ({"Retry-After": "Tue, 24 Nov 2026 08:00:09 GMT", "Date": "Tue, 24 Nov 2026 08:00:00 GMT"}, 9.0),
    ],
)
async def test_a_429_is_passed_on_and_heard(
    service: Running[RealVault], vendor: Vendor, headers: dict[str, str], pause: float
) -> None:
    """As it came, sent once; how long nobody of the client id sends is capped."""

    async def busy(request: web.Request) -> web.StreamResponse:
        return web.Response(status=429, body=b'{"message": "Too many requests"}', headers=headers)

    vendor.answer = busy
    async with service.http.get(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN) as answer:
        assert (answer.status, await answer.read()) == (429, b'{"message": "Too many requests"}')
        assert answer.headers.get("Retry-After") == headers.get("Retry-After")
        assert "X-Cloudbeds-Auth-Code" not in answer.headers
    assert len(vendor.seen) == 1
    assert service.vault.pauses == [("con_1", pause)]


async def test_what_is_no_429_pauses_nobody(service: Running[RealVault], vendor: Vendor) -> None:
    """A 503 with `Retry-After` is the caller's own to note_refusal."""

    async def down(request: web.Request) -> web.StreamResponse:
        return web.Response(status=503, headers={"Retry-After": "9"})

    vendor.answer = down
    async with service.http.get(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN) as answer:
        assert answer.status == 503
    assert service.vault.pauses == []
