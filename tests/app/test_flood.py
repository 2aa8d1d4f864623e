"""Approvals that are begun and never finished: so many from one address, and what they may bring (A74)."""

from __future__ import annotations

import pytest
from tests.app.running import Running, Vendor
from tests.app.tab import Tab
from tests.app.vaults import HandClock, RealVault, given

from cloudbeds_auth.app.limits import STARTS_OF_ONE, WINDOW, Arrivals


async def begun(service: Running[RealVault], path: str = "/connect", address: str = "203.0.113.1") -> tuple[int, str]:
    """Status and code of one start that a trusted proxy passes on from this address."""
    headers = {"Host": "localhost:7000", "X-Forwarded-For": address}
    async with service.http.get(service.url + path, headers=headers, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Retry-After", "")


@pytest.fixture
def clock() -> HandClock:
    """Moved by hand."""
    return HandClock()


@pytest.fixture
async def vault(vendor: Vendor, clock: HandClock) -> RealVault:
    """Behind a proxy that is trusted."""
    return RealVault(given(base_url=vendor.base_url, trusted_proxies=("127.0.0.1",)), clock=clock)


@pytest.mark.row("A62", "A74", control=True)
async def test_so_many_starts_from_one_address(
    service: Running[RealVault], vault: RealVault, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then 503 with Retry-After, and nothing is begun; another address may, and this one when its time is over. Where
    nobody counted, it could go on.
    """
    for _ in range(STARTS_OF_ONE):
        assert await begun(service) == (303, "")
    assert await begun(service) == (503, str(int(WINDOW)))
    assert len(vault.pending()) == STARTS_OF_ONE
    assert await begun(service, address="203.0.113.2") == (303, "")
    clock.now += WINDOW
    assert await begun(service) == (303, "")
    monkeypatch.setattr(Arrivals, "admit", lambda self, source: None)
    for _ in range(STARTS_OF_ONE):
        assert await begun(service) == (303, "")


@pytest.mark.row("A74")
@pytest.mark.parametrize("flood", ["/connect/made-up", "/connect"])
async def test_a_link_starts_whatever_others_begin(service: Running[RealVault], vault: RealVault, flood: str) -> None:
    """From the same address: neither links that nobody made nor bare starts lock a hotel out that was sent a link."""
    tab, link = Tab(service), f"/connect/{(await vault.create_link(expires_in=60)).token}"
    for _ in range(STARTS_OF_ONE + 1):
        status, _ = await begun(service, flood)
    assert status == (400 if flood != "/connect" else 503)
    assert (await tab.press(link))[0] == 303


@pytest.mark.row("A74")
async def test_links_that_nobody_made_stop_no_bare_start(service: Running[RealVault]) -> None:
    """They begin nothing, so they count for nothing."""
    for number in range(STARTS_OF_ONE + 1):
        assert await begun(service, f"/connect/made-up-{number}") == (400, "")
    assert await begun(service) == (303, "")
