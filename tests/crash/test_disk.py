"""Locked or full: what stands in the way of a write, before the intent and with a pair in hand.

A really full disk is tried where this user may mount, and always as root in CI. Nothing here is skipped.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from tests.acceptance.processes import PATIENCE, world
from tests.crash import marks
from tests.crash.conftest import HASTY, LaneOf, variants
from tests.crash.disks import MOUNTS, fill, small_disk
from tests.crash.lane import Lane, beside
from tests.crash.nursery import Child

from cloudbeds_auth.database.backup import back_up
from cloudbeds_auth.errors import StoreUnavailable

pytestmark = pytest.mark.long

# What a statement waits (milliseconds), how long another program holds the database (seconds), the deadline: in
# proportion, and as they are in production.
LOCKS = pytest.mark.parametrize(
    ("busy", "held_for", "deadline"),
    [(60, 0.4, "2"), pytest.param(5_000, 30.0, "20", marks=pytest.mark.long, id="30-seconds")],
)
TIMEOUT = "CLOUDBEDS_AUTH_TOKEN_TIMEOUT"
VARIANTS = variants("V2/n", "V0/n")


def kinds(errors: list[str]) -> list[str]:
    """The names of the errors."""
    return [error.split(":")[0] for error in errors]


def locked_by_another(held: Lane) -> Child:
    """Another process, inside BEGIN EXCLUSIVE."""
    locker = held.fork("lock")
    assert locker.wait_for(marks.OPEN)
    return locker


def accepted(entries: list[dict[str, object]]) -> list[object]:
    """The pairs whose access token was used, by the vendor's count."""
    return [entry["ordinal"] for entry in entries if entry["outcome"] == "accepted"]


@LOCKS
@VARIANTS
@pytest.mark.row("F55")
def test_locked_before_the_intent_nothing_is_sent(
    variant: str, busy: int, held_for: float, deadline: str, lane_of: LaneOf
) -> None:
    """Longer than a statement waits: 503 store_unavailable, no refresh at the vendor; a later call heals."""
    held = lane_of(variant)
    held.settled()
    held.end_tokens()
    after = held.last_entry()
    caller = held.fork("call", 0, stop_at=marks.LEASED, busy_milliseconds=busy, settings={TIMEOUT: deadline})
    caller.stopped()
    locker = locked_by_another(held)
    caller.signal(signal.SIGCONT)
    time.sleep(held_for)
    report = caller.end()
    assert report is not None
    assert (report.statuses, kinds(report.errors)) == ([], ["StoreUnavailable"])
    assert not held.refreshes(after)
    locker.kill()
    held.served()
    assert len(held.refreshes(after)) == 1


@LOCKS
@VARIANTS
@pytest.mark.row("F55")
def test_locked_with_the_pair_in_hand_it_waits_unused(
    variant: str, busy: int, held_for: float, deadline: str, lane_of: LaneOf
) -> None:
    """The commit is tried again for as long as it takes; the token is used by nobody before; one refresh."""
    held = lane_of(variant)
    generation = held.settled()["generation"]
    held.end_tokens()
    after = held.last_entry()
    caller = held.fork("call", 0, stop_at=marks.PARSED, busy_milliseconds=busy, settings={TIMEOUT: deadline})
    caller.stopped()
    locker = locked_by_another(held)
    caller.signal(signal.SIGCONT)
    time.sleep(held_for)
    assert caller.wait_for(marks.WAITING)
    assert held.row()["generation"] == generation
    assert not accepted(held.journal(after))
    locker.kill()
    _heals_with_one_refresh(held, caller, generation, after)


def _heals_with_one_refresh(held: Lane, caller: Child, generation: int, after: int) -> None:
    """The caller may have given up waiting; the pair is committed all the same, and nothing is asked twice."""
    report = caller.end()
    assert report is not None
    assert report.statuses == [200] or kinds(report.errors) == ["RefreshPending"], report
    assert held.row()["generation"] == generation + 1
    held.served()
    assert [entry["outcome"] for entry in held.refreshes(after)] == ["issued"]


@VARIANTS
@pytest.mark.row("F56")
def test_full_before_the_intent_no_refresh_is_sent(variant: str, lane_of: LaneOf) -> None:
    """A refresh fails before anything is sent; the stored token stays usable, and the next process refreshes."""
    held = lane_of(variant)
    generation = held.settled()["generation"]
    after = held.last_entry()
    report = held.do("refresh+call", 0, full_at=marks.LEASED)
    assert report.statuses == [200]
    assert kinds(report.errors)[:1] == ["StoreUnavailable"]
    assert not held.refreshes(after)
    assert held.row()["generation"] == generation
    held.end_tokens()
    held.served()


@VARIANTS
@pytest.mark.row("F57")
def test_full_at_the_commit_the_pair_waits(variant: str, lane_of: LaneOf) -> None:
    """The pair stays in memory, unused, and is committed when there is room again; one refresh."""
    held = lane_of(variant)
    generation = held.settled()["generation"]
    held.end_tokens()
    after = held.last_entry()
    caller = held.fork("call", 0, full_at=marks.PARSED)
    assert caller.wait_for(marks.WAITING)
    assert held.row()["generation"] == generation
    assert not accepted(held.journal(after))
    caller.signal(signal.SIGUSR1)
    _heals_with_one_refresh(held, caller, generation, after)


@VARIANTS
@pytest.mark.row("F57")
def test_killed_while_the_pair_waits_the_parent_heals(variant: str, lane_of: LaneOf) -> None:
    """The pair dies with the process that held it; the stored parent is accepted."""
    held = lane_of(variant)
    held.settled()
    held.end_tokens()
    victim = held.fork("call", 0, full_at=marks.PARSED, settings=HASTY)
    assert victim.wait_for(marks.WAITING)
    victim.kill()
    held.served()


@pytest.mark.row("F57")
def test_a_full_disk_is_not_ready(lane_of: LaneOf) -> None:
    """The check behind readiness makes a real write, and says that it failed."""
    assert kinds(lane_of("V2/n").do("check", full_at=marks.OPEN, victim=False, hotels=()).errors)[:1] == [
        "StoreUnavailable"
    ]


@pytest.mark.row("F56", "F110")
def test_full_under_a_service(tmp_path: Path) -> None:
    """No file of its may grow: callers in a row are all served; beyond the share that one process has alone, and where
    a refresh is needed, the code says what is in the way; there is room again, and all is as before.
    """
    with world(tmp_path, "--auto-approve", CLOUDBEDS_AUTH_RATE_LIMIT="10") as made:
        service = made.start()
        url = f"/proxy/{made.connect()}/api/v1.3/userinfo"

        def asked(_: object = None) -> tuple[int, str]:
            answer = made.admin.get(url)
            return answer.status, answer.headers.get("X-Cloudbeds-Auth-Code", "")

        assert asked() == (200, "")
        before = resource.prlimit(service.popen.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        assert [asked() for _ in range(4)] == [(200, "")] * 4
        with ThreadPoolExecutor(20) as crowd:
            assert set(crowd.map(asked, range(20))) == {(200, ""), (503, "store_unavailable")}
        made.vendor.control("expire")
        assert asked() == (503, "store_unavailable")
        assert not made.vendor.counts()
        resource.prlimit(service.popen.pid, resource.RLIMIT_FSIZE, before)
        until = time.monotonic() + PATIENCE
        while asked() != (200, ""):
            assert time.monotonic() < until
        assert made.vendor.counts() == {"issued": 1}


def test_root_may_mount_in_ci() -> None:
    """Where this user may not, the tests that mount are not there, here and in test_permissions.py."""
    assert MOUNTS or os.geteuid() != 0 or not os.environ.get("CI")


if MOUNTS:

    @pytest.mark.parametrize("mark", [marks.LEASED, marks.PARSED])
    @pytest.mark.row("F56", "F57")
    def test_a_disk_that_is_really_full(mark: str, tmp_path: Path, lane_of: LaneOf) -> None:
        """ENOSPC of a small tmpfs: before the intent nothing is sent; with the pair in hand it is committed later."""
        with small_disk(tmp_path / "disk") as disk:
            held = beside(lane_of("V2/n"), disk)
            generation = held.settled()["generation"]
            held.end_tokens()
            after = held.last_entry()
            # A log that is as large as it was allowed to grow before: the next write needs a new page.
            held.sql("PRAGMA wal_checkpoint(TRUNCATE)")
            caller = held.fork("call", 0, stop_at=mark)
            caller.stopped()
            filler = fill(disk)
            caller.signal(signal.SIGCONT)
            if mark == marks.LEASED:
                report = caller.end()
                assert report is not None
                assert (report.statuses, kinds(report.errors)) == ([], ["StoreUnavailable"])
                assert not held.refreshes(after)
                filler.unlink()
                held.served()
            else:
                assert caller.wait_for(marks.WAITING)
                assert held.row()["generation"] == generation
                assert not accepted(held.journal(after))
                filler.unlink()
                _heals_with_one_refresh(held, caller, generation, after)

    def test_a_backup_that_has_no_room(tmp_path: Path) -> None:
        """It says where there is none, and leaves nothing behind."""
        source = tmp_path / "hotels.sqlite3"
        with closing(apsw.Connection(str(source))) as made:
            made.execute("CREATE TABLE filled AS SELECT zeroblob(4000000) AS bytes")
        with small_disk(tmp_path / "disk") as disk:
            fill(disk)
            with pytest.raises(StoreUnavailable, match="there is no room for "):
                back_up(source, disk / "backup.sqlite3", lambda *_: None)
            assert not list(disk.glob("backup*"))
