"""Marks over SQLite: inside the transaction that commits a pair, and at each sync of a rollback journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

import apsw
from tests.crash.marking import instead_of
from tests.crash.marks import STORING, SYNCING, Marker, watched

from cloudbeds_auth.database import durability, sqlite_file
from cloudbeds_auth.database.sqlite import SqliteDriver
from cloudbeds_auth.database.sqlite_file import SqliteFile
from cloudbeds_auth.transactions.statements import Body

T = TypeVar("T")

OLD_SQLITE = 3_051_002  # the product keeps a rollback journal on such a build, and that runs on a VFS in Python


def install(marker: Marker, *, old_sqlite: bool = False) -> None:
    """Make this process leave them."""
    instead_of(SqliteDriver, Driver)
    instead_of(SqliteFile, _file(marker))
    if old_sqlite:
        made = _vfs(marker)
        setattr(durability, "version_number", lambda: OLD_SQLITE)  # noqa: B010 - a test's hand in it
        setattr(sqlite_file, "apsw", _WithDefaultVfs(made))  # noqa: B010


class Driver(SqliteDriver):
    """Takes along to its thread which refresh a transaction belongs to."""

    def _queued(self, work: Callable[[SqliteFile], T], *, aside: bool = False) -> asyncio.Future[T]:
        context = copy_context()
        return super()._queued(lambda file: context.run(work, file), aside=aside)


def _file(marker: Marker) -> type[SqliteFile]:
    class File(SqliteFile):
        """Marks the transaction that commits a pair: begun, and about to be committed."""

        def _transaction(self, connection: apsw.Connection, body: Body[T], begin: str) -> T:
            return super()._transaction(connection, watched(marker, body), begin)

    return File


class _WithDefaultVfs:
    """The module `apsw`, whose connections go through another file system layer unless they name one."""

    def __init__(self, vfs: apsw.VFS) -> None:
        self._vfs = vfs

    def __getattr__(self, name: str) -> Any:
        return getattr(apsw, name)

    def Connection(self, path: str, vfs: str | None, **given: int) -> apsw.Connection:  # noqa: N802 - apsw's name
        return apsw.Connection(path, vfs=vfs or "crash-marks", **given)


def _vfs(marker: Marker) -> apsw.VFS:
    told = partial(_syncing, marker)

    class File(apsw.VFSFile):
        """Marks a sync that is due while a pair is committed: written, and not synced."""

        def __init__(self, name: Any, flags: list[int]) -> None:
            super().__init__("", name, flags)

        def xSync(self, flags: int) -> None:  # noqa: N802 - apsw's name
            told()
            super().xSync(flags)

    class Vfs(apsw.VFS):
        """The system's own, with those files."""

        def __init__(self) -> None:
            super().__init__("crash-marks", base="", iVersion=1)

        def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802 - apsw's name
            return File(name, flags)

    return Vfs()


def _syncing(marker: Marker) -> None:
    if STORING.get():
        marker.tell(SYNCING)
