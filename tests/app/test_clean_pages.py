"""Where a browser is left when an approval failed: at an address without code and state, whatever went wrong (A81)."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from tests.app.running import Running, Vendor, a_service
from tests.app.tab import OUTCOME, Tab
from tests.app.vaults import FAILURES, RealVault, given

CODE = "THE-CODE"


@pytest.fixture
def tab(service: Running[RealVault]) -> Tab:
    """A browser on the redirect URI's host."""
    return Tab(service)


async def fails(tab: Tab, query: str) -> str:
    """The callback with this query leads away, without what the query held: to where."""
    status, location, page = await tab.open(f"/callback?{query}", follow=False)
    assert (status, page) == (303, "")
    for name, secret in tab.secrets.items():
        assert secret not in location, name
        assert all(secret not in value for value in tab.cookies.values()), name
    return location


@pytest.mark.row("A81")
@pytest.mark.parametrize(
    ("query", "code", "status"),
    [
        ("error=access_denied&state={state}", "authorization_denied", 400),
        ("state={state}", "authorization_denied", 400),
        (f"code={CODE}", "state_mismatch", 400),
        (f"code={CODE}&state=st_forged", "state_mismatch", 400),
        (f"code={CODE}&code=b&state={{state}}", "invalid_request", 400),
        (f"code={CODE}&state={{state}}&iss=https%3A%2F%2Fevil", "state_mismatch", 400),
        (f"code={CODE}%00&state={{state}}", "invalid_request", 400),
        *((f"code={name}&state={{state}}", kind.code, kind.status) for name, kind in FAILURES.items()),
    ],
)
async def test_every_failure(tab: Tab, query: str, code: str, status: int) -> None:
    """303 to a page of the status that the failure has; it says what happened, offers a start, and can be reloaded."""
    state = await tab.begin()
    tab.secrets = {"state": state, "code": CODE}
    location = await fails(tab, query.format(state=state))
    assert location == f"/not-connected/{code}"
    first = await tab.open(location)
    assert first[0] == status
    assert f"<code>{code}</code>" in first[2]
    assert 'href="/connect"' in first[2]
    assert await tab.open(location) == first


@pytest.mark.row("A81")
async def test_the_page_says_what_this_failure_was(tab: Tab) -> None:
    """In Cloudbeds' own words, escaped; in another browser, or beside a cookie that is none: what the code means."""
    state = await tab.begin()
    words = quote("<b>The desk</b> is closed")
    location = await fails(tab, f"error=x&error_description={words}&state={state}")
    page = (await tab.open(location))[2]
    assert "Cloudbeds answered: &lt;b&gt;The desk&lt;/b&gt; is closed" in page
    assert "<h1>Cloudbeds did not approve</h1>" in page
    status, _, page = await Tab(tab.service).open(location)
    assert (status, "You did not approve" in page, "The desk" in page) == (400, True, False)
    for planted in (
        "x",
        "%5B%5D",
        quote('["authorization_denied", "a\\nb", null]'),
        quote('["authorization_denied", 1, 2]'),
        "[" * 20_000,
    ):
        tab.cookies[OUTCOME] = planted
        status, _, page = await tab.open(location)
        assert (status, "You did not approve" in page) == (400, True)


@pytest.mark.row("A81")
async def test_a_page_of_another_failure(tab: Tab) -> None:
    """What one failure was is not shown under another one's code."""
    state = await tab.begin()
    await fails(tab, f"error=x&error_description=closed&state={state}")
    assert "closed" not in (await tab.open("/not-connected/state_mismatch"))[2]


async def test_a_code_that_there_is_not(tab: Tab) -> None:
    """404, and what was asked for is not repeated; a spelling that no code has is not open to anyone."""
    status, _, page = await tab.open("/not-connected/bad_weather")
    assert (status, "bad_weather" in page) == (404, False)
    for path in ("/not-connected/", "/not-connected/%3Cb%3E", "/not-connected/a/b"):
        assert (await tab.open(path))[0] == 401


@pytest.mark.row("A81")
async def test_below_the_public_urls_prefix(vendor: Vendor) -> None:
    """The page lies below the prefix, as every page."""
    settings = given(base_url=vendor.base_url, public_url="http://localhost:7000/auth")
    async with a_service(RealVault(settings)) as service:
        _, location, _ = await Tab(service).open("/callback?code=x", follow=False)
        assert location == "/auth/not-connected/state_mismatch"
