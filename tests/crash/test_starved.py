"""No file descriptors, no threads, no memory: as kill -9, or an error that a later call heals (F79)."""

from __future__ import annotations

import signal

import pytest
from tests.crash import marks
from tests.crash.conftest import HASTY, LaneOf, MakeLane
from tests.crash.lane import Lane

pytestmark = [pytest.mark.row("F79"), pytest.mark.long]

CASES = [
    *((of, mark) for of in ("descriptors", "memory") for mark in (marks.LEASED, marks.INTENT, marks.PARSED)),
    *(("threads", mark) for mark in (marks.BORN, marks.OPEN)),  # a thread for the database, one to look names up
]
TOLD = {
    "descriptors": {"OSError", "RefreshInDoubt", "TokenEndpointUnavailable"},
    "memory": {"MemoryError", "RefreshInDoubt", "StoreUnavailable", "UpstreamFailed"},
    "threads": {"StoreUnavailable", "UpstreamFailed"},
}


@pytest.fixture
def held(lane_of: LaneOf, make_lane: MakeLane) -> Lane:
    """A lane whose vendor is reached by a host name, which is looked up on a thread."""
    by_name = lane_of("V2/n").made.vendor.base.replace("127.0.0.1", "localhost")
    return make_lane(settings={"CLOUDBEDS_BASE_URL": by_name})


@pytest.mark.parametrize(("of", "mark"), CASES)
def test_a_starved_process_loses_nothing(of: str, mark: str, held: Lane) -> None:
    """Whatever it meets, no pair is half published, and the next process serves."""
    generation = held.settled()["generation"]
    held.end_tokens()
    after = held.last_entry()
    starved = held.fork("call", 0, starved_at=mark, starved_of=of, settings=HASTY, victim=True)
    starved.wait_for_any(marks.SERVED + marks.FINISHED)
    starved.kill()
    row = held.row()
    assert row["generation"] in (generation, generation + 1)
    used = [entry for entry in held.journal(after) if entry["outcome"] == "accepted"]
    assert not used or row["generation"] == generation + 1
    held.served()


@pytest.mark.parametrize(("of", "mark"), [("descriptors", marks.INTENT), ("threads", marks.OPEN)])
def test_a_process_that_was_starved_goes_on(of: str, mark: str, held: Lane) -> None:
    """Its caller is told that it failed, and is served by the same process when there is enough again."""
    held.settled()
    held.end_tokens()
    starved = held.fork("call+pause+call+call", 0, starved_at=mark, starved_of=of, settings=HASTY)
    starved.stopped()
    starved.signal(signal.SIGUSR1)
    starved.signal(signal.SIGCONT)
    report = starved.end()
    assert report is not None
    assert report.statuses[-1] == 200, report
    assert report.errors
    assert {error.split(":")[0] for error in report.errors[:1]} <= TOLD[of], report
    held.served()
