"""A hotel begins in Cloudbeds' Marketplace, against a real simulator and a real service."""

from __future__ import annotations

import json
import signal
import urllib.parse
from typing import Any

import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import CLIENT_ID, Answer, Http, World


def connect_app(made: World) -> Answer:
    """What *Connect app* does: to the approval page without a state, and back to the redirect URI."""
    query = urllib.parse.urlencode(
        {"client_id": CLIENT_ID, "redirect_uri": f"{made.base}/callback", "response_type": "code"}
    )
    browser = Http(made.base)
    return browser.get(browser.get(f"{made.vendor.base}/api/v1.3/oauth?{query}").headers["Location"])


def shown(made: World, *arguments: str) -> Any:
    """What a command prints as JSON."""
    done = made.run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.long
@pytest.mark.row("A02", "A03")
@pytest.mark.parametrize("random_state", [False, True])
def test_parked_then_claimed(make_world: MakeWorld, random_state: bool) -> None:
    """With no state, or Cloudbeds' own: a page says that it waits, callers get 409; then it is like any."""
    made = make_world("--auto-approve", CLOUDBEDS_AUTH_MARKETPLACE="park")
    made.vendor.control("settings", random_state=random_state)
    made.start()
    back = connect_app(made)
    assert (back.status, back.headers["X-Cloudbeds-Auth-Code"]) == (303, "ok"), back.text
    page = Http(made.base).get(back.headers["Location"])
    (waits,) = shown(made, "connections", "list", "--state", "parked")["connections"]
    assert waits["id"] in page.text
    assert made.admin.get(f"/api/v1/connections/{waits['id']}").json["connect_url"].endswith(back.headers["Location"])
    refused = made.admin.get(f"/proxy/{waits['id']}/api/v1.3/userinfo")
    assert (refused.status, refused.json["code"]) == (409, "unclaimed")
    assert made.admin.get(f"/api/v1/connections/{waits['property_ids'][0]}").status == 404
    claimed = shown(made, "connections", "claim", waits["id"], "--reference", "tenant-7")
    assert (claimed["id"], claimed["state"], claimed["reference"]) == (waits["id"], "fresh", "tenant-7")
    assert made.admin.get(f"/proxy/{waits['property_ids'][0]}/api/v1.3/userinfo").status == 200
    assert made.vendor.counts("authorization_code") == {"issued": 1}


@pytest.mark.long
def test_a_connected_hotel_presses_connect_app_again(make_world: MakeWorld) -> None:
    """Its connection goes on; claimed, the new approval takes over there, and its id stays."""
    made = make_world("--auto-approve", CLOUDBEDS_AUTH_MARKETPLACE="park")
    made.start()
    known = made.connect()
    connect_app(made)
    (waits,) = shown(made, "connections", "list", "--state", "parked")["connections"]
    assert made.admin.get(f"/proxy/{waits['property_ids'][0]}/api/v1.3/userinfo").status == 200
    claimed = made.admin.post(f"/api/v1/connections/{waits['id']}/claim", json_body={}).json
    assert (claimed["id"], claimed["state"]) == (known, "fresh")
    assert made.admin.get(f"/proxy/{known}/api/v1.3/userinfo").status == 200
    left = made.admin.get(f"/api/v1/connections/{waits['id']}").json
    assert (left["state"], left["problem"]) == ("superseded", f"claimed for {known}")


@pytest.mark.row("A02", "A03")
def test_refused_by_default(make_world: MakeWorld) -> None:
    """With no state, or Cloudbeds' own: no code is exchanged; the page offers a start of ours."""
    made = make_world("--auto-approve")
    made.start()
    for random_state in (False, True):
        made.vendor.control("settings", random_state=random_state)
        back = connect_app(made)
        assert (back.status, back.headers["X-Cloudbeds-Auth-Code"]) == (303, "state_mismatch")
        assert back.headers["Location"] == "/not-connected/state_mismatch"
    assert made.vendor.counts("authorization_code") == {}


def test_what_waits_survives_a_kill(make_world: MakeWorld) -> None:
    """The service is killed after the page was shown: it still waits, and is claimed."""
    made = make_world("--auto-approve", CLOUDBEDS_AUTH_MARKETPLACE="park")
    service = made.start()
    waits = connect_app(made).headers["Location"].rpartition("/")[2]
    service.stop(signal.SIGKILL)
    assert shown(made, "connections", "claim", waits)["state"] == "fresh"
