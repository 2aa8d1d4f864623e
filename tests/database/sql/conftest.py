"""Fixtures: a database on a real file, with a clock set by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.database.bench import SqliteBench


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[SqliteBench]:
    """An empty database with one store open."""
    made = SqliteBench(tmp_path / "vault.sqlite3")
    await made.open()
    yield made
    await made.close()
