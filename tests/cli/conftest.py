"""Fixtures of the command line's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.fakes import FakeVault, put, with_database


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


@pytest.fixture(autouse=True)
def nobodys_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and no settings of whoever runs the tests."""
    import os

    for name in list(os.environ):
        if name.startswith("CLOUDBEDS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
