"""The journey of the README with a caller's key in place of the admin token: what its scopes are for, and no more."""

from __future__ import annotations

import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import Http, World


def key(made: World, *options: str) -> Http:
    """A program with a key of its own, made by the command."""
    done = made.run("keys", "create", "our-app", *options)
    assert done.returncode == 0, done.stderr
    return Http(made.base, done.stdout.strip())


def scopes(*names: str) -> list[str]:
    """As options."""
    return [part for name in names for part in ("--scope", name)]


@pytest.mark.row("A28")
def test_the_journey(make_world: MakeWorld, settings: dict[str, str]) -> None:
    """It asks a hotel to connect, calls Cloudbeds for it, reads its history; the operator's acts are refused."""
    made = make_world("--auto-approve", **settings)
    made.start()
    program = key(made, *scopes("read", "proxy", "token", "connect"))
    link = program.post("/api/v1/authorizations", json_body={"reference": "tenant-7"})
    assert link.status == 201, link.text
    assert "connection_id=" in Http(made.base).start(link.json["connect_url"], follow=True).url
    [hotel] = program.get("/api/v1/connections?reference=tenant-7").json["connections"]
    at = f"/api/v1/connections/{hotel['id']}"
    assert (hotel["state"], hotel["property_ids"]) == ("fresh", ["100001"])
    assert program.get(at).json == hotel
    assert program.get("/proxy/100001/api/v1.3/getHotels").json["data"][0]["propertyID"] == "100001"
    assert program.get(f"{at}/userinfo").json["user_id"] == "9001"
    made.vendor.control("expire")
    assert program.get(f"/proxy/{hotel['id']}/api/v1.3/userinfo").status == 200, "healed as for everybody"
    assert program.get(f"{at}/access-token").json["generation"] == 2
    assert "promoted" in {event["kind"] for event in program.get(f"{at}/events").json["events"]}
    for method, path in (("POST", f"{at}/refresh"), ("DELETE", at), ("GET", "/metrics")):
        refused = program.ask(method, path)
        assert (refused.status, refused.json["code"]) == (403, "forbidden"), path


@pytest.mark.row("A27")
@pytest.mark.row("A28")
def test_a_partner_for_one_property(make_world: MakeWorld, settings: dict[str, str]) -> None:
    """Under a read-only key of one property: reads are answered, writes refused, and so is another hotel."""
    made = make_world("--auto-approve", "--hotels", "2", **settings)
    made.start()
    for hotel in ("100001", "100002"):
        made.vendor.control("choose", property_ids=[hotel])
        made.connect()
    partner = key(made, *scopes("proxy"), "--read-only", "--property", "100001")
    assert partner.get("/proxy/100001/api/v1.3/getHotels").status == 200
    asked = {"propertyID": "100001"}
    for refused in (
        partner.post("/proxy/100001/api/v1.3/postReservation", json_body=asked),
        partner.get("/proxy/100002/api/v1.3/getHotels"),
        partner.get("/proxy/100001/api/v1.3/getHotels?propertyID=100002"),
        partner.get("/api/v1/connections"),
    ):
        assert (refused.status, refused.json["code"]) == (403, "forbidden")
