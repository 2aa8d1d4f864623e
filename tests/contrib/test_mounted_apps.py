"""The flow mounted in an application of each framework, over the real vault, a server and the simulator."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.core.asgi import get_asgi_application
from flask import Flask
from tests.acceptance.processes import Answer, Http, Process, world_apart
from tests.contrib.hotel import Hotel
from tests.contrib.mounted_apps import BLOCKING, BROWSER, KINDS, Theirs, at_urls, code_of, page, running
from tests.contrib.serving import wait_until_listening

from cloudbeds_auth import (
    ConfigurationError,
    Connection,
    Error,
    ReauthorizationRequired,
    StoreUnavailable,
    UnknownConnection,
)
from cloudbeds_auth.contrib.django import Cloudbeds as OnDjango
from cloudbeds_auth.contrib.flask import Cloudbeds as OnFlask
from cloudbeds_auth.contrib.flask import problem
from cloudbeds_auth.contrib.web_flow import page_or_problem, wants_page
from cloudbeds_auth.engine.apps import Apps
from cloudbeds_auth.rules.redirects import with_query

Run = Callable[..., AbstractContextManager[Theirs]]


@pytest.fixture(params=KINDS)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs an application with these hooks; the rest are settings."""
    return partial(running, request.param, tmp_path)


@pytest.fixture
def theirs(run: Run) -> Iterator[Theirs]:
    """It runs, below a prefix."""
    with run() as found:
        yield found


def comes_back(tab: Http, theirs: Theirs, query: str) -> Answer:
    """The callback's answer; of a failed approval the page that it leads to, without code and state in its address."""
    answer = tab.get(f"{theirs.pages}/callback?{query}", follow=True)
    assert "state=" not in answer.url
    return answer


def query_of(back: dict[str, str]) -> str:
    """As a browser brings it back."""
    return "&".join(f"{name}={value}" for name, value in back.items())


def test_connect_approve_call_heal(theirs: Theirs) -> None:
    """Connect, approve, "connected" with its style; a call by either id; and eight at once heal with one refresh."""
    browser = theirs.tab()
    shown = browser.get(f"{theirs.pages}/connect?reference=tenant-7", follow=True)
    assert (*code_of(shown), shown.url.partition("?")[0]) == (200, "ok", f"{theirs.pages}/connected")
    assert f'href="{theirs.prefix}/connected/style.css"' in shown.text
    style = browser.get(f"{theirs.pages}/connected/style.css")
    assert (style.status, style.headers["Content-Type"]) == (200, "text/css; charset=utf-8")
    hotel = theirs.vault.resolve("100001")
    assert browser.get(f"/hotels/{hotel}/userinfo").json["first_name"] == "Ada"
    by_property = browser.get("/hotels/100001/echo").json
    assert [value for name, value in by_property["headers"] if name.lower() == "x-property-id"] == ["100001"]
    theirs.vendor.control("expire")
    with ThreadPoolExecutor(8) as several:
        answers = list(several.map(lambda _: theirs.tab().get(f"/hotels/{hotel}/userinfo"), range(8)))
    assert {answer.status for answer in answers} == {200}
    assert theirs.vendor.counts() == {"issued": 1}


@pytest.mark.row("A01", "A06")
def test_another_browsers_state(theirs: Theirs) -> None:
    """The attacker's code and valid state, in a browser without our cookie or with its own: 400, nothing exchanged."""
    attacker, fresh, victim = theirs.tab(), theirs.tab(), theirs.tab()
    back = query_of(theirs.approved(attacker))
    victim.get(f"{theirs.pages}/connect")
    for tab in (fresh, victim):
        assert code_of(comes_back(tab, theirs, back)) == (400, "state_mismatch")
    assert theirs.exchanges() == 0
    assert attacker.get(f"{theirs.pages}/callback?{back}").status == 303


@pytest.mark.row("F85", "A11")
def test_denial(theirs: Theirs) -> None:
    """The page says so in words that are escaped, is no cached one, and starts again; the state is spent."""
    tab = theirs.tab()
    back = theirs.approved(tab, "/connect?reference=tenant-7")
    told = f"error=access_denied&error_description=%3Cscript%3E&state={back['state']}"
    denied = comes_back(tab, theirs, told)
    assert code_of(denied) == (400, "authorization_denied")
    assert "<script" not in denied.text
    assert f'href="{theirs.prefix}/connect?reference=tenant-7"' in denied.text
    assert (denied.headers["Cache-Control"], denied.headers["X-Frame-Options"]) == ("no-store", "DENY")
    assert "frame-ancestors 'none'" in denied.headers["Content-Security-Policy"]
    assert code_of(comes_back(tab, theirs, query_of(back))) == (400, "state_mismatch")
    assert theirs.exchanges() == 0


def test_another_host_name(theirs: Theirs) -> None:
    """Asked on another name than the redirect URI's, the browser first goes to the same path there, with no cookie."""
    link = theirs.vault.create_link()
    other = theirs.base.replace("localhost", "127.0.0.1")
    for path in ("/connect?reference=a%26b", f"/connect/{link.token}"):
        answer = theirs.tab().get(f"{other}{theirs.prefix}{path}")
        assert (answer.status, answer.headers["Location"]) == (303, with_query(f"{theirs.pages}{path}", moved="1"))
        assert answer.headers["Set-Cookie"] is None
    assert Http().get(f"{other}{theirs.prefix}/connect/{link.token}", follow=True).status == 200


@pytest.mark.row("A07", "A08", "A10", "A12")
def test_odd_requests(theirs: Theirs) -> None:
    """A parameter twice, another issuer, another method, a body, a `return_to` that is not listed: nothing begins,
    nothing is exchanged.
    """
    tab = theirs.tab()
    back = query_of(theirs.approved(tab))
    assert code_of(comes_back(tab, theirs, f"{back}&code=b")) == (400, "invalid_request")
    evil = comes_back(tab, theirs, f"{back}&iss=https%3A%2F%2Fevil.example")
    assert code_of(evil) == (400, "state_mismatch")
    assert tab.ask("GET", f"{theirs.pages}/callback?{back}", data=b"code=x").status == 405
    for method in ("POST", "HEAD", "PUT"):
        assert tab.ask(method, f"{theirs.pages}/callback?{back}").status in {403, 405}
    assert tab.ask("HEAD", f"{theirs.pages}/connect").status == 405
    refused = theirs.tab().get(f"{theirs.pages}/connect?return_to=//evil")
    assert (code_of(refused), refused.headers["Set-Cookie"]) == ((400, "invalid_return_to"), None)
    assert theirs.exchanges() == 0
    assert tab.get(f"{theirs.pages}/callback?{back}").status == 303


def test_return_to(theirs: Theirs) -> None:
    """A path of theirs gets the connection and the reference, or the error's code."""
    tab = theirs.tab()
    start = "/connect?return_to=/settings?x=1&reference=tenant-7"
    done = tab.get(f"{theirs.pages}/callback?{query_of(theirs.approved(tab, start))}")
    hotel = theirs.vault.resolve("100001")
    assert done.headers["Location"] == f"/settings?x=1&connection_id={hotel}&reference=tenant-7"
    state = theirs.approved(tab, start)["state"]
    denied = tab.get(f"{theirs.pages}/callback?error=access_denied&state={state}")
    assert denied.headers["Location"] == "/settings?x=1&error=authorization_denied"


def test_a_hotel_reconnects(theirs: Theirs) -> None:
    """By a link of the application's own: the id stays, and so does the reference that was given first."""
    hotel = theirs.connected("/connect?reference=tenant-7")
    before = theirs.vault.connection(hotel)
    link = theirs.vault.create_link(connection_id=hotel)
    assert link.url == f"{theirs.pages}/connect/{link.token}"
    assert theirs.connected(f"/connect/{link.token}?reference=evil") == hotel
    after = theirs.vault.connection(hotel)
    assert after.reference == "tenant-7"
    assert after.generation != before.generation
    assert theirs.tab().get(f"/hotels/{hotel}/userinfo").status == 200


def test_a_further_app(theirs: Theirs) -> None:
    """It comes back to one segment below the callback; a name that is no app's is not found."""
    theirs.vault.apps.add("aurora", client_id="hotels-own", client_secret="first")
    uri = theirs.vault.apps.get("aurora").redirect_uri
    assert uri == f"{theirs.pages}/callback/aurora"
    theirs.vendor.control("apps", client_id="hotels-own", client_secret="first", redirect_uris=[uri])
    hotel = theirs.connected("/connect?app=aurora")
    assert theirs.vault.connection(hotel).app == "aurora"
    assert code_of(theirs.tab().get(f"{theirs.pages}/callback/nobody")) == (404, "invalid_request")


def test_a_further_app_while_the_database_is_away(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answered as at the settings' own callback, and by no handler of the application's: it is asked, and the browser
    sees the page that says what happened.
    """

    async def away(_: Apps) -> Mapping[str, str]:
        raise StoreUnavailable

    asked: list[Error] = []
    with run({"on_problem": lambda *given: asked.append(given[-1])}) as theirs:
        monkeypatch.setattr(Apps, "redirect_uris", away)
        shown = theirs.tab().get(f"{theirs.pages}/callback/aurora?code=a&state=b", follow=True)
    assert (code_of(shown), shown.url) == (
        (503, "store_unavailable"), f"{theirs.pages}/not-connected/store_unavailable"
    )  # fmt: skip
    assert [error.code for error in asked] == ["store_unavailable"]


def test_an_endpoints_error_is_a_page_or_a_problem(theirs: Theirs) -> None:
    """A program, or who takes anything, gets the document, whose type is a page that is served; a browser a page, but
    of FastAPI, whose applications have programs for callers.
    """
    for accept in ("application/json", "*/*", ""):
        answer = theirs.tab().get("/hotels/con_nobody/userinfo", headers={"Accept": accept})
        assert code_of(answer) == (404, "unknown_connection")
        assert (answer.headers["Content-Type"], answer.json["code"]) == (
            "application/problem+json", "unknown_connection"
        )  # fmt: skip
        assert theirs.tab().get(answer.json["type"]).status == 200
    if theirs.kind == "fastapi":
        return
    shown = theirs.tab().get("/hotels/con_nobody/userinfo", headers={"Accept": BROWSER})
    assert (code_of(shown), shown.headers["Content-Type"]) == ((404, "unknown_connection"), "text/html; charset=utf-8")
    assert f'href="{theirs.prefix}/connected/style.css"' in shown.text
    assert shown.headers["Cache-Control"] == "no-store"


def test_what_goes_wrong_at_cloudbeds(theirs: Theirs) -> None:
    """No answer to a read, no answer to a write, another host: the contract's codes, and nothing is sent twice."""
    hotel = theirs.connected()
    http = theirs.tab()
    theirs.vendor.control("faults", target="echo", kind="reset_before", times=2)
    assert code_of(http.get(f"/hotels/{hotel}/echo")) == (502, "upstream_failed")
    assert code_of(http.post(f"/hotels/{hotel}/echo")) == (502, "outcome_unknown")
    assert code_of(http.get(f"/hotels/{hotel}/elsewhere")) == (500, "foreign_origin")
    assert http.post(f"/hotels/{hotel}/echo").status == 200


PATH, HEADER = "a-path-that-nobody-guesses-0123456789", "a-header-that-nobody-guesses-0123456"


def test_a_webhook_of_cloudbeds(run: Run) -> None:
    """Answered as the service answers it; a wrong secret says nothing; only there no CSRF token is asked for."""
    with run(CLOUDBEDS_AUTH_HOOK_SECRET=PATH, CLOUDBEDS_AUTH_HOOK_HEADER=HEADER) as theirs:
        http, hook = theirs.tab(), f"{theirs.pages}/hooks/"
        for path, given, body, found in [
            (PATH, HEADER, b"{}", (200, "ok")),
            (PATH, HEADER[:-1], b"{}", (401, "unauthenticated")),
            (PATH[:-1], HEADER, b"{}", (401, "unauthenticated")),
            (PATH, HEADER, b"x" * 70_000, (413, "invalid_request")),
        ]:
            answer = http.post(hook + path, data=body, headers={"X-Hook-Secret": given})
            assert (code_of(answer), answer.headers["Cache-Control"]) == (found, "no-store")
        assert http.get(hook + PATH, headers={"X-Hook-Secret": HEADER}).status == 405
        if theirs.kind == "django":
            assert http.post("/protected").status == 403


def test_the_application_answers_itself(run: Run) -> None:
    """A connected hotel and a problem are given to the application; what it returns is sent, and keeps no code."""
    told: list[Any] = []

    def on_connected(*given: Any) -> Any:
        told.append(given[-1])
        return page(app.kind, "<h1>Welcome</h1>")

    def on_problem(*given: Any) -> Any:
        told.append(given[-1].code)
        return page(app.kind, "<h1>Sorry</h1>", 418) if told[-1] == "authorization_denied" else None

    with run({"on_connected": on_connected, "on_problem": on_problem}) as app:
        tab = app.tab()
        shown = tab.get(f"{app.pages}/callback?{query_of(app.approved(tab))}")
        assert (shown.text, shown.headers["Content-Security-Policy"]) == ("<h1>Welcome</h1>", None)
        assert (shown.headers["Cache-Control"], shown.headers["Referrer-Policy"]) == ("no-store", "no-referrer")
        state = app.approved(tab)["state"]
        denied = tab.get(f"{app.pages}/callback?error=access_denied&state={state}")
        assert (denied.status, denied.text) == (418, "<h1>Sorry</h1>")
        assert code_of(comes_back(tab, app, "code=x&state=y")) == (400, "state_mismatch")
        assert code_of(tab.get(f"{app.pages}/connect?return_to=//evil")) == (400, "invalid_return_to")
    assert isinstance(told[0], Connection)
    assert told[1:] == ["authorization_denied", "state_mismatch", "invalid_return_to"]


def test_an_app_of_the_hotels_own(theirs: Theirs) -> None:
    """The hotel enters client id and secret on a page of the application, which leads on to the approval."""
    link = theirs.vault.apps.create_link("aurora")
    assert link.url == f"{theirs.pages}/add-app/{link.token}"
    assert f"{theirs.pages}/callback/aurora" in theirs.tab().get(link.url).text
    saved = theirs.tab().post(link.url, form={"client_id": "client-2", "client_secret": "canary"})
    assert (code_of(saved), f'href="{theirs.prefix}/connect/{link.token}"' in saved.text) == ((200, "ok"), True)
    begun = theirs.tab().start(f"{theirs.pages}/connect/{link.token}")
    assert (begun.status, "client_id=client-2&" in begun.headers["Location"]) == (303, True)
    assert [(one.action, one.actor, one.address) for one in theirs.vault.audit()] == [
        ("app_added", "hotel", "127.0.0.1"), ("link_created", "program", None),
    ]  # fmt: skip


def test_a_key_that_is_pasted(run: Run) -> None:
    """The page of a link leads to the form for an API key, also where the application has read the form before; it is
    asked about the hotel that connected.
    """
    told: list[Connection] = []
    with run({"on_connected": lambda *given: told.append(given[-1])}) as theirs:
        link = theirs.vault.create_link(reference="tenant-7")
        path = f"{theirs.prefix}/paste-key/{link.token}"
        assert f'href="{path}"' in theirs.tab().get(link.url).text
        assert 'type="password"' in theirs.tab().get(path).text
        key = theirs.vendor.control("keys", property="100001")["api_key"]
        assert code_of(theirs.tab().post(path, form={"api_key": f"{key}x"})) == (400, "key_refused")
        assert code_of(theirs.tab().post(path, form={"api_key": key + " " * 66_000})) == (400, "invalid_request")
        assert told == []
        shown = theirs.tab().post(path, form={"api_key": key})
        assert (code_of(shown), "<h1>Connected</h1>" in shown.text) == ((200, "ok"), True)
        assert [(one.reference, one.property_ids, one.credential) for one in told] == [
            ("tenant-7", ("100001",), "api_key")
        ]
        assert code_of(theirs.tab().post(path, form={"api_key": key})) == (400, "authorization_expired")


@pytest.mark.row("A02")
def test_a_hotel_that_began_in_the_marketplace(run: Run) -> None:
    """It is parked; the application is asked, and without an answer of its own our page says what it waits for."""
    told: list[Connection] = []

    def on_parked(*given: Any) -> Any:
        told.append(given[-1])
        return page(app.kind, "<h1>Whose is it?</h1>") if len(told) > 1 else None

    with run({"on_parked": on_parked}, CLOUDBEDS_AUTH_MARKETPLACE="park") as app:
        code = app.approved(app.tab())["code"]
        shown = app.tab().get(f"{app.pages}/callback?code={code}", follow=True)
        assert shown.url == f"{app.pages}/claim/{told[0].id}"
        again = app.tab().get(f"{app.pages}/callback?code={code}&state=of-cloudbeds")
        assert (again.text, app.exchanges()) == ("<h1>Whose is it?</h1>", 1)
        assert code_of(app.tab().get(f"/hotels/{told[0].id}/userinfo")) == (409, "unclaimed")
        assert app.vault.claim(told[0].id, "tenant-7").reference == "tenant-7"


@pytest.mark.row("A02")
def test_a_hotel_that_cannot_be_claimed(run: Run) -> None:
    """The application's claim failed: its own page for problems is asked, and else the browser sees ours."""
    asked: list[Error] = []

    def on_parked(*given: Any) -> None:
        raise StoreUnavailable

    hooks = {"on_parked": on_parked, "on_problem": lambda *given: asked.append(given[-1])}
    with run(hooks, CLOUDBEDS_AUTH_MARKETPLACE="park") as theirs:
        code = theirs.approved(theirs.tab())["code"]
        shown = theirs.tab().get(f"{theirs.pages}/callback?code={code}", follow=True)
        assert shown.url == f"{theirs.pages}/not-connected/store_unavailable"
    assert [error.code for error in asked] == ["store_unavailable"]


# --- where it lies, and whose vault it is


@pytest.mark.parametrize("kind", BLOCKING)
def test_a_callback_that_is_not_served(kind: str, tmp_path: Path) -> None:
    """The redirect URI, or the public URL, leads elsewhere: it is said before the vault opens."""
    with (
        pytest.raises(ConfigurationError, match="the callback is served at /cloudbeds/callback"),
        running(kind, tmp_path, CLOUDBEDS_REDIRECT_URI="http://localhost:7000/elsewhere/callback"),
    ):
        pass
    with (
        pytest.raises(ConfigurationError, match="CLOUDBEDS_REDIRECT_URI is not set, but the callback is served at"),
        running(kind, tmp_path, CLOUDBEDS_REDIRECT_URI=""),
    ):
        pass
    with (
        pytest.raises(ConfigurationError, match="the path of CLOUDBEDS_AUTH_PUBLIC_URL is not /cloudbeds"),
        running(kind, tmp_path, CLOUDBEDS_AUTH_PUBLIC_URL="http://localhost:7000"),
    ):
        pass
    assert not (tmp_path / "hotels.sqlite3").exists()


def test_settings_as_python_has_them(tmp_path: Path) -> None:
    """True, a number and a list in Flask's configuration are read as the environment's words for them."""
    app = Flask("theirs")
    app.config.update(
        CLOUDBEDS_CLIENT_ID="id", CLOUDBEDS_CLIENT_SECRET="secret-0123456789",
        CLOUDBEDS_AUTH_DATABASE_URL=f"sqlite:///{tmp_path}/hotels.sqlite3", CLOUDBEDS_AUTH_OPEN_CONNECT=False,
        CLOUDBEDS_AUTH_TOKEN_TIMEOUT=5, CLOUDBEDS_AUTH_RETURN_ORIGINS=["https://a.example", "https://b.example"],
        CLOUDBEDS_SCOPES=["read:hotel", "read:guest"],
    )  # fmt: skip
    cloudbeds = OnFlask()
    cloudbeds.init_app(app)
    with app.app_context():
        settings = cloudbeds.vault.settings
        cloudbeds.vault.close()
    assert (settings.open_connect, settings.token_timeout) == (False, 5.0)
    assert settings.return_origins == ("https://a.example", "https://b.example")
    assert settings.scopes == ("read:hotel", "read:guest")


def test_a_vault_of_the_applications_own(hotel: Hotel) -> None:
    """It is used as it is, and stays open; where it lies is checked all the same."""
    app = Flask("theirs")
    cloudbeds = OnFlask(hotel.vault)
    with pytest.raises(ConfigurationError, match="/auth/callback"):
        cloudbeds.init_app(app, url_prefix="/auth")
    cloudbeds.init_app(app)
    with app.app_context():
        assert cloudbeds.vault is hotel.vault
    asked = app.test_client().get("/connect", base_url="http://localhost")
    assert "/api/v1.3/oauth" in asked.headers["Location"]
    with at_urls(OnDjango(hotel.vault), "") as vault:
        assert vault is hotel.vault
    assert hotel.vault.resolve(hotel.id) == hotel.id


def test_an_application_factory(tmp_path: Path) -> None:
    """One `Cloudbeds` for several applications: each has the vault that its own configuration names."""
    cloudbeds, vaults = OnFlask(), {}
    for name in ("first", "second"):
        app = Flask(name)
        app.config.update(
            CLOUDBEDS_CLIENT_ID=name, CLOUDBEDS_CLIENT_SECRET="secret-0123456789",
            CLOUDBEDS_AUTH_DATABASE_URL=f"sqlite:///{tmp_path}/{name}.sqlite3",
        )  # fmt: skip
        cloudbeds.init_app(app)
        with app.app_context():
            assert cloudbeds.vault is cloudbeds.vault
            vaults[name] = cloudbeds.vault
    for name, vault in vaults.items():
        assert vault.settings.client_id == name
        vault.close()


@pytest.mark.parametrize("kind", BLOCKING)
@pytest.mark.parametrize("upkeep", [True, False])
def test_upkeep_is_asked_for(kind: str, upkeep: bool, tmp_path: Path) -> None:
    """The loop that refreshes behind runs with the vault, where it was asked for."""

    async def tasks(_: object) -> set[str]:
        return {task.get_name() for task in asyncio.all_tasks()}

    with running(kind, tmp_path, {"upkeep": upkeep}) as app:
        assert ("upkeep" in app.vault.run(tasks)) is upkeep


def test_a_page_about_a_hotel_that_has_to_approve_again() -> None:
    """It has the link that mends it, in the language that is asked for; and so has the document, in English."""
    error = ReauthorizationRequired(connect_url="https://app.example/auth/connect/one-time")
    shown = page_or_problem(error, "/auth", {"Accept": BROWSER, "Accept-Language": "es"})
    assert b'href="https://app.example/auth/connect/one-time"' in shown.body
    assert b"Su hotel debe dar la autorizaci" in shown.body
    document = page_or_problem(error, "/auth", {"Accept": "*/*", "Accept-Language": "es"}).body
    assert b'"connect_url": "https://app.example/auth/connect/one-time"' in document


def test_without_our_pages_a_problem_has_no_page() -> None:
    """Where they are not included nothing is served that says what a code means (RFC 9457 section 4.2.1)."""
    with Flask("theirs").test_request_context(headers={"Accept": BROWSER}):
        assert problem(UnknownConnection()).json["type"] == "about:blank"  # type: ignore[index]


@pytest.mark.parametrize(
    ("accept", "page_first"),
    [
        (BROWSER, True),
        ("text/html;q=0.5, application/json;q=0.9", False),
        ("text/html, application/problem+json;q=0.9", True),
        ("text/html;q=0", False),
        ("text/html;q=x", False),
        ("application/json", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_who_is_shown_a_page(accept: str, page_first: bool) -> None:
    """Whoever names HTML, and prefers it to JSON."""
    assert wants_page(accept) is page_first


def test_under_asgi(tmp_path: Path) -> None:
    """Django runs our views on a thread, and an error of a view is answered there, too."""

    async def asked(*paths: str) -> list[httpx2.Response]:
        transport = httpx2.ASGITransport(get_asgi_application())
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
            return [await http.get(path) for path in paths]

    with running("django", tmp_path):
        begun, failed = asyncio.run(asked("/cloudbeds/connect", "/hotels/con_nobody/userinfo"))
    assert "/api/v1.3/oauth" in begun.headers["Location"]
    assert (failed.status_code, failed.json()["code"]) == (404, "unknown_connection")


FORKING = """
import os
from flask import Flask, request
from werkzeug.serving import run_simple
from cloudbeds_auth.contrib.flask import Cloudbeds

app = Flask("theirs")
cloudbeds = Cloudbeds()
cloudbeds.init_app(app, url_prefix="/cloudbeds")

@app.route("/hotels/<identifier>/echo", methods=["GET", "POST"])
def echo(identifier):
    with cloudbeds.client(identifier) as session:
        return session.request(request.method, "echo").json() | {"pid": os.getpid()}

with app.app_context():
    print("opened", cloudbeds.vault.connections().connections)
run_simple("127.0.0.1", int(os.environ["CLOUDBEDS_AUTH_PORT"]), app, processes=4)
"""


@pytest.mark.long
def test_a_process_for_each_request(tmp_path: Path) -> None:
    """Made by `fork()` with the vault open already: each has a vault, a loop and connections of its own.

    Once Cloudbeds is gone nothing can be sent, so a write has not happened either.
    """
    with world_apart(tmp_path, "--auto-approve", callback="/cloudbeds/callback") as made:
        program = Process(FORKING, command=(sys.executable, "-c"), env=made.settings, cwd=tmp_path)
        try:
            program.wait_for("Running on")
            wait_until_listening(made.port)
            browser = Http(made.base)
            hotel = browser.get("/cloudbeds/connect", follow=True).url.partition("connection_id=")[2]
            assert len({browser.get(f"/hotels/{hotel}/echo").json["pid"] for _ in range(3)}) == 3
            assert made.vendor.process
            made.vendor.process.stop()
            assert code_of(browser.post(f"/hotels/{hotel}/echo")) == (502, "upstream_failed")
        finally:
            program.stop()


# --- what is imported


@pytest.mark.parametrize("kind", BLOCKING)
def test_no_other_framework_is_imported(kind: str) -> None:
    """The extra alone is enough: neither FastAPI nor Starlette, nor the service's server, nor the other framework."""
    # Flask itself has click.
    others = ("fastapi", "starlette", "aiohttp", "uvicorn", "prometheus_client", "psycopg", "rich", "click")
    heavy = (
        *(others if kind == "django" else others[:-1]),
        *(name for name in BLOCKING if name != kind),
    )
    code = (
        f"import sys\nfor name in {heavy!r}: sys.modules[name] = None\n"
        f"import cloudbeds_auth.contrib.{kind} as it\nprint(it.Cloudbeds.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "Cloudbeds\n", done.stderr


LACKING = """
import importlib, sys
for name in {names}:
    sys.modules[name] = None
    try:
        importlib.import_module("cloudbeds_auth.contrib.{kind}")
    except ModuleNotFoundError as error:
        print(error)
    for loaded in [one for one in sys.modules if one == name or one.startswith("cloudbeds_auth")]:
        del sys.modules[loaded]
"""


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_extra_the_import_says_what_to_install(kind: str) -> None:
    """Where something of it is not installed. FastAPI's says it, too."""
    names = [kind, "jinja2"] if kind == "fastapi" else [kind, "jinja2", "requests"]
    done = subprocess.run(
        [sys.executable, "-c", LACKING.format(names=names, kind=kind)], capture_output=True, text=True, check=True
    )
    said = f"cloudbeds_auth.contrib.{kind} needs an extra that is not installed: pip install 'cloudbeds-auth[{kind}]'"
    assert done.stdout.splitlines() == [said] * len(names)
