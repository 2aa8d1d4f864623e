"""Which hotels an approval is for, over a real service and a real simulator."""

from __future__ import annotations

import re
from contextlib import closing

import apsw
import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import CLIENT_ID, Http, World

pytestmark = pytest.mark.long  # processes that live for seconds


def member(made: World, property_id: str, group: str | None) -> None:
    """A hotel joins the group, or leaves it."""
    user = {"user_id": "7", "first_name": "G", "last_name": "A", "email": "g@group.example"}
    made.vendor.control("hotels", property_id=property_id, name=f"Hotel {property_id}", user=user, group=group)


def approved(made: World) -> str:
    """The connection that the page after an approval leads to."""
    shown = Http(made.base).get("/connect", follow=True)
    assert shown.status == 200, shown.text
    found = re.search(r"con_\w+", shown.url + shown.text)
    assert found, shown.text
    return found[0]


def test_a_group_grows_and_shrinks(make_world: MakeWorld) -> None:
    """A hotel that joined is called at by its id, with its header, a day later; one that left is found no more."""
    made = make_world("--auto-approve")
    for one in ("501", "502"):
        member(made, one, "77")
    made.vendor.control("choose", property_ids=["501", "502"])
    made.start()
    hotel = made.connect()
    assert made.admin.get("/proxy/502/api/v1.3/getHotelDetails").json["data"]["propertyID"] == "502"
    made.services.pop().stop()
    member(made, "503", "77")
    member(made, "502", None)
    with closing(apsw.Connection(str(made.folder / "hotels.sqlite3"))) as database:
        database.execute("UPDATE grants SET list_at = 0")  # its day is over
    service = made.start()
    service.wait_for('"properties_changed"')
    shown = made.admin.get(f"/api/v1/connections/{hotel}").json
    assert (shown["property_ids"], shown["state"]) == (["501", "503"], "fresh")
    assert made.admin.get("/proxy/503/api/v1.3/getHotelDetails").json["data"]["propertyID"] == "503"
    gone = made.admin.get("/proxy/502/api/v1.3/getHotelDetails")
    assert (gone.status, gone.json["code"]) == (404, "unknown_connection")
    events = made.admin.get(f"/api/v1/connections/{hotel}/events").json["events"]
    (line,) = [one for one in events if one["kind"] == "properties_changed"]
    assert line["data"] == {"added": ["503"], "dropped": ["502"]}
    assert made.vendor.counts() == {}, "no refresh token was sent for it"


def test_an_approval_whose_hotel_cloudbeds_may_not_name(make_world: MakeWorld) -> None:
    """Without read:hotel it is used by nobody; people are told what to do, and the hotel's next approval mends it."""
    made = make_world("--auto-approve")
    made.vendor.control("settings", resources="missing")
    made.vendor.control("apps", client_id=CLIENT_ID, scopes=["read:reservation"])
    made.start()
    hotel = made.connect()
    shown = made.admin.get(f"/api/v1/connections/{hotel}").json
    assert (shown["state"], shown["problem"], shown["property_ids"]) == ("in_doubt", "hotel_scope_missing", [])
    assert "read:hotel" in shown["next_step"]
    refused = made.admin.get(f"/proxy/{hotel}/api/v1.3/getReservations")
    assert (refused.status, refused.json["code"]) == (409, "reauthorization_required")
    assert "read:hotel" in refused.json["next_step"]
    assert "read:hotel" in made.run("connections", "show", hotel).stdout
    assert "read:hotel" in made.run("doctor").stdout
    made.vendor.control("apps", client_id=CLIENT_ID, scopes=["read:reservation", "read:hotel"])
    assert Http(made.base).start(shown["connect_url"].removeprefix(made.base), follow=True).status == 200
    mended = made.admin.get(f"/api/v1/connections/{hotel}").json
    assert (mended["state"], mended["problem"], mended["property_ids"]) == ("fresh", None, ["100001"])


@pytest.mark.row("F87")
def test_a_hotel_comes_back_and_the_answer_does_not_name_it(make_world: MakeWorld) -> None:
    """It keeps its connection, connected or disconnected, and its property id leads there; the other ids say so."""
    made = make_world("--auto-approve")
    made.vendor.control("settings", resources="missing")
    made.start()
    hotel = approved(made)
    assert approved(made) == hotel
    told = made.admin.ask("DELETE", f"/api/v1/connections/{hotel}")
    assert told.status < 300, told.text
    assert approved(made) == hotel
    shown = made.admin.get(f"/api/v1/connections/{hotel}").json
    assert (shown["state"], shown["property_ids"]) == ("fresh", ["100001"])
    assert made.admin.get("/proxy/100001/api/v1.3/getHotelDetails").json["data"]["propertyID"] == "100001"
    every = made.admin.get("/api/v1/connections").json["connections"]
    assert [one["problem"] for one in every if one["id"] != hotel] == [f"moved to {hotel}"] * 2
    assert made.vendor.counts() == {}, "no refresh token was sent for it"
