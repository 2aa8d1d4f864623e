"""What opening a vault does besides."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from cloudbeds_auth import TokenVault


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
