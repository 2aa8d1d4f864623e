"""What a lane's hotels rest in, a file of SQLite or a database of PostgreSQL: made, looked into, gone at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import apsw
import psycopg
from psycopg.rows import DictRow, dict_row
from tests.support.keys import KEY_TEXT
from tests.support.postgres import PostgresServer, database, server

PATIENCE = 60.0  # seconds for a server to finish what killed processes had begun
GLANCE = 0.002
DATABASES = ("sqlite", "postgresql")
ADMIN_TOKEN = "an-admin-token-of-more-than-32-characters"

# Of whom it is not known here whether they live: what they had begun is over when this finds nothing.
UNDER_WAY = """
SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
    AND (xact_start IS NOT NULL OR state <> 'idle')
"""
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename"


class Base(Protocol):
    """One database."""

    name: str

    @property
    def settings(self) -> dict[str, str]:
        """What every process of ours needs to use it."""
        ...

    @property
    def admin_token(self) -> str:
        """Of a service over it."""
        ...

    def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """What rests in it; `?` stands for a value."""
        ...

    def sound(self) -> bool:
        """Whether it is whole."""
        ...

    def steady(self) -> float:
        """What its leases go by, in seconds."""
        ...

    def settle(self) -> None:
        """Wait until what killed processes had begun is over, one way or the other."""
        ...


Bases = Callable[[Path], AbstractContextManager[Base]]
"""Makes a database for a lane in this folder."""


class FileBase:
    """A file of SQLite. A process's transaction ends with it, and so does its lease."""

    name = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def settings(self) -> dict[str, str]:
        return {"CLOUDBEDS_AUTH_DATABASE_URL": f"sqlite:///{self.path}"}

    @property
    def admin_token(self) -> str:
        return self.path.with_name(f"{self.path.name}.admin-token").read_text("utf-8").strip()

    def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        with closing(apsw.Connection(str(self.path))) as connection:
            connection.set_busy_timeout(5000)
            cursor = connection.execute(statement, values)
            try:
                names = [column[0] for column in cursor.get_description()]
            except apsw.ExecutionCompleteError:
                return []
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def steady(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def sound(self) -> bool:
        return [row["integrity_check"] for row in self.rows("PRAGMA integrity_check")] == ["ok"]

    def settle(self) -> None:
        return


class ServerBase:
    """A database on a server of PostgreSQL. What a killed process had sent may still be done after its death.

    `server`: when it may be killed.
    """

    name = "postgresql"

    def __init__(self, url: str, server: PostgresServer | None = None) -> None:
        self.url, self.server = url, server
        self._connection: psycopg.Connection[DictRow] | None = None

    @property
    def settings(self) -> dict[str, str]:
        return {
            "CLOUDBEDS_AUTH_DATABASE_URL": self.url,
            "CLOUDBEDS_AUTH_ENCRYPTION_KEYS": KEY_TEXT,
            "CLOUDBEDS_AUTH_ADMIN_TOKEN": ADMIN_TOKEN,
        }

    @property
    def admin_token(self) -> str:
        return ADMIN_TOKEN

    def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        try:
            return self._rows(statement, values)
        except psycopg.OperationalError:  # the server was killed since
            self.close()
            return self._rows(statement, values)

    def steady(self) -> float:
        now: float = self.rows("SELECT extract(epoch FROM clock_timestamp())::float8 AS now")[0]["now"]
        return now

    def sound(self) -> bool:
        """Whether every row can be read to its last byte, and every grant has a refresh token."""
        for table in self.rows(TABLES):
            self.rows(f"SELECT COUNT(each_row::text) FROM {table['tablename']} each_row")
        return not self.rows("SELECT id FROM grants g WHERE NOT EXISTS (SELECT 1 FROM tokens WHERE grant_id = g.id)")

    def settle(self) -> None:
        until = time.monotonic() + PATIENCE
        while self.rows(UNDER_WAY):
            assert time.monotonic() < until, "a transaction of a dead process does not end"
            time.sleep(GLANCE)

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _rows(self, statement: str, values: tuple[object, ...]) -> list[dict[str, Any]]:
        if self._connection is None:  # no prepared statements: a pooler may stand between
            self._connection = psycopg.connect(self.url, autocommit=True, prepare_threshold=None, row_factory=dict_row)
        cursor = self._connection.execute(statement.replace("?", "%s"), values)
        return cursor.fetchall() if cursor.description is not None else []


@contextmanager
def in_a_file(folder: Path) -> Iterator[Base]:
    """A file in the lane's folder."""
    yield FileBase(folder / "hotels.sqlite3")


def on_server(url: str, server: PostgresServer | None = None) -> Bases:
    """New databases on this server."""

    @contextmanager
    def made(_: Path) -> Iterator[Base]:
        with database(url) as new, closing(ServerBase(new, server)) as base:
            yield base

    return made


@contextmanager
def bases(name: str, url: str | None) -> Iterator[Bases]:
    """Databases of this name: of PostgreSQL on the server at `url`, or on one of their own that may be killed."""
    if name == "sqlite":
        yield in_a_file
    elif url is not None:
        yield on_server(url)
    else:
        with server() as own:
            yield on_server(own.url, own)
