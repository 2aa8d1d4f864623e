"""Fixtures of the command line's tests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.cli.fakes import FakeVault, put, settings_over, with_database
from tests.support import installation


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> FakeVault:
    """Commands open this vault instead of a real one."""
    return put(monkeypatch, FakeVault())


@pytest.fixture
def settings(nobodys_settings: None, tmp_path: Path) -> dict[str, str]:
    """Of an installation that has a database, with nothing in it."""
    return with_database({
        "CLOUDBEDS_CLIENT_ID": "client-1", "CLOUDBEDS_CLIENT_SECRET": "canary-secret-of-the-settings",
        "CLOUDBEDS_AUTH_DATABASE_URL": f"sqlite:///{tmp_path / 'hotels.sqlite3'}",
    })  # fmt: skip


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a database with three hotels: con_0 to con_2, of the properties 1000 to 1002."""
    found = f"sqlite:///{tmp_path}/hotels.db"
    asyncio.run(installation.filled(installation.settings(found)))
    return found


@pytest.fixture
def hotels(url: str) -> dict[str, str]:
    """The settings of that database, and of an app."""
    return {"CLOUDBEDS_CLIENT_ID": "client-1", "CLOUDBEDS_CLIENT_SECRET": "secret-1", **settings_over(url)}


@pytest.fixture(autouse=True)
def nobodys_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and no file with settings of whoever runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
