"""SQLite in memory: the database server of all machines of a run, where the disk is not the question.

One connection for all, and no file: transactions run inline, so no two are ever open at once. Each is whole and durable
when it returns, or did not happen. A machine may be killed at every point of one, and after its COMMIT with the answer
lost; the server may refuse a transaction, for a while or once, or carry it out and report that it failed. `disk` is a
`disk.Disk` without files: its operations are "write" and "sync" before a COMMIT that changes something, and "answer"
after each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import apsw
from tests.simulation.disk import Disk, vfs
from tests.simulation.driver import template

from cloudbeds_auth.database import schema
from cloudbeds_auth.database.sqlite_file import PREPARED, SqliteFile, prepare_once
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.transactions.statements import Body, Instant, Transaction

T = TypeVar("T")


class Server:
    """What all machines share."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.connection = apsw.Connection(":memory:", statementcachesize=PREPARED)
        self.connection.deserialize("main", template())
        self.connection.execute("PRAGMA foreign_keys = 1")
        prepare_once(self.connection)

    def answer(self) -> None:
        """A COMMIT is done, and its answer is on its way; raises StoreUnavailable when it is lost."""
        try:
            self.operation("answer")
        except apsw.Error as error:
            raise StoreUnavailable(f"simulated: {error}") from error

    def operation(self, kind: str) -> None:
        """The server works for the machine that asks; raises an apsw error when it fails, or when that one is dead."""
        self.disk.hook(kind, "memory")
        self.disk.must_live(vfs().opener)


class MemoryFile(SqliteFile):
    """The product's file, as one machine has it, over the server's memory."""

    def __init__(self, server: Server, instant: Callable[[], Instant]) -> None:
        super().__init__(Path(":memory:"), instant, vfs="memory")
        self._server = server

    def _open(self) -> int:
        """There is one connection, and its schema is the template's."""
        self._connection = self._server.connection
        return schema.migrations()[-1][0]

    def _close(self) -> None:
        """The server stays."""
        self._connection = None

    def _transaction(self, connection: apsw.Connection, body: Body[T], begin: str) -> T:
        server, before = self._server, connection.total_changes()

        def synced(now: Instant) -> Transaction[T]:
            result = yield from body(now)
            if connection.total_changes() != before:
                server.operation("write")
                server.operation("sync")
            return result

        if server.disk.busy:
            raise apsw.BusyError("another transaction")
        result = super()._transaction(connection, synced, begin)
        if connection.total_changes() != before:
            server.disk.version += 1
        return result
