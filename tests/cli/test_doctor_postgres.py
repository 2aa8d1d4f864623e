"""What `doctor` says of a PostgreSQL database."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.support.keys import KEY_TEXT
from tests.support.postgres import server

from cloudbeds_auth.database import opening
from cloudbeds_auth.doctor import CHECKS, database
from cloudbeds_auth.doctor.examination import Level, examine
from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.system import SystemClock


def settings(url: str) -> Settings:
    """Of an installation on PostgreSQL."""
    return Settings(
        client_id="id", client_secret=Secret("secret"), database_url=url, encryption_keys=(Secret(KEY_TEXT),),
        admin_token=Secret("an-admin-token-of-more-than-32-characters"),
    )  # fmt: skip


async def examined(url: str) -> dict[str, list[Any]]:
    """The findings by check."""
    checks = {name: CHECKS[name] for name in ("database", "durability", "database privacy", "SQLite")}
    report = await examine(lambda need: settings(url), SystemClock(), checks)
    return {name: list(findings) for name, findings in report.checks.items()}


async def test_a_sound_server(postgres_url: str) -> None:
    """It opens, its commits last, and it is on this machine."""
    found = await examined(postgres_url)
    assert {one.level for findings in found.values() for one in findings} == {Level.OK}
    assert "synchronous_commit on" in found["durability"][0].what


@pytest.mark.row("F64")
async def test_an_asynchronous_standby() -> None:
    """A standby that may miss the last commits is warned of; one that has them all is not."""
    with server(max_wal_senders="4", wal_level="replica") as primary, primary.standby() as standby:
        (found,) = (await examined(primary.url))["durability"]
        assert found.level is Level.WARNING
        assert "1 standbys follow asynchronously" in found.what
        assert "synchronous_standby_names" in found.mend
        with psycopg.connect(primary.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
        primary.wait_for("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
        (found,) = (await examined(primary.url))["durability"]
        assert found.level is Level.OK
        (closed,) = (await examined(standby.url))["database"]
        assert closed.level is Level.PROBLEM


def test_a_server_that_turned_into_a_standby() -> None:
    """Found while it is open: nothing can be written there."""
    told = {
        "postgresql": "16", "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "role": "standby",
        "asynchronous_standbys": "0",
    }  # fmt: skip
    (found,) = database.server_durability(told)
    assert (found.level, found.mend) == (Level.PROBLEM, "name the primary in the URL")


@pytest.mark.parametrize(
    ("url", "level"),
    [
        ("postgresql://db.example/x", Level.WARNING),
        ("postgresql://db.example/x?sslmode=require", Level.WARNING),
        ("postgresql://db.example/x?sslmode=verify-full", Level.OK),
        ("postgresql://localhost/x", Level.OK),
        ("postgresql:///x?host=/run/postgresql", Level.OK),
        ("postgresql:///x", Level.OK),
        ("postgresql://[::1]/x", Level.OK),
        ("postgresql:///x?host=db.example&sslmode=disable", Level.WARNING),
        ("postgresql://auth@/x?host=db.example", Level.WARNING),
        ("postgresql://localhost/x?hostaddr=203.0.113.9&sslmode=disable", Level.WARNING),
        ("postgresql://db.example/x?hostaddr=127.0.0.1", Level.OK),
        ("postgresql://localhost,db.example/x", Level.WARNING),
        ("postgresql://localhost,db.example/x?sslmode=verify-ca", Level.OK),
        ("postgresql://localhost,db.example/x?hostaddr=127.0.0.1,::1", Level.OK),
        ("postgresql://localhost,db.example/x?hostaddr=127.0.0.1,", Level.WARNING),
        ("postgresql:///x?service=hotels", Level.WARNING),
        ("postgresql:///x?service=hotels&sslmode=verify-full", Level.OK),
    ],
)
def test_the_way_there(url: str, level: Level) -> None:
    """Another machine's certificate is to be verified; of several servers, that of each."""
    (found,) = database.encryption(settings(url))
    assert found.level is level


@pytest.mark.parametrize(
    ("url", "environment", "said"),
    [
        ("postgresql:///x", {"PGHOST": "db.example"}, "sslmode=prefer: an attacker"),
        ("postgresql://localhost/x", {"PGHOSTADDR": "203.0.113.9", "PGSSLMODE": "disable"}, "sslmode=disable: an "),
        ("postgresql://localhost/x", {"PGHOST": "db.example"}, "the server is on this machine"),
        ("postgresql://db.example/x", {"PGSSLMODE": "verify-full"}, "sslmode=verify-full"),
        ("postgresql://db.example/x?sslmode=require", {"PGSSLMODE": "verify-full"}, "sslmode=require: an attacker"),
        ("postgresql:///x", {"PGSERVICE": "hotels"}, "sslmode=allow: an attacker"),
    ],
)
def test_the_way_there_that_the_environment_names(
    url: str, environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the URL leaves open comes from the variables of libpq, and from the service that one of them names."""
    (tmp_path / "services").write_text("[hotels]\nhost=db.example\nsslmode=allow\n")
    for name, value in ({"PGSERVICEFILE": str(tmp_path / "services")} | environment).items():
        monkeypatch.setenv(name, value)
    (found,) = database.encryption(settings(url))
    assert found.what.startswith(said)


async def test_the_way_there_without_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is claimed of it, and the check of the database says what to install."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setitem(sys.modules, "cloudbeds_auth.database.postgres", None)
    found = await examined("postgresql://localhost/x")
    assert [one.level for one in found["database privacy"]] == [Level.SKIPPED]
    assert [one.level for one in found["database"]] == [Level.PROBLEM]


async def test_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the database is said not to open, and what to install."""
    monkeypatch.setitem(sys.modules, "cloudbeds_auth.database.postgres", None)
    with pytest.raises(ConfigurationError, match="driver is not installed") as stopped:
        await opening.open_database(settings("postgresql://localhost/x"))
    assert "cloudbeds-auth[postgres]" in stopped.value.next_step
