"""Approvals that are begun and never finished: so many from one address, and what they may bring (A74)."""

from __future__ import annotations

import pytest
from tests.app.fake_vault import FakeSettings, FakeVault, HandClock
from tests.app.running import Running, Vendor, a_service

from cloudbeds_auth.app.arrivals import STARTS_OF_ONE, WINDOW


async def begun(service: Running[FakeVault], path: str = "/connect", address: str = "203.0.113.1") -> tuple[int, str]:
    """Status and code of one start that a trusted proxy passes on from this address."""
    headers = {"Host": "localhost:7000", "X-Forwarded-For": address}
    async with service.http.get(service.url + path, headers=headers, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Retry-After", "")


@pytest.mark.row("A74")
@pytest.mark.parametrize("linked", [False, True])
async def test_so_many_starts_from_one_address(vendor: Vendor, linked: bool) -> None:
    """Then 503 with Retry-After, and nothing is begun; another address may, and this one when its time is over."""
    settings = FakeSettings(base_url=vendor.base_url, trusted_proxies=("127.0.0.1",))
    vault = FakeVault(settings)
    vault.clock = clock = HandClock()
    path = f"/connect/{(await vault.create_link(expires_in=60)).token}" if linked else "/connect"
    async with a_service(vault) as service:
        for _ in range(STARTS_OF_ONE):
            assert await begun(service, path) == (303, "")
        assert await begun(service, path) == (503, str(int(WINDOW)))
        assert len(vault.pending) == STARTS_OF_ONE
        assert await begun(service, path, "203.0.113.2") == (303, "")
        clock.now += WINDOW
        assert await begun(service, path) == (303, "")
