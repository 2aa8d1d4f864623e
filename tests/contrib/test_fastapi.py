"""The flow mounted in an application, over the real vault and the simulator: who may not, and who answers."""

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

from cloudbeds_auth import AuthorizationDenied, ConfigurationError, Connection, Error, TokenVault, UnknownConnection
from cloudbeds_auth.contrib.fastapi import Cloudbeds, problem
from cloudbeds_auth.rules.redirects import with_query
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.rules.secret import Secret
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

    def exchanges(self) -> int:
        """How many codes were sent to the vendor."""
        return len(self.vendor.token_requests("authorization_code"))


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

        @app.get("/hotels/{connection_id}/elsewhere")
        async def elsewhere(http: httpx2.AsyncClient = client) -> Any:
            return (await http.get("https://elsewhere.example/")).json()

        async with app.router.lifespan_context(app):
            yield Theirs(app, cloudbeds, sim)

    return running


def code_of(answer: httpx2.Response) -> tuple[int, str]:
    """Status and code of an answer of ours."""
    return answer.status_code, answer.headers["X-Cloudbeds-Auth-Code"]


async def comes_back(tab: httpx2.AsyncClient, path: str = "/callback", **params: str) -> httpx2.Response:
    """The callback's answer; of a failed approval the page that it leads to, without code and state in its address."""
    answer = await tab.get(path, params=params or None)
    where = answer.headers.get("Location", "")
    if "/not-connected/" not in where:
        return answer
    assert answer.status_code == 303
    assert "?" not in where
    return await tab.get(where)


@pytest.mark.row("A01", "A06")
async def test_another_browsers_state(run: Run) -> None:
    """The attacker's code and valid state, in a browser without our cookie, with its own, with a planted one: 400."""
    async with run() as theirs:
        attacker, fresh, victim, planted = (theirs.tab() for _ in range(4))
        back = await theirs.approved(attacker)
        await victim.get("/connect")
        planted.cookies.set(BROWSER, "attacker" + "x" * 35)
        for tab in (fresh, victim, planted):
            assert code_of(await comes_back(tab, **back)) == (400, "state_mismatch")
        assert theirs.exchanges() == 0
        assert (await attacker.get("/callback", params=back)).status_code == 303


@pytest.mark.parametrize("prefix", ["", "/auth"])
async def test_a_further_app(run: Run, sim: Vendor, prefix: str) -> None:
    """Added while the application runs: its hotel comes back below the callback, where its redirect URI lies."""
    async with run(prefix, redirect_uri=f"http://localhost:7000{prefix}/callback") as theirs:
        vault, tab = theirs.cloudbeds.vault, theirs.tab()
        app = await vault.apps.add("aurora", client_id="hotels-own", client_secret="first")
        known = VendorApp("hotels-own", "first", "Aurora", frozenset({app.redirect_uri}), ALL_SCOPES, "property")
        sim.simulator.model.add_app(known)
        back = await theirs.approved(tab, f"{prefix}/connect?app=aurora")
        answer = await tab.get(urlsplit(app.redirect_uri).path, params=back)
        [connection] = (await vault.connections(app="aurora")).connections
        assert answer.headers["Location"] == f"{prefix}/connected?connection_id={connection.id}"
        assert code_of(await tab.get(f"{prefix}/connect?app=nobody")) == (400, "invalid_request")
        assert (await tab.get(f"{prefix}/callback/nobody", params=back)).status_code == 404


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


@pytest.mark.row("A07", "A08", "A10")
async def test_odd_callbacks(run: Run) -> None:
    """A parameter twice, another issuer, another method, a body: nothing is exchanged."""
    async with run() as theirs:
        tab = theirs.tab()
        back = await theirs.approved(tab)
        query = f"/callback?code={back['code']}&state={back['state']}"
        assert code_of(await comes_back(tab, f"{query}&code=b")) == (400, "invalid_request")
        assert code_of(await comes_back(tab, f"{query}&state={back['state']}")) == (400, "invalid_request")
        assert code_of(await comes_back(tab, f"{query}&iss=https%3A%2F%2Fevil.example")) == (400, "state_mismatch")
        for method in ("POST", "HEAD", "PUT", "DELETE"):
            assert (await tab.request(method, query)).status_code == 405
        assert code_of(await tab.request("GET", query, content=b"code=x")) == (405, "invalid_request")
        assert theirs.exchanges() == 0
        assert (await tab.get(query)).status_code == 303


@pytest.mark.parametrize("return_to", ["/settings?x=1", "https://front.example/done?x=1"])
async def test_return_to(run: Run, return_to: str) -> None:
    """A path of theirs, or an origin that is listed, gets the connection and the reference, or the error's code."""
    async with run(return_origins="https://front.example") as theirs:
        tab = theirs.tab()
        start = str(httpx2.URL("/connect", params={"return_to": return_to, "reference": "a&b"}))
        back = await tab.get("/callback", params=await theirs.approved(tab, start))
        [connection] = (await theirs.cloudbeds.vault.connections()).connections
        assert back.headers["Location"] == f"{return_to}&connection_id={connection.id}&reference=a%26b"
        state = (await theirs.approved(tab, start))["state"]
        denied = await tab.get("/callback", params={"error": "access_denied", "state": state})
        assert denied.headers["Location"] == f"{return_to}&error=authorization_denied"


@pytest.mark.row("F85", "A11")
@pytest.mark.parametrize("answer", [{}, {"error": "access_denied"}, {"error": "x", "code": "y"}])
async def test_denial(run: Run, answer: dict[str, str]) -> None:
    """The page says so, in words that are escaped, and offers another start; the state is spent, nothing exchanged."""
    async with run("/auth", redirect_uri=f"{ORIGIN}/auth/callback") as theirs:
        tab = theirs.tab()
        back = await theirs.approved(tab, "/auth/connect?reference=tenant-7")
        told = answer | {"state": back["state"], "error_description": "<script>alert(1)</script>"}
        page = await comes_back(tab, "/auth/callback", **told)
        assert code_of(page) == (400, "authorization_denied")
        assert "<script" not in page.text
        assert 'href="/auth/connect?reference=tenant-7"' in page.text
        assert code_of(await comes_back(tab, "/auth/callback", **back)) == (400, "state_mismatch")
        assert theirs.exchanges() == 0


async def test_a_key_that_is_pasted(run: Run) -> None:
    """The page of a link leads to the form for an API key, which the application serves too; it is asked about it."""
    told: list[Connection] = []
    async with run(arguments={"on_connected": lambda _, connection: told.append(connection)}) as theirs:
        tab, link = theirs.tab(), await theirs.cloudbeds.vault.create_link()
        path = f"/paste-key/{link.token}"
        assert f'href="{path}"' in (await tab.get(f"/connect/{link.token}")).text
        model = theirs.vendor.simulator.model
        key = model.make_key(["100001"], ["read:hotel"], theirs.vendor.simulator.clock.now()).key.value
        assert code_of(await tab.post(path, data={"api_key": key + " " * 66_000})) == (400, "invalid_request")
        assert code_of(await tab.post(path, data={"api_key": key})) == (200, "ok")
        assert [one.credential for one in told] == ["api_key"]
        assert code_of(await tab.get(path)) == (400, "authorization_expired")


async def test_an_app_of_the_hotels_own(run: Run) -> None:
    """One link, from the page for client id and secret to the connected hotel: its app is exchanged and lent with."""
    async with run("/auth", redirect_uri=f"{ORIGIN}/auth/callback") as theirs:
        tab, vault, model = theirs.tab(), theirs.cloudbeds.vault, theirs.vendor.simulator.model
        link = await vault.apps.create_link("aurora", reference="tenant-7")
        page = (await tab.get(link.url)).text
        uri = f"{ORIGIN}/auth/callback/aurora"
        assert f"<code>{uri}</code>" in page
        known = next(iter(model.apps.values()))
        model.add_app(
            replace(
                known, client_id="own-id", client_secret="own-secret", redirect_uris=frozenset({uri}), level="property"
            )
        )
        saved = await tab.post(link.url, data={"client_id": "own-id", "client_secret": "own-secret"})
        on = f"/auth/connect/{link.token}"
        assert (code_of(saved), f'href="{on}"' in saved.text) == ((200, "ok"), True)
        added, asked = await vault.audit()
        assert (added.action, added.actor, added.address) == ("app_added", "hotel", "127.0.0.1")
        assert (asked.action, asked.actor, asked.subject) == ("link_created", "program", "aurora")
        back = await theirs.approved(tab, on)
        done = await tab.get("/auth/callback/aurora", params=back)
        assert "connection_id=" in done.headers["Location"]
        (hotel,) = (await vault.connections()).connections
        assert (hotel.app, hotel.reference) == ("aurora", "tenant-7")
        assert (await tab.get(f"/hotels/{hotel.id}/userinfo")).status_code == 200
        assert code_of(await tab.get(link.url)) == (400, "authorization_expired")


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


async def test_another_host_is_never_called(run: Run) -> None:
    """The client of a hotel asked for another origin: refused before anything is sent."""
    async with run() as theirs:
        connection = await theirs.connected()
        assert code_of(await theirs.tab().get(f"/hotels/{connection}/elsewhere")) == (500, "foreign_origin")


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


# --- the application's own answers


async def test_the_application_answers_itself(run: Run) -> None:
    """A connected hotel and a denial are told to the application; what it returns is sent, and keeps no code."""
    told: list[object] = []

    async def on_connected(request: Request, connection: Connection) -> Response:
        told.append(connection.id)
        return HTMLResponse("<style>h1 {color: red}</style><h1>Welcome</h1>")

    def on_problem(request: Request, error: Error) -> Response | None:
        told.append(error)
        return HTMLResponse("<h1>Sorry</h1>", 418) if isinstance(error, AuthorizationDenied) else None

    async with run(arguments={"on_connected": on_connected, "on_problem": on_problem}) as theirs:
        tab = theirs.tab()
        page = await tab.get("/callback", params=await theirs.approved(tab, "/connect?return_to=/settings"))
        assert "Welcome" in page.text
        assert "content-security-policy" not in page.headers, "their page, their policy"
        assert (page.headers["Cache-Control"], page.headers["Referrer-Policy"]) == ("no-store", "no-referrer")
        [connection] = (await theirs.cloudbeds.vault.connections()).connections
        state = (await theirs.approved(tab))["state"]
        denied = await tab.get("/callback", params={"error": "access_denied", "state": state})
        assert (denied.status_code, denied.text) == (418, "<h1>Sorry</h1>")
        usual = await comes_back(tab, code="x", state="y")
        assert code_of(usual) == (400, "state_mismatch")
        assert "default-src 'none'" in usual.headers["Content-Security-Policy"]
        assert told[0] == connection.id
        assert [type(one).__name__ for one in told[1:]] == ["AuthorizationDenied", "StateMismatch"]
        refused = await tab.get("/connect?return_to=//evil")
        assert code_of(refused) == (400, "invalid_return_to")
        assert len(told) == 4


@pytest.mark.row("A02")
async def test_a_hotel_that_began_in_the_marketplace(run: Run) -> None:
    """The application answers it, and claims it for whom it knows; until then no endpoint calls for it."""
    told: list[Connection] = []

    def on_parked(request: Request, connection: Connection) -> Response | None:
        told.append(connection)
        return HTMLResponse("<h1>Whose is it?</h1>") if len(told) > 1 else None

    async with run(arguments={"on_parked": on_parked}, marketplace="park") as theirs:
        begun = await theirs.cloudbeds.vault.begin_authorization()
        code, _ = await theirs.vendor.approve(begun.url)
        back = await theirs.tab().get("/callback", params={"code": code})
        assert back.headers["Location"].endswith(f"/claim/{told[0].id}")
        assert "Your approval has arrived" in (await theirs.tab().get(back.headers["Location"])).text
        again = await theirs.tab().get("/callback", params={"code": code, "state": "of-cloudbeds"})
        assert again.text == "<h1>Whose is it?</h1>"
        assert (told[1].id, theirs.exchanges()) == (told[0].id, 1)
        assert code_of(await theirs.tab().get(f"/hotels/{told[0].id}/userinfo")) == (409, "unclaimed")
        claimed = await theirs.cloudbeds.vault.claim(told[0].id, "tenant-7")
        assert (claimed.state, claimed.reference) == ("fresh", "tenant-7")
        assert (await theirs.tab().get(f"/hotels/{claimed.id}/userinfo")).status_code == 200


async def test_a_hotel_from_the_marketplace_that_cannot_be_claimed(run: Run) -> None:
    """An error of the application's own claim is shown as a failed approval is, and given to `on_problem`."""
    told: list[str] = []

    async def on_parked(request: Request, connection: Connection) -> None:
        raise UnknownConnection

    def on_problem(request: Request, error: Error) -> None:
        told.append(error.code)

    async with run(arguments={"on_parked": on_parked, "on_problem": on_problem}, marketplace="park") as theirs:
        begun = await theirs.cloudbeds.vault.begin_authorization()
        code, _ = await theirs.vendor.approve(begun.url)
        assert code_of(await comes_back(theirs.tab(), code=code)) == (404, "unknown_connection")
    assert told == ["unknown_connection"]


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


async def test_another_host_name(run: Run) -> None:
    """Asked on another name than the redirect URI's, the browser first goes to the same path there, with no cookie."""
    async with run("/auth", redirect_uri=f"{ORIGIN}/auth/callback") as theirs:
        link = await theirs.cloudbeds.vault.create_link()
        for path in ("/auth/connect?reference=a%26b", f"/auth/connect/{link.token}"):
            answer = await theirs.tab("http://127.0.0.1:7000").get(path)
            assert (answer.status_code, answer.headers["Location"]) == (303, with_query(f"{ORIGIN}{path}", moved="1"))
            assert "set-cookie" not in answer.headers


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


PATH, HEADER = "a-path-that-nobody-guesses-0123456789", "a-header-that-nobody-guesses-0123456"
HOOKS = {"hook_secret": Secret(PATH), "hook_header": Secret(HEADER)}


@pytest.mark.parametrize(
    ("path", "given", "body", "found"),
    [
        (PATH, HEADER, b"{}", (200, "ok")),
        (PATH, HEADER[:-1], b"{}", (401, "unauthenticated")),
        (PATH[:-1], HEADER, b"{}", (401, "unauthenticated")),
        (PATH, HEADER, b"x" * 70_000, (413, "invalid_request")),
    ],
    ids=["both secrets", "another header", "another path", "a large payload"],
)
async def test_a_webhook_of_cloudbeds(run: Run, path: str, given: str, body: bytes, found: tuple[int, str]) -> None:
    """Answered as the service answers it; a secret that is wrong tells nothing, and nothing of ours is cached."""
    async with run(**HOOKS) as theirs, theirs.tab() as cloudbeds:
        answer = await cloudbeds.post(f"/hooks/{path}", content=body, headers={"X-Hook-Secret": given})
    assert code_of(answer) == found
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_webhook_where_no_secret_is_set(run: Run) -> None:
    """Nothing opens it."""
    async with run() as theirs, theirs.tab() as cloudbeds:
        assert code_of(await cloudbeds.post(f"/hooks/{PATH}", headers={"X-Hook-Secret": ""})) == (
            401,
            "unauthenticated",
        )
