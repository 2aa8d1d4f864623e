"""The service over the real vault, its database, and the simulator: what the vault in memory cannot prove."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from tests.app.running import Running, a_service
from tests.app.tab import BROWSER, Tab
from tests.support import installation
from tests.support.ports import free_port
from tests.support.simulator import Vendor, vendor

from cloudbeds_auth import observe
from cloudbeds_auth.app.application import open_parts
from cloudbeds_auth.app.cookies import Cookies
from cloudbeds_auth.database.sqlite import SqliteDriver
from cloudbeds_auth.engine import views
from cloudbeds_auth.transactions.connections import count_states
from cloudbeds_auth.vault import TokenVault
from cloudbeds_simulator.records import ALL_SCOPES, VendorApp


@dataclass
class World:
    """A service, its vault, and the vendor that it calls."""

    service: Running[TokenVault]
    vendor: Vendor
    folder: Path

    async def approved(self, tab: Tab, query: str = "") -> tuple[str, str]:
        """This browser began, and the hotel approved: the code and the state on their way back."""
        _, location, _ = await tab.open(f"/connect{query}")
        return await self.vendor.approve(location)

    def exchanges(self) -> int:
        """How many codes were sent to the vendor."""
        return len(self.vendor.token_requests("authorization_code"))

    async def call(self, path: str) -> tuple[int, str | None]:
        """Status of a call as the administrator, and our code if the answer is ours."""
        headers = {"Authorization": f"Bearer {self.service.vault.admin_token.reveal()}"}
        async with self.service.http.get(self.service.url + path, headers=headers) as answer:
            await answer.read()
            return answer.status, answer.headers.get("X-Cloudbeds-Auth-Code")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """All of it, on free ports."""
    tmp_path.chmod(0o700)
    async with (
        vendor() as simulated,
        TokenVault.open(simulated.settings(tmp_path)) as vault,
        a_service(vault) as service,
    ):
        yield World(service, simulated, tmp_path)


async def test_journey(world: World) -> None:
    """Connect, approve, come back, call, the token runs out, call again: the caller sees 200 and nothing else."""
    tab = Tab(world.service)
    code, state = await world.approved(tab, "?reference=tenant-7&return_to=/done")
    status, location, _ = await tab.open(f"/callback?code={code}&state={state}")
    [connection] = (await world.service.vault.connections()).connections
    assert (status, location) == (303, f"/done?connection_id={connection.id}&reference=tenant-7")
    paths = (f"/proxy/{connection.id}/api/v1.3/userinfo", f"/api/v1/connections/{connection.id}/userinfo")
    for path in paths:
        assert await world.call(path) == (200, None)
    world.vendor.expire()
    assert await asyncio.gather(*(world.call(path) for path in paths * 10)) == [(200, None)] * 20
    assert len(world.vendor.token_requests()) == 1


async def test_a_request_that_is_refused_refreshes_nothing(world: World) -> None:
    """More than half of the lifetime, of a token that Cloudbeds has ended: 400 by what is stored; half: renewed."""
    connection = await world.vendor.connect(world.service.vault)
    world.vendor.expire()
    path = f"/api/v1/connections/{connection.id}/access-token?rejected_generation={connection.generation}"
    lifetime = await world.service.vault.engine.views.lifetime(connection.id)
    assert await world.call(f"{path}&min_valid={lifetime / 2 + 1}") == (400, "invalid_request")
    assert world.vendor.token_requests() == []
    assert await world.call(f"{path}&min_valid={lifetime / 2}") == (200, "ok")
    assert len(world.vendor.token_requests()) == 1


def as_one_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes away what tells browsers apart."""
    monkeypatch.setattr(Cookies, "browser", lambda *_: "b" * 43)


@pytest.mark.row("A01", control=True)
async def test_login_csrf(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attacker's code and valid state in the victim's browser: 400 and no exchange; the attacker's own works.
    Were all browsers one, the victim would be connected to the attacker's hotel.
    """
    attacker, victim, fresh = Tab(world.service), Tab(world.service), Tab(world.service)
    code, state = await world.approved(attacker)
    await victim.open("/connect")
    for tab in (victim, fresh):
        status, _, page = await tab.open(f"/callback?code={code}&state={state}")
        assert (status, "state_mismatch" in page) == (400, True)
    assert world.exchanges() == 0
    assert (await attacker.open(f"/callback?code={code}&state={state}"))[0] == 303
    as_one_browser(monkeypatch)
    code, state = await world.approved(attacker)
    assert (await victim.open(f"/callback?code={code}&state={state}"))[0] == 303


@pytest.mark.row("A09", control=True)
async def test_the_code_of_another_browsers_approval(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cloudbeds has no PKCE, so no verifier binds a code: its state does. With that of another browser nothing is
    exchanged and nothing stored; were all browsers one, the thief's would be connected.
    """
    hotel, thief = Tab(world.service), Tab(world.service)
    await thief.open("/connect?reference=thief")
    _, location, _ = await hotel.open("/connect")
    assert "code_challenge" not in location, "the page of security says that there is no PKCE"
    code, state = await world.vendor.approve(location)
    assert (await thief.open(f"/callback?code={code}&state={state}"))[0] == 400
    assert (world.exchanges(), (await world.service.vault.connections()).connections) == (0, ())
    as_one_browser(monkeypatch)
    code, state = await world.approved(hotel)
    assert (await thief.open(f"/callback?code={code}&state={state}"))[0] == 303
    assert len((await world.service.vault.connections()).connections) == 1


@pytest.mark.row("A09")
async def test_a_stolen_code_in_the_thiefs_own_approval(world: World) -> None:
    """What only PKCE could refuse, and the page of security says so: the code is good once, for whoever comes first.
    The hotel finds its own way back ended, and nothing of what it had is touched.
    """
    hotel, thief = Tab(world.service), Tab(world.service)
    code, own = await world.approved(hotel)
    state = await thief.begin("?reference=thief")
    assert (await thief.open(f"/callback?code={code}&state={state}"))[0] == 303
    status, _, page = await hotel.open(f"/callback?code={code}&state={own}")
    assert (status, "authorization_expired" in page) == (400, True)
    [connection] = (await world.service.vault.connections()).connections
    assert connection.reference == "thief"


@pytest.mark.row("A03")
async def test_forged_state(world: World) -> None:
    """A state that differs in any one character is 400 and exchanges nothing."""
    tab = Tab(world.service)
    code, state = await world.approved(tab)
    for place in range(len(state)):
        forged = state[:place] + ("A" if state[place] != "A" else "B") + state[place + 1 :]
        assert (await tab.open(f"/callback?code={code}&state={forged}"))[0] == 400
    assert world.exchanges() == 0


@pytest.mark.row("A79")
@pytest.mark.parametrize("query", ["code=x", "error=access_denied"])
async def test_what_cannot_be_spent_costs_no_write(world: World, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up state, another browser's, one that was spent: answered from what is stored, nothing is written."""
    stranger, hotel = Tab(world.service), Tab(world.service)
    stranger.cookies[BROWSER] = "x" * 40
    code, spent = await world.approved(hotel)
    assert (await hotel.open(f"/callback?code={code}&state={spent}"))[0] == 303
    waiting = await hotel.begin()

    async def written(*_: object) -> None:
        raise AssertionError("a write")

    monkeypatch.setattr(SqliteDriver, "write", written)
    for tab, state in ((stranger, "st_" + "x" * 43), (stranger, waiting), (stranger, spent), (hotel, spent)):
        status, _, page = await tab.open(f"/callback?{query}&state={state}")
        assert status == 400, page


@pytest.mark.row("A04", "F82")
async def test_state_replay(world: World) -> None:
    """The same callback again shows the same result; another code with the state is 400; one exchange in all."""
    tab = Tab(world.service)
    code, state = await world.approved(tab)
    first = await tab.open(f"/callback?code={code}&state={state}")
    assert first[0] == 303
    assert await tab.open(f"/callback?code={code}&state={state}") == first
    assert (await tab.open(f"/callback?code=another&state={state}"))[0] == 400
    assert world.exchanges() == 1


@pytest.mark.row("F82")
async def test_double_click(world: World) -> None:
    """The same callback several times at once: one exchange, and nobody is told of a second connection."""
    tab = Tab(world.service)
    code, state = await world.approved(tab)
    answers = await asyncio.gather(*(tab.open(f"/callback?code={code}&state={state}") for _ in range(5)))
    assert (303, "/connected?connection_id=" + (await world.service.vault.connections()).connections[0].id) in {
        answer[:2] for answer in answers
    }
    assert world.exchanges() == 1
    assert len((await world.service.vault.connections()).connections) == 1


@pytest.mark.row("A06")
async def test_planted_browser_id(world: World) -> None:
    """The browser's id rests as a hash only; another id that the attacker plants does not match the state's."""
    tab, victim = Tab(world.service), Tab(world.service)
    code, state = await world.approved(tab)
    rested = b"".join(path.read_bytes() for path in world.folder.iterdir())
    assert tab.cookies[BROWSER].encode() not in rested
    assert state.encode() not in rested
    assert hashlib.sha256(tab.cookies[BROWSER].encode()).hexdigest().encode() in rested
    victim.cookies[BROWSER] = "attacker" + "x" * 35
    assert (await victim.open(f"/callback?code={code}&state={state}"))[0] == 400
    assert world.exchanges() == 0


@pytest.mark.row("F83")
async def test_a_failed_exchange_returns(world: World) -> None:
    """The code was spent elsewhere: the browser goes to `return_to` with the reason; without one, a page says it."""
    for query, expected in (("?return_to=/done", (303, "/done?error=authorization_expired")), ("", (400, ""))):
        tab = Tab(world.service)
        _, state = await world.approved(tab, query)
        status, location, page = await tab.open(f"/callback?code=made-up&state={state}")
        assert (status, location) == expected
    assert '<a class="button" href="/connect">Start again</a>' in page


@pytest.mark.row("F81")
async def test_a_tab_that_is_closed_during_the_callback(world: World) -> None:
    """The browser hangs up while Cloudbeds takes its time: exchanged once, and the connection is listed afterwards."""
    tab = Tab(world.service)
    code, state = await world.approved(tab)
    world.vendor.fault("hang_after", grant_type="authorization_code")
    callback = asyncio.create_task(tab.open(f"/callback?code={code}&state={state}"))
    async with asyncio.timeout(30):
        while world.exchanges() == 0:
            await asyncio.sleep(0)
    callback.cancel()  # the client closes its connection
    with pytest.raises(asyncio.CancelledError):
        await callback
    assert (await world.service.vault.connections()).connections == ()
    world.vendor.simulator.faults.clear()
    async with asyncio.timeout(30):
        while not (listed := (await world.service.vault.connections(state="fresh")).connections):
            await asyncio.sleep(0.01)
    assert await world.call(f"/proxy/{listed[0].id}/api/v1.3/userinfo") == (200, None)
    assert world.exchanges() == 1


async def test_one_time_link(world: World) -> None:
    """A link made over the API connects the hotel under the reference that its maker gave."""
    link = await world.service.vault.create_link(reference="tenant-7", expires_in=600)
    tab = Tab(world.service)
    _, location, _ = await tab.press(f"/connect/{link.token}?reference=forged")
    code, state = await world.vendor.approve(location)
    assert await world.service.vault.link_outcome(link.token) is None
    assert (await tab.open(f"/callback?code={code}&state={state}"))[0] == 303
    [connection] = (await world.service.vault.connections(reference="tenant-7")).connections
    assert await world.service.vault.link_outcome(link.token) == connection.id
    assert connection.state == "fresh"
    assert (await tab.open(f"/connect/{link.token}"))[0] == 400


@pytest.mark.row("A70")
async def test_an_anonymous_reference_after_a_links(world: World) -> None:
    """The hotel of tenant A opens an address that names tenant B: it stays tenant A's, and returns as such."""
    vault, tab = world.service.vault, Tab(world.service)
    link = await vault.create_link(reference="tenant-A", expires_in=600)
    starts = tab.press(f"/connect/{link.token}"), tab.open("/connect?reference=tenant-B&return_to=/done")
    for start in starts:
        code, state = await world.vendor.approve((await start)[1])
        where = (await tab.open(f"/callback?code={code}&state={state}"))[1]
    [connection] = (await vault.connections()).connections
    assert connection.reference == "tenant-A"
    assert where == f"/done?connection_id={connection.id}&reference=tenant-A"


@pytest.mark.row("A74")
async def test_a_long_reference(world: World) -> None:
    """15 KB in an address, or 257 characters over the API: 400, and nothing is stored."""
    status, _, page = await Tab(world.service).open(f"/connect?reference={'r' * 15_000}")
    assert (status, "invalid_request" in page) == (400, True)
    headers = {"Authorization": f"Bearer {world.service.vault.admin_token.reveal()}"}
    for path in ("authorizations", "connections/con_1/claim"):
        url = f"{world.service.url}/api/v1/{path}"
        async with world.service.http.post(url, headers=headers, json={"reference": "r" * 257}) as answer:
            assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (400, "invalid_request")
    rested = b"".join(path.read_bytes() for path in world.folder.iterdir())
    assert b"r" * 257 not in rested


async def test_default_deny(world: World) -> None:
    """Nothing is told or asked without a credential, of a real hotel either."""
    tab = Tab(world.service)
    code, state = await world.approved(tab)
    await tab.open(f"/callback?code={code}&state={state}")
    for path in ("/api/v1/connections", "/metrics", "/proxy/100001/api/v1.3/userinfo"):
        assert (await tab.open(path))[0] == 401


async def test_an_app_that_a_hotel_brings(world: World) -> None:
    """Added while the service runs: its hotel connects over the app's own callback, and refreshes with its client."""
    vault, model = world.service.vault, world.vendor.simulator.model
    uri = "http://localhost:7000/callback/aurora"
    model.add_app(VendorApp("hotels-own", "first", "Aurora", frozenset({uri}), ALL_SCOPES, "property"))
    assert (await Tab(world.service).open("/connect?app=aurora"))[0] == 400
    await vault.apps.add("aurora", client_id="hotels-own", client_secret="first")
    homes = {}
    for app, callback in (("default", "/callback"), ("aurora", "/callback/aurora")):
        tab = Tab(world.service)
        code, state = await world.approved(tab, f"?app={app}&reference={app}")
        assert (await tab.open(f"{callback}?code={code}&state={state}"))[0] == 303
        [connection] = (await vault.connections(app=app)).connections
        homes[app] = connection.id
    world.vendor.expire()
    assert await asyncio.gather(*(world.call(f"/proxy/{home}/api/v1.3/userinfo") for home in homes.values())) == [
        (200, None), (200, None)
    ]  # fmt: skip
    for grant_type in ("authorization_code", "refresh_token"):
        asked = sorted(str(one.client_id) for one in world.vendor.token_requests(grant_type))
        assert asked == ["hotels-own", "simulated-app"]
    async with world.service.http.get(
        f"{world.service.url}/api/v1/connections?app=aurora",
        headers={"Authorization": f"Bearer {vault.admin_token.reveal()}"},
    ) as answer:
        assert [one["id"] for one in (await answer.json())["connections"]] == [homes["aurora"]]


async def test_hotels_are_counted_from_the_start_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one to ask for the numbers of very many hotels has some."""
    monkeypatch.setattr(views, "count_states", partial(count_states, limit=1))
    monkeypatch.setattr(observe, "configure", lambda *_: None)  # logs are the test's
    nowhere = f"http://127.0.0.1:{free_port()}"
    made = installation.settings(f"sqlite:///{tmp_path}/hotels.sqlite3")
    own = made.model_copy(update={"base_url": nowhere})
    await installation.filled(own)
    async with AsyncExitStack() as stack:
        parts = await open_parts(own)(stack)
        await parts.vault.engine.world.tasks.drain()
        counted = await parts.vault.engine.views.count_states()
        assert counted is not None
        assert sum(counted.connections.values()) == installation.HOTELS
        text, _ = parts.metrics(counted, None, None, None)
        assert b"cloudbeds_auth_connections_age_seconds" in text
