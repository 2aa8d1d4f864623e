"""SIGSTOP past the lease, and on again: the epoch moved, the generation moved, or nothing did (F48)."""

from __future__ import annotations

import signal
import time

import pytest
from tests.crash import marks
from tests.crash.conftest import HASTY, LaneOf, variants
from tests.crash.lane import Lane
from tests.crash.nursery import Child

GLANCE = 0.05  # seconds

pytestmark = [pytest.mark.row("F48"), pytest.mark.long]
VARIANTS = variants("V2/n", "V0/n")
# The variants over SQLite, and the first one over PostgreSQL.
LANES = pytest.mark.parametrize(
    ("variant", "database"),
    [
        ("V2/n", "sqlite"),
        pytest.param("V0/n", "sqlite", marks=pytest.mark.long),
        pytest.param("V2/n", "postgresql", marks=pytest.mark.long),
    ],
)


def paused(lane: Lane, mark: str) -> tuple[Child, int, int]:
    """A process that stopped at this mark longer than its lease; the generation, and the journal's number, before."""
    generation = lane.settled()["generation"]
    lane.end_tokens()
    after = lane.last_entry()
    sleeper = lane.fork("call", 0, stop_at=mark, settings=HASTY)
    sleeper.stopped()
    while lane.row()["lease_until"] > lane.base.steady():
        time.sleep(GLANCE)
    return sleeper, generation, after


def goes_on(sleeper: Child, *errors: str) -> None:
    """The process runs on to its end: it is served, or told 503, having slept for longer than a caller waits."""
    sleeper.signal(signal.SIGCONT)
    report = sleeper.end()
    assert report is not None
    told = [error.split(":")[0] for error in report.errors]
    assert (report.statuses, told) == ([200], []) or (not report.statuses and told[0] in (*errors, "RefreshPending"))


def take_the_lease_and_die(lane: Lane) -> None:
    """The epoch moves, and nothing else."""
    thief = lane.fork("call", 0, stop_at=marks.LEASED)
    thief.stopped()
    thief.kill()


@LANES
@pytest.mark.parametrize("mark", [marks.PARSED, marks.IN_TRANSACTION])
def test_with_the_pair_in_hand_and_nobody_else(mark: str, variant: str, database: str, lane_of: LaneOf) -> None:
    """K6, K7: it commits what it holds, and nothing is asked twice."""
    lane = lane_of(variant, database)
    sleeper, generation, after = paused(lane, mark)
    goes_on(sleeper)
    assert lane.row()["generation"] == generation + 1
    assert [entry["outcome"] for entry in lane.refreshes(after)] == ["issued"]


@LANES
def test_with_the_pair_in_hand_and_the_lease_taken(variant: str, database: str, lane_of: LaneOf) -> None:
    """K6, only the epoch moved: the pair is kept, the lease taken again, committed; one refresh."""
    lane = lane_of(variant, database)
    sleeper, generation, after = paused(lane, marks.PARSED)
    epoch = lane.row()["lease_epoch"]
    take_the_lease_and_die(lane)
    goes_on(sleeper)
    row = lane.row()
    assert (row["generation"], row["committed_epoch"]) == (generation + 1, epoch + 2)
    assert [entry["outcome"] for entry in lane.refreshes(after)] == ["issued"]
    lane.served()


@LANES
def test_with_the_pair_in_hand_and_the_refresh_done_by_another(variant: str, database: str, lane_of: LaneOf) -> None:
    """K6, the generation moved: its own pair is dropped, the stored one is used."""
    lane = lane_of(variant, database)
    sleeper, generation, after = paused(lane, marks.PARSED)
    lane.served()
    assert lane.row()["generation"] == generation + 1
    goes_on(sleeper)
    assert lane.row()["generation"] == generation + 1
    assert [entry["outcome"] for entry in lane.refreshes(after)] == ["issued", "issued"]
    lane.served()


@VARIANTS
def test_inside_the_transaction_others_wait_and_send_nothing(variant: str, lane_of: LaneOf) -> None:
    """K7: the database is locked by whoever sleeps; another process is told so, and sends nothing."""
    lane = lane_of(variant)
    other = lane.fork("call", 0, stop_at=marks.OPEN, busy_milliseconds=100)
    other.stopped()
    sleeper, generation, after = paused(lane, marks.IN_TRANSACTION)
    other.signal(signal.SIGCONT)
    report = other.end()
    assert report is not None
    assert [error.split(":")[0] for error in report.errors] == ["StoreUnavailable"]
    assert len(lane.refreshes(after)) == 1
    goes_on(sleeper)
    assert lane.row()["generation"] == generation + 1


@pytest.mark.long
@pytest.mark.row("F65")
def test_asleep_inside_the_transaction_until_the_server_ends_it(lane_of: LaneOf) -> None:
    """PostgreSQL frees the row after ten seconds: another process refreshes; the sleeper's own pair is dropped."""
    lane = lane_of("V2/n", "postgresql")
    sleeper, generation, after = paused(lane, marks.IN_TRANSACTION)
    lane.served()
    assert lane.row()["generation"] == generation + 1
    goes_on(sleeper)
    assert lane.row()["generation"] == generation + 1
    assert [entry["outcome"] for entry in lane.refreshes(after)] == ["issued", "issued"]
    lane.served()


@LANES
@pytest.mark.parametrize("meanwhile", ["nobody", "lease taken", "refreshed"])
def test_before_the_answer_was_read(meanwhile: str, variant: str, database: str, lane_of: LaneOf) -> None:
    """K3: the answer lies in the socket, or its deadline is over when it runs on: 200, or 503 and later healed."""
    lane = lane_of(variant, database)
    sleeper, _, after = paused(lane, marks.SENT)
    if meanwhile == "lease taken":
        take_the_lease_and_die(lane)
    elif meanwhile == "refreshed":
        lane.served()
    goes_on(sleeper, "RefreshInDoubt", "TokenEndpointUnavailable")
    lane.served()
    assert len(lane.refreshes(after)) <= 3


@pytest.mark.row("F97")
@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
@pytest.mark.parametrize("mark", [marks.INTENT, marks.CONNECTED])
def test_before_the_first_byte_and_the_refresh_done_by_another(mark: str, database: str, lane_of: LaneOf) -> None:
    """K1 to K2: the token that it was about to send is dead by now, and under V3 the grant with it: it is not sent."""
    lane = lane_of("V3/n", database)
    sleeper, generation, after = paused(lane, mark)
    lane.served()
    assert lane.row()["generation"] == generation + 1
    goes_on(sleeper)
    assert [entry["outcome"] for entry in lane.refreshes(after)] == ["issued"]
    lane.served()
