"""`database migrate`, `check`, `rekey`, `backup`, `copy`: over real databases, as an operator types them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.cli.fakes import Result, invoke, settings_over
from tests.support.installation import HOTELS, opened, settings
from tests.support.keys import KEY, KEY_TEXT, OTHER_KEY, OTHER_KEY_TEXT

from cloudbeds_auth.database import opening
from cloudbeds_auth.database.sealed_values import IN_META
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.transactions.statements import Instant, Statement, Transaction

VALUES = 2 * HOTELS + 3 + len(IN_META)  # that are sealed in it


def typed(url: str, *args: str, keys: str = KEY_TEXT) -> Result:
    """One `database` command on this database, with these keys."""
    return invoke("database", *args, env=settings_over(url, keys))


def altered(url: str, sql: str) -> None:
    """One statement, behind the vault's back."""

    def body(now: Instant) -> Transaction[None]:
        yield Statement("altered", sql, {})

    async def alter() -> None:
        driver, _ = await opening.open_driver(settings(url))
        await driver.write(body)
        await driver.close()

    asyncio.run(alter())


def test_check(url: str) -> None:
    """Counts for people and for programs; a value that does not open is named, and the exit status says so."""
    assert f"sealed values  {VALUES}, 0 problems" in typed(url, "check").out
    document = json.loads(typed(url, "check", "--json").out)
    assert (document["connections"], document["sealed_values"], document["problems"]) == (HOTELS, VALUES, [])
    altered(url, "UPDATE tokens SET position = 9 WHERE grant_id = 'gra_1'")
    found = typed(url, "check")
    assert found.status == 1
    assert "con_1 does not open" in found.out
    assert json.loads(typed(url, "check", "--json").out)["problems"]


@pytest.mark.row("F69")
def test_rekey(url: str) -> None:
    """What was done, and which key can be taken out, for people and for programs. What does not open is named, and the
    exit status says so. Where no service was seen with the new key, it is to be said that none runs.
    """
    old, new = (AesGcmSealer([key]).key_id for key in (KEY, OTHER_KEY))
    both = f"{OTHER_KEY_TEXT},{KEY_TEXT}"
    refused = typed(url, "rekey", keys=both)
    assert refused.status == 1
    assert "--offline" in refused.err
    assert typed(url, "check", keys=KEY_TEXT).status == 0
    done = typed(url, "rekey", "--offline", keys=both)
    assert done.status == 0, done.err
    assert f"{VALUES} values were re-encrypted with the key {new}" in done.out
    assert f"the key {old} is no longer needed" in done.out
    again = typed(url, "rekey", keys=both)
    assert f"nothing is encrypted with the key {old}" in again.out, "what was said before may be lost"
    document = json.loads(typed(url, "rekey", "--json", keys=both).out)
    assert document == {
        "database": url.removeprefix("sqlite:///"), "key_id": new, "sealed_anew": 0, "retired": [], "unneeded": [old],
        "problems": [],
    }  # fmt: skip
    assert typed(url, "check", keys=OTHER_KEY_TEXT).status == 0
    altered(url, "UPDATE tokens SET position = 9 WHERE grant_id = 'gra_1'")
    back = typed(url, "rekey", "--offline", keys=f"{KEY_TEXT},{OTHER_KEY_TEXT}")
    assert back.status == 1
    assert "a value of tokens gra_1 does not open" in back.out
    assert "nothing is encrypted with" not in back.out, "where something is left, no key is named"


@pytest.mark.row("F70")
def test_a_key_that_is_missing(url: str) -> None:
    """The error says which, and how much is sealed with it."""
    for command in ("check", "rekey"):
        found = typed(url, command, keys=OTHER_KEY_TEXT)
        assert found.status == 1
        old = AesGcmSealer([KEY]).key_id
        assert f"the key {old} is missing, with which {VALUES} stored values are sealed" in found.err


@pytest.mark.parametrize("args", [["check"], ["rekey"], ["backup", "copy.db"], ["copy", "--to", "sqlite:///other.db"]])
def test_looking_at_a_database_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str]) -> None:
    """Where there is no database yet, it says so and makes no file."""
    monkeypatch.chdir(tmp_path)
    found = typed(f"sqlite:///{tmp_path}/none.db", *args)
    assert (found.status, list(tmp_path.iterdir())) == (1, [])
    assert "there is no database at" in found.err


def test_migrate(tmp_path: Path, url: str) -> None:
    """A new database gets the schema, one that has it is left alone."""
    assert "already" in typed(url, "migrate").out
    fresh = json.loads(typed(f"sqlite:///{tmp_path}/new.db", "migrate", "--json").out)
    assert fresh["schema_before"] == 0 < fresh["schema"]


def test_migrate_before_anything_else(tmp_path: Path) -> None:
    """With a key file of its own, the database that it made opens, and again is left alone."""
    env = {"CLOUDBEDS_AUTH_DATABASE_URL": f"sqlite:///{tmp_path}/new.db", "CLOUDBEDS_CLIENT_ID": "client-1"}
    env["CLOUDBEDS_CLIENT_SECRET"] = "secret-1"
    assert invoke("database", "migrate", env=env).status == 0
    opened = invoke("connections", "--json", env=env)
    assert (opened.status, json.loads(opened.out)["connections"]) == (0, []), opened.err
    assert "already" in invoke("database", "migrate", env=env).out


@pytest.mark.row("F67")
def test_migrate_without_the_key(tmp_path: Path) -> None:
    """Where the key file of what is sealed is gone, another one is not made."""
    env = {"CLOUDBEDS_AUTH_DATABASE_URL": f"sqlite:///{tmp_path}/new.db"}
    assert invoke("database", "migrate", env=env).status == 0
    key = tmp_path / "new.db.key"
    key.unlink()
    found = invoke("database", "migrate", env=env)
    assert (found.status, "the key file" in found.err, key.exists()) == (1, True, False)


def test_backup(tmp_path: Path, url: str) -> None:
    """A whole file, and no other is overwritten; the key is not in it, and says so; PostgreSQL has its own means."""
    done = typed(url, "backup", str(tmp_path / "copy.db"))
    assert done.status == 0
    assert "keep the encryption key in another place" in done.err
    assert (tmp_path / "copy.db").stat().st_size > 0
    again = typed(url, "backup", str(tmp_path / "copy.db"))
    assert again.status == 1
    assert "already exists" in again.err
    elsewhere = typed("postgresql://db.example/hotels", "backup", str(tmp_path / "no.db"))
    assert elsewhere.status == 1
    assert "pg_dump" in elsewhere.err


def test_copy(url: str, postgres_url: str) -> None:
    """Moved once, told where to; run again it moves nothing; the password of the target is not told."""
    target = postgres_url.replace("postgres@", "postgres:canary-password@")
    moved = typed(url, "copy", "--to", target, "--history", "none")
    assert moved.status == 0, moved.err
    assert "set CLOUDBEDS_AUTH_DATABASE_URL to it and start the service" in moved.out
    assert "calls " not in moved.out
    document = typed(url, "copy", "--to", target, "--json")
    assert json.loads(document.out)["rows"]["calls"] == 3
    assert "had already moved" in document.err
    assert json.loads(typed(url, "copy", "--to", target, "--json").out)["rows"] == {}
    assert "canary" not in moved.out + moved.err

    async def looked() -> bool:
        async with opened(settings(url)) as source:
            return source.read_only

    assert asyncio.run(looked())
    refused = typed(url, "copy", "--to", "mysql://x/y")
    assert (refused.status, "--to is neither" in refused.err) == (1, True)


def test_adopt_asks_or_needs_yes(url: str) -> None:
    """Nobody at a terminal: a usage error that says what to write, and no question that nobody answers."""
    refused = typed(url, "adopt")
    assert (refused.status, refused.out) == (2, "")
    assert "confirm it with --yes" in refused.err
    assert "gone for good?" not in refused.err
    done = typed(url, "adopt", "--yes")
    assert done.status == 0, done.err
