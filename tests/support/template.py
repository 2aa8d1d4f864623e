"""An empty database with this version's schema as a file to begin with: all migrations anew take longer than a test."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

from cloudbeds_auth.database.sqlite import SqliteFile
from cloudbeds_auth.transactions.statements import Instant


@cache
def _content() -> bytes:
    """Made once in a process, by the product itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.sqlite3"
        file = SqliteFile(path, lambda: Instant(0.0, 0.0, "no boot"))
        file.open()
        file.close()
        return path.read_bytes()


def begin_with_schema(path: Path) -> None:
    """Unless something of that name is there already, or not even its folder; nobody else may read it."""
    if path.parent.is_dir() and not os.path.lexists(path):
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(_content())
