"""The same disk under another device number, on another machine, or both: whose database it is then (rule 16)."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw
import pytest
from tests.support.keys import KEY_TEXT

from cloudbeds_auth import os_files
from cloudbeds_auth.database import opening
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Settings

HERE, ELSEWHERE = "machine-1", "machine-2"


class Disk:
    """An installation's database, and what the system says of the disk and the machine when it is opened."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._path = folder / "hotels.sqlite3"
        self._monkeypatch = monkeypatch
        self._settings = Settings(
            database_url=f"sqlite:///{self._path}",
            encryption_keys=(Secret(KEY_TEXT),),
            admin_token=Secret("an-admin-token-of-more-than-32-characters"),
        )

    async def is_own(self, machine: str = HERE) -> bool:
        """Whether a process on this machine that opens it may write."""
        self._monkeypatch.setattr(os_files, "machine_id", lambda: machine)
        store = await opening.open_database(self._settings)
        await store.close()
        return not store.read_only

    def attached_before_as(self, *, device: int | None = None, inode: int | None = None) -> None:
        """What was written down of it: as if the disk had had another device number, or the file another inode."""
        status = self._path.stat()
        self.note("place", f"{device or status.st_dev}:{inode or status.st_ino}")

    def noted(self, name: str) -> str | None:
        """What is written down."""
        with closing(apsw.Connection(str(self._path))) as connection:
            found: str | None = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).get
            return found

    def note(self, name: str, value: str | None) -> None:
        """Write something else down; None: nothing."""
        with closing(apsw.Connection(str(self._path))) as connection:
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
