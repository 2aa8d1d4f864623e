"""`doctor incident`: the steps for what leaked, and what each would do here."""

from __future__ import annotations

import json
import shlex
from base64 import b64encode
from typing import Any

import pytest
from tests.cli.fakes import invoke

from cloudbeds_auth.cli.doctor import LEAKS
from cloudbeds_auth.doctor.incident import STEPS, Leak, Situation, incident_steps
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.transactions.exposure import Exposure

NOTHING = Exposure({}, 0, 0, 0, 0, 0)
MUCH = Exposure({"default": 7200, "aurora": 36}, 2, 3, 7000, 5, 1)
SECRET = Secret("0123456789abcdef" * 4)


def settings(**more: Any) -> Settings:
    """A partner's, over SQLite."""
    return Settings(client_id="client-1", client_secret=Secret("s"), **more)


def said(leak: Leak, exposure: Exposure = MUCH, **more: Any) -> dict[str, str]:
    """By step, what it would do here."""
    here = Situation(settings(**more), exposure, {"default": 7.2, "aurora": 3.2})
    return {step.name: step.here for step in incident_steps(leak, here)}


@pytest.mark.parametrize("leak", Leak)
def test_every_leak_begins_and_ends_alike(leak: Leak) -> None:
    """What can be seen is kept before anything changes it, and in the end everything is examined; between them is at
    least one step of its own.
    """
    first, *steps, last = said(leak)
    assert (first, last) == ("preserve the evidence", "check that all is well")
    assert steps


def test_after_everything_every_step() -> None:
    """In the order of the table; each is needed after some leak that has a name."""
    assert len(said(Leak.EVERYTHING)) == len(STEPS)
    assert all(set(leaks) - {Leak.EVERYTHING} for leaks in STEPS.values())
    assert tuple(Leak) == LEAKS


def test_doors_are_closed_before_what_was_read_is_made_worthless() -> None:
    """Else the thief reads what comes new."""
    names = list(said(Leak.EVERYTHING))
    refresh = names.index("refresh every hotel")
    for door in ("a new admin token", "revoke keys for callers", "a new encryption key", "a new client secret"):
        assert names.index(door) < refresh


def test_what_there_is_here_is_counted() -> None:
    """Hotels, keys, apps, people, and how long Cloudbeds' limit makes it."""
    steps = said(Leak.EVERYTHING)
    assert steps["refresh every hotel"] == "7236 hotels, at least 33 minutes at the rate limit"
    assert steps["revoke keys for callers"] == "5 keys in use, and their children"
    assert steps["new client secrets of further apps"] == "1 app with 36 hotels"
    assert steps["new API keys of hotels"] == "3 keys created by hotels, 2 keys from a move"
    assert steps["notify the people whose data leaked"] == "7000 named approvals"
    assert "7241 hotels" in steps["a new encryption key"]


def test_what_there_is_not() -> None:
    """It is said, and no command is named for it."""
    steps = said(Leak.EVERYTHING, NOTHING)
    assert steps["refresh every hotel"] == "no hotel has OAuth tokens here"
    assert steps["revoke keys for callers"] == "no key is valid here"
    assert steps["a new token for /metrics"] == steps["a new webhook secret"] == "none is set here"
    assert steps["new secrets of Cloudbeds' webhooks"] == "none is set here"
    assert steps["new client secrets of further apps"] == "there are none here"


def test_where_secrets_are() -> None:
    """In the settings, or in files beside the database; none is shown."""
    files = said(Leak.EVERYTHING)
    assert ".admin-token" in files["a new admin token"]
    assert ".key" in files["a new encryption key"]
    given = said(
        Leak.EVERYTHING,
        admin_token=SECRET,
        metrics_token=Secret("f" + SECRET.reveal()),
        encryption_keys=(Secret(b64encode(bytes(range(32))).decode()),),
    )
    assert "CLOUDBEDS_AUTH_ADMIN_TOKEN" in given["a new admin token"]
    assert "CLOUDBEDS_AUTH_METRICS_TOKEN" in given["a new token for /metrics"]
    assert "CLOUDBEDS_AUTH_ENCRYPTION_KEYS is set" in given["a new encryption key"]
    assert SECRET.reveal() not in str(given)


def test_the_file_of_the_admin_token_is_one_word() -> None:
    """Its folder may have a space in its name: `rm` removes this file, and no other."""
    here = Situation(settings(database_url="sqlite:////var/lib/two hotels/db.sqlite3"), NOTHING, {})
    (step,) = (one for one in incident_steps(Leak.ADMIN_TOKEN, here) if one.name == "a new admin token")
    assert [shlex.split(one) for one in step.commands] == [["rm", "/var/lib/two hotels/db.sqlite3.admin-token"]]


def test_the_evidence_on_postgresql() -> None:
    """The copy is made by the server's own tool, readable to one user, and no password is among its arguments."""
    hosts = "db-1.example:5432,db-2.example:5433"
    url = f"postgresql://auth:s%40cret@{hosts}/two%20hotels?sslmode=verify-full&sslpassword=hidden"
    (step, *_) = incident_steps(Leak.DATABASE, Situation(settings(database_url=url), NOTHING, {}))
    _, command = step.commands
    assert not any(secret in command for secret in ("cret", "hidden"))
    inside = shlex.split(command.removeprefix("(umask 077 && ").removesuffix(")"))
    where = "user=auth host=db-1.example,db-2.example port=5432,5433 dbname='two hotels' sslmode=verify-full"
    assert inside == ["pg_dump", "--format=custom", "--file=incident.dump", where]
    assert "PGPASSWORD" in step.here


def test_as_it_is_typed(settings: dict[str, str]) -> None:
    """Numbered, with the commands; for programs one document. Another word than the eight is a usage error."""
    people = invoke("doctor", "incident", "client-secret", env=settings)
    assert people.status == 0, people.err
    assert "2. a new client secret" in people.out
    assert "   run   cloudbeds-auth audit" in people.out
    document = json.loads(invoke("doctor", "incident", "client-secret", "--json", env=settings).out)
    assert document["leaked"] == "client-secret"
    assert [one["step"] for one in document["steps"]] == [
        "preserve the evidence", "a new client secret", "new client secrets of further apps", "check that all is well",
    ]  # fmt: skip
    assert invoke("doctor", "incident", "the-key", env=settings).status == 2
