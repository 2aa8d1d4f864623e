"""The SQLite driver, which runs whole transactions on a thread of its own.

A transaction of any length takes two thread switches and one sync; the event loop never waits for the disk. Lists and
histories are read on other threads and connections, for which no transaction waits.

The process may fork. SQLite records its locks in memory, and a child would take the parent's for its own. So a fork
waits for the running transaction, the connection is closed, and both processes open the file anew. If the fork would
wait too long, the child does not open the file at all.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from cloudbeds_auth.database.clone_guard import Counter
from cloudbeds_auth.database.sqlite_file import INHERITED, WRITE, SqliteFile
from cloudbeds_auth.errors import StoreUnavailable, VaultClosed
from cloudbeds_auth.ports import Wakeups
from cloudbeds_auth.threads import OwnThreads
from cloudbeds_auth.transactions.statements import Body, Instant

T = TypeVar("T")

READERS = 2  # connections that only read; each is opened when it is first used


class SqliteDriver:
    """Runs a file's transactions on a thread of its own, and opens the file anew in a child after `fork()`."""

    wakeups: Wakeups | None = None  # SQLite notifies no other process
    counter: Counter | None = None  # only of a database that is known to be this installation's

    def __init__(self, path: Path, instant: Callable[[], Instant], *, version: int | None = None) -> None:
        self._path = path
        self._new_file = partial(SqliteFile, path, instant, version=version)
        self._opened_by = 0
        self._closed = False
        self._left_behind: list[SqliteFile] = []
        self._file: SqliteFile
        self._thread: OwnThreads
        self._readers: list[SqliteFile] = []
        self._idle: SimpleQueue[SqliteFile]  # the readers that are not in use
        self._reading: OwnThreads | None = None  # the readers' threads, once there are any
        _drivers.add(self)

    async def read(self, body: Body[T]) -> T:
        """One consistent view; writers of other processes are not held up."""
        return await self._queued(lambda file: file.run(body, "BEGIN"))

    async def browse(self, body: Body[T]) -> T:
        """As `read`, but no other transaction waits for it. It sees everything that was committed before."""
        return await self._queued(partial(self._browse, body), aside=True)

    def _browse(self, body: Body[T], file: SqliteFile) -> T:
        if not file.logs_ahead:
            return file.run(body, "BEGIN")
        reader = self._idle.get()
        try:
            return reader.run(body, "BEGIN")
        finally:
            self._idle.put(reader)

    def _close_reader(self) -> None:
        self._idle.get().close()

    async def write(self, body: Body[T], *, synced: bool = True) -> T:
        """Committed when this returns and, if `synced`, synced to disk."""
        return await self._queued(partial(self._write, body, synced))

    def _write(self, body: Body[T], synced: bool, file: SqliteFile) -> T:
        counter = self.counter
        if counter is None or not synced or not counter.is_due():
            return file.run(body, WRITE, synced=synced)
        result, count = file.run(counter.counted(body), WRITE)
        counter.note(count)
        return result

    async def open(self) -> int:
        """Open or create the file, also after `close`; the schema found (0: none). Raises ConfigurationError."""
        self._closed = False
        return await self._queued(SqliteFile.open)

    async def close(self) -> None:
        """Wait for the transactions already requested, and close; later ones raise VaultClosed."""
        if self._opened_by == os.getpid() and not self._closed:
            self._closed, loop = True, asyncio.get_running_loop()
            if self._reading is not None:  # first: the last connection to close empties the log; a reader could not
                closing = (loop.run_in_executor(self._reading, self._close_reader) for _ in self._readers)
                await asyncio.gather(*closing)
                self._reading.shutdown()
            await loop.run_in_executor(self._thread, self._file.close)
            self._thread.shutdown()
            self._opened_by = 0
        self._closed = True

    def files_of_this_process(self) -> list[SqliteFile]:
        """The readers, which may wait for the file, and the file; none before the first transaction, after `close`, or
        in a child that has not used it yet.
        """
        return [*self._readers, self._file] if self._opened_by == os.getpid() else []

    def _queued(self, work: Callable[[SqliteFile], T], *, aside: bool = False) -> asyncio.Future[T]:
        """Run `work` in the order of the calls: nothing is done to the file after `SqliteFile.close`."""
        if self._closed:
            raise VaultClosed(f"the database at {self._path} was closed")
        try:
            if self._opened_by != os.getpid():
                self._begin_in_this_process()
            if aside and self._reading is None:
                self._reading = OwnThreads(READERS, "cloudbeds-auth-sqlite-reader")
            thread = self._reading if aside else self._thread
            return asyncio.get_running_loop().run_in_executor(thread, work, self._file)
        except RuntimeError as error:  # no thread can be started (F79)
            raise StoreUnavailable(f"the database at {self._path} cannot be used: {error}") from error

    def _begin_in_this_process(self) -> None:
        self._thread = OwnThreads(1, "cloudbeds-auth-sqlite")
        if self._opened_by:
            # Files that could not be closed before the fork are the parent's: closing one would drop this process's
            # locks.
            self._left_behind += [*self._readers, self._file]
        self._file, self._reading, self._idle = self._new_file(), None, SimpleQueue()
        self._readers = [self._new_file(beside=self._file) for _ in range(READERS)]
        for reader in self._readers:
            self._idle.put(reader)
        self._opened_by = os.getpid()


_drivers: weakref.WeakSet[SqliteDriver] = weakref.WeakSet()
_resting: list[SqliteFile] = []
_working: list[SqliteFile] = []  # those still in use during a fork


def _before_fork() -> None:
    for driver in list(_drivers):
        for file in driver.files_of_this_process():
            (_resting if file.suspend() else _working).append(file)


def _after_fork() -> None:
    while _resting:
        _resting.pop().wake()


def _in_the_parent() -> None:
    _working.clear()
    _after_fork()


def _in_the_child() -> None:
    INHERITED.update(file.path.resolve() for file in _working)
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_in_the_parent, after_in_child=_in_the_child)
