"""Copies of a database, sealed as it is stored: without the key they open nothing.

A backup is made of a SQLite database while it is in use, by SQLite's own means. Restored, it is a copy (rule-16):
read-only until adopted. Moving to another server copies everything, so that the two never both refresh (F74):

    latch the source     no grant of it is refreshed any more; what is under way commits first
    copy                 table by table, in the order in which rows refer to each other
    close the source     a pair that still comes in is dropped unused, so its parent, which was copied, works on
    open the target      it is this installation's from now on

Each step may be killed and the whole repeated: until the last the target is read-only, and is filled from the start.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import apsw

from cloudbeds_auth.database import clone_guard
from cloudbeds_auth.errors import ConfigurationError, StoreUnavailable
from cloudbeds_auth.os_files import sync
from cloudbeds_auth.transactions.roles import show
from cloudbeds_auth.transactions.runner import Driver
from cloudbeds_auth.transactions.statements import Instant, Row, Rows, Statement, Transaction, query, query_one

PAGES = 256  # of one step; over the rollback journal, writers of other processes go on between two
BUSY_MILLISECONDS = 5_000
CHUNK = 500  # rows of one transaction
LEASES = 60.0  # seconds that refreshes under way get to end
LOOK_AGAIN = 0.2
COPYING = "copying"  # the target's owner until it is whole: no installation, so it is read-only

TABLES: dict[str, tuple[str, ...]] = {
    "apps": ("name",),
    "connections": ("id",),
    "grants": ("id",),
    "tokens": ("grant_id", "position"),
    "properties": ("grant_id", "property_id"),
    "links": ("hash",),
    "authorizations": ("id",),
    "circuits": ("app", "fingerprint"),
    "events": ("connection_id", "sequence"),
    "calls": ("connection_id", "span", "first_us", "generation", "line"),
    "budgets": ("client_id",),
    "issuers": ("app",),
    "outbox": ("id",),
}
"""Every table but `meta`, with its key; what refers to another table comes after it."""

Progress = Callable[[str, int, int], None]
"""Called with the progress: of what (which table), how many are done, how many there are."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two databases, and what this installation is known by there."""

    driver: Driver
    identity: clone_guard.Identity
    name: str


async def copy(
    source: Side, target: Side, progress: Progress, pause: Callable[[float], Awaitable[None]]
) -> dict[str, int]:
    """Move everything from `source` to `target`; rows copied, by table. Raises ConfigurationError.

    Repeating it after it was done copies nothing. `pause` waits so many seconds.
    """
    if not await source.driver.read(partial(_is_ours, identity=source.identity, target=target.name)):
        raise ConfigurationError(
            f"{source.name} is a copy of another installation's database, or was moved elsewhere",
            next_step="copy from the original, or run `cloudbeds-auth database adopt` if it is gone for good",
        )
    if await target.driver.read(partial(_copied_from, source=source.name)):
        return {}
    await target.driver.write(partial(_clear, source=source.name))
    await source.driver.write(lambda now: query("latch_all"))
    await _until_nothing_is_under_way(source, pause)
    copied = {table: await _copy_table(table, source, target, progress) for table in TABLES}
    await source.driver.write(partial(_close, target=target.name))
    canary = await source.driver.read(lambda now: query_one("meta", name="key_canary"))
    await target.driver.write(partial(_open, identity=target.identity, canary=canary))
    return copied


def _is_ours(now: Instant, *, identity: clone_guard.Identity, target: str) -> Transaction[bool]:
    """Whether the source is this installation's own, or was moved by an earlier try to this very target."""
    moved = yield from query_one("meta", name="moved_to")
    if moved is not None:
        return bool(moved["value"] == target)
    return (yield from clone_guard.is_own(now, identity))


def _copied_from(now: Instant, *, source: str) -> Transaction[bool]:
    """Whether the copy was finished before. Raises ConfigurationError when the target holds other connections."""
    begun = yield from query_one("meta", name="copy_of")
    held = yield from query_one("meta", name="instance")
    if begun is not None and begun["value"] == source:
        return held is None or held["value"] != COPYING
    if (yield from _rows("connections", (), now)):
        raise ConfigurationError(
            "the target holds connections of its own", next_step="give the URL of an empty database"
        )
    return False


def _clear(now: Instant, *, source: str) -> Transaction[None]:
    """Make the target empty, and owned by no installation: an earlier try may have left a part."""
    yield from query("set_meta", name="copy_of", value=source)
    for name in ("instance", "place"):
        yield from query("set_meta", name=name, value=COPYING)
    for table in reversed(TABLES):
        yield Statement(f"clear_{table}", f"DELETE FROM {table}", {})  # noqa: S608 - our own names


async def _until_nothing_is_under_way(source: Side, pause: Callable[[float], Awaitable[None]]) -> None:
    """A refresh that began before the latch commits first, or its lease runs out."""
    waited = 0.0
    while await source.driver.read(_held) and waited < LEASES:
        await pause(LOOK_AGAIN)
        waited += LOOK_AGAIN


def _held(now: Instant) -> Transaction[bool]:
    row = yield from query_one("held_leases", now=now.steady, clock_id=now.clock_id)
    return row is not None and row["held"] > 0


async def _copy_table(table: str, source: Side, target: Side, progress: Progress) -> int:
    counted = await source.driver.read(lambda now: _count(table))
    done = 0
    after: tuple[object, ...] = ()
    progress(table, done, counted)
    while rows := await source.driver.read(partial(_rows, table, after)):
        await target.driver.write(partial(_insert, table, rows))
        after = tuple(rows[-1][column] for column in TABLES[table])
        done += len(rows)
        progress(table, done, counted)
    return done


def _count(table: str) -> Transaction[int]:
    (row,) = yield Statement(f"count_{table}", f"SELECT COUNT(*) AS rows FROM {table}", {})  # noqa: S608
    number: int = row["rows"]
    return number


def _rows(table: str, after: tuple[object, ...], now: Instant) -> Transaction[Rows]:
    """The next rows by key."""
    keys = TABLES[table]
    listed = ", ".join(keys)
    where = f"WHERE ({listed}) > ({', '.join(f':{key}' for key in keys)})" if after else ""
    sql = f"SELECT * FROM {table} {where} ORDER BY {listed} LIMIT {CHUNK}"  # noqa: S608
    return (yield Statement(f"page_{table}", sql, dict(zip(keys, after, strict=False))))


def _insert(table: str, rows: Sequence[Row], now: Instant) -> Transaction[None]:
    for row in rows:
        values = {**row, "latched": row["latched"] % 2} if table == "grants" else row
        columns = ", ".join(values)
        marks = ", ".join(f":{column}" for column in values)
        yield Statement(f"insert_{table}", f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)  # noqa: S608
    if table == "grants":  # rows that were read at different moments may have two marks of one connection
        yield from show(*{row["connection_id"] for row in rows})


def _close(now: Instant, *, target: str) -> Transaction[None]:
    """Nothing is committed here any more: a pair that a process has not committed yet is dropped unused."""
    yield from query("move_out")
    yield from query("set_meta", name="moved_to", value=target)
    yield from query("set_meta", name="instance", value=f"moved to {target}")


def _open(now: Instant, *, identity: clone_guard.Identity, canary: Row | None) -> Transaction[None]:
    if canary is not None:
        yield from query("set_meta", name="key_canary", value=canary["value"])
    yield from clone_guard.adopt(now, identity)


# --- a backup of one file


def back_up(database: Path, to: Path, progress: Progress) -> None:
    """Copy `database` to the new file `to`, 0600 and synced; whole, or not there at all. What an earlier try that was
    killed left beside it is replaced.

    Raises ConfigurationError when `to` is there already or cannot be made, or while another backup to it runs;
    StoreUnavailable when the database cannot be read.
    """
    part = to.with_name(f"{to.name}.part")
    with _reserved(part, to):
        try:
            _copy_pages(database, part, progress)
            part.rename(to)
            sync(to.parent)
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
        if (found := copy.execute("PRAGMA integrity_check").get) != "ok":
            raise apsw.CorruptError(str(found))
    sync(part)
