"""The flow mounted in an application of FastAPI's: what is its own beside what all frameworks have."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from fastapi import Depends, FastAPI, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from tests.support.simulator import Vendor, vendor

from cloudbeds_auth import ConfigurationError, Connection, Error, TokenVault, UnknownConnection
from cloudbeds_auth.contrib.fastapi import Cloudbeds, problem
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_simulator.records import ALL_SCOPES, VendorApp

BROWSER = "cloudbeds-auth-browser"
ORIGIN = "http://localhost:7000"


@dataclass
class Theirs:
    """Their running application, the vendor, and browsers."""

    app: FastAPI
    cloudbeds: Cloudbeds
    vendor: Vendor

    def tab(self, origin: str = ORIGIN) -> httpx2.AsyncClient:
        """A browser: keeps cookies, follows nothing by itself."""
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app), base_url=origin)

    async def approved(self, tab: httpx2.AsyncClient, start: str = "/connect", *property_ids: str) -> dict[str, str]:
        """This browser began there, and the hotel approved: the parameters on their way back."""
        began = await tab.get(start)
        if "/connect/" in start:  # a link's page: its button
            began = await tab.post(start)
        assert began.status_code == 303, began.text
        code, state = await self.vendor.approve(began.headers["Location"], *property_ids)
        return {"code": code, "state": state}

    async def connected(self, *property_ids: str) -> str:
        """A hotel came in through a browser; its connection's id."""
        tab = self.tab()
        back = await tab.get("/callback", params=await self.approved(tab, "/connect", *property_ids))
        return parse_qs(urlsplit(back.headers["Location"]).query)["connection_id"][0]


def registered(sim: Vendor, redirect_uri: str) -> None:
    """The simulated app has this redirect URI."""
    apps = sim.simulator.model.apps
    for known in list(apps.values()):
        sim.simulator.model.add_app(replace(known, redirect_uris=frozenset({redirect_uri})))


Run = Callable[..., AbstractAsyncContextManager[Theirs]]


@pytest.fixture
async def sim() -> AsyncIterator[Vendor]:
    """A simulator with three hotels."""
    async with vendor() as simulated:
        yield simulated


@pytest.fixture
def run(sim: Vendor, tmp_path: Path) -> Run:
    """Runs an application with these arguments of `Cloudbeds`; the rest are settings."""

    @asynccontextmanager
    async def running(
        prefix: str = "", arguments: dict[str, Any] | None = None, **changes: Any
    ) -> AsyncIterator[Theirs]:
        app = FastAPI()
        settings = sim.settings(tmp_path, **changes)
        registered(sim, settings.redirect_uri)
        cloudbeds = Cloudbeds(settings, **(arguments or {}))
        cloudbeds.install(app, prefix=prefix)
        client = Depends(cloudbeds.client())

        @app.get("/hotels/{connection_id}/userinfo")
        async def userinfo(http: httpx2.AsyncClient = client) -> Any:
            return (await http.get("/api/v1.3/userinfo")).json()

        async with app.router.lifespan_context(app):
            yield Theirs(app, cloudbeds, sim)

    return running


def code_of(answer: httpx2.Response) -> tuple[int, str]:
    """Status and code of an answer of ours."""
    return answer.status_code, answer.headers["X-Cloudbeds-Auth-Code"]


async def test_a_further_app_in_the_marketplace(run: Run, sim: Vendor) -> None:
    """Nobody here began it: the path that the hotel comes back to says which client its code is for."""
    async with run(marketplace="park") as theirs:
        vault = theirs.cloudbeds.vault
        app = await vault.apps.add("aurora", client_id="hotels-own", client_secret="first")
        known = VendorApp("hotels-own", "first", "Aurora", frozenset({app.redirect_uri}), ALL_SCOPES, "property")
        sim.simulator.model.add_app(known)
        code = sim.simulator.model.authorize("hotels-own", app.redirect_uri, ["100001"], (), sim.simulator.clock.now())
        await theirs.tab().get(urlsplit(app.redirect_uri).path, params={"code": code})
        [waits] = (await vault.connections(state="parked")).connections
        assert (waits.app, [one.client_id for one in sim.token_requests("authorization_code")]) == (
            "aurora", ["hotels-own"]
        )  # fmt: skip


async def test_several_connections_of_one_property(run: Run) -> None:
    """A property id that two connections cover is 409; each connection's own id works."""
    async with run() as theirs:
        first, second = await theirs.connected("100001"), await theirs.connected("100002")
        link = await theirs.cloudbeds.vault.create_link(connection_id=first)
        tab = theirs.tab()
        await tab.get("/callback", params=await theirs.approved(tab, f"/connect/{link.token}", "100001", "100002"))
        assert code_of(await theirs.tab().get("/hotels/100002/userinfo")) == (409, "ambiguous_property")
        for one in (first, second):
            assert (await theirs.tab().get(f"/hotels/{one}/userinfo")).status_code == 200


async def test_a_hotel_that_has_to_approve_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """409 as a problem document, with the link that mends it below our prefix; then the same id works again."""
    monkeypatch.setattr(
        Timing, "of", lambda deadline: replace(Timing.scaled(1.0), connect=5.0, wait=25.0, refusal_interval=0.1)
    )
    async with run("/auth", redirect_uri=f"{ORIGIN}/auth/callback") as theirs:
        tab = theirs.tab()
        await tab.get("/auth/callback", params=await theirs.approved(tab, "/auth/connect"))
        theirs.vendor.simulator.model.end(theirs.vendor.simulator.model.grants[0], "revoked")
        while (refused := await tab.get("/hotels/100001/userinfo")).status_code == 503:
            assert refused.json()["code"] == "refresh_in_doubt"
            await asyncio.sleep(0.05)
        assert code_of(refused) == (409, "reauthorization_required")
        assert refused.headers["Content-Type"] == "application/problem+json"
        document = refused.json()
        assert document["connect_url"].startswith(f"{ORIGIN}/auth/connect/")
        back = await tab.get("/auth/callback", params=await theirs.approved(tab, document["connect_url"]))
        assert back.headers["Location"].endswith(document["connection_id"])
        assert (await tab.get("/hotels/100001/userinfo")).status_code == 200


@pytest.mark.parametrize("prefix", ["", "/auth"])
async def test_the_type_of_a_problem(run: Run, prefix: str) -> None:
    """A page of ours below the prefix; the application's own `/errors` stays its own."""
    async with run(prefix, redirect_uri=f"{ORIGIN}{prefix}/callback") as theirs:
        tab = theirs.tab()
        where = (await tab.get("/hotels/con_nobody/userinfo")).json()["type"]
        assert where == f"{prefix}/connected/errors/unknown_connection"
        page = await tab.get(where)
        assert code_of(page) == (200, "ok")
        assert "Nothing is connected under this id" in page.text
        assert (await tab.get(f"{prefix}/callback/nobody")).json()[
            "type"
        ] == f"{prefix}/connected/errors/invalid_request"
        assert (await tab.get(f"{prefix}/errors/unknown_connection")).status_code == 404


async def test_the_type_of_a_problem_where_no_page_is() -> None:
    """Without the router nothing is served that says what the code means (RFC 9457 section 4.2.1)."""
    app = FastAPI()
    app.add_exception_handler(Error, problem)

    @app.get("/")
    async def fails() -> None:
        raise UnknownConnection

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as http:
        assert (await http.get("/")).json()["type"] == "about:blank"


async def test_a_hook_that_is_a_coroutine_function(run: Run) -> None:
    """It is awaited, and what it returns is sent."""

    async def on_connected(request: Request, connection: Connection) -> Response:
        return HTMLResponse(f"<h1>Welcome, {connection.property_ids[0]}</h1>")

    async with run(arguments={"on_connected": on_connected}) as theirs:
        tab = theirs.tab()
        page = await tab.get("/callback", params=await theirs.approved(tab))
        assert page.text == "<h1>Welcome, 100001</h1>"


# --- where it lies


async def test_over_https_only_links_start(run: Run) -> None:
    """On a public address a bare `/connect` is closed unless it is opened, and the cookies carry `__Host-`."""
    public = "https://app.example/auth/callback"
    async with run("/auth", redirect_uri=public) as theirs:
        tab = theirs.tab("https://app.example")
        assert code_of(await tab.get("/auth/connect")) == (403, "forbidden")
        link = await theirs.cloudbeds.vault.create_link()
        assert link.url == f"https://app.example/auth/connect/{link.token}"
        began = await tab.get(link.url)
        cookie = next(line for line in began.headers.get_list("set-cookie") if BROWSER in line).lower()
        assert cookie.startswith(f"__host-{BROWSER}=")
        assert all(flag in cookie for flag in ("secure", "httponly", "samesite=lax", "path=/"))
        assert "domain" not in cookie
    async with run("/auth", redirect_uri=public, open_connect=True) as theirs:
        assert (await theirs.tab("https://app.example").get("/auth/connect")).status_code == 303


@pytest.mark.row("A13")
async def test_forged_hosts_change_no_redirect_uri(run: Run) -> None:
    """Whatever the request says about hosts, the vendor is given the configured redirect URI."""
    async with run() as theirs:
        forged = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
        began = await theirs.tab().get("/connect", headers=forged)
        sent = parse_qs(urlsplit(began.headers["Location"]).query)
        assert sent["redirect_uri"] == [f"{ORIGIN}/callback"]
        moved = await theirs.tab().get("/connect", headers={"Host": "evil.example"})
        assert moved.headers["Location"] == f"{ORIGIN}/connect?moved=1"


async def test_below_another_application(sim: Vendor, tmp_path: Path) -> None:
    """Mounted as an application of its own: the outer one's lifespan opens the vault; without it, answers say so."""
    settings = sim.settings(tmp_path, redirect_uri=f"{ORIGIN}/sub/auth/callback")
    registered(sim, settings.redirect_uri)
    cloudbeds = Cloudbeds(settings)
    inner, outer, forgetful = FastAPI(), FastAPI(lifespan=cloudbeds.lifespan), FastAPI()
    cloudbeds.install(inner, prefix="/auth")
    outer.mount("/sub", inner)
    forgetful.mount("/sub", inner)
    async with outer.router.lifespan_context(outer):
        theirs = Theirs(outer, cloudbeds, sim)
        tab = theirs.tab()
        back = await tab.get("/sub/auth/callback", params=await theirs.approved(tab, "/sub/auth/connect"))
        assert back.headers["Location"].startswith("/sub/auth/connected?")
        assert (await tab.get("/sub/auth/connected/style.css")).status_code == 200
    async with forgetful.router.lifespan_context(forgetful):
        answer = await Theirs(forgetful, cloudbeds, sim).tab().get("/sub/auth/connect")
        assert code_of(answer) == (500, "invalid_configuration")
        assert "cloudbeds.lifespan" in answer.json()["next_step"]


async def test_the_vault_lives_as_long_as_the_application(run: Run) -> None:
    """Open between start and end, also where the router is included twice; closed, it says so."""
    async with run() as theirs:
        theirs.app.include_router(theirs.cloudbeds.router, prefix="/again")
        assert isinstance(theirs.cloudbeds.vault, TokenVault)
    with pytest.raises(ConfigurationError, match="the vault is not open"):
        _ = theirs.cloudbeds.vault
    async with theirs.app.router.lifespan_context(theirs.app):
        assert isinstance(theirs.cloudbeds.vault, TokenVault)
        assert await theirs.cloudbeds.get_vault() is theirs.cloudbeds.vault
        assert (await theirs.tab().get("/again/connect")).status_code == 303
    with pytest.raises(ConfigurationError, match="the vault is not open"):
        _ = theirs.cloudbeds.vault


async def test_lifespans_that_begin_together_and_end_apart(run: Run) -> None:
    """As of two servers over one application: one vault, open until the last of them has ended."""
    async with run() as theirs:
        lives = [theirs.app.router.lifespan_context(theirs.app) for _ in range(2)]
        await asyncio.gather(*(life.__aenter__() for life in lives))
        vault = theirs.cloudbeds.vault
        assert len([task for task in asyncio.all_tasks() if task.get_name() == "write calls"]) == 1
        await lives[0].__aexit__(None, None, None)
        assert theirs.cloudbeds.vault is vault
        await lives[1].__aexit__(None, None, None)
        assert (await theirs.tab().get("/connect")).status_code == 303


async def test_an_id_that_no_header_can_carry(run: Run) -> None:
    """Unknown, as any other that there is not."""
    async with run() as theirs:
        for identifier in ("%C3%BCnter", "con_%C3%BC", "nothing"):
            assert code_of(await theirs.tab().get(f"/hotels/{identifier}/userinfo")) == (404, "unknown_connection")


async def test_names_of_the_applications_own_routes(run: Run) -> None:
    """None of ours takes a name that an application may have given: its links lead where they did."""
    async with run() as theirs:
        ours = [route.name for route in theirs.cloudbeds.router.routes if isinstance(route, Route)]
        assert ours
        assert [name for name in ours if "cloudbeds" not in name and not name.startswith("_")] == []

        @theirs.app.get("/my/page")
        async def page() -> None: ...

        assert theirs.app.url_path_for("page") == "/my/page"


@pytest.mark.parametrize("upkeep", [True, False])
async def test_upkeep_is_asked_for(run: Run, upkeep: bool) -> None:
    """The loop that refreshes behind runs with the application, where it was asked for."""
    async with run(arguments={"upkeep": upkeep}):
        assert ("upkeep" in {task.get_name() for task in asyncio.all_tasks()}) is upkeep
    assert "upkeep" not in {task.get_name() for task in asyncio.all_tasks()}


async def test_a_start_that_fails_leaves_nothing_open(sim: Vendor, tmp_path: Path) -> None:
    """A key that does not fit stops the start; with the right one the same object starts afterwards."""
    good = sim.settings(tmp_path)
    async with TokenVault.open(good):
        pass
    key = tmp_path / "vault.sqlite3.key"
    kept = key.read_bytes()
    key.unlink()
    app, cloudbeds = FastAPI(), Cloudbeds(good)
    cloudbeds.install(app)
    with pytest.raises(ConfigurationError):
        async with app.router.lifespan_context(app):
            pass
    key.write_bytes(kept)
    key.chmod(0o600)
    async with app.router.lifespan_context(app):
        assert isinstance(cloudbeds.vault, TokenVault)


def test_neither_the_server_nor_its_proxy_is_imported() -> None:
    """Whoever mounts the flow pays for neither aiohttp nor uvicorn nor Prometheus: the `fastapi` extra is enough."""
    heavy = ("aiohttp", "uvicorn", "prometheus_client", "watchfiles", "psycopg", "rich", "click")
    code = (
        f"import sys\nfor name in {heavy!r}: sys.modules[name] = None\n"
        "import cloudbeds_auth.contrib.fastapi as it\nprint(it.Cloudbeds.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "Cloudbeds\n", done.stderr
