"""The database file, taken away while it is open (F58)."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.crash import marks
from tests.crash.conftest import MakeLane
from tests.crash.lane import Lane


def delete(database: Path) -> None:
    """The file and its log are gone."""
    for path in (database, *_logs(database)):
        path.unlink(missing_ok=True)


def replace(database: Path) -> None:
    """Another file, with the same content, has its name."""
    other = database.with_name("other")
    shutil.copy2(database, other)
    other.replace(database)


def truncate(database: Path) -> None:
    """Nothing is in it any more."""
    os.truncate(database, 0)


def _logs(database: Path) -> list[Path]:
    return [database.with_name(f"{database.name}{suffix}") for suffix in ("-wal", "-shm")]


def _rest(held: Lane) -> Path:
    """A copy of the database at rest."""
    held.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = held.database.with_name("copy")
    shutil.copy2(held.database, copy)
    return copy


@pytest.mark.parametrize("harm", [delete, replace, truncate])
@pytest.mark.parametrize("mark", [marks.LEASED, pytest.param(marks.OPEN, marks=pytest.mark.long)])
@pytest.mark.row("F58")
def test_a_file_that_is_taken_away_is_noticed(harm: Callable[[Path], None], mark: str, make_lane: MakeLane) -> None:
    """Nothing is sent, no empty database is made in its place, and with the file back everything goes on."""
    held = make_lane()
    held.settled()
    held.end_tokens()
    copy = _rest(held)
    after = held.last_entry()
    caller = held.fork("call", 0, stop_at=mark)
    caller.stopped()
    harm(held.database)
    caller.signal(signal.SIGCONT)
    report = caller.end()
    assert report is not None
    assert report.statuses == []
    assert [error.split(":")[0] for error in report.errors][:1] == ["StoreUnavailable"]
    assert not held.refreshes(after)
    assert held.database.exists() is (harm is not delete)
    delete(held.database)
    copy.replace(held.database)
    # Restored from a copy, which whoever restores it vouches for (rule 16).
    name = held.database.with_name(f"{held.database.name}.instance").read_text("ascii").split()[0]
    held.served(settings={"CLOUDBEDS_AUTH_INSTANCE": name})


@pytest.mark.row("F58")
def test_a_file_taken_away_with_the_pair_in_hand(make_lane: MakeLane) -> None:
    """The commit waits; with the same file back it is made, and nothing is asked twice."""
    held = make_lane()
    generation = held.settled()["generation"]
    held.end_tokens()
    after = held.last_entry()
    caller = held.fork("call", 0, stop_at=marks.PARSED)
    caller.stopped()
    away = held.database.with_name("away")
    held.database.rename(away)
    caller.signal(signal.SIGCONT)
    assert caller.wait_for(marks.WAITING)
    assert not held.database.exists()
    away.rename(held.database)
    assert caller.end() is not None
    assert held.row()["generation"] == generation + 1
    held.served()
    assert len(held.refreshes(after)) == 1
