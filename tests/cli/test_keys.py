"""`keys` as it is typed, over a real database."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.cli.fakes import Result, invoke

Typed = Callable[..., Result]
TEXT = re.compile(r"cbauth_[0-9A-Z]{26}_[0-9A-Za-z]{28}")


@pytest.fixture
def typed(settings: dict[str, str]) -> Typed:
    """Run `keys …`."""
    return lambda *args, **more: invoke("keys", *args, env=settings, **more)


def test_a_key_is_printed_once(typed: Typed) -> None:
    """It alone is on standard output; no other command shows it."""
    made = typed("create", "website", "--scope", "proxy", "--scope", "read")
    assert made.status == 0, made.err
    assert TEXT.fullmatch(made.out.strip())
    for command in ((), ("list", "--json")):
        shown = typed(*command)
        assert "website" in shown.out
        assert TEXT.search(shown.out) is None


def test_what_a_key_is_for(typed: Typed) -> None:
    """Each option has its place in the document."""
    made = typed(
        "create", "partner", "--scope", "proxy", "--connection", "con_1", "--property", "1000",
        "--reference", "tenant-7", "--read-only", "--method", "getHotels", "--rate", "2", "--expires-in", "90d",
        "--json",
    )  # fmt: skip
    key = json.loads(made.out)
    shown = json.loads(typed("show", key["id"], "--json").out)
    assert key | {"key": None} == shown | {"key": None}
    assert shown["connections"] == ["con_1"]
    assert (shown["properties"], shown["references"]) == (["1000"], ["tenant-7"])
    assert (shown["read_only"], shown["methods"], shown["created_by"]) == (True, ["gethotels"], "command")
    assert shown["expires_at"] is not None
    people = typed("show", key["id"]).out
    assert "1000, con_1, tenant-7" in people
    assert "reads, 2 a second, gethotels" in people
    assert shown["rate"] == 2.0


def test_a_key_is_revoked(typed: Typed) -> None:
    """It stays in the list, as what it is."""
    key = json.loads(typed("create", "website", "--scope", "read", "--json").out)
    assert typed("revoke", key["id"]).status == 2
    ended = typed("revoke", key["id"], "--yes")
    assert ended.status == 0
    assert "revoked" in typed("list").out
    assert json.loads(typed("show", key["id"], "--json").out)["revoked_at"] is not None


def test_a_revoked_key_that_made_others(typed: Typed, tmp_path: Path) -> None:
    """Those that do not end with it are counted, and listed by the command that is named."""
    above, made, other = (
        json.loads(typed("create", name, "--scope", "admin", "--json").out)["id"] for name in ("all", "made", "other")
    )
    with closing(sqlite3.connect(tmp_path / "hotels.sqlite3")) as database:
        database.execute("UPDATE caller_keys SET created_by = ? WHERE id = ?", (above, made))
        database.commit()
    ended = typed("revoke", above, "--yes")
    assert f"that remain valid: 1; see `cloudbeds-auth keys list --created-by {above}`" in ended.out
    listed = typed("list", "--created-by", above, "--json").out
    assert [key["id"] for key in json.loads(listed)["keys"]] == [made]
    assert json.loads(typed("revoke", above, "--yes", "--json").out)["still_good"] == [made]
    assert "that are good" not in typed("revoke", other, "--yes").out


@pytest.mark.parametrize(
    "args",
    [
        ("create", "x"),
        ("create", "x", "--scope", "write"),
        ("create", "x", "--scope", "read", "--expires-in", "soon"),
        ("create", "x", "--scope", "read", "--expires-in", "9" * 400 + "d"),
    ],
)
def test_wrong_usage(typed: Typed, args: tuple[str, ...]) -> None:
    """Is said, and nothing is made."""
    assert typed(*args).status in {1, 2}
    assert json.loads(typed("list", "--json").out) == {"keys": []}


@pytest.mark.parametrize("command", [("show",), ("revoke", "--yes")])
def test_an_unknown_key(typed: Typed, command: tuple[str, ...]) -> None:
    """Is named, with the command that lists the others."""
    result = typed(*command, "key_0")
    assert result.status == 1
    assert "key_0" in result.err
    assert "cloudbeds-auth keys" in result.err
