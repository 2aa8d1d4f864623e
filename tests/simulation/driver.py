"""A database driver of the simulation: the product's `SqliteFile`, each transaction run inline at a scheduled moment.

The machine may yield before and after each transaction, so that others come between; inside, `probe(point)` is told of
every statement, of the moment before COMMIT and after it, and may kill the machine there or raise an apsw error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import apsw
from tests.simulation.disk import NAME, vfs
from tests.simulation.durable import DATABASE

from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.store.sql.sqlite import BUSY_MILLISECONDS, SqliteFile
from cloudbeds_auth.store.sql.transactions import Body, Instant, Statement, Transaction

OLD_SQLITE = 3_050_000  # chooses the rollback journal: see `disk`
T = TypeVar("T")


class Killed(BaseException):
    """Unwinds a transaction of a machine that was killed inside it; nothing after it runs."""


class SimDriver:
    """`store.sql.driver.Driver` of one machine. `linger()` gives the seconds to wait around a transaction.

    `probe(point)`: see the module. `committed` is told after each COMMIT which statements it held.
    """

    def __init__(
        self,
        disk_name: str,
        machine: str,
        instant: Callable[[], Instant],
        linger: Callable[[], float],
        probe: Callable[[str, str], None],
        committed: Callable[[str, list[Statement]], None],
        alive: Callable[[str], bool],
    ) -> None:
        self.machine = machine
        self._linger, self._probe, self._committed, self._alive = linger, probe, committed, alive
        vfs()
        self.file = SqliteFile(Path(f"/{disk_name}/{DATABASE}"), instant, version=OLD_SQLITE, vfs=NAME)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open right now (I8)."""
        connection = self.file._connection
        return connection is not None and connection.in_transaction

    async def read(self, body: Body[T]) -> T:
        """As the port says."""
        return await self._run(body, "BEGIN", [])

    async def write(self, body: Body[T]) -> T:
        """As the port says."""
        return await self._run(body, "BEGIN IMMEDIATE", [])

    async def close(self) -> None:
        """As the port says."""
        self.file.close()

    async def _run(self, body: Body[T], begin: str, done: list[Statement]) -> T:
        await asyncio.sleep(self._linger())
        vfs().opener = self.machine
        try:
            result = self._inline(body, begin, done)
        except StoreUnavailable as error:
            busy = isinstance(error.__cause__, apsw.BusyError)
            await asyncio.sleep(BUSY_MILLISECONDS / 1000 if busy else self._linger())
            raise
        except Killed:
            await self.limbo()
            raise
        await asyncio.sleep(self._linger())
        return result

    def _inline(self, body: Body[T], begin: str, done: list[Statement]) -> T:
        try:
            result = self.file.run(self._watched(body, done), begin)
            if begin != "BEGIN":
                self._committed(self.machine, done)
                self._at(f"committed {_last(done)}")
        except BaseException:
            if not self._alive(self.machine):
                raise Killed from None
            raise
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

    async def limbo(self) -> None:
        """Where a killed machine's coroutine stays; its handles are never run again."""
        await asyncio.get_running_loop().create_future()


def _last(done: list[Statement]) -> str:
    """A transaction is called after its last statement that is not a line of history."""
    return next((one.name for one in reversed(done) if one.name not in {"add_event", "tokens", "set_due"}), "")
