"""A hotel that began in the Marketplace comes back with no state of ours: refused, or parked where that is set."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.app.running import AS_ADMIN, Running, Vendor, a_service
from tests.app.tab import BROWSER, Tab
from tests.app.vaults import HandClock, RealVault, given

from cloudbeds_auth.app.limits import OF_ALL, OF_ONE, WINDOW, Arrivals
from cloudbeds_auth.errors import RateLimited
from cloudbeds_auth.rules.redirects import STATE_PREFIX

NO_STATE, THEIRS = "/callback?code=c-1", "/callback?code=c-1&state=12ddc1756afbc3552728d5bb44c78"


@pytest.fixture
async def parking(vendor: Vendor) -> AsyncIterator[Running[RealVault]]:
    """A service that parks."""
    async with a_service(RealVault(given(base_url=vendor.base_url, marketplace="park"))) as running:
        yield running


@pytest.mark.row("A02", "A03")
@pytest.mark.parametrize("path", [NO_STATE, THEIRS])
async def test_refused_by_default(service: Running[RealVault], path: str) -> None:
    """Nothing is exchanged."""
    assert (await Tab(service).open(path))[0] == 400
    assert service.vault.exchanges == []


@pytest.mark.row("A02")
@pytest.mark.parametrize("path", [NO_STATE, f"{NO_STATE}&state=", THEIRS])
async def test_parked(parking: Running[RealVault], path: str) -> None:
    """Exchanged once, and a clean address says that it waits; it attaches to nothing that this browser is."""
    tab = Tab(parking)
    await tab.begin()
    before = dict(tab.cookies)
    assert (await tab.open(path))[:2] == (303, "/claim/con_parked")
    status, _, page = await tab.open("/claim/con_parked")
    assert (status, "con_parked" in page, "What happens next" in page) == (200, True, True)
    assert "cloudbeds-auth" not in page.partition("<body")[2], "no command: whoever reads this is the hotel"
    assert parking.vault.exchanges == ["c-1"]
    assert tab.cookies == before
    assert len(parking.vault.pending()) == 1


@pytest.mark.row("A03", "A04", "A06")
async def test_a_state_of_ours_never_parks(parking: Running[RealVault]) -> None:
    """Another browser's, one that is spent, one that is forged, one that nobody remembers: refused in this mode too."""
    tab, other = Tab(parking), Tab(parking)
    state = await other.begin()
    await tab.begin()
    forged = state[:-1] + ("A" if state[-1] != "A" else "B")
    for brought in (state, forged, STATE_PREFIX, f"{STATE_PREFIX}forgotten"):
        assert (await tab.open(f"/callback?code=x&state={brought}"))[0] == 400
        assert (await Tab(parking).open(f"/callback?code=x&state={brought}"))[0] == 400
    assert (await other.open(f"/callback?code=c-9&state={state}"))[0] == 303
    assert (await other.open(f"/callback?code=c-8&state={state}"))[0] == 400
    assert parking.vault.exchanges == ["c-9"]
    assert BROWSER in other.cookies


@pytest.mark.row("F85")
@pytest.mark.parametrize("query", ["?error=access_denied", "?error=access_denied&code=x", "", "?error_description=No"])
async def test_a_denial_parks_nothing(parking: Running[RealVault], query: str) -> None:
    """No code, or an error beside it: the page says so."""
    status, _, page = await Tab(parking).open(f"/callback{query}")
    assert (status, "authorization_denied" in page) == (400, True)
    assert parking.vault.exchanges == []


async def test_a_code_that_cloudbeds_refuses(parking: Running[RealVault]) -> None:
    """The page says what happened."""
    status, _, page = await Tab(parking).open("/callback?code=spent")
    assert (status, "authorization_expired" in page) == (400, True)


@pytest.mark.row("A08")
async def test_another_servers_answer(parking: Running[RealVault]) -> None:
    """RFC 9207's `iss` is compared as everywhere."""
    assert (await Tab(parking).open(f"{NO_STATE}&iss=https%3A%2F%2Fevil"))[0] == 400
    assert parking.vault.exchanges == []


async def test_so_many_from_one_address(parking: Running[RealVault]) -> None:
    """After a few the next code is not exchanged; the page says when to come back."""
    tab = Tab(parking)
    for number in range(OF_ONE):
        assert (await tab.open(f"/callback?code=c-{number}"))[0] == 303
    status, _, page = await tab.open("/callback?code=one-too-many")
    assert (status, "rate_limited" in page) == (503, True)
    assert len(parking.vault.exchanges) == OF_ONE


async def test_another_address_may_still_come(vendor: Vendor) -> None:
    """What one address brings is counted as its own, also where all come through one proxy."""
    settings = given(base_url=vendor.base_url, marketplace="park", trusted_proxies=("127.0.0.1",))
    async with a_service(RealVault(settings)) as parking:

        async def come(address: str) -> str:
            headers = {"Host": "localhost:7000", "X-Forwarded-For": address}
            async with parking.http.get(parking.url + NO_STATE, headers=headers, allow_redirects=False) as answer:
                return answer.headers["Location"].rpartition("/")[0]

        taken, refused = "/claim", "/not-connected"
        assert [await come("203.0.113.1") for _ in range(OF_ONE + 1)] == [taken] * OF_ONE + [refused]
        assert await come("203.0.113.2") == taken


def test_every_address_has_its_own_count_and_all_have_one() -> None:
    """Refused ones are not counted, and after the window everybody may come again."""
    clock = HandClock()
    arrivals = Arrivals(clock, "came from the Marketplace", of_one=OF_ONE, of_all=OF_ALL)
    for number in range(OF_ALL):
        arrivals.admit(f"10.0.0.{number // OF_ONE}")
    for address in ("10.0.0.0", "10.0.1.1"):
        with pytest.raises(RateLimited) as refused:
            arrivals.admit(address)
        assert refused.value.retry_after == WINDOW
    clock.now += WINDOW
    for _ in range(OF_ONE):
        arrivals.admit("10.0.0.0")


async def test_claimed_over_http(parking: Running[RealVault]) -> None:
    """By whoever may connect hotels, under their own name for it."""
    await Tab(parking).open(NO_STATE)
    url = f"{parking.url}/api/v1/connections/con_parked/claim"
    async with parking.http.post(url, headers=AS_ADMIN, json={"reference": "tenant-7"}) as answer:
        claimed = await answer.json()
    assert (answer.status, claimed["reference"], claimed["state"]) == (200, "tenant-7", "fresh")
    async with parking.http.post(url, json={}) as answer:
        assert answer.status == 401


@pytest.mark.parametrize("path", ["/claim/nobody", "/claim/", "/claim/con_%3Cscript%3E"])
async def test_an_odd_address_of_the_page(parking: Running[RealVault], path: str) -> None:
    """Only a connection's id is shown, and only its spelling is open to anyone."""
    status, _, page = await Tab(parking).open(path)
    assert status == 401
    assert "script" not in page
