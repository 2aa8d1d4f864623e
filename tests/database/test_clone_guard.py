"""Whose database it is: the mark beside it, its inode, and the name given by hand."""

from __future__ import annotations

import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cloudbeds_auth.database import clone_guard
from cloudbeds_auth.database.sqlite import SqliteFile
from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.transactions.statements import Instant

MACHINE = "machine-1"


def database(path: Path) -> SqliteFile:
    """A database at this path."""
    return SqliteFile(path, lambda: Instant(1_800_000_000.0, 1.0, "boot"))


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
