"""SQLite under the transactions: one connection on one thread of its own, a whole transaction per hop.

A transaction is two thread switches and one sync, whatever it holds; the event loop never waits for the disk. The
process may fork: the child opens a connection of its own and leaves the parent's untouched.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import apsw

from cloudbeds_auth.errors import ConfigurationError, StoreUnavailable
from cloudbeds_auth.store.sql import durability, migrate
from cloudbeds_auth.store.sql.driver import drive
from cloudbeds_auth.store.sql.transactions import Body, Instant, Rows, Statement

T = TypeVar("T")

TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table'"
BUSY_MILLISECONDS = 5_000  # how long one statement waits for another process's transaction


class SqliteDriver:
    """Runs transactions over one file. `instant` is the clock; `version` is for tests of old SQLite builds."""

    def __init__(self, path: Path, instant: Callable[[], Instant], *, version: int | None = None) -> None:
        self.path = path
        self._instant = instant
        self._version = durability.version_number() if version is None else version
        self._opened_by = 0
        self._connection: apsw.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._left_behind: list[object] = []

    async def read(self, body: Body[T]) -> T:
        """One consistent view; writers of other processes are not held up."""
        return await self._hop(body, "BEGIN")

    async def write(self, body: Body[T]) -> T:
        """Committed and synced when this returns."""
        return await self._hop(body, "BEGIN IMMEDIATE")

    async def close(self) -> None:
        """Waits for the transaction that runs."""
        if self._opened_by == os.getpid() and self._connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._connection.close)
            self._executor.shutdown()
        self._connection = None
        self._opened_by = 0

    async def open(self) -> None:
        """Open or create the file, durable and with this version's schema; raises ConfigurationError."""
        await self._hop(None, "BEGIN")

    async def _hop(self, body: Body[T] | None, begin: str) -> T:
        if self._opened_by != os.getpid():
            self._reopen_after_fork()
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._run, body, begin)

    def _reopen_after_fork(self) -> None:
        # Closing the parent's connection here would drop the locks of this process's files: it is left as it is.
        self._left_behind.append(self._connection)
        self._connection = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="cloudbeds-auth-sqlite")
        self._opened_by = os.getpid()

    def _run(self, body: Body[T] | None, begin: str) -> T:
        try:
            if self._connection is None:
                self._connection = self._connect()
            if body is None:
                return None  # type: ignore[return-value]  # open() asks for nothing
            self._same_file()
            return self._transaction(self._connection, body, begin)
        except apsw.Error as error:
            raise StoreUnavailable(f"the database at {self.path} cannot be used: {_said(error)}") from error

    def _transaction(self, connection: apsw.Connection, body: Body[T], begin: str) -> T:
        connection.execute(begin)
        try:
            result = drive(body(self._instant()), lambda statement: _execute(connection, statement))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _connect(self) -> apsw.Connection:
        try:
            self._create_private()
            connection = apsw.Connection(str(self.path))
            connection.set_busy_timeout(BUSY_MILLISECONDS)
            durability.claim_file(connection, str(self.path))
            durability.settle_pragmas(connection, version=self._version)
            self._migrate(connection)
        except apsw.Error as error:
            raise ConfigurationError(
                f"the database at {self.path} cannot be opened: {_said(error)}",
                next_step="make the file and its folder writable for this user, or set CLOUDBEDS_AUTH_DATABASE_URL",
            ) from error
        status = self.path.stat()
        self._file = (status.st_dev, status.st_ino)
        return connection

    def _create_private(self) -> None:
        """Nobody else reads the file; the write-ahead log takes its mode from it."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise ConfigurationError(
                f"the database at {self.path} cannot be opened: {error.strerror}",
                next_step="make the file and its folder writable for this user, or set CLOUDBEDS_AUTH_DATABASE_URL",
            ) from error

    def _migrate(self, connection: apsw.Connection) -> None:
        # Each under the write lock: of two processes that start together, the second finds it done.
        for number, sql in migrate.migrations():
            step = partial(migrate.step, number=number, sql=sql, tables=TABLES)
            self._transaction(connection, step, "BEGIN IMMEDIATE")

    def _same_file(self) -> None:
        """A database that was deleted or replaced under us is not written to, and no empty one is made (F58)."""
        try:
            status = self.path.stat()
        except OSError:
            raise StoreUnavailable(f"the database file {self.path} is gone") from None
        if (status.st_dev, status.st_ino) != self._file:
            raise StoreUnavailable(f"the database file {self.path} was replaced while it was open: restart")


def _execute(connection: apsw.Connection, statement: Statement) -> Rows:
    cursor = connection.cursor()
    cursor.row_trace = _named
    return cursor.execute(statement.sql, statement.parameters).fetchall()  # type: ignore[return-value]


def _named(cursor: apsw.Cursor, row: apsw.SQLiteValues) -> Any:
    return {column[0]: value for column, value in zip(cursor.get_description(), row, strict=True)}


def _said(error: apsw.Error) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"
