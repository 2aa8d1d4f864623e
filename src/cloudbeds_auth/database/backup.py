"""A backup of a SQLite database while it is in use, by SQLite's own means, sealed as it is stored: without the key it
opens nothing. Restored, it is a copy (rule-16): read-only until adopted.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from cloudbeds_auth.database.bulk import Progress
from cloudbeds_auth.errors import ConfigurationError, StoreUnavailable
from cloudbeds_auth.os_files import sync

PAGES = 256  # of one step; over the rollback journal, writers of other processes go on between two
BUSY_MILLISECONDS = 5_000


def back_up(database: Path, to: Path, progress: Progress) -> None:
    """Copy `database` to the new file `to`, 0600 and synced; whole, or not there at all. What an earlier try that was
    killed left beside it is replaced.

    Raises ConfigurationError when `to` is there already or cannot be made, or while another backup to it runs;
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
                f"there is no room for {to}", next_step="make room there, or give the name of a file elsewhere"
            ) from error
        except apsw.Error as error:
            raise StoreUnavailable(f"{database} cannot be copied: {error}") from error
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _reserved(part: Path, to: Path) -> Iterator[None]:
    """The file `part`, empty, and meanwhile no other backup's; `to` is not there. Raises ConfigurationError."""
    try:
        # Open until SQLite has closed its own: to close it earlier would end SQLite's locks (fcntl(2)).
        file = os.open(part, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{part} cannot be made: {error.strerror}") from None
    try:
        if not _locked(file, part):
            raise ConfigurationError(f"another backup writes {part}", next_step="wait until it is done")
        if to.exists():
            part.unlink()
            raise ConfigurationError(f"{to} is there already", next_step="give the name of a new file")
        os.ftruncate(file, 0)
        os.fchmod(file, 0o600)
        yield
    finally:
        os.close(file)


def _locked(file: int, part: Path) -> bool:
    """Whether the open file is ours, and still has this name: another backup may have ended since, and renamed it."""
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
        copy.pragma("journal_mode", "off")  # of a file that is whole or deleted; what would be beside it is forgotten
        if source.pragma("journal_mode") == "wal":
            # One snapshot for all steps, and no writer waits for it. Between two without it each commit would begin the
            # copy anew: of a database that is written to all the time it would never end.
            source.execute("BEGIN")
            source.execute("SELECT COUNT(*) FROM sqlite_schema").fetchall()
        with copy.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(PAGES)
                progress("pages", backup.page_count - backup.remaining, backup.page_count)
        # One file by itself: a write-ahead log would be a second one to keep.
        copy.pragma("journal_mode", "delete")
        # Older than any database that has counted, however soon it is written over that.
        copy.execute("DELETE FROM meta WHERE name = 'count'")
        if (found := copy.execute("PRAGMA integrity_check").get) != "ok":
            raise apsw.CorruptError(str(found))
    sync(part)
