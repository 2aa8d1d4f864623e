"""Two apps with two client ids over one running service, over both databases; one's secret is reset meanwhile."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import CLIENT_ID, Http, World

OWN = "hotels-own"
SECRETS = FIRST, SECOND, THIRD = "canary-first", "canary-second", "canary-not-yet-valid"


def at_cloudbeds(made: World, secret: str) -> None:
    """The hotel's own client, with this secret."""
    uri = f"{made.base}/callback/aurora"
    made.vendor.control("apps", client_id=OWN, client_secret=secret, redirect_uris=[uri], level="property")


def typed(made: World, secret: str, *args: str) -> None:
    """`cloudbeds-auth apps …`, the secret through standard input; it is printed nowhere."""
    done = made.run("apps", *args, "--secret-file", "-", stdin=secret)
    assert done.returncode == 0, done.stderr
    assert secret not in done.stdout + done.stderr


def refreshed_with(made: World, connection: str, after: int) -> tuple[int, list[tuple[str, str]]]:
    """One protected call with a token that ran out; its status, and which clients asked for a new one, and got it."""
    made.vendor.control("expire")
    status = made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo").status
    found = made.vendor.control(f"requests?after={after}", "GET")["requests"]
    return status, [(one["client_id"], one["outcome"]) for one in found if one["grant_type"] == "refresh_token"]


def journal(made: World) -> int:
    """How much was asked so far."""
    last: int = made.vendor.control("requests", "GET")["last"]
    return last


@pytest.mark.long
def test_a_hotel_presses_connect_app_for_a_client_of_its_own(make_world: MakeWorld) -> None:
    """Begun at Cloudbeds, without a state of ours: exchanged with the client whose callback it is, then claimed."""
    made = make_world("--auto-approve", CLOUDBEDS_AUTH_MARKETPLACE="park")
    made.start()
    at_cloudbeds(made, FIRST)
    typed(made, FIRST, "add", "aurora", "--client-id", OWN)
    query = {"client_id": OWN, "redirect_uri": f"{made.base}/callback/aurora", "response_type": "code"}
    browser = Http(made.base)
    back = browser.get(f"{made.vendor.base}/api/v1.3/oauth?{urlencode(query)}").headers["Location"]
    assert browser.get(back).status == 303
    (waits,) = made.admin.get("/api/v1/connections?state=parked").json["connections"]
    assert waits["app"] == "aurora"
    assert made.run("apps", "remove", "aurora", "--yes").returncode == 1, "it waits to be claimed"
    claimed = made.admin.post(f"/api/v1/connections/{waits['id']}/claim", json_body={"reference": "tenant-7"}).json
    assert (claimed["app"], claimed["state"], claimed["reference"]) == ("aurora", "fresh", "tenant-7")
    at = journal(made)
    assert refreshed_with(made, claimed["id"], at) == (200, [(OWN, "issued")])


@pytest.mark.long
@pytest.mark.row("F35")
def test_a_hotel_brings_a_client_of_its_own(make_world: MakeWorld, settings: dict[str, str]) -> None:
    """Added, connected, refreshed with its own client, reset, and again: the service runs all the while, and the hotel
    of the settings' own app notices nothing.
    """
    made = make_world("--auto-approve", "--hotels", "2", CLOUDBEDS_AUTH_RATE_LIMIT="0", **settings)
    service = made.start()
    ours = made.connect()
    at_cloudbeds(made, FIRST)
    assert Http(made.base).get("/connect?app=aurora").status == 400
    typed(made, FIRST, "add", "aurora", "--client-id", OWN)
    made.vendor.control("choose", property_ids=["100002"])
    link = made.admin.post("/api/v1/authorizations", json_body={"app": "aurora", "reference": "tenant-7"})
    assert Http(made.base).start(link.json["connect_url"], follow=True).status == 200
    (shown,) = made.admin.get("/api/v1/connections?app=aurora").json["connections"]
    assert (shown["reference"], shown["property_ids"]) == ("tenant-7", ["100002"])
    theirs = shown["id"]

    at = journal(made)
    assert refreshed_with(made, theirs, at) == (200, [(OWN, "issued")])
    at = journal(made)
    assert refreshed_with(made, ours, at) == (200, [(CLIENT_ID, "issued")])

    at_cloudbeds(made, SECOND)
    at = journal(made)
    assert refreshed_with(made, theirs, at) == (503, [(OWN, "client_refused")])
    assert made.admin.get(f"/api/v1/connections/{theirs}").json["state"] == "client_refused"
    assert made.admin.get(f"/proxy/{ours}/api/v1.3/userinfo").status == 200, "no other app is touched"
    typed(made, SECOND, "rotate-secret", "aurora")
    at = journal(made)
    assert refreshed_with(made, theirs, at) == (200, [(OWN, "issued")])

    typed(made, THIRD, "rotate-secret", "aurora")
    at = journal(made)
    assert refreshed_with(made, theirs, at) == (200, [(OWN, "client_refused"), (OWN, "issued")])

    assert made.run("apps", "remove", "aurora", "--yes").returncode == 1
    listed = json.loads(made.run("apps", "list", "--json").stdout)["apps"]
    assert [(one["name"], one["previous_secret"]) for one in listed] == [("default", False), ("aurora", True)]
    assert made.admin.ask("DELETE", f"/api/v1/connections/{theirs}").status == 200
    assert made.run("apps", "remove", "aurora", "--yes").returncode == 0
    assert Http(made.base).get("/callback/aurora?code=x&state=y").status == 401
    rested = b"".join(path.read_bytes() for path in made.folder.iterdir() if path.is_file())
    for secret in SECRETS:
        assert secret not in service.output
        assert secret.encode() not in rested
