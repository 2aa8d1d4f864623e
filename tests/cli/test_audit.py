"""`audit` as it is typed, over a real database."""

from __future__ import annotations

import json

from tests.cli.fakes import Result, invoke


def typed(settings: dict[str, str], *args: str) -> Result:
    """Run it."""
    done = invoke(*args, env=settings)
    assert done.status == 0, done.err
    return done


def test_nobody_did_anything(settings: dict[str, str]) -> None:
    """An empty list, and a line for people."""
    assert json.loads(typed(settings, "audit", "--json").out) == {"entries": [], "next": None}
    assert "no entries yet" in typed(settings, "audit").out


def test_what_commands_did(settings: dict[str, str]) -> None:
    """Newest first, a page at a time."""
    made = json.loads(typed(settings, "keys", "create", "a job", "--scope", "read", "--json").out)
    typed(settings, "keys", "revoke", made["id"], "--yes")
    people = typed(settings, "audit").out
    assert [line.split("  ")[1:3] for line in people.splitlines()[1:]] == [
        ["command", "key revoked"], ["command", "key created"]
    ]  # fmt: skip
    first = typed(settings, "audit", "--limit", "1")
    assert "key revoked" in first.out
    cursor = json.loads(typed(settings, "audit", "--limit", "1", "--json").out)["next"]
    assert f"--cursor {cursor}" in first.err
    (entry,) = json.loads(typed(settings, "audit", "--cursor", cursor, "--json").out)["entries"]
    assert (entry["action"], entry["actor"], entry["subject"]) == ("key_created", "command", made["id"])


def test_an_adopted_database_says_so(settings: dict[str, str]) -> None:
    """The first thing that its new installation did."""
    typed(settings, "database", "adopt", "--yes")
    (entry,) = json.loads(typed(settings, "audit", "--json").out)["entries"]
    assert (entry["action"], entry["actor"]) == ("database_adopted", "command")
