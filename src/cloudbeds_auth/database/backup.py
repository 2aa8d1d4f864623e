"""Backs up a SQLite database while it is in use, with SQLite's backup API. Values stay sealed: a backup is useless
without the encryption key. A restored backup is a copy (rule-16): read-only until adopted.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from cloudbeds_auth.database.bulk import Progress
from cloudbeds_auth.errors import ConfigurationError, StoreUnavailable
from cloudbeds_auth.os_files import sync

PAGES = 256  # per step; with a rollback journal, writers of other processes get their turn between steps
BUSY_MILLISECONDS = 5_000


def back_up(database: Path, to: Path, progress: Progress) -> None:
    """Copy `database` to the new file `to`, with mode 0600 and synced: complete, or not at all. What an earlier attempt
    left behind when it was killed is replaced.

    Raises ConfigurationError when `to` exists already or cannot be created, or while another backup writes to it;
    StoreUnavailable when the database cannot be read, or there is no room for the copy.
    """
    part = to.with_name(f"{to.name}.part")
    with _reserved(part, to):
        try:
            _copy_pages(database, part, progress)
            part.rename(to)
            sync(to.parent)
        except apsw.FullError as error:
            raise StoreUnavailable(
                f"there is no room for {to}", next_step="free some space there, or name a file elsewhere"
            ) from error
        except apsw.Error as error:
            raise StoreUnavailable(f"{database} cannot be copied: {error}") from error
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _reserved(part: Path, to: Path) -> Iterator[None]:
    """Hold the file `part`: empty, locked against other backups, and `to` does not exist. Raises ConfigurationError."""
    try:
        # Open until SQLite has closed its own handle: closing this one earlier would release SQLite's locks (fcntl(2)).
        # A pipe of this name is not waited for.
        file = os.open(part, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{part} cannot be created: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise ConfigurationError(f"{part} is not a file", next_step="remove it, or name another file")
        if not _locked(file, part):
            raise ConfigurationError(f"another backup is writing {part}", next_step="wait until it is done")
        if to.exists():
            part.unlink()
            raise ConfigurationError(f"{to} already exists", next_step="name a new file")
        os.ftruncate(file, 0)
        os.fchmod(file, 0o600)
        yield
    finally:
        os.close(file)


def _locked(file: int, part: Path) -> bool:
    """Whether we locked the open file, and it still has this name: another backup may have just finished and renamed
    it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file), part.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _copy_pages(database: Path, part: Path, progress: Progress) -> None:
    with (
        closing(apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)) as source,
        closing(apsw.Connection(str(part))) as copy,
    ):
        source.set_busy_timeout(BUSY_MILLISECONDS)
        copy.pragma("journal_mode", "off")  # the file is completed or deleted; a journal beside it could be left behind
        if source.pragma("journal_mode") == "wal":
            # One snapshot for all steps, for which no writer waits. Without it, each commit between two steps would
            # restart the copy, which would never end while the database is written to all the time.
            source.execute("BEGIN")
            source.execute("SELECT COUNT(*) FROM sqlite_schema").fetchall()
        with copy.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(PAGES)
                progress("pages", backup.page_count - backup.remaining, backup.page_count)
        # A single file: a write-ahead log would be a second one to keep.
        copy.pragma("journal_mode", "delete")
        # Without a count it is older than any database that has one, however soon it is written over that database.
        copy.execute("DELETE FROM meta WHERE name = 'count'")
        if (found := copy.execute("PRAGMA integrity_check").get) != "ok":
            raise apsw.CorruptError(str(found))
    sync(part)
