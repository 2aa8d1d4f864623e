"""Databases to begin with: a file with this version's schema, since all migrations anew take longer than a test; and
one in memory with the first so many of them.
"""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

import apsw

from cloudbeds_auth.database import schema
from cloudbeds_auth.database.sqlite_file import SqliteFile
from cloudbeds_auth.transactions.statements import Instant


@cache
def _content() -> bytes:
    """Made once in a process, by the product itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.sqlite3"
        file = SqliteFile(path, lambda: Instant(0.0, 0.0, "no boot", "no boot"))
        file.open()
        file.close()
        return path.read_bytes()


def begin_with_schema(path: Path) -> None:
    """Unless something of that name is there already, or not even its folder; nobody else may read it."""
    if path.parent.is_dir() and not os.path.lexists(path):
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(_content())


def migrated(files: int | None = None) -> apsw.Connection:
    """A database in memory with the first so many migrations, or with all, and one connection."""
    connection = apsw.Connection(":memory:")
    for _, sql in schema.migrations()[:files]:
        for statement in schema.statements(sql):
            connection.execute(statement)
    connection.execute("INSERT INTO connections (id, app, created_at) VALUES ('con_1', 'default', 0)")
    return connection
