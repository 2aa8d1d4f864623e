"""The disk of the simulation: what SQLite writes is pending until it is synced, and a power cut takes what it likes."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from tests.simulation.disk import NAME, Disk, Write, vfs
from tests.simulation.driver import OLD_SQLITE
from tests.simulation.durable import DATABASE, JOURNAL, connection_to

from cloudbeds_auth.database.sqlite_file import SqliteFile
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.transactions.statements import Instant, Transaction, query


def opened(disk: Disk, owner: str = "m1") -> SqliteFile:
    """The product's own file over this disk."""
    disk.attach("test")
    vfs().opener = owner
    file = SqliteFile(Path(f"/test/{DATABASE}"), lambda: Instant(0.0, 0.0, "b", "b"), version=OLD_SQLITE, vfs=NAME)
    file.open()
    return file


def put(now: Instant) -> Transaction[object]:
    return (yield from query("set_meta", name="mark", value="here"))


def mark(files: dict[str, bytes]) -> object:
    """What a fresh start finds."""
    connection = connection_to(files)
    found = connection.execute("SELECT value FROM meta WHERE name = 'mark'").get
    connection.close()
    return found


def test_a_commit_is_durable_when_it_returns() -> None:
    """The product's rollback journal with synchronous=EXTRA."""
    disk = Disk()
    file = opened(disk)
    file.run(put, "BEGIN IMMEDIATE")
    assert mark(disk.durable()) == "here"
    assert JOURNAL not in disk.durable()
    file.close()


def test_a_disk_that_lies_about_fsync_keeps_nothing() -> None:
    """The negative control of F12."""
    disk = Disk()
    file = opened(disk)
    disk.lying = True
    file.run(put, "BEGIN IMMEDIATE")
    assert mark({DATABASE: disk.durable()[DATABASE]}) is None
    file.close()


def test_a_commit_is_whole_or_not_at_all_wherever_power_fails() -> None:
    """Before each operation that changes the disk, with nothing and with everything un-synced kept."""
    disk = Disk()
    file = opened(disk)
    found: list[object] = []

    def hook(kind: str, name: str) -> None:
        opener = vfs().opener
        found.extend(mark(disk.left(keep)) for keep in ([], disk.unsynced()))
        vfs().opener = opener

    disk.hook = hook
    file.run(put, "BEGIN IMMEDIATE")
    assert set(found) == {None}  # until the journal is gone, it is rolled back
    assert mark(disk.durable()) == "here"
    disk.hook = lambda kind, name: None
    file.close()


def test_a_failing_operation_is_a_store_that_is_unavailable() -> None:
    """F57: rolled back, and the next attempt works."""
    disk = Disk()
    file = opened(disk)

    def full(kind: str, name: str) -> None:
        raise apsw.FullError("simulated")

    disk.hook = full
    with pytest.raises(StoreUnavailable):
        file.run(put, "BEGIN IMMEDIATE")
    disk.hook = lambda kind, name: None
    file.run(put, "BEGIN IMMEDIATE")
    assert mark(disk.durable()) == "here"
    file.close()


def test_a_killed_process_leaves_its_hot_journal_and_no_lock() -> None:
    """Another one opens the file, rolls back, and writes."""
    disk = Disk()
    dying = opened(disk)

    def kill(kind: str, name: str) -> None:
        if name == DATABASE:
            disk.abandon("m1")

    disk.hook = kill
    with pytest.raises(StoreUnavailable):
        dying.run(put, "BEGIN IMMEDIATE")
    disk.hook = lambda kind, name: None
    assert JOURNAL in disk.files
    heir = opened(disk, "m2")
    heir.run(put, "BEGIN IMMEDIATE")
    assert mark(disk.durable()) == "here"
    heir.close()


def test_a_torn_write_is_a_prefix() -> None:
    """Bytes behind the tear are what was there before."""
    disk = Disk()
    disk.become({"f": b"old old old"})
    disk.files["f"].pending.append(Write(0, b"new new new"))
    assert disk.left([("f", 0)], torn=3)["f"] == b"new old old"


def test_what_is_written_to_a_file_is_never_found_in_an_earlier_one_of_its_name() -> None:
    """Removed without a sync of its folder, and made again: a power cut leaves the earlier file, or the later one."""
    disk = Disk()
    first = disk.open("journal", "m1")
    first.xWrite(b"earlier", 0)
    first.xSync(0)
    disk.delete("journal", "m1", durable=False)
    second = disk.open("journal", "m1")
    second.xWrite(b"new", 0)
    assert disk.left([]) == {"journal": b"earlier"}
    assert disk.left([("journal", 0)]) == {"journal": b"new"}
