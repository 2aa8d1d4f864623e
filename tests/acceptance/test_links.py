"""A connect link that was sent to a hotel: who opens it, who approves, and what follows. Over both databases."""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64encode

import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import Http, World

RIGHT, WRONG = "100001", "100002"


def sent_link(made: World, **more: object) -> str:
    """What a program of tenant-7 hands to its hotel."""
    asked = {"reference": "tenant-7", "return_to": "/connected", **more}
    answer = made.admin.post("/api/v1/authorizations", json_body=asked)
    assert answer.status == 201, answer.text
    url: str = answer.json["connect_url"]
    return url


def test_a_scanner_then_the_wrong_hotel_then_the_right_one(make_world: MakeWorld, settings: dict[str, str]) -> None:
    """A scanner follows the link twenty times; another hotel's approval is refused and kept; the right one connects."""
    made = make_world("--auto-approve", "--hotels", "2", **settings)
    made.start()
    made.vendor.control("choose", property_ids=[WRONG])
    theirs = made.connect()
    url = sent_link(made, expected_properties=[RIGHT])
    scanner = Http(made.base)
    for method in ["GET", "HEAD"] * 10:
        assert scanner.ask(method, url, follow=True).status == 200
    assert made.vendor.counts("authorization_code") == {"issued": 1}

    made.vendor.control("choose", property_ids=[WRONG])
    refused = Http(made.base).start(url, follow=True)
    assert refused.url.endswith("/connected?error=property_mismatch")
    kept = made.admin.get(f"/api/v1/connections/{theirs}").json
    assert (kept["state"], kept["reference"], kept["generation"]) == ("fresh", None, 2)
    assert made.admin.get(f"/proxy/{WRONG}/api/v1.3/userinfo").status == 200

    made.vendor.control("choose", property_ids=[RIGHT])
    assert "connection_id=" in Http(made.base).start(url, follow=True).url
    [found] = made.admin.get("/api/v1/connections?reference=tenant-7").json["connections"]
    assert (found["property_ids"], found["state"]) == ([RIGHT], "fresh")
    assert made.admin.get(f"/proxy/{RIGHT}/api/v1.3/userinfo").status == 200
    assert Http(made.base).get(url).headers["X-Cloudbeds-Auth-Code"] == "authorization_expired"


def test_a_hotel_that_nobody_knows_is_parked(make_world: MakeWorld, settings: dict[str, str]) -> None:
    """Named by the list alone: it waits, under no reference, and can be claimed by whoever it belongs to."""
    made = make_world("--auto-approve", "--hotels", "2", **settings)
    made.vendor.control("settings", resources="missing")
    made.vendor.control("choose", property_ids=[WRONG])
    made.start()
    Http(made.base).start(sent_link(made, expected_properties=[RIGHT]), follow=True)
    [waits] = made.admin.get("/api/v1/connections").json["connections"]
    assert (waits["state"], waits["property_ids"], waits["reference"]) == ("parked", [WRONG], None)
    claim = f"/api/v1/connections/{waits['id']}/claim"
    claimed = made.admin.post(claim, json_body={"reference": "tenant-8"}).json
    assert (claimed["state"], claimed["reference"]) == ("fresh", "tenant-8")


@pytest.mark.long
def test_the_program_that_began_finishes_with_its_secret(make_world: MakeWorld, settings: dict[str, str]) -> None:
    """Whoever approved: nothing can be used until the program claims it, with the secret and not without."""
    made = make_world("--auto-approve", **settings)
    made.start()
    verifier = secrets.token_urlsafe(48)
    challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    url = sent_link(made, expected_properties=[RIGHT], code_challenge=challenge)
    Http(made.base).start(url, follow=True)
    [waits] = made.admin.get("/api/v1/connections").json["connections"]
    assert (waits["state"], waits["reference"]) == ("parked", None)
    assert made.admin.get(f"/proxy/{waits['id']}/api/v1.3/userinfo").json["code"] == "unclaimed"
    claim = f"/api/v1/connections/{waits['id']}/claim"
    for wrong in ({}, {"code_verifier": secrets.token_urlsafe(48)}):
        assert made.admin.post(claim, json_body=wrong).json["code"] == "state_mismatch"
    claimed = made.admin.post(claim, json_body={"code_verifier": verifier}).json
    assert (claimed["state"], claimed["reference"]) == ("fresh", "tenant-7")
    assert made.admin.get(f"/proxy/{RIGHT}/api/v1.3/userinfo").status == 200
