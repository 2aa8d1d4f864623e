"""Files and folders that are not as they should be: made private, or refused at the start (F59).

Permissions do not bind root: root tries a read-only mount (always in CI: test_disk.py) and a file of somebody else's,
an ordinary user a read-only file. Which of them ran is told by the tests' names; nothing here is skipped.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.crash import marks
from tests.crash.conftest import MakeLane
from tests.crash.disks import MOUNTS, read_only
from tests.crash.lane import Lane

pytestmark = pytest.mark.row("F59")
NOBODY = 65534


def at(database: Path) -> dict[str, str]:
    """The setting that names another database."""
    return {"CLOUDBEDS_AUTH_DATABASE_URL": f"sqlite:///{database}"}


def refused(held: Lane, settings: dict[str, str] | None = None) -> str:
    """The one error with which it does not start; nothing is sent."""
    after = held.last_entry()
    (error,) = held.do("call", 0, settings=settings).errors
    assert error.startswith("ConfigurationError")
    assert held.last_entry() == after
    return error


def key_of(held: Lane) -> Path:
    """The file with the encryption key."""
    return held.database.with_name(f"{held.database.name}.key")


def test_what_is_made_is_closed_to_others(make_lane: MakeLane) -> None:
    """The folder, the database, its log, its key, the admin token: for their owner alone, whatever the umask."""
    held = make_lane()
    database = held.made.folder / "new" / "hotels.sqlite3"
    opened = held.fork("check", victim=True, settings=at(database))
    assert opened.wait_for(marks.SERVED)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in database.parent.iterdir()}
    assert len(modes) >= 5
    assert set(modes.values()) == {0o600}, modes
    assert stat.S_IMODE(database.parent.stat().st_mode) == 0o700
    opened.kill()


def test_a_folder_that_anybody_may_write_to_is_refused(make_lane: MakeLane) -> None:
    """Whoever may replace files in it could replace the key: it does not start, and makes nothing there."""
    held = make_lane()
    folder = held.made.folder / "open"
    folder.mkdir()
    folder.chmod(0o777)
    assert "any user may replace files" in refused(held, at(folder / "hotels.sqlite3"))
    assert not list(folder.glob("*.key"))


def test_a_key_that_others_may_read_is_refused(make_lane: MakeLane) -> None:
    """It stops before anything is sent, and says which file."""
    held = make_lane()
    key_of(held).chmod(0o644)
    assert "hotels.sqlite3.key" in refused(held)


@contextmanager
def a_copy(held: Lane) -> Iterator[Path]:
    """The files of the database in a folder of their own; its database."""
    folder = held.made.folder / "copy"
    folder.mkdir(mode=0o700)
    for path in held.made.folder.glob("hotels.sqlite3*"):
        shutil.copy2(path, folder)
    yield folder / held.database.name
    folder.chmod(0o700)


if MOUNTS:

    def test_a_read_only_mount_stops_the_start(make_lane: MakeLane) -> None:
        """No write is possible: it does not start."""
        held = make_lane()
        with a_copy(held) as database, read_only(database.parent):
            refused(held, at(database))


if os.geteuid() == 0:

    def test_a_key_of_another_user_is_refused(make_lane: MakeLane) -> None:
        """Whoever owns it may change it: it does not start, and says how to make it ours."""
        held = make_lane()
        os.chown(key_of(held), NOBODY, NOBODY)
        assert "belongs to another user" in refused(held)

else:

    def test_a_read_only_file_stops_the_start(make_lane: MakeLane) -> None:
        """No write is possible: it does not start."""
        held = make_lane()
        with a_copy(held) as database:
            database.chmod(0o400)
            database.parent.chmod(0o500)
            refused(held, at(database))
