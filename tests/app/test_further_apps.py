"""Apps that are added while the service runs: their callbacks and their hosts are served from the next request on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest
from tests.app.fake_vault import FakeSettings, FakeVault, HandClock
from tests.app.running import AS_ADMIN, Running, Vendor, a_service
from tests.app.tab import BROWSER, Tab

from cloudbeds_auth.errors import StoreUnavailable

AURORA = "http://aurora.localhost:7000/hotel/back"


@pytest.fixture
def vault(vendor: Vendor) -> FakeVault:
    """With a clock that the test sets: apps are remembered for a second."""
    vault = FakeVault(FakeSettings(base_url=vendor.base_url))
    vault.clock = HandClock()
    return vault


def a_second_later(service: Running[FakeVault]) -> None:
    """What was remembered is forgotten."""
    assert isinstance(service.vault.clock, HandClock)
    service.vault.clock.now += 1.0


async def status(service: Running[FakeVault], path: str, host: str = "localhost", **more: str) -> int:
    """How a request without a credential is answered."""
    async with service.http.request(more.get("method", "GET"), service.url + path, headers={"Host": host}) as answer:
        return answer.status


async def test_the_callback_of_an_app_that_was_added(service: Running[FakeVault]) -> None:
    """Closed until the app is there, then one like the settings' own; no path beside it opens."""
    assert await status(service, "/hotel/back") == 401
    service.vault.apps.found["aurora"] = AURORA
    a_second_later(service)
    assert await status(service, "/hotel/back") == 400, "a callback without a state"
    for callback in ("/hotel/back", "/callback"):
        assert await status(service, callback, method="POST") == 405
    for path in ("/hotel", "/hotel/back/", "/hotel/back/x", "/hotel%2fback", "//hotel/back"):
        assert await status(service, path) == 401, path
    del service.vault.apps.found["aurora"]
    a_second_later(service)
    assert await status(service, "/hotel/back") == 401


async def test_the_host_of_an_app_that_was_added(service: Running[FakeVault]) -> None:
    """A Host header that leads to nobody's redirect URI is refused as ever."""
    assert await status(service, "/healthz", "aurora.localhost:7000") == 421
    service.vault.apps.found["aurora"] = AURORA
    a_second_later(service)
    assert await status(service, "/healthz", "aurora.localhost:7000") == 200
    assert await status(service, "/healthz", "evil.example") == 421


async def test_hosts_that_are_set_are_all(vault: FakeVault) -> None:
    """An operator's own list is not added to: `doctor` names what it lacks."""
    vault.settings.derived_hosts = False
    vault.apps.found["aurora"] = AURORA
    async with a_service(vault) as service:
        assert await status(service, "/healthz", "aurora.localhost:7000") == 421


async def test_the_whole_way_by_an_app(service: Running[FakeVault]) -> None:
    """Started anywhere, the browser goes to the app's own host first, then comes back to the app's own path."""
    service.vault.apps.found["aurora"] = AURORA
    tab = Tab(service)
    _, location, _ = await tab.open("/connect?app=aurora&reference=tenant-7")
    assert location == "http://aurora.localhost:7000/connect?app=aurora&reference=tenant-7"
    assert tab.cookies == {}
    tab.host = "aurora.localhost:7000"
    state = await tab.begin("?app=aurora&reference=tenant-7")
    assert (service.vault.pending[state].app, service.vault.pending[state].browser) == ("aurora", tab.cookies[BROWSER])
    status, location, _ = await tab.open(f"/hotel/back?code=c-1&state={state}")
    assert (status, location) == (303, "/connected?connection_id=con_new")
    told = [facts["path"] for what, facts in service.vault.observer.seen if what == "request"]
    assert "/hotel/back" in told, "the log has the path that was asked for"


async def test_a_link_of_an_app(service: Running[FakeVault]) -> None:
    """The link knows its app, and so where the browser has to be."""
    service.vault.apps.found["aurora"] = AURORA
    link = await service.vault.create_link(app="aurora", expires_in=60)
    _, location, _ = await Tab(service).open(f"/connect/{link.token}")
    assert location == f"http://aurora.localhost:7000/connect/{link.token}"


async def test_an_app_that_there_is_not(service: Running[FakeVault]) -> None:
    """A page that says so; nothing is begun."""
    status, _, page = await Tab(service).open("/connect?app=nobody")
    assert status == 400
    assert "there is no app" in page
    assert service.vault.pending == {}


async def test_what_is_known_costs_no_look(service: Running[FakeVault]) -> None:
    """Calls of programs, the settings' own callback, and what is open to anyone ask the store for no app."""
    service.vault.apps.found["aurora"] = AURORA
    for path in (
        "/api/v1/connections",
        "/api/v1/nonsense",
        "/proxy/con_1/api/x",
        "/metrics",
        "/openapi.json",
        "/healthz",
    ):
        async with service.http.get(service.url + path, headers=AS_ADMIN):
            pass
        await status(service, path)
    await status(service, "/callback?code=x")
    assert service.vault.apps.looks == 0


@pytest.mark.row("A79")
async def test_strangers_cost_one_look_a_second(service: Running[FakeVault]) -> None:
    """Unknown paths and hosts, as many as they like: the apps are read once a second."""
    for number in range(20):
        assert await status(service, f"/no/{number}") == 401
        assert await status(service, "/healthz", f"no-{number}.example") == 421
    assert service.vault.apps.looks == 1
    a_second_later(service)
    assert [await status(service, "/no"), service.vault.apps.looks] == [401, 2]


async def test_a_store_that_is_away(service: Running[FakeVault], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is a callback cannot be told: try again, and nothing is let in. What needs no look goes on."""

    asked = 0

    async def away() -> Mapping[str, str]:
        nonlocal asked
        asked += 1
        raise StoreUnavailable

    monkeypatch.setattr(service.vault.apps, "redirect_uris", away)
    async with a_service(service.vault) as again:
        assert [await status(again, "/hotel/back"), await status(again, "/hotel/back"), asked] == [503, 503, 1]
        assert await status(again, "/healthz") == 200
        assert await status(again, "/api/v1/connections") == 401


@pytest.mark.parametrize(("path", "app"), [("/hotel/back", "aurora"), ("/callback", "default")])
async def test_an_app_that_a_hotel_found_in_the_marketplace(vault: FakeVault, path: str, app: str) -> None:
    """Nobody here began it, so there is no state that names the app: the path that it came back to does."""
    vault.settings.marketplace = "park"
    vault.apps.found["aurora"] = AURORA
    async with a_service(vault) as service:
        assert (await Tab(service).open(f"{path}?code=c-1"))[:2] == (303, "/claim/con_parked")
    assert vault.hotels["con_parked"].app == app


@pytest.fixture
async def public() -> AsyncIterator[Running[FakeVault]]:
    """A service behind a reverse proxy, below a path prefix."""
    settings = FakeSettings(
        redirect_uri="https://connect.example/auth/callback",
        public_url="https://connect.example/auth",
        allowed_hosts=("connect.example",),
    )
    async with a_service(FakeVault(settings)) as running:
        running.vault.apps.found["aurora"] = "https://connect.example/auth/callback/aurora"
        yield running


@pytest.mark.parametrize("path", ["/auth/callback/aurora", "/callback/aurora"])
async def test_a_callback_under_the_prefix(public: Running[FakeVault], path: str) -> None:
    """Served with the prefix and without it, as the settings' own is: a reverse proxy may strip it."""
    status, _, page = await Tab(public, "connect.example", "/auth").open(path)
    assert status == 400
    assert 'href="/auth/static/style.css"' in page
