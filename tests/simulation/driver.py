"""A machine's way to its database: each transaction runs inline, at a moment that the scheduler chooses.

The machine may yield before and after each transaction, so that others come between; inside, `probe(point)` is told of
every statement, of the moment before COMMIT and after it, and may kill the machine there or raise an apsw error.
Beneath is the product's `SqliteFile`: on a simulated disk (`on_disk`), or in memory (`memory.MemoryFile`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import apsw
from tests.simulation.disk import NAME, Disk, vfs
from tests.simulation.durable import DATABASE, alone
from tests.support.keys import KEY

from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.database.sqlite_file import BUSY_MILLISECONDS, WRITE, SqliteFile
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.transactions.authentic import unlock
from cloudbeds_auth.transactions.runner import UNOPENED
from cloudbeds_auth.transactions.statements import Body, Instant, Statement, Transaction, Tx

OLD_SQLITE = 3_050_000  # chooses the rollback journal: see `disk`
T = TypeVar("T")


class Killed(BaseException):
    """Unwinds a transaction of a machine that was killed inside it; nothing after it runs."""


class SimDriver:
    """`transactions.runner.Driver` of one machine, over its own `SqliteFile`.

    `linger()` gives the seconds to wait around a transaction; `probe(point)`: see the module. `committed` is told after
    each COMMIT which statements it held.
    """

    wakeups = None  # time is virtual, and another process's COMMIT is found by polling

    def __init__(
        self,
        file: SqliteFile,
        machine: str,
        linger: Callable[[], float],
        probe: Callable[[str, str], None],
        committed: Callable[[str, list[Statement]], None],
        alive: Callable[[str], bool],
    ) -> None:
        self.file, self.machine = file, machine
        self._linger, self._probe, self._committed, self._alive = linger, probe, committed, alive

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open right now (I8)."""
        connection = self.file._connection
        return connection is not None and connection.in_transaction

    async def read(self, body: Body[T]) -> T:
        """As the port says."""
        return await self._scheduled(body, "BEGIN")

    async def write(self, body: Body[T], *, synced: bool = True) -> T:
        """As the port says; all is synced on a disk that has no write-ahead log."""
        return await self._scheduled(body, "BEGIN IMMEDIATE")

    async def close(self) -> None:
        """As the port says."""
        self.file.close()

    async def _scheduled(self, body: Body[T], begin: str) -> T:
        """Run a transaction at its moment; one that a kill ends inside leaves its coroutine in limbo for ever."""
        await asyncio.sleep(self._linger())
        vfs().opener = self.machine
        try:
            result = self._inline(body, begin)
        except BaseException as error:
            if not self._alive(self.machine):
                await asyncio.get_running_loop().create_future()
            if isinstance(error, StoreUnavailable):
                busy = isinstance(error.__cause__, apsw.BusyError)
                await asyncio.sleep(BUSY_MILLISECONDS / 1000 if busy else self._linger())
            raise
        await asyncio.sleep(self._linger())
        return result

    def _inline(self, body: Body[T], begin: str) -> T:
        done: list[Statement] = []
        result = self.file.run(self._watched(body, done), begin)
        if begin != "BEGIN":
            self._committed(self.machine, done)
            self._at(f"committed {_last(done)}")
        return result

    def _watched(self, body: Body[T], done: list[Statement]) -> Body[T]:
        def watched(now: Instant) -> Transaction[T]:
            running = body(now)
            try:
                statement = next(running)
                while True:
                    done.append(statement)
                    self._at(f"statement {statement.name}")
                    statement = running.send((yield statement))
            except StopIteration as end:
                self._at(f"before commit {_last(done)}")
                value: T = end.value
                return value

        return watched

    def _at(self, point: str) -> None:
        self._probe(self.machine, point)
        if not self._alive(self.machine):
            raise Killed


def on_disk(disk: str, instant: Callable[[], Instant]) -> SqliteFile:
    """The product's file on the simulated disk of this name, for one process."""
    vfs()
    return SqliteFile(Path(f"/{disk}/{DATABASE}"), instant, version=OLD_SQLITE, vfs=NAME)


class LoggedFile(SqliteFile):
    """Over the write-ahead log, as the product does on a sound SQLite, but with the file to itself: the log's index is
    in shared memory otherwise, which the simulated disk has not. So there is one connection, which syncs.
    """

    def _connect(self, flags: int = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE) -> apsw.Connection:
        return alone(super()._connect(flags))

    def _beside(self, connection: apsw.Connection) -> apsw.Connection:
        return connection


def logged_on_disk(disk: str, instant: Callable[[], Instant]) -> SqliteFile:
    """As `on_disk`, over the write-ahead log."""
    vfs()
    return LoggedFile(Path(f"/{disk}/{DATABASE}"), instant, vfs=NAME)


def never(owner: str, clock_id: str) -> bool:
    """Nobody holds a lease."""
    return False


@cache
def template() -> bytes:
    """An empty database of the product's schema that was opened before, as its file; made once a process."""
    disk = Disk()
    disk.attach("template")
    vfs().opener = "template"
    file = on_disk("template", lambda: Instant(0.0, 0.0, "boot-1", "boot-1"))
    file.open()
    sealer = AesGcmSealer([KEY], random=bytes)
    file.run(lambda now: unlock()(Tx(now.wall, now.steady, now.clock_id, now.started, sealer, UNOPENED, never)), WRITE)
    file.close()
    return bytes(disk.files[DATABASE].data)


def _last(done: list[Statement]) -> str:
    """A transaction is called after its last statement that is not one of `BESIDE`."""
    for one in reversed(done):
        if one.name not in BESIDE:
            return one.name
    return ""


BESIDE = {
    "add_event", "set_chains", "add_audit", "tokens", "set_due", "bind_issuer", "canary_locked", "count_seals",
}  # fmt: skip
"""What many transactions do beside their own work."""
