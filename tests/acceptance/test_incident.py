"""After a leak, rehearsed: a thief has everything, the steps are done, and nothing of it opens anything.

docs/incident.md says what is done here; the steps that the command names for this database are those that are done.
"""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import CLIENT_ID, CLIENT_SECRET, Http, World

NEW_SECRET = "acceptance-secret-after-the-leak"
USERINFO = "/api/v1.3/userinfo"


def steps(made: World, *leaked: str) -> dict[str, dict[str, Any]]:
    """What `doctor incident` says, by the name of the step."""
    done = made.run("doctor", "incident", *leaked, "--json")
    assert done.returncode == 0, done.stderr
    return {one["step"]: one for one in json.loads(done.stdout)["steps"]}


def stored(made: World) -> list[tuple[Any, ...]]:
    """Everything sealed in the file, as it is there."""
    with closing(apsw.Connection(str(made.folder / "hotels.sqlite3"))) as connection:
        return connection.execute("SELECT access_sealed FROM grants ORDER BY id").fetchall()


def lent(made: World, hotel: str) -> str:
    """The access token that a caller is lent."""
    token: str = made.admin.get(f"/api/v1/connections/{hotel}/access-token").json["access_token"]
    return token


def opens(made: World, token: str) -> bool:
    """Whether Cloudbeds takes this access token."""
    return Http(made.vendor.base, token).get(USERINFO).status == 200


def connected(made: World, property_id: str) -> str:
    """One more hotel."""
    made.vendor.control("choose", property_ids=[property_id])
    return made.connect()


@pytest.mark.long
def test_everything_leaked(make_world: MakeWorld) -> None:
    """A new admin token, keys revoked, the client secret reset with the one before beside it, every hotel refreshed:
    what the thief has is refused, and no hotel had to approve again.
    """
    made = make_world("--auto-approve", "--hotels", "2")
    service = made.start()
    hotels = [connected(made, "100001"), connected(made, "100002")]
    thief = made.admin
    stolen = [lent(made, hotel) for hotel in hotels]
    _, key = _key(made)
    session = _session(made)
    assert _is_signed_in(made, session)
    assert all(opens(made, token) for token in stolen)
    before = stored(made)

    named = steps(made)
    assert list(named) == [
        "preserve the evidence", "a new admin token", "end every session", "revoke keys for callers",
        "a new token for /metrics", "a new encryption key", "a new client secret",
        "new client secrets of further apps", "a new webhook secret", "new secrets of Cloudbeds' webhooks",
        "refresh every hotel", "new API keys of hotels", "reconnect hotels whose tokens were used",
        "notify the people whose data leaked", "check that all is well",
    ]  # fmt: skip
    assert named["refresh every hotel"]["here"] == "2 hotels"
    assert "1 key" in named["revoke keys for callers"]["here"]
    assert named["notify the people whose data leaked"]["here"] == "2 named approvals"
    assert stored(made) == before, "it changes nothing"

    _keep_what_can_be_seen(made, named)
    service.stop()
    (remove,) = named["a new admin token"]["commands"]
    Path(remove.removeprefix("rm ")).unlink()
    made.extra |= {"CLOUDBEDS_CLIENT_SECRET": NEW_SECRET, "CLOUDBEDS_CLIENT_SECRET_PREVIOUS": CLIENT_SECRET}
    old = (made.folder / "hotels.sqlite3.key").read_text("utf-8").strip()
    new = b64encode(secrets.token_bytes(32)).decode()
    made.extra["CLOUDBEDS_AUTH_ENCRYPTION_KEYS"] = f"{new},{old}"
    made.start()
    assert thief.get("/api/v1/connections").status == 401
    assert _is_signed_in(made, session), "it outlives the token that it was begun with"

    (end,) = named["end every session"]["commands"]
    assert made.run(*end.split()[1:]).returncode == 0
    assert not _is_signed_in(made, session)
    rekeyed = made.run("database", "rekey", "--json")
    assert rekeyed.returncode == 0, rekeyed.stderr
    made.extra["CLOUDBEDS_AUTH_ENCRYPTION_KEYS"] = new

    assert made.run("keys", "revoke", key["id"], "--yes").returncode == 0
    assert Http(made.base, key["key"]).get(f"/proxy/{hotels[0]}{USERINFO}").status == 401

    refreshed = made.run("connections", "refresh", "--all", "--json")
    assert refreshed.returncode == 0, refreshed.stderr
    assert json.loads(refreshed.stdout)["outcomes"] == {"refreshed": 2}
    made.vendor.control("apps", client_id=CLIENT_ID, client_secret=NEW_SECRET)
    for _ in range(3):  # one that meets the refusal of the other secret says: run this again
        again = made.run("connections", "refresh", "--all", "--json")
        if again.returncode == 0:
            break
    assert (again.returncode, json.loads(again.stdout)["outcomes"]) == (0, {"refreshed": 2})

    assert not any(opens(made, token) for token in stolen)
    for hotel in hotels:
        assert made.admin.get(f"/proxy/{hotel}{USERINFO}").status == 200
        assert made.admin.get(f"/api/v1/connections/{hotel}").json["state"] == "fresh"
    _is_in_the_audit(made, hotels, key["id"])


def _key(made: World) -> tuple[int, dict[str, Any]]:
    answer = made.admin.post("/api/v1/keys", json_body={"name": "website", "scopes": ["proxy"]})
    return answer.status, answer.json


def _session(made: World) -> Http:
    """The thief's browser, signed in with the admin token."""
    browser = Http(made.base)
    origin = {"Origin": made.base, "Sec-Fetch-Site": "same-origin"}
    assert browser.post("/session", form={"credential": made.admin.token or ""}, headers=origin).status == 303
    return browser


def _is_signed_in(made: World, browser: Http) -> bool:
    status = browser.get(f"{made.base}/connections").status
    assert status in {200, 401}
    return status == 200


def _keep_what_can_be_seen(made: World, named: dict[str, dict[str, Any]]) -> None:
    for line in named["preserve the evidence"]["commands"]:
        done = made.run(*line.split()[1:])
        assert done.returncode == 0, done.stderr
    assert (made.folder / "incident.sqlite3").stat().st_size > 0


def _is_in_the_audit(made: World, hotels: list[str], key_id: str) -> None:
    """Who made the key, who revoked it, and every refresh by hand."""
    entries = made.admin.get("/api/v1/audit").json["entries"]
    assert {(one["action"], one["actor"]) for one in entries if one["subject"] == key_id} == {
        ("key_created", "admin"), ("key_revoked", "command"),
    }  # fmt: skip
    by_hand = [one["subject"] for one in entries if (one["action"], one["actor"]) == ("intent_written", "command")]
    assert set(by_hand) == set(hotels), "one for each request to Cloudbeds: of two secrets one was refused"


@pytest.mark.long
def test_a_refresh_token_that_leaked_is_dead(make_world: MakeWorld) -> None:
    """The thief opens a copy of the database with its key, and sends what is in it: Cloudbeds refuses, since the
    refresh is behind it.
    """
    made = make_world("--auto-approve")
    made.start()
    hotel = connected(made, "100001")
    assert made.run("database", "backup", "stolen.sqlite3").returncode == 0
    assert made.run("connections", "refresh", "--all").returncode == 0
    (made.folder / "stolen.sqlite3.key").write_bytes((made.folder / "hotels.sqlite3.key").read_bytes())
    (made.folder / "stolen.sqlite3.key").chmod(0o600)
    thief = World(made.folder, made.vendor, made.port, {
        "CLOUDBEDS_AUTH_DATABASE_URL": f"sqlite:///{made.folder}/stolen.sqlite3",
        "CLOUDBEDS_AUTH_ADMIN_TOKEN": secrets.token_hex(32), "CLOUDBEDS_REDIRECT_URI": f"{made.base}/callback",
    })  # fmt: skip
    assert thief.run("database", "adopt", "--yes").returncode == 0
    tried = thief.run("connections", "refresh", hotel)
    assert tried.returncode == 1, tried.stdout
    assert made.admin.get(f"/proxy/{hotel}{USERINFO}").status == 200
