"""Whose database it is (rule 16): the mark beside it, its inode, the machine, and the name given by hand."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from pathlib import Path

import apsw
import pytest
from tests.support.installation import silent
from tests.support.keys import KEY_TEXT

from cloudbeds_auth import os_files
from cloudbeds_auth.database import clone_guard, key_files, maintenance, opening
from cloudbeds_auth.database.sqlite_file import SqliteFile
from cloudbeds_auth.errors import ConfigurationError, StoreUnavailable
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.system import SystemClock
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.statements import Instant, Transaction, Tx, query, transaction

MACHINE = "machine-1"
OWNER = (65534, 65534) if os.geteuid() == 0 else (os.geteuid(), os.getegid())  # root alone gives files away


def database(path: Path) -> SqliteFile:
    """A database at this path."""
    return SqliteFile(path, lambda: Instant(1_800_000_000.0, 1.0, "boot", "boot"))


def is_own(file: SqliteFile, identity: clone_guard.Identity) -> bool:
    """Whether this database is that installation's."""
    return file.run(lambda now: clone_guard.recognise(now, identity), "BEGIN IMMEDIATE")


def test_a_new_database_is_claimed_and_known_again(tmp_path: Path) -> None:
    """The first start leaves a mark that only its owner reads; the next one finds it."""
    file = database(tmp_path / "a.sqlite3")
    file.open()
    first = clone_guard.identify(file.path, None, "ins_1", MACHINE)
    assert is_own(file, first)
    assert stat.S_IMODE(clone_guard.mark_file(file.path).stat().st_mode) == 0o600
    again = clone_guard.identify(file.path, None, "ins_2", MACHINE)
    assert again == first
    assert is_own(file, again)
    file.close()


@pytest.mark.parametrize("with_mark", [True, False], ids=["with its mark", "without its mark"])
def test_a_copy_is_not_ours_until_it_is_adopted(with_mark: bool, tmp_path: Path) -> None:
    """On the same machine, too: a copied file has another inode, and without the mark another name."""
    file = database(tmp_path / "a.sqlite3")
    file.open()
    assert is_own(file, clone_guard.identify(file.path, None, "ins_1", MACHINE))
    file.close()
    (tmp_path / "copy").mkdir()
    copy = database(tmp_path / "copy" / "a.sqlite3")
    shutil.copy(file.path, copy.path)
    if with_mark:
        shutil.copy(clone_guard.mark_file(file.path), clone_guard.mark_file(copy.path))
    identity = clone_guard.identify(copy.path, None, "ins_2", MACHINE)
    assert not is_own(copy, identity)
    copy.run(lambda now: clone_guard.adopt(now, identity), "BEGIN IMMEDIATE")
    assert is_own(copy, clone_guard.identify(copy.path, None, "ins_3", MACHINE))
    copy.close()


def test_a_name_by_hand(tmp_path: Path) -> None:
    """The same name vouches for a restored file; another name does not."""
    file = database(tmp_path / "a.sqlite3")
    file.open()
    assert is_own(file, clone_guard.identify(file.path, "front-office", "unused", MACHINE))
    file.close()
    restored = database(tmp_path / "b.sqlite3")
    shutil.copy(file.path, restored.path)
    assert not is_own(restored, clone_guard.identify(restored.path, "back-office", "unused", MACHINE))
    assert is_own(restored, clone_guard.identify(restored.path, "front-office", "unused", MACHINE))
    assert not clone_guard.mark_file(restored.path).exists()
    restored.close()


def test_starting_together(tmp_path: Path) -> None:
    """Of many first starts at once all read the same mark, and none finds itself a copy."""
    file = database(tmp_path / "a.sqlite3")
    file.open()
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda number: clone_guard.identify(file.path, None, f"ins_{number}", MACHINE), range(32))
        )
    assert len(set(found)) == 1
    file.close()


def test_a_mark_that_cannot_be_read(tmp_path: Path) -> None:
    """A folder in its place: the start is refused, naming the file and the setting."""
    file = database(tmp_path / "a.sqlite3")
    file.open()
    clone_guard.mark_file(file.path).mkdir()
    with pytest.raises(ConfigurationError, match="instance") as refused:
        clone_guard.identify(file.path, None, "ins_1", MACHINE)
    assert "CLOUDBEDS_AUTH_INSTANCE" in refused.value.next_step
    file.close()


# --- the same disk under another device number, on another machine, or both


HERE, ELSEWHERE = "machine-1", "machine-2"


class Disk:
    """An installation's database, and what the system says of the disk and the machine when it is opened."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = folder / "hotels.sqlite3"
        self._monkeypatch = monkeypatch
        self.settings = Settings(
            database_url=f"sqlite:///{self.path}",
            encryption_keys=(Secret(KEY_TEXT),),
            admin_token=Secret("an-admin-token-of-more-than-32-characters"),
        )

    async def is_own(self, machine: str = HERE) -> bool:
        """Whether a process on this machine that opens it may write."""
        self._monkeypatch.setattr(os_files, "machine_id", lambda: machine)
        store = await opening.open_database(self.settings)
        await store.close()
        return not store.read_only

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Database]:
        """As one process has it open."""
        store = await opening.open_database(self.settings)
        try:
            yield store
        finally:
            await store.close()

    def attached_before_as(self, *, device: int | None = None, inode: int | None = None) -> None:
        """What was written down of it: as if the disk had had another device number, or the file another inode."""
        status = self.path.stat()
        self.note("place", f"{device or status.st_dev}:{inode or status.st_ino}")

    def noted(self, name: str) -> str | None:
        """What is written down."""
        with closing(apsw.Connection(str(self.path))) as connection:
            found: str | None = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).get
            return found

    def note(self, name: str, value: str | None) -> None:
        """Write something else down; None: nothing."""
        with closing(apsw.Connection(str(self.path))) as connection:
            connection.execute("DELETE FROM meta WHERE name = ?", (name,))
            if value is not None:
                connection.execute("INSERT INTO meta (name, value) VALUES (?, ?)", (name, value))


@pytest.fixture
async def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A database that this installation has opened once."""
    made = Disk(tmp_path, monkeypatch)
    assert await made.is_own()
    return made


@pytest.mark.row("F91")
async def test_another_device_number(disk: Disk) -> None:
    """Same mark, same inode, same machine: its own, also the next time and under one more number."""
    for device in (7, 8):
        disk.attached_before_as(device=device)
        assert await disk.is_own()
        assert await disk.is_own()


@pytest.mark.row("F91")
async def test_one_change_after_the_other(disk: Disk) -> None:
    """Another device number, and at a later start another machine id: what is written down follows each of them."""
    disk.attached_before_as(device=7)
    assert await disk.is_own(HERE)
    assert await disk.is_own(ELSEWHERE)
    disk.attached_before_as(device=8)
    assert await disk.is_own(ELSEWHERE)


@pytest.mark.row("F91")
async def test_another_machine(disk: Disk) -> None:
    """Same mark, same inode, same device number under a new machine id: its own."""
    assert await disk.is_own(ELSEWHERE)


async def test_both_changed(disk: Disk) -> None:
    """Another device number on another machine: a copy, whatever the mark says, until it is back or adopted."""
    disk.attached_before_as(device=7)
    assert not await disk.is_own(ELSEWHERE)
    assert await disk.is_own(HERE)


async def test_another_inode(disk: Disk) -> None:
    """A copied file has another inode: on the same disk of the same machine it is a copy all the same."""
    disk.attached_before_as(inode=7)
    assert not await disk.is_own()


@pytest.mark.row("F91")
async def test_a_mark_from_before(disk: Disk) -> None:
    """Written when only the device number was noted: its own under that number, and its machine is known then."""
    disk.note("machine", None)
    assert await disk.is_own()
    disk.attached_before_as(device=7)
    assert await disk.is_own()


async def test_a_mark_from_before_under_another_number(disk: Disk) -> None:
    """Nothing else is known of it: a copy."""
    disk.note("machine", None)
    disk.attached_before_as(device=7)
    assert not await disk.is_own()


async def test_machines_without_an_id(disk: Disk) -> None:
    """Two machines that say nothing of themselves are not taken for one; what was known of one is kept."""
    assert await disk.is_own("")
    disk.attached_before_as(device=7)
    assert not await disk.is_own("")
    assert await disk.is_own(HERE)
    disk.note("machine", "")
    disk.attached_before_as(device=7)
    assert not await disk.is_own("")


# --- an older state in the place of the file


class Killed(Exception):
    """The process ends here."""


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of a clock that stands still until it is set."""
    found = [1.0]
    monkeypatch.setattr(SystemClock, "steady", lambda _: found[0])
    return found


def counts(disk: Disk) -> tuple[int, int]:
    """That of the database and that of the mark file."""
    return int(disk.noted("count") or 0), clone_guard.read_mark(clone_guard.mark_file(disk.path))[1]


@pytest.mark.row("F111")
async def test_counting_once_a_minute(disk: Disk, steady: list[float]) -> None:
    """With the first transaction that is synced, then with the first one a minute later; each process for itself."""
    async with disk.opened() as one, disk.opened() as other:
        assert counts(disk) == (0, 0), "opening writes nothing"
        await one.write(noted("turn"), synced=False)
        assert counts(disk) == (0, 0)
        for _ in range(3):
            await one.write(noted("first"))
        assert counts(disk) == (1, 1)
        await other.write(noted("second"))
        assert counts(disk) == (2, 2)
        steady[0] += clone_guard.COUNTED_EVERY
        await one.write(noted("third"))
        assert counts(disk) == (3, 3)
        assert disk.noted("third") == "written"
    assert await disk.is_own()


@pytest.mark.row("F59")
async def test_a_command_that_root_runs(disk: Disk) -> None:
    """Every file beside the database belongs to the database's owner afterwards, whose service has to read it."""
    for path in disk.path.parent.iterdir():
        os.chown(path, *OWNER)
    clone_guard.mark_file(disk.path).unlink()
    settings = disk.settings.model_copy(update={"encryption_keys": (), "admin_token": None})
    key_files.ensure_admin_token(settings)
    key_files.load_keys(settings, database_has_rows=False)
    async with disk.opened():
        made = {path.name for path in disk.path.parent.iterdir()}
    assert {"hotels.sqlite3.instance", "hotels.sqlite3.key", "hotels.sqlite3.admin-token"} < made
    assert _strangers(disk) == []
    disk.note("instance", None)
    async with disk.opened() as store:
        await store.write(noted("by root"))
        assert counts(disk) == (1, 1)
        assert _strangers(disk) == []


def _strangers(disk: Disk) -> list[str]:
    """The files in the database's folder that are somebody else's than `OWNER`."""
    return [path.name for path in disk.path.parent.iterdir() if (path.stat().st_uid, path.stat().st_gid) != OWNER]


@pytest.mark.row("F111")
@pytest.mark.parametrize("crash", ["before the commit", "after the commit"])
async def test_killed_while_counting(disk: Disk, monkeypatch: pytest.MonkeyPatch, crash: str) -> None:
    """The mark file is never ahead of its own database: it is this installation's at the next start, and counts on."""
    async with disk.opened() as store:
        await store.write(noted("before"))
    async with disk.opened() as store:
        with monkeypatch.context() as patch:
            if crash == "after the commit":
                patch.setattr(clone_guard, "write_private", _killed)
            else:
                patch.setattr(clone_guard.Counter, "counted", lambda _, body: _rolled_back)
            with pytest.raises(Killed):
                await store.write(noted("late"))
    assert counts(disk) == ((2, 1) if crash == "after the commit" else (1, 1))
    assert await disk.is_own()
    async with disk.opened() as store:
        await store.write(noted("after"))
    assert counts(disk)[0] == counts(disk)[1]


@pytest.mark.row("F111")
async def test_an_older_file_in_its_place(disk: Disk) -> None:
    """Not its own until adopted; then it counts from where its mark file is."""
    async with disk.opened() as store:
        await store.write(noted("before"))
    older = disk.path.read_bytes()
    async with disk.opened() as store:
        await store.write(noted("later"))
    newer = disk.path.read_bytes()
    disk.path.write_bytes(older)
    assert not await disk.is_own()
    assert counts(disk) == (1, 2), "a copy does not count"
    disk.path.write_bytes(newer)
    assert await disk.is_own(), "put back, it is what it was"
    disk.path.write_bytes(older)
    await maintenance.adopt(disk.settings, silent)
    assert counts(disk) == (2, 2)
    assert await disk.is_own()


@pytest.mark.row("F111")
async def test_an_older_file_in_the_place_of_an_open_one(disk: Disk, steady: list[float]) -> None:
    """Noticed within a minute by a process that has it open, with the first transaction that counts; it is undone."""
    async with disk.opened() as store:
        await store.write(noted("before"))
        disk.note("count", "0")  # as an older one has it; SQLite would find a file that is written over broken
        steady[0] += clone_guard.COUNTED_EVERY
        with pytest.raises(StoreUnavailable, match="replaced by an older one"):
            await store.write(noted("late"))
        assert disk.noted("late") is None
    assert not await disk.is_own()


@pytest.mark.row("F111")
async def test_a_mark_file_that_cannot_be_written(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, or a folder without rights: what is written is committed all the same, and the database is ahead."""
    async with disk.opened() as store:
        with monkeypatch.context() as patch:
            patch.setattr(clone_guard, "write_private", _full)
            await store.write(noted("written"))
        assert disk.noted("written") == "written"
        assert counts(disk) == (1, 0)
    assert await disk.is_own()


async def test_a_named_installation_counts_nothing(disk: Disk) -> None:
    """Its name decides alone: an older file in its place is its own, as was asked for."""
    named = disk.settings.model_copy(update={"instance": disk.noted("instance")})
    async with disk.opened() as store:
        await store.write(noted("before"))
    disk.note("count", None)
    store = await opening.open_database(named)
    await store.write(noted("named"))
    await store.close()
    assert not store.read_only
    assert counts(disk) == (0, 1)


@transaction
def noted(tx: Tx, name: str) -> Transaction[None]:
    """Something is written."""
    yield from query("set_meta", name=name, value="written")


def _rolled_back(now: Instant) -> Transaction[tuple[None, int]]:
    yield from query("set_meta", name="count", value="2")
    raise Killed


def _killed(*args: object, **parts: object) -> None:
    raise Killed


def _full(*args: object, **parts: object) -> None:
    raise OSError(28, "No space left on device")
