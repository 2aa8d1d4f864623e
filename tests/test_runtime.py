"""What opening a vault does besides, and what it leaves when it fails."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from cloudbeds_auth import ConfigurationError, Settings, TokenVault, runtime
from cloudbeds_auth.database.opening import open_database
from cloudbeds_auth.ports import Observer
from cloudbeds_auth.transactions.runner import Database


async def test_what_is_odd_in_the_settings_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A variable that may be the program's own stops nothing, and is named once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOUDBEDS_AUTH_DATABASE_URL", f"sqlite:///{tmp_path}/vault.sqlite3")
    monkeypatch.setenv("CLOUDBEDS_COLOUR", "blue")
    with caplog.at_level(logging.WARNING, "cloudbeds_auth"):
        async with TokenVault.open():
            pass
    (line,) = [str(record.msg) for record in caplog.records]
    assert line == "settings_warning warning=CLOUDBEDS_COLOUR is not a setting and was ignored"


async def test_a_database_that_was_opened_for_nothing_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The admin token comes after the database: where it cannot be read, nothing of the database is left open."""
    closed: list[Database] = []

    async def opens(settings: Settings, observer: Observer | None = None) -> Database:
        db = await open_database(settings, observer)
        close = db.close

        async def closes() -> None:
            await close()
            closed.append(db)

        monkeypatch.setattr(db, "close", closes)
        return db

    monkeypatch.setattr(runtime, "open_database", opens)
    settings = Settings(client_id="x", database_url=f"sqlite:///{tmp_path}/vault.sqlite3")
    token = tmp_path / "vault.sqlite3.admin-token"
    token.mkdir(0o700)
    with pytest.raises(ConfigurationError, match="is not a file but a directory"):
        async with TokenVault.open(settings):
            pass
    assert len(closed) == 1
    token.rmdir()
    async with TokenVault.open(settings):
        assert len(closed) == 1
