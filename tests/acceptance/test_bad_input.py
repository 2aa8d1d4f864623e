"""Bad input gets a clear answer that says what to do next, and nothing is lost."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import Http, Process, World
from tests.acceptance.test_article import press, query_of
from tests.support.keys import KEY_TEXT, OTHER_KEY_TEXT


def start_refused(made: World) -> str:
    """What `serve` prints when it does not start; its exit status is 1."""
    refused = made.run("serve")
    assert refused.returncode == 1, refused.stdout
    assert "Traceback" not in refused.stderr
    assert "next:" in refused.stderr, refused.stderr
    return refused.stderr


def callback(made: World, browser: Http, **changed: str | None) -> tuple[int, str, str]:
    """Approve, then come back with a changed query; status, code and text of the page."""
    approved = browser.get(browser.get("/connect").headers["Location"])
    given = {**query_of(approved.headers["Location"]), **changed}
    query = "&".join(f"{name}={value}" for name, value in given.items() if value is not None)
    answer = browser.get(f"{made.base}/callback?{query}", follow=True)
    return answer.status, answer.headers["X-Cloudbeds-Auth-Code"], answer.text.lower()


def test_missing_and_malformed_settings_are_all_named_at_once(make_world: MakeWorld) -> None:
    """Three mistakes are three lines, each naming its variable; no secret is among them."""
    made = make_world(
        CLOUDBEDS_CLIENT_ID="", CLOUDBEDS_AUTH_PORT="seven", CLOUDBEDS_AUTH_ENCRYPTION_KEYS="too-short-secret"
    )
    told = start_refused(made)
    for variable in ("CLOUDBEDS_CLIENT_ID", "CLOUDBEDS_AUTH_PORT", "CLOUDBEDS_AUTH_ENCRYPTION_KEYS"):
        assert variable in told
    assert "too-short-secret" not in told


def test_a_port_in_use_names_who_holds_it_and_the_setting_that_moves_us(make_world: MakeWorld) -> None:
    """Another program on the port: its pid where it can be known, and CLOUDBEDS_AUTH_PORT."""
    made = make_world()
    with socket.create_server(("127.0.0.1", made.port)):
        told = start_refused(made)
    assert "CLOUDBEDS_AUTH_PORT" in told
    assert str(made.port) in told
    assert re.search(r"\bpid \d+|\bprocess \d+", told), told


def test_a_database_path_that_cannot_be_written_names_the_setting(make_world: MakeWorld) -> None:
    """A path through a file: refused with the path and CLOUDBEDS_AUTH_DATABASE_URL; nothing is sent."""
    made = make_world()
    (made.folder / "file").write_text("in the way", "utf-8")
    made.extra["CLOUDBEDS_AUTH_DATABASE_URL"] = f"sqlite:///{made.folder}/file/hotels.sqlite3"
    told = start_refused(made)
    assert f"{made.folder}/file" in told
    assert told.count("next: ") == 1, "told once"
    assert made.vendor.control("requests", "GET")["requests"] == []


@pytest.mark.long
def test_a_wrong_encryption_key_stops_the_start_before_anything_is_sent(make_world: MakeWorld) -> None:
    """A database sealed with one key and opened with another: exit 1, no request reaches the vendor, the row stays."""
    made = make_world("--auto-approve", CLOUDBEDS_AUTH_ENCRYPTION_KEYS=KEY_TEXT)
    service = made.start()
    connection = made.connect()
    service.stop()
    asked = len(made.vendor.control("requests", "GET")["requests"])
    made.extra["CLOUDBEDS_AUTH_ENCRYPTION_KEYS"] = OTHER_KEY_TEXT
    assert "key" in start_refused(made)
    assert len(made.vendor.control("requests", "GET")["requests"]) == asked
    made.extra["CLOUDBEDS_AUTH_ENCRYPTION_KEYS"] = KEY_TEXT
    made.start()
    assert made.admin.get(f"/api/v1/connections/{connection}/userinfo").status == 200


@pytest.mark.long  # without processes: tests/app/test_api.py and test_proxy.py, tests/cli/test_commands.py
def test_an_unknown_connection_is_a_404_that_says_where_to_look(make_world: MakeWorld) -> None:
    """By HTTP, by proxy and on the command line."""
    made = make_world()
    made.start()
    for path in ("/api/v1/connections/con_nobody", "/proxy/con_nobody/api/v1.3/userinfo", "/proxy/4711/api/x"):
        answer = made.admin.get(path)
        assert (answer.status, answer.json["code"]) == (404, "unknown_connection")
        assert "cloudbeds-auth connections" in answer.json["next_step"]
    told = made.run("connections", "show", "con_nobody")
    assert told.returncode == 1
    assert "cloudbeds-auth connections" in told.stderr


def test_a_denied_approval_changes_nothing(make_world: MakeWorld) -> None:
    """The hotel presses Deny: a 400 page that says so and offers to start again; nothing is stored or exchanged."""
    made = make_world()
    made.start()
    browser = Http(made.base)
    back = press(browser, browser.get("/connect", follow=True), "Deny")
    page = browser.get(back.headers["Location"], follow=True)
    assert (page.status, page.headers["X-Cloudbeds-Auth-Code"]) == (400, "authorization_denied")
    assert "start again" in page.text.lower()
    assert made.admin.get("/api/v1/connections").json["connections"] == []
    assert made.vendor.counts("authorization_code") == {}


@pytest.mark.long
@pytest.mark.parametrize("state", ["forged", None, ""], ids=["forged", "missing", "empty"])
def test_a_state_that_is_not_ours_is_refused_without_an_exchange(state: str | None, make_world: MakeWorld) -> None:
    """400 `state_mismatch`, a page that offers to start again, and no request to the token endpoint."""
    made = make_world("--auto-approve")
    made.start()
    status, code, page = callback(made, Http(made.base), state=state)
    assert (status, code) == (400, "state_mismatch")
    assert "start again" in page
    assert made.vendor.counts("authorization_code") == {}


@pytest.mark.long  # without processes: tests/app/test_real_vault.py
def test_a_replayed_state_never_exchanges_twice(make_world: MakeWorld) -> None:
    """The same callback again shows the same result; the state with another code is refused; one exchange in all."""
    made = make_world("--auto-approve")
    made.start()
    browser = Http(made.base)
    approved = browser.get(browser.get("/connect").headers["Location"]).headers["Location"]
    assert browser.get(approved).status == 303
    assert browser.get(approved).status == 303
    other_code = re.sub(r"code=[^&]+", "code=anothercode", approved)
    refused = browser.get(other_code, follow=True)
    assert (refused.status, refused.headers["X-Cloudbeds-Auth-Code"]) == (400, "state_mismatch")
    assert made.vendor.counts("authorization_code") == {"issued": 1}


@pytest.mark.long  # without processes: tests/engine/test_authorize.py, tests/app/test_real_vault.py
def test_another_browsers_state_is_refused(make_world: MakeWorld) -> None:
    """An attacker's own valid link, opened in the victim's browser: 400, no exchange."""
    made = make_world("--auto-approve")
    made.start()
    attacker, victim = Http(made.base), Http(made.base)
    link = attacker.get(attacker.get("/connect").headers["Location"]).headers["Location"]
    victim.get("/connect")
    answer = victim.get(link, follow=True)
    assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (400, "state_mismatch")
    assert made.vendor.counts("authorization_code") == {}


UNUSABLE: dict[str, dict[str, Any]] = {
    "html": {"kind": "html", "status": 502},
    "html with 200": {"kind": "body", "body": "<html>portal</html>", "content_type": "text/html"},
    "empty": {"kind": "empty"},
    "cut": {"kind": "truncate", "at": 20},
    "oversized": {"kind": "oversized", "size": 200_000},
    "not json": {"kind": "body", "body": "access_token=1", "content_type": "application/json"},
}


@pytest.mark.long
@pytest.mark.parametrize("fault", UNUSABLE, ids=list(UNUSABLE))
def test_an_unusable_answer_to_the_code_says_start_again(fault: str, make_world: MakeWorld) -> None:
    """The first approval fails with a clear page and stores nothing; the next one works."""
    made = make_world("--auto-approve")
    made.start()
    made.vendor.control("faults", target="token", **UNUSABLE[fault])
    status, code, page = callback(made, Http(made.base))
    assert (status, code) == (503, "token_endpoint_unavailable")
    assert "start again" in page
    assert made.admin.get("/api/v1/connections").json["connections"] == []
    made.connect()


@pytest.mark.long
@pytest.mark.parametrize("fault", UNUSABLE, ids=list(UNUSABLE))
def test_an_unusable_answer_to_a_refresh_loses_nothing(fault: str, make_world: MakeWorld) -> None:
    """503 with Retry-After and a next step; the same connection answers again by itself afterwards."""
    made = make_world("--auto-approve")
    made.start()
    connection = made.connect()
    made.vendor.control("expire")
    made.vendor.control("faults", target="token", **UNUSABLE[fault])
    refused = made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo")
    assert (refused.status, refused.json["code"]) == (503, "refresh_in_doubt")
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.json["next_step"]
    assert made.admin.get(f"/api/v1/connections/{connection}").json["state"] == "in_doubt"
    # The next call waits out the hold (two seconds here, twenty by default) and heals.
    assert made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo").status == 200
    assert made.admin.get(f"/api/v1/connections/{connection}").json["state"] == "fresh"


@pytest.mark.long  # without processes: tests/rules/test_token_response.py
@pytest.mark.parametrize("form", ["str", "absent"])
def test_expires_in_may_be_a_string_or_missing(form: str, make_world: MakeWorld) -> None:
    """Eight hours from a string; an hour where the vendor does not say."""
    made = make_world("--auto-approve")
    made.vendor.control("settings", expires_in_form=form)
    made.start()
    connection = made.connect()
    shown = made.admin.get(f"/api/v1/connections/{connection}").json
    hours = int(shown["expires_at"][11:13]) - int(shown["connected_at"][11:13])
    assert hours % 24 == (8 if form == "str" else 1)


@pytest.mark.long
def test_a_refused_client_secret_is_the_operators_not_the_hotels(make_world: MakeWorld) -> None:
    """The secret was reset at Cloudbeds: `client_refused`, no hotel marked, and the right secret heals it."""
    made = make_world("--auto-approve")
    service = made.start()
    connection = made.connect()
    made.vendor.control("apps", client_id="acceptance-app", client_secret="the-new-secret-0123456789")
    made.vendor.control("expire")
    refused = made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo")
    assert (refused.status, refused.json["code"]) == (503, "client_refused")
    assert "CLOUDBEDS_CLIENT_SECRET" in refused.json["next_step"]
    shown = made.admin.get(f"/api/v1/connections/{connection}").json
    assert shown["state"] == "client_refused"
    service.stop()
    made.extra["CLOUDBEDS_CLIENT_SECRET"] = "the-new-secret-0123456789"
    made.start()
    assert made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo").status == 200
    assert made.admin.get(f"/api/v1/connections/{connection}").json["state"] == "fresh"


@pytest.mark.row("F35")
def test_a_mended_secret_is_used_without_a_restart(make_world: MakeWorld) -> None:
    """The secret rests in a file; it is reset at Cloudbeds, refused, mended in the file, and the next call heals."""
    made = make_world("--auto-approve")
    secret = made.folder / "client-secret"
    secret.write_text("acceptance-secret-0123456789\n", "utf-8")
    secret.chmod(0o600)
    made.extra.update(CLOUDBEDS_CLIENT_SECRET_FILE=str(secret), CLOUDBEDS_CLIENT_SECRET="")
    made.start()
    connection = made.connect()
    made.vendor.control("apps", client_id="acceptance-app", client_secret="the-new-secret-0123456789")
    made.vendor.control("expire")
    for _ in range(2):
        refused = made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo")
        assert (refused.status, refused.json["code"]) == (503, "client_refused")
    assert made.vendor.counts() == {"client_refused": 1}
    secret.write_text("the-new-secret-0123456789\n", "utf-8")
    assert made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo").status == 200
    assert made.admin.get(f"/api/v1/connections/{connection}").json["state"] == "fresh"


def test_the_previous_secret_carries_over_a_reset(make_world: MakeWorld) -> None:
    """The new secret is configured before Cloudbeds knows it: the old one is used, and nobody notices."""
    made = make_world(
        "--auto-approve",
        CLOUDBEDS_CLIENT_SECRET="not-yet-known-at-cloudbeds",
        CLOUDBEDS_CLIENT_SECRET_PREVIOUS="acceptance-secret-0123456789",
    )
    made.start()
    connection = made.connect()
    made.vendor.control("expire")
    assert made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo").status == 200
    assert made.admin.get(f"/api/v1/connections/{connection}").json["state"] == "fresh"


@pytest.mark.long
def test_an_unreachable_vendor_loses_nothing(make_world: MakeWorld) -> None:
    """Nobody listens at CLOUDBEDS_BASE_URL: the call fails with a next step, the stored token survives."""
    made = make_world("--auto-approve")
    service: Process = made.start()
    connection = made.connect()
    service.stop()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        made.extra["CLOUDBEDS_BASE_URL"] = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        moved = ("apps", "move-origin", "default", "--yes", "--from")
        assert made.run(*moved, made.vendor.base).returncode == 0  # else nothing is asked there at all
        away = made.start()
        failed = made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo")
        assert (failed.status, failed.json["code"]) == (502, "upstream_failed")
        refresh = made.admin.post(f"/api/v1/connections/{connection}/refresh")
        assert (refresh.status, refresh.json["code"]) == (503, "token_endpoint_unavailable")
        assert refresh.json["next_step"]
        away.stop()
        elsewhere = made.extra.pop("CLOUDBEDS_BASE_URL")
        assert made.run(*moved, elsewhere).returncode == 0
    made.start()
    assert made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo").status == 200
