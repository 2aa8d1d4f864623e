"""Apps that are added while the service runs: their callbacks and their hosts are served from the next request on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest
from tests.app.running import AS_ADMIN, Running, Vendor, a_service
from tests.app.tab import BROWSER, Tab
from tests.app.vaults import HandClock, RealVault, given

from cloudbeds_auth.engine.authorize import hashed
from cloudbeds_auth.errors import StoreUnavailable

AURORA = "http://127.0.0.2:7000/hotel/back"


@pytest.fixture
async def vault(vendor: Vendor) -> RealVault:
    """With a clock that the test sets: apps are remembered for a second."""
    return RealVault(given(base_url=vendor.base_url), clock=HandClock())


async def add_aurora(vault: RealVault, redirect_uri: str = AURORA) -> None:
    """An operator adds it."""
    await vault.apps.add("aurora", client_id="client-2", client_secret="secret-2", redirect_uri=redirect_uri)


def a_second_later(service: Running[RealVault]) -> None:
    """What was remembered is forgotten."""
    assert isinstance(service.vault.clock, HandClock)
    service.vault.clock.now += 1.0


async def status(service: Running[RealVault], path: str, host: str = "localhost", **more: str) -> int:
    """How a request without a credential is answered."""
    async with service.http.request(more.get("method", "GET"), service.url + path, headers={"Host": host}) as answer:
        return answer.status


async def test_the_callback_of_an_app_that_was_added(service: Running[RealVault]) -> None:
    """Closed until the app is there, then one like the settings' own; no path beside it opens."""
    assert await status(service, "/hotel/back") == 401
    await add_aurora(service.vault)
    a_second_later(service)
    assert await status(service, "/hotel/back") == 400, "a callback without a state"
    for callback in ("/hotel/back", "/callback"):
        assert await status(service, callback, method="POST") == 405
    for path in ("/hotel", "/hotel/back/", "/hotel/back/x", "/hotel%2fback", "//hotel/back"):
        assert await status(service, path) == 401, path
    await service.vault.apps.remove("aurora")
    a_second_later(service)
    assert await status(service, "/hotel/back") == 401


async def test_the_host_of_an_app_that_was_added(service: Running[RealVault]) -> None:
    """A Host header that leads to nobody's redirect URI is refused as ever."""
    assert await status(service, "/healthz", "127.0.0.2:7000") == 421
    await add_aurora(service.vault)
    a_second_later(service)
    assert await status(service, "/healthz", "127.0.0.2:7000") == 200
    assert await status(service, "/healthz", "evil.example") == 421


async def test_hosts_that_are_set_are_all() -> None:
    """An operator's own list is not added to: `doctor` names what it lacks."""
    async with a_service(RealVault(given(allowed_hosts=("localhost",)))) as service:
        await add_aurora(service.vault)
        assert await status(service, "/healthz", "127.0.0.2:7000") == 421


async def test_the_whole_way_by_an_app(service: Running[RealVault]) -> None:
    """Started anywhere, the browser goes to the app's own host first, then comes back to the app's own path."""
    await add_aurora(service.vault)
    tab = Tab(service)
    _, location, _ = await tab.open("/connect?app=aurora&reference=tenant-7")
    assert location == "http://127.0.0.2:7000/connect?app=aurora&reference=tenant-7&moved=1"
    assert tab.cookies == {}
    tab.host = "127.0.0.2:7000"
    state = await tab.begin("?app=aurora&reference=tenant-7")
    assert ("aurora", "tenant-7", None, hashed(tab.cookies[BROWSER])) in service.vault.pending()
    status, location, _ = await tab.open(f"/hotel/back?code=c-1&state={state}")
    assert (status, location) == (303, "/connected?connection_id=con_new")
    told = [facts["path"] for what, facts in service.vault.observer.seen if what == "request"]
    assert "/hotel/back" in told, "the log has the path that was asked for"


async def test_a_link_of_an_app(service: Running[RealVault]) -> None:
    """The link knows its app, and so where the browser has to be."""
    await add_aurora(service.vault)
    link = await service.vault.create_link(app="aurora", expires_in=60)
    _, location, _ = await Tab(service).open(f"/connect/{link.token}")
    assert location == f"http://127.0.0.2:7000/connect/{link.token}?moved=1"


async def test_an_app_that_there_is_not(service: Running[RealVault]) -> None:
    """A page that says so; nothing is begun."""
    status, _, page = await Tab(service).open("/connect?app=nobody")
    assert status == 400
    assert "there is no app" in page
    assert service.vault.pending() == []


async def test_what_is_known_costs_no_look(service: Running[RealVault]) -> None:
    """Calls of programs, the settings' own callback, and what is open to anyone ask the store for no app."""
    await add_aurora(service.vault)
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
    assert service.vault.counted.looks == 0


@pytest.mark.row("A79")
async def test_strangers_cost_one_look_a_second(service: Running[RealVault]) -> None:
    """Unknown paths and hosts, as many as they like: the apps are read once a second."""
    for number in range(20):
        assert await status(service, f"/no/{number}") == 401
        assert await status(service, "/healthz", f"no-{number}.example") == 421
    assert service.vault.counted.looks == 1
    a_second_later(service)
    assert [await status(service, "/no"), service.vault.counted.looks] == [401, 2]


async def test_a_store_that_is_away(service: Running[RealVault], monkeypatch: pytest.MonkeyPatch) -> None:
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
async def test_an_app_that_a_hotel_found_in_the_marketplace(path: str, app: str) -> None:
    """Nobody here began it, so there is no state that names the app: the path that it came back to does."""
    async with a_service(RealVault(given(marketplace="park"))) as service:
        await add_aurora(service.vault)
        assert (await Tab(service).open(f"{path}?code=c-1"))[:2] == (303, "/claim/con_parked")
        assert (await service.vault.connection("con_parked")).app == app


@pytest.fixture
async def public() -> AsyncIterator[Running[RealVault]]:
    """A service behind a reverse proxy, below a path prefix."""
    settings = given(
        redirect_uri="https://connect.example/auth/callback",
        public_url="https://connect.example/auth",
        allowed_hosts=("connect.example",),
    )
    async with a_service(RealVault(settings)) as running:
        await add_aurora(running.vault, "https://connect.example/auth/callback/aurora")
        yield running


@pytest.mark.parametrize("path", ["/auth/callback/aurora", "/callback/aurora"])
async def test_a_callback_under_the_prefix(public: Running[RealVault], path: str) -> None:
    """Served with the prefix and without it, as the settings' own is: a reverse proxy may strip it."""
    status, _, page = await Tab(public, "connect.example", "/auth").open(path)
    assert status == 400
    assert 'href="/auth/static/style.css"' in page
