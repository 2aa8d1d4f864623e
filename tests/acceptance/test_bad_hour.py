"""The token endpoint refuses living refresh tokens for an hour, over real processes: nobody has to approve again."""

from __future__ import annotations

import json
from contextlib import closing

import apsw
import psycopg
import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import World

pytestmark = pytest.mark.long  # processes that live for seconds
INTERVAL = 61.0  # seconds, and a little, between two refusals


def sql(made: World, statement: str) -> None:
    """Alter the database behind the service's back: no test has an hour."""
    url = made.settings["CLOUDBEDS_AUTH_DATABASE_URL"]
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.encode())
    else:
        with closing(apsw.Connection(str(made.folder / "hotels.sqlite3"))) as connection:
            connection.set_busy_timeout(5000)
            connection.execute(statement)


def a_minute_passes(made: World) -> None:
    """For what was refused once."""
    sql(made, f"UPDATE grants SET first_refused = first_refused - {INTERVAL}, not_before = not_before - {INTERVAL}")


def refuse(made: World) -> None:
    """Every refresh token is refused from now on, whatever is true of it."""
    body = json.dumps({"error": "invalid_request", "message": "The refresh token is invalid."})
    made.vendor.control(
        "faults", kind="body", target="token", when="before", status=400, body=body, times=None,
        headers={"Content-Type": "application/json"},
    )  # fmt: skip


@pytest.mark.row("F93")
def test_a_bad_hour(make_world: MakeWorld, settings: dict[str, str]) -> None:
    """While its access token works the hotel is served and not marked. When that ends it is marked, and one try after
    the vendor is right again it is back: without a person, and its history says so.
    """
    made = make_world("--auto-approve", **settings)
    service = made.start()
    hotel = made.connect()
    userinfo, shown = f"/proxy/{hotel}/api/v1.3/userinfo", f"/api/v1/connections/{hotel}"
    refuse(made)
    for _ in range(2):
        assert made.run("connections", "refresh", hotel).returncode == 1
        a_minute_passes(made)
    assert made.admin.get(userinfo).status == 200
    assert made.admin.get(shown).json["state"] == "backing_off"
    made.vendor.control("expire")
    a_minute_passes(made)
    for _ in range(2):
        assert made.admin.get(userinfo).json["code"] in {"refresh_in_doubt", "reauthorization_required"}
        a_minute_passes(made)
    refused = made.admin.get(userinfo)
    assert (refused.status, refused.json["code"]) == (409, "reauthorization_required")
    assert refused.json["connect_url"]
    made.vendor.control("faults", "DELETE")
    sql(made, "UPDATE grants SET retry_at = 0")
    service.wait_for('"recovered"')
    assert made.admin.get(userinfo).status == 200
    assert made.admin.get(shown).json["state"] == "fresh"
    kinds = [event["kind"] for event in made.admin.get(f"{shown}/events").json["events"]]
    assert {"reprieved", "reauthorization_required", "recovered"} <= set(kinds)


@pytest.mark.row("F93")
def test_an_operator_tries_all_marked_hotels(make_world: MakeWorld, settings: dict[str, str]) -> None:
    """`connections refresh --marked`: refused as before while the vendor is wrong, recovered when it is right."""
    made = make_world("--auto-approve", **settings)
    made.start()
    hotel = made.connect()
    refuse(made)
    made.vendor.control("expire")
    for _ in range(2):
        made.run("connections", "refresh", hotel)
        a_minute_passes(made)
    tried = made.run("connections", "refresh", "--marked", "--json")
    assert (tried.returncode, json.loads(tried.stdout)["outcomes"]) == (1, {"refused as before": 1})
    made.vendor.control("faults", "DELETE")
    tried = made.run("connections", "refresh", "--marked", "--json")
    assert (tried.returncode, json.loads(tried.stdout)["outcomes"]) == (0, {"recovered": 1})
    assert made.admin.get(f"/proxy/{hotel}/api/v1.3/userinfo").status == 200
