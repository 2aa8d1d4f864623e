"""An installation without a client id, whose hotels paste their keys: a service, a simulator, a browser."""

from __future__ import annotations

import json
import re

from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import Http


def test_hotels_that_paste_their_keys(make_world: MakeWorld, settings: dict[str, str]) -> None:
    """One by the API, one through a connect link; both are called. The token endpoint is asked nothing, `doctor` finds
    nothing, and the log warns of nothing.
    """
    made = make_world("--hotels", "2", CLOUDBEDS_CLIENT_ID="", CLOUDBEDS_CLIENT_SECRET="", **settings)
    service = made.start()
    first, second = (made.vendor.control("keys", property=hotel)["api_key"] for hotel in ("100001", "100002"))
    taken = made.admin.post("/api/v1/connections", json_body={"api_key": first, "reference": "tenant-1"})
    assert (taken.status, taken.json["state"]) == (201, "fresh")

    link = made.admin.post("/api/v1/authorizations", json_body={"reference": "tenant-2"}).json
    page = Http(made.base).get(link["connect_url"], follow=True)
    assert page.url == link["key_url"]
    assert "Connected" in Http(made.base).post(page.url, form={"api_key": second}).text
    for hotel in ("100001", "100002"):
        assert made.admin.get(f"/proxy/{hotel}/api/v1.3/getHotels").status == 200

    refused = Http(made.base).get("/connect")
    assert (refused.status, "no client id is set" in refused.text) == (503, True)
    assert made.vendor.control("counts", "GET")["token"] == {}
    checks = json.loads(made.run("doctor", "--json").stdout)["checks"]
    assert {one["level"] for one in checks} <= {"ok", "skipped"}, checks
    service.stop()
    assert not re.search('"level": ?"(warning|error)"', service.output), service.output
