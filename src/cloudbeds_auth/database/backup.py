"""A backup of a SQLite database while it is in use, by SQLite's own means.

What it holds is sealed: without the key it opens nothing. Restored, it is a copy (rule-16): read-only until adopted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw

from cloudbeds_auth.errors import ConfigurationError, StoreUnavailable

PAGES = 256  # of one step; writers of other processes go on between two
BUSY_MILLISECONDS = 5_000

Told = Callable[[str, int, int], None]
"""Called with the progress: what, how many are done, how many there are."""


def back_up(database: Path, to: Path, told: Told) -> None:
    """Copy `database` to the new file `to`, 0600 and synced; whole, or not there at all.

    Raises ConfigurationError when `to` is there already or cannot be made, StoreUnavailable when the database cannot be
    read.
    """
    part = to.with_name(f"{to.name}.part")
    try:
        if to.exists():
            raise ConfigurationError(f"{to} is there already", next_step="give the name of a new file")
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ConfigurationError(f"{part} cannot be made: {error.strerror}") from None
    try:
        _copy(database, part, told)
        part.rename(to)
        _sync(to.parent)
    except apsw.Error as error:
        raise StoreUnavailable(f"{database} cannot be copied: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _copy(database: Path, part: Path, told: Told) -> None:
    with (
        closing(apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)) as source,
        closing(apsw.Connection(str(part))) as copy,
    ):
        source.set_busy_timeout(BUSY_MILLISECONDS)
        with copy.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(PAGES)
                told("pages", backup.page_count - backup.remaining, backup.page_count)
        # One file by itself: a write-ahead log would be a second one to keep.
        copy.pragma("journal_mode", "delete")
        if (found := copy.execute("PRAGMA integrity_check").get) != "ok":
            raise apsw.CorruptError(str(found))
    _sync(part)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
