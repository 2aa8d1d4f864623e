"""Settings of a vault that asks no vendor."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudbeds_auth import Settings
from cloudbeds_auth.rules.secret import Secret


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A file, and a vendor that nobody asks."""
    return Settings(
        client_id="client-1", client_secret=Secret("secret-1"), database_url=f"sqlite:///{tmp_path}/db",
        base_url="http://127.0.0.1:1",
    )  # fmt: skip
