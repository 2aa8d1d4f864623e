"""A hotel that disconnects at Cloudbeds: a real service is told by a real simulator, and asks before it believes."""

from __future__ import annotations

from contextlib import closing

import apsw
import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import Http, World

pytestmark = pytest.mark.long  # processes that live for seconds

PATH, HEADER = "a-path-that-nobody-guesses-0123456789", "a-header-that-nobody-guesses-0123456"
SECRETS = {"CLOUDBEDS_AUTH_HOOK_SECRET": PATH, "CLOUDBEDS_AUTH_HOOK_HEADER": HEADER}


def connected(made: World) -> str:
    """A hotel whose first minute is over: the next start asks about it, and subscribes."""
    made.start()
    hotel = made.connect()
    made.services.pop().stop()
    with closing(apsw.Connection(str(made.folder / "hotels.sqlite3"))) as database:
        database.execute("UPDATE grants SET poll_at = 0")
    return hotel


@pytest.mark.row("F95")
def test_cloudbeds_posts_disabled_while_the_token_works(make_world: MakeWorld) -> None:
    """Subscribed by itself; Cloudbeds posts that the hotel left, and says so when it is asked. The token works all the
    same: the hotel is served, nothing is deleted, and the history has both. No secret is in the log.
    """
    made = make_world("--auto-approve", **SECRETS)
    hotel = connected(made)
    service = made.start()
    found = made.vendor.control("wait?path=/api/v1.3/postWebhook&answered=true&timeout=60", "GET")["entry"]
    assert found is not None, service.output
    made.vendor.control("app-state", property="100001", state="disabled", keep=True)
    service.wait_for('"disabled_said"')
    service.wait_for('"proof"')
    assert made.admin.get(f"/proxy/{hotel}/api/v1.3/userinfo").status == 200
    assert made.admin.get(f"/api/v1/connections/{hotel}").json["state"] == "fresh"
    events = made.admin.get(f"/api/v1/connections/{hotel}/events").json["events"]
    assert [one["kind"] for one in events if one["kind"].startswith("disabled")] == [
        "disabled_withdrawn",
        "disabled_said",
    ]
    assert [one["status"] for one in made.vendor.control("webhooks", "GET")["sent"]] == [200]
    service.stop()
    assert PATH not in service.output
    assert HEADER not in service.output


@pytest.mark.row("F37")
def test_nobody_posts(make_world: MakeWorld) -> None:
    """Cloudbeds deleted the subscription, or there never was one: learnt by asking, from the refused session."""
    made = make_world("--auto-approve")
    hotel = connected(made)
    made.vendor.control("app-state", property="100001", state="disabled")
    service = made.start()
    service.wait_for('"grant_suspected"')
    service.wait_for('"refresh_failed"')
    assert made.admin.get(f"/api/v1/connections/{hotel}").json["state"] != "fresh"


def test_a_forged_post(make_world: MakeWorld) -> None:
    """With both secrets, even: Cloudbeds says otherwise, and the hotel stays connected."""
    made = make_world("--auto-approve", **SECRETS)
    service = made.start()
    hotel = made.connect()
    forged = {"newState": "disabled", "propertyID": 100001}
    stranger = Http(made.base).post(f"/hooks/{PATH}", json_body=forged)
    assert (stranger.status, stranger.json["code"]) == (401, "unauthenticated")
    noted = Http(made.base).post(f"/hooks/{PATH}", json_body=forged, headers={"X-Hook-Secret": HEADER})
    assert noted.status == 200
    asked = made.vendor.control("wait?path=/api/v1.3/getAppState&answered=true&timeout=30", "GET")["entry"]
    assert asked["outcome"] == "accepted"
    assert made.admin.get(f"/proxy/{hotel}/api/v1.3/userinfo").status == 200
    assert made.admin.get(f"/api/v1/connections/{hotel}").json["state"] == "fresh"
    service.wait_for("hint_received")
