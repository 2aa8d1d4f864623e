"""A fleet whose service is started with another app's credentials, or towards another host: nothing is sent, nothing is
marked, and with the right settings everything serves again by itself. Over both databases.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import CLIENT_ID, CLIENT_SECRET, Http, World, vendor_on_a_thread

OTHER, OTHERS_SECRET = "another-registered-app", "canary-of-the-other-app"
HOTELS = ("100001", "100002", "100003")


def asked(base: str, after: int = 0) -> list[dict[str, Any]]:
    """What this simulator was asked since the `after`-th request."""
    found: list[dict[str, Any]] = Http().get(f"{base}/_control/requests?after={after}").json["requests"]
    return found


def with_tokens(base: str, after: int = 0) -> list[str]:
    """Of those, what carried a token, a code or a client secret."""
    sent = asked(base, after)
    return [one["path"] for one in sent if one["access_token"] or one["refresh_token"] or one["grant_type"]]


def fleet(made: World) -> list[str]:
    """Three connected hotels whose access tokens have just ended at the vendor."""
    made.start()
    for hotel in HOTELS:
        made.vendor.control("choose", property_ids=[hotel])
        made.connect()
    connections = made.admin.get("/api/v1/connections").json["connections"]
    assert sorted(one["property_ids"][0] for one in connections) == list(HOTELS)
    return sorted(one["id"] for one in connections)


def begun_again(made: World, **settings: str) -> None:
    """The service stopped, and started with these settings beside its own."""
    made.services[-1].stop()
    made.extra.update(settings)
    made.start()


def must_refuse_all(made: World, hotels: list[str], *named: str) -> None:
    """Whatever is asked for a hotel is answered 503 `client_refused`, and says both; no hotel is marked."""
    for hotel in hotels:
        for answer in (
            made.admin.get(f"/proxy/{hotel}/api/v1.3/userinfo"),
            made.admin.get(f"/api/v1/connections/{hotel}/access-token"),
            made.admin.get(f"/api/v1/connections/{hotel}/access-token?rejected_generation=1"),
            made.admin.post(f"/api/v1/connections/{hotel}/refresh"),
        ):
            assert (answer.status, answer.json["code"]) == (503, "client_refused"), answer.text
            assert all(one in answer.json["detail"] for one in named), answer.text
        shown = made.admin.get(f"/api/v1/connections/{hotel}").json
        assert shown["state"] == "client_refused"
        assert all(one in shown["problem"] for one in named), shown
    moved = made.run("connections", "migrate-to-api-key", "--all", "--yes")
    assert moved.returncode == 1
    assert all(one in moved.stdout + moved.stderr for one in named), moved
    kinds = {event["kind"] for hotel in hotels for event in events(made, hotel)}
    assert not kinds & {"reauthorization_required", "pass_refused", "token_refused", "intent_written"}


def events(made: World, hotel: str) -> list[dict[str, Any]]:
    """The hotel's history."""
    found: list[dict[str, Any]] = made.admin.get(f"/api/v1/connections/{hotel}/events").json["events"]
    return found


def must_be_found(made: World, *named: str) -> None:
    """`doctor` has one finding that names both, and `database check` one problem."""
    checks = json.loads(made.run("doctor", "--json").stdout)["checks"]
    wrong = [one["what"] for one in checks if one["level"] == "problem" and all(name in one["what"] for name in named)]
    assert len(wrong) == 1, checks
    assert not [one for one in checks if one["check"] == "hotels" and one["level"] == "problem"], checks
    checked = made.run("database", "check", "--json")
    assert checked.returncode == 1, checked
    problems = json.loads(checked.stdout)["problems"]
    assert len(problems) == 1, problems
    assert all(name in problems[0] for name in named), problems


def must_serve_all(made: World, hotels: list[str]) -> None:
    """Every call is answered, and every hotel is fresh."""
    for hotel in hotels:
        assert made.admin.get(f"/proxy/{hotel}/api/v1.3/userinfo").status == 200
        assert made.admin.get(f"/api/v1/connections/{hotel}").json["state"] == "fresh"


@pytest.mark.long
@pytest.mark.row("F92")
def test_another_registered_apps_credentials_in_the_settings(make_world: MakeWorld, settings: dict[str, str]) -> None:
    """They are valid, and no hotel approved that app: 0 requests, no mark, one finding. Right again: all serve."""
    made = make_world("--auto-approve", "--hotels", "3", **settings)
    hotels = fleet(made)
    uri = f"{made.base}/callback"
    made.vendor.control("apps", client_id=OTHER, client_secret=OTHERS_SECRET, redirect_uris=[uri], level="partner")
    made.vendor.control("expire")
    before = len(asked(made.vendor.base))
    begun_again(made, CLOUDBEDS_CLIENT_ID=OTHER, CLOUDBEDS_CLIENT_SECRET=OTHERS_SECRET)
    must_refuse_all(made, hotels, CLIENT_ID, OTHER)
    assert with_tokens(made.vendor.base, before) == []
    must_be_found(made, CLIENT_ID, OTHER)
    begun_again(made, CLOUDBEDS_CLIENT_ID=CLIENT_ID, CLOUDBEDS_CLIENT_SECRET=CLIENT_SECRET)
    must_serve_all(made, hotels)
    assert made.run("doctor").returncode == 0


@pytest.mark.long
@pytest.mark.row("F92")
def test_a_service_that_points_at_another_host(make_world: MakeWorld, settings: dict[str, str], tmp_path: Path) -> None:
    """Neither a token nor the app's secret reaches it, an approval there included. An operator may say that the vendor
    moved; whoever said so by mistake says it back.
    """
    made = make_world("--auto-approve", "--hotels", "3", **settings)
    hotels = fleet(made)
    uri = f"{made.base}/callback"
    with vendor_on_a_thread("--auto-approve", redirect_uri=uri) as stranger:
        begun_again(made, CLOUDBEDS_BASE_URL=stranger.base)
        must_refuse_all(made, hotels, made.vendor.base, stranger.base)
        begun = Http(made.base).get("/connect", follow=True)
        assert begun.status == 503, begun.text
        assert with_tokens(stranger.base) == []
        must_be_found(made, made.vendor.base, stranger.base)
        moved = made.run("apps", "move-origin", "default", "--from", made.vendor.base, "--yes", "--json")
        assert moved.returncode == 0, moved
        assert json.loads(moved.stdout) == {
            "name": "default", "from": made.vendor.base, "origin": stranger.base, "grants": 3
        }  # fmt: skip
        told = events(made, hotels[0])[0]
        assert (told["kind"], told["actor"]) == ("origin_moved", "command")
        assert told["data"] == {"from": made.vendor.base, "to": stranger.base}
        begun_again(made, CLOUDBEDS_BASE_URL=made.vendor.base)
        must_refuse_all(made, hotels, made.vendor.base, stranger.base)
        back = made.run("apps", "move-origin", "default", "--from", stranger.base, "--yes")
        assert back.returncode == 0, back
        assert with_tokens(stranger.base) == []
    must_serve_all(made, hotels)


@pytest.mark.row("A69")
def test_a_service_beside_a_planted_file(make_world: MakeWorld) -> None:
    """Its log names the file and the variables that came from it; once others may write the file, it does not start."""
    made = make_world()
    env_file = made.folder / ".env"
    env_file.write_text("CLOUDBEDS_SCOPES=read:canary\nCLOUDBEDS_BASE_URL=https://evil.example\n", "utf-8")
    env_file.chmod(0o600)
    service = made.start()
    told = service.wait_for("settings_from_file")[0]
    line = next(line for line in service.lines if told in line)
    assert str(env_file) in line
    assert "CLOUDBEDS_SCOPES" in line
    assert "canary" not in service.output
    assert "CLOUDBEDS_BASE_URL" not in line, "the environment's counts"
    env_file.chmod(0o666)
    stopped = made.run("serve")
    assert (stopped.returncode, f"chmod go-w {env_file}" in stopped.stderr) == (1, True)
