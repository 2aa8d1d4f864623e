"""The article, row by row, over real HTTP between real processes: one test for each of its steps."""

from __future__ import annotations

import html
import json
import re
import time
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import CLIENT_ID, CLIENT_SECRET, Answer, Http, World

from cloudbeds_auth.settings import Settings

SIMULATOR_USER = "Ada"


def query_of(url: str) -> dict[str, str]:
    """The query of an address; every name once."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, strict_parsing=True).items()}


def press(browser: Http, page: Answer, button: str) -> Answer:
    """Press a button of the consent page's form, as a browser would; the redirect is not followed."""
    form = re.search(r"<form[^>]*>(.*?)</form>", page.text, re.DOTALL)
    assert form, page.text
    action = re.search(r'<form[^>]*action="([^"]*)"', page.text)
    pairs = re.findall(r'<input[^>]*name="([^"]+)"[^>]*value="([^"]*)"', form[1])
    fields = {name: html.unescape(value) for name, value in pairs}
    named = re.search(rf'<button[^>]*name="([^"]+)"[^>]*value="([^"]*)"[^>]*>\s*{button}', form[1])
    assert named, form[1]
    fields[named[1]] = named[2]
    target = urljoin(page.url, html.unescape(action[1])) if action and action[1] else page.url
    return browser.post(target, form=fields)


def token_of(made: World, connection: str) -> str:
    """The access token that the service lends now."""
    lent: str = made.admin.get(f"/api/v1/connections/{connection}/access-token").json["access_token"]
    return lent


def test_set_up_the_app_start_the_server_and_the_hello_route_answers(make_world: MakeWorld) -> None:
    """`serve` listens (on 7000 unless told otherwise) and `/healthz` answers anyone."""
    made = make_world()
    service = made.start()
    answer = Http(made.base).get("/healthz")
    assert (answer.status, answer.json["status"]) == (200, "ok")
    assert any(line.endswith(f":{made.port}") for line in service.lines)
    assert Settings.model_fields["port"].default == 7000


def test_redirect_the_client_to_the_approval_page(make_world: MakeWorld) -> None:
    """`/connect` answers 303 to the vendor with client_id, redirect_uri, response_type=code and a one-time state."""
    made = make_world(CLOUDBEDS_SCOPES="read:hotel read:reservation")
    made.start()
    first, second = (Http(made.base).get("/connect") for _ in range(2))
    assert first.status == second.status == 303
    location = first.headers["Location"]
    assert location.startswith(f"{made.vendor.base}/api/v1.3/oauth?")
    asked = query_of(location)
    assert asked["client_id"] == CLIENT_ID
    assert asked["redirect_uri"] == f"{made.base}/callback"
    assert asked["response_type"] == "code"
    assert asked["scope"] == "read:hotel read:reservation"
    assert len(asked["state"]) >= 32
    assert asked["state"] != query_of(second.headers["Location"])["state"]


def test_the_hotel_approves_at_the_vendor_and_never_gives_its_credentials_to_us(make_world: MakeWorld) -> None:
    """The consent page names the app and the hotel, and only its own server sees what the hotel types."""
    made = make_world("--app-name", "Breakfast Club")
    made.start()
    browser = Http(made.base)
    page = browser.get("/connect", follow=True)
    assert page.url.startswith(made.vendor.base)
    assert "Breakfast Club" in page.text
    assert "Approve" in page.text
    assert "Deny" in page.text
    back = press(browser, page, "Approve")
    assert back.headers["Location"].startswith(f"{made.base}/callback?")
    assert set(query_of(back.headers["Location"])) == {"code", "state"}


@pytest.mark.long
def test_the_redirect_address_is_ours_to_choose(make_world: MakeWorld) -> None:
    """The path of CLOUDBEDS_REDIRECT_URI is the callback route (the article's /api/redirect), and `setup` names it."""
    made = make_world("--auto-approve", callback="/api/redirect")
    told = made.run("setup", "--non-interactive")
    assert f"{made.base}/api/redirect" in told.stdout
    assert re.search(r"integration type", told.stdout, re.IGNORECASE)
    made.start()
    made.connect()
    assert Http(made.base).get("/callback").status in {401, 404}


def test_the_articles_own_base_url_and_version_are_settings(make_world: MakeWorld) -> None:
    """With v1.1, every request to the vendor carries v1.1; the host is whatever CLOUDBEDS_BASE_URL says."""
    made = make_world("--auto-approve", CLOUDBEDS_API_VERSION="v1.1")
    made.start()
    connection = made.connect()
    assert made.admin.get(f"/api/v1/connections/{connection}/userinfo").status == 200
    log = made.vendor.control("requests", "GET")["requests"]
    paths = {entry["path"].split("?")[0] for entry in log}
    assert {"/api/v1.1/oauth", "/api/v1.1/access_token", "/api/v1.1/userinfo"} <= paths
    assert all(path.startswith("/api/v1.1/") for path in paths)


def test_receive_the_authorization_code_at_the_redirect_address(make_world: MakeWorld) -> None:
    """The callback takes the code, answers 303 to a clean address that nobody caches, and shows "connected"."""
    made = make_world("--auto-approve")
    made.start()
    browser = Http(made.base)
    approved = browser.get(browser.get("/connect").headers["Location"])
    answer = browser.get(approved.headers["Location"])
    assert answer.status == 303
    assert "code" not in query_of(urljoin(made.base, answer.headers["Location"]) + "&a=b")
    assert "no-store" in answer.headers["Cache-Control"]
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    page = browser.get(urljoin(made.base, answer.headers["Location"]))
    assert page.status == 200
    assert "connected" in page.text.lower()


def test_generate_tokens_by_authorization_code(make_world: MakeWorld) -> None:
    """The code is exchanged once, and both tokens of the answer are kept: the refresh token works later."""
    made = make_world("--auto-approve")
    made.start()
    connection = made.connect()
    assert made.vendor.counts("authorization_code") == {"issued": 1}
    [pair] = made.vendor.control("state", "GET")["grants"][0]["pairs"]
    assert token_of(made, connection) == pair["access_token"]
    assert made.admin.post(f"/api/v1/connections/{connection}/refresh").status == 200
    sent = [entry for entry in made.vendor.control("requests", "GET")["requests"] if entry["target"] == "token"]
    assert sent[-1]["refresh_token"] == pair["refresh_token"]
    assert sent[-1]["outcome"] == "issued"


def test_save_the_tokens_and_use_them_later(make_world: MakeWorld) -> None:
    """They survive a restart of the service, and no file beside the database holds one of them in plain text."""
    made = make_world("--auto-approve")
    service = made.start()
    connection = made.connect()
    before = token_of(made, connection)
    assert service.stop() == 0
    pairs = made.vendor.control("state", "GET")["grants"][0]["pairs"]
    secrets = [pair[name] for pair in pairs for name in ("access_token", "refresh_token")] + [CLIENT_SECRET]
    files = [path for path in made.folder.iterdir() if path.is_file()]
    assert any(path.suffix == ".sqlite3" for path in files)
    assert not [(path.name, secret) for path in files for secret in secrets if secret.encode() in path.read_bytes()]
    made.start()
    assert token_of(made, connection) == before
    assert made.admin.get(f"/api/v1/connections/{connection}/userinfo").status == 200


def test_generate_a_new_pair_by_refresh_token_and_save_the_new_refresh_token(make_world: MakeWorld) -> None:
    """Each refresh is made with the refresh token of the one before."""
    made = make_world("--auto-approve")
    made.start()
    connection = made.connect()
    for generation in (2, 3, 4):
        answer = made.admin.post(f"/api/v1/connections/{connection}/refresh")
        assert (answer.status, answer.json["generation"]) == (200, generation), answer.text
    pairs = made.vendor.control("state", "GET")["grants"][0]["pairs"]
    log = made.vendor.control("requests", "GET")["requests"]
    sent = [entry["refresh_token"] for entry in log if entry["grant_type"] == "refresh_token"]
    assert sent == [pair["refresh_token"] for pair in pairs[:3]]
    assert len(set(sent)) == 3


def test_a_stored_token_that_has_not_expired_is_used_else_it_is_refreshed_and_saved(make_world: MakeWorld) -> None:
    """`access-token` gives the same token while it lasts, and a refreshed, stored one when the vendor ended it."""
    made = make_world("--auto-approve")
    made.start()
    connection = made.connect()
    assert token_of(made, connection) == token_of(made, connection)
    assert made.vendor.counts() == {}
    made.vendor.control("expire")
    assert made.admin.get(f"/api/v1/connections/{connection}/userinfo").status == 200
    assert made.vendor.counts() == {"issued": 1}
    assert made.admin.get(f"/api/v1/connections/{connection}").json["generation"] == 2
    told = made.run("access-token", connection)
    assert told.stdout.strip() == token_of(made, connection), told.stderr


def test_a_short_lived_token_is_refreshed_before_it_ends(make_world: MakeWorld) -> None:
    """A token whose whole life is a minute is replaced behind its users, who are never refused."""
    made = make_world("--auto-approve", "--expires-in", "60")
    made.start()
    connection = made.connect()
    made.vendor.control("advance", seconds=61)  # the vendor's clock, not ours: the token is dead there
    answers = [made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo").status for _ in range(3)]
    assert answers == [200, 200, 200]
    assert made.vendor.counts() == {"issued": 1}


@pytest.mark.parametrize("variant", ["V0/n", "V1/n", "V2/n", "V6"])
def test_the_old_access_token_stops_at_once_and_the_old_refresh_token_works_until_the_new_is_used(
    variant: str, make_world: MakeWorld
) -> None:
    """Against the simulator itself: A0 dies with the refresh; R0 is taken again until A1 is used, and then is not
    (V6, where every refresh returns the same refresh token, goes on taking it).
    """
    made = make_world("--auto-approve", "--variant", variant)
    base, app = made.vendor.base, {"client_id": CLIENT_ID, "redirect_uri": f"{made.base}/callback"}
    approved = Http(base).get(f"/api/v1.3/oauth?{urlencode({**app, 'response_type': 'code'})}")

    def token(**form: str) -> Answer:
        return Http(base).post("/api/v1.3/access_token", form={**app, "client_secret": CLIENT_SECRET, **form})

    pair = token(grant_type="authorization_code", code=query_of(approved.headers["Location"])["code"]).json
    old_access, old_refresh = pair["access_token"], pair["refresh_token"]

    def refresh() -> Answer:
        return token(grant_type="refresh_token", refresh_token=old_refresh)

    def userinfo(access: str) -> int:
        return Http(base).get("/api/v1.3/userinfo", headers={"Authorization": f"Bearer {access}"}).status

    assert userinfo(old_access) == 200
    first = refresh()
    assert first.status == 200
    assert userinfo(old_access) == 401
    again = refresh()
    assert again.status == 200
    assert userinfo(again.json["access_token"]) == 200
    after_use = refresh()
    if variant == "V6":
        assert after_use.json["refresh_token"] == old_refresh
    else:
        assert after_use.status in {400, 401}
        assert "refresh token" in json.dumps(after_use.json).lower()


@pytest.mark.row("F83")
def test_authorization_codes_expire_and_are_single_use(make_world: MakeWorld) -> None:
    """A code that is older than ten minutes, or spent, gives a 4xx page that says so and offers to start again."""
    made = make_world("--auto-approve")
    made.start()
    browser = Http(made.base)
    approved = browser.get(browser.get("/connect").headers["Location"])
    made.vendor.control("advance", seconds=601)
    late = browser.get(approved.headers["Location"], follow=True)
    assert late.status == 400
    assert late.headers["X-Cloudbeds-Auth-Code"] == "authorization_expired"
    assert "start again" in late.text.lower()
    assert made.admin.get("/api/v1/connections").json["connections"] == []
    fresh = browser.get(browser.get("/connect").headers["Location"])
    assert browser.get(fresh.headers["Location"]).status == 303
    stolen = query_of(fresh.headers["Location"])["code"]
    other = browser.get(browser.get("/connect").headers["Location"])
    replayed = other.headers["Location"].replace(query_of(other.headers["Location"])["code"], stolen)
    spent = browser.get(replayed, follow=True)
    assert (spent.status, spent.headers["X-Cloudbeds-Auth-Code"]) == (400, "authorization_expired")


@pytest.mark.long
def test_restart_on_change_while_developing(make_world: MakeWorld) -> None:
    """`serve --reload` notices a changed Python file, restarts, and answers again with what it had stored."""
    made = make_world("--auto-approve")
    code = made.folder / "my_app.py"
    code.write_text("A = 1\n", "utf-8")
    service = made.start("--reload")
    connection = made.connect()
    time.sleep(0.5)  # the watcher compares times of files: let this one be older than the change
    code.write_text("A = 2\n", "utf-8")
    service.wait_for(r"(?i)detected changes|reloading")
    service.wait_for("Finished server process")  # what it had accepted and not answered is reset
    assert made.admin.get(f"/api/v1/connections/{connection}/userinfo").status == 200
    assert service.stop() == 0


def test_fetch_the_logged_in_user_with_the_token_and_show_it(make_world: MakeWorld) -> None:
    """The same user through the API's `userinfo`, through `/proxy`, and through `cloudbeds-auth call`."""
    made = make_world("--auto-approve")
    made.start()
    connection = made.connect()
    through_api = made.admin.get(f"/api/v1/connections/{connection}/userinfo").json
    through_proxy = made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo").json
    called = made.run("call", connection, "GET", "/api/v1.3/userinfo")
    assert through_api["first_name"] == SIMULATOR_USER
    assert through_proxy == through_api
    assert called.returncode == 0, called.stderr
    assert json.loads(called.stdout) == through_api
    shown = made.admin.get(f"/api/v1/connections/{connection}").json
    assert shown["authorizing_user"]["name"].startswith(SIMULATOR_USER)
