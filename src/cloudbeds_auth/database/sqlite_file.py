"""A SQLite file with blocking calls: its connections, and one whole transaction at a time. `sqlite` runs it on threads.

Transactions that need not be synced use a second connection, so that the first never has a weaker setting (F12).
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import apsw

from cloudbeds_auth.database import durability, schema
from cloudbeds_auth.errors import ConfigurationError, StoreUnavailable
from cloudbeds_auth.transactions.statements import Body, Insert, Instant, Rows, Statement, drive

T = TypeVar("T")

WRITE = "BEGIN IMMEDIATE"
BUSY_MILLISECONDS = 5_000  # how long one statement waits for another process's transaction
PREPARED = 512  # statements that stay prepared in a connection: all of ours; preparing one takes longer than running it
_creating = threading.Lock()
INHERITED: set[Path] = set()
"""Files that were in use when this process was forked. SQLite would take the parent's locks for its own here, so they
are not opened again.
"""

# Errors with a cause outside this program. Anything else (a broken constraint, a wrong statement) is a bug, and a retry
# would not help.
NOT_NOW = (
    apsw.BusyError,
    apsw.LockedError,
    apsw.ReadOnlyError,
    apsw.IOError,
    apsw.FullError,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.NoMemError,
    apsw.InterruptError,
    apsw.ProtocolError,
    apsw.PermissionsError,
)


class SqliteFile:
    """One file, with blocking calls. `instant` is the clock. With `beside`, the main instance for the same file, this
    one only reads.

    `version` and `vfs` are for tests: an old SQLite build, and a file system that fails on purpose.
    """

    def __init__(
        self,
        path: Path,
        instant: Callable[[], Instant],
        *,
        version: int | None = None,
        vfs: str | None = None,
        beside: SqliteFile | None = None,
    ) -> None:
        self.path = path
        self._main = beside
        self._instant = instant
        self._version = durability.version_number() if version is None else version
        self._vfs = vfs
        self._connection: apsw.Connection | None = None
        self._unsynced: apsw.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._in_use = threading.Lock()

    def open(self) -> int:
        """Open or create the file, durable and with this version's schema; the schema that it had (0: none).

        Raises ConfigurationError, StoreUnavailable.
        """
        with self._in_use:
            return self._open()

    def _open(self) -> int:
        if self._main is not None:
            self._connection = self._reading(self._main.opened())
            return 0
        if self.path.resolve() in INHERITED:
            raise StoreUnavailable(
                f"the database at {self.path} was in use when this process was forked",
                next_step="begin the program anew, or fork when nothing uses the database",
            )
        if self._file is not None:
            self._must_be_the_same_file()
        try:
            if self._vfs is None:
                self._create_private()
            connection = self._connect()
            durability.claim_file(connection, str(self.path))
            durability.settle_pragmas(connection, version=self._version)
            before = self._migrate(connection)
            unsynced = self._beside(connection)
            self._file = self._identity()
        except (apsw.BusyError, apsw.LockedError) as error:
            raise StoreUnavailable(
                f"the database at {self.path} is held by another program: {_said(error)}",
                next_step="end the other program, or start again when it is done",
            ) from error
        except (apsw.Error, OSError) as error:
            raise ConfigurationError(
                f"the database at {self.path} cannot be opened: {_said(error)}",
                next_step="see that the disk has room, and that this user may write the file and its folder; or set "
                "CLOUDBEDS_AUTH_DATABASE_URL",
            ) from error
        self._connection, self._unsynced = connection, unsynced
        return before

    def opened(self) -> tuple[int, int] | None:
        """The identity of the file, which is opened first if need be."""
        with self._in_use:
            if self._connection is None:
                self._open()
            return self._file

    def _reading(self, file: tuple[int, int] | None) -> apsw.Connection:
        """A connection that only reads: with a write-ahead log it waits for no writer, and no writer waits for it."""
        self._file = file
        try:
            self._must_be_the_same_file()
            connection = self._connect(apsw.SQLITE_OPEN_READONLY)
            connection.pragma("temp_store", durability.MEMORY)
        except apsw.Error as error:
            raise StoreUnavailable(f"the database at {self.path} cannot be read: {_said(error)}") from error
        return connection

    @property
    def logs_ahead(self) -> bool:
        """Whether there is a write-ahead log; with a rollback journal a reader would hold up writers."""
        return self._version >= durability.FIRST_SOUND_WAL

    def run(self, body: Body[T], begin: str, *, synced: bool = True) -> T:
        """Run one transaction, which begins with `begin`: committed when this returns and, if `synced`, synced to disk.
        Raises StoreUnavailable.
        """
        with self._in_use:
            if self._connection is None:
                self._open()
            connection = self._connection if synced else self._unsynced
            assert connection is not None  # noqa: S101 - _open() raises otherwise
            try:
                self._must_be_the_same_file()
                return self._transaction(connection, body, begin)
            except NOT_NOW as error:
                raise StoreUnavailable(f"the database at {self.path} cannot be used: {_said(error)}") from error

    def close(self) -> None:
        """Close the connections, after the running transaction."""
        with self._in_use:
            self._close()

    def _close(self) -> None:
        for connection in (self._unsynced, self._connection):
            if connection is not None:
                connection.close()
        self._unsynced = self._connection = None

    def suspend(self) -> bool:
        """Close until `wake`, after the running transaction; the next transaction opens the file again. False: the
        running one did not end in time, and nothing is closed.
        """
        if not self._in_use.acquire(timeout=2 * BUSY_MILLISECONDS / 1000):
            return False
        self._close()
        return True

    def wake(self) -> None:
        """Allow transactions again, after `suspend`."""
        self._in_use.release()

    def _connect(self, flags: int = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE) -> apsw.Connection:
        connection = apsw.Connection(str(self.path), vfs=self._vfs, flags=flags, statementcachesize=PREPARED)
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        prepare_once(connection)
        return connection

    def _beside(self, connection: apsw.Connection) -> apsw.Connection:
        """A connection that does not sync commits; `connection` itself where the file is sound only if each commit is
        synced.
        """
        if not self.logs_ahead:
            return connection
        unsynced = self._connect()
        durability.settle_pragmas(unsynced, version=self._version, synced=False)
        return unsynced

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

    def _create_private(self) -> None:
        """Create the file if it does not exist: only this user may read it, and the log beside it gets the same mode.

        An existing file is not opened: closing it would release the locks that another connection of this process has
        on it (fcntl(2)), and the next process to open and close it would delete the log under that connection (F61).
        Closing a file just created would do the same, if another thread had opened it meanwhile.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _creating, suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        if stat.S_ISLNK(self.path.lstat().st_mode):
            raise OSError(errno.ELOOP, "a symbolic link", str(self.path))

    def _migrate(self, connection: apsw.Connection) -> int:
        # Each under the write lock: of two processes that start together, the second finds it done.
        before = self._transaction(connection, schema.version, "BEGIN")
        for number, sql in schema.beyond(before):
            step = partial(schema.step, number=number, sql=sql)
            self._transaction(connection, step, WRITE)
        return before

    def _identity(self) -> tuple[int, int] | None:
        if self._vfs is not None:
            return None
        status = self.path.stat()
        return status.st_dev, status.st_ino

    def _must_be_the_same_file(self) -> None:
        """Raise StoreUnavailable if the file was deleted or replaced while it was open: it is not written to, and no
        empty one is created (F58).
        """
        try:
            found = self._identity()
        except OSError:
            raise StoreUnavailable(f"the database file {self.path} is gone") from None
        if found != self._file:
            raise StoreUnavailable(f"the database file {self.path} was replaced while it was open: restart")


def prepare_once(connection: apsw.Connection) -> None:
    """Keep a statement's plan for all values that are bound to it.

    Otherwise SQLite prepares it again for each new value that might permit the use of a partial index, which takes many
    times as long as running it.
    """
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)


def _execute(connection: apsw.Connection, statement: Statement) -> Rows:
    cursor = connection.cursor()
    cursor.row_trace = _named
    if isinstance(statement, Insert):
        return cursor.executemany(statement.sql, statement.rows).fetchall()  # type: ignore[return-value]
    return cursor.execute(statement.sql, statement.parameters).fetchall()  # type: ignore[return-value]


def _named(cursor: apsw.Cursor, row: apsw.SQLiteValues) -> Any:
    return {column[0]: value for column, value in zip(cursor.get_description(), row, strict=True)}


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"
