"""`connections events` and `database accept` as they are typed, over a real database."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.fakes import Result, invoke
from tests.docs.pages import text_of
from tests.support.stage import SqliteDatabase

from cloudbeds_auth.transactions.runner import Database

Typed = Callable[..., Result]


@pytest.fixture
def database(url: str) -> SqliteDatabase:
    """With three hotels."""
    return SqliteDatabase(Path(url.removeprefix("sqlite:///")))


@pytest.fixture
def typed(hotels: dict[str, str]) -> Typed:
    """Run a command."""
    return lambda *args, **more: invoke(*args, env=hotels, **more)


@pytest.mark.row("A59")
def test_a_history_is_exported_and_verified(typed: Typed, database: SqliteDatabase) -> None:
    """A row, or a JSON object, for each event; what is missing is named, and the exit status says so."""
    plain = typed("connections", "events", "1000", "--json")
    assert plain.status == 0, plain.err
    events = json.loads(plain.out)["events"]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert "verified" not in events[0]
    heading, *rows = typed("connections", "events", "1000").out.splitlines()
    assert heading.split() == ["event", "when", "what", "pair", "who"]
    assert [row.split()[0] for row in rows] == [str(event["sequence"]) for event in events]
    heading, *rows = typed("connections", "events", "con_0", "--verify").out.splitlines()
    assert heading.split()[-1] == "verified"
    assert {row.split()[-1] for row in rows} == {"unaltered"}
    database.sql("DELETE FROM events WHERE connection_id = 'con_0' AND sequence = 2")
    database.sql("UPDATE events SET actor = 'nobody' WHERE connection_id = 'con_0' AND sequence = 4")
    cut = typed("connections", "events", "con_0", "--verify")
    assert cut.status == 1
    assert "event 2 is missing" in cut.err
    assert {row.split()[0]: row.split()[-1] for row in cut.out.splitlines()}["4"] == "altered"
    document = json.loads(typed("connections", "events", "con_0", "--verify", "--json").out)
    assert {event["sequence"]: event["verified"] for event in document["events"]}[4] is False
    assert document["problems"] == ["event 2 is missing", "event 4 was altered, or written by something else"]


@pytest.mark.row("A76")
def test_a_connection_is_accepted(typed: Typed, database: SqliteDatabase) -> None:
    """Asked for it by name; `doctor` and `database check` name it until then."""
    database.sql("UPDATE connections SET reference = 'tenant-2' WHERE id = 'con_1'")
    for command in (("database", "check"), ("doctor",)):
        found = typed(*command)
        assert found.status == 1
        assert "con_1: what links it" in found.out
    assert typed("connections", "show", "con_1").out.count("altered") == 2
    assert typed("database", "accept", "con_1").status == 2, "nobody said yes"
    assert typed("database", "accept").status == 2
    assert typed("database", "accept", "con_1", "--all").status == 2
    assert typed("database", "accept", "con_9", "--yes").status == 1
    assert typed("database", "accept", "con_1", "--yes").status == 0
    assert "what links" not in typed("database", "check").out
    assert json.loads(typed("connections", "show", "con_1", "--json").out)["reference"] == "tenant-2"
    (entry,) = (one for one in _entries(typed) if one["action"] == "accepted")
    assert (entry["actor"], entry["subject"]) == ("command", "con_1")
    assert "`accepted`" in text_of("docs/audit.md")


@pytest.mark.row("A76")
def test_everything_is_accepted(typed: Typed, database: SqliteDatabase) -> None:
    """Where the key is gone, and nothing else opens the database."""
    database.sql("DELETE FROM meta WHERE name = 'mac_key'")
    refused = typed("connections", "list")
    assert "database accept --all" in refused.err
    accepted = typed("database", "accept", "--all", "--yes", "--json")
    assert (accepted.status, json.loads(accepted.out)["accepted"]) == (0, "all")
    assert typed("connections", "list").status == 0
    (entry,) = (one for one in _entries(typed) if one["action"] == "rows_accepted")
    assert entry["actor"] == "command"


@pytest.mark.row("A76")
def test_accepting_everything_is_interrupted(
    typed: Typed, database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the new key nothing is accepted yet; what to do is said, and done again, all is well."""
    database.sql("DELETE FROM meta WHERE name = 'mac_key'")

    async def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Database, "authenticate", interrupted)
        stopped = typed("database", "accept", "--all", "--yes")
    assert (stopped.status, "run `cloudbeds-auth database accept --all` again" in stopped.err) == (130, True)
    assert typed("database", "check").status == 1
    assert typed("database", "accept", "--all", "--yes").status == 0
    assert typed("database", "check").status == 0


def _entries(typed: Typed) -> list[dict[str, str]]:
    """Of the audit."""
    found: list[dict[str, str]] = json.loads(typed("audit", "--json").out)["entries"]
    return found
