"""kill -9 at every point of a hotel's move to an API key: it is gone on with, and no refresh is ever sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from tests.crash import marks
from tests.crash.conftest import HASTY, MakeLane
from tests.crash.lane import Lane

pytestmark = pytest.mark.long

UNREAD = {"target": "token", "kind": "hang_before"}
SILENT = {"target": "token", "kind": "hang_after"}
SLOW = {"target": "token", "kind": "slow", "seconds": 0.005}
TRIES = 10  # calls until a hotel must have been moved: each waits for as long as a caller does


@dataclass(frozen=True)
class Case:
    """Stop at this mark; then the hotel rests latched or not, with so many keys, and so many exchanges are seen."""

    point: str
    mark: str
    latched: bool
    keys: int
    exchanges: int
    fault: tuple[tuple[str, Any], ...] = ()
    outcome: str = ""


CASES = (
    Case("nothing done", marks.OPEN, False, 0, 1),
    Case("lease taken", marks.LEASED, False, 0, 1),
    Case("latched", marks.LATCHED, True, 0, 1),
    Case("intent committed", marks.INTENT, True, 0, 1),
    Case("half sent", marks.SENDING, True, 0, 1),
    Case("sent, not acted upon", marks.SENT, True, 0, 2, tuple(UNREAD.items()), "pending"),
    Case("acted upon, no answer", marks.SENT, True, 0, 2, tuple(SILENT.items()), "issued"),
    Case("answer half read", marks.ANSWERING, True, 0, 2, tuple(SLOW.items()), "issued"),
    Case("key in hand", marks.PARSED, True, 0, 2),
    Case("in the transaction", marks.IN_TRANSACTION, True, 0, 2),
    Case("in the commit", marks.COMMITTING, True, 0, 2),
    Case("key stored", marks.KEYED, True, 1, 1),
    Case("in use", marks.MOVED, True, 1, 1),
    Case("proven", marks.FINISHED, True, 1, 1),
)


def grants(lane: Lane) -> dict[str, dict[str, Any]]:
    """The hotel's grants as they rest, by kind."""
    rows = lane.sql("SELECT * FROM grants WHERE connection_id = ?", lane.connections[0])
    return {row["kind"]: row for row in rows}


def killed_at(lane: Lane, case: Case) -> None:
    """Bring a move to this mark, and kill its process."""
    after = lane.last_entry()
    if case.fault:
        lane.made.vendor.control("faults", **dict(case.fault))
    if case.mark == marks.FINISHED:
        assert lane.do("migrate", 0, settings=HASTY).statuses == [200]
        return
    victim = lane.fork("migrate", 0, stop_at=case.mark, victim=True, settings=HASTY)
    victim.stopped()
    if case.outcome:
        query = f"wait?target=token&outcome={case.outcome}&after={after}&timeout=60"
        assert lane.made.vendor.control(query, "GET")["entry"]
    victim.kill()
    lane.base.settle()
    if case.fault:
        lane.made.vendor.control("faults", "DELETE")


def moved(lane: Lane, settings: dict[str, str] | None = None) -> None:
    """Somebody asks for the move again, as often as it takes."""
    for _ in range(TRIES):
        report = lane.do("migrate", 0, settings=settings)
        if report.statuses == [200]:
            return
    raise AssertionError(f"{report}")


@pytest.mark.row("F90")
@pytest.mark.parametrize("again", ["same", pytest.param("new", marks=pytest.mark.long)])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.point)
def test_a_kill_at_this_point_of_a_move(case: Case, again: str, make_lane: MakeLane) -> None:
    """Served meanwhile, gone on with by the next process, in the end a key that works; the tokens refreshed nowhere."""
    lane: Lane = make_lane()
    lane.made.vendor.control("settings", repeated_exchange=again)
    after = lane.last_entry()
    killed_at(lane, case)
    resting = grants(lane)
    assert (bool(resting["oauth"]["latched"]), len(resting) - 1) == (case.latched, case.keys)
    if case.latched:
        report = lane.do("refresh", 0)
        assert report.errors, "an operator's refresh is turned down"
    assert lane.do("call", 0).statuses == [200]
    moved(lane)
    assert lane.do("call", 0).statuses == [200]
    assert grants(lane)["api_key"]["role"] == "active"
    seen = [entry["grant_type"] for entry in lane.journal(after) if entry["target"] == "token"]
    exchanges = [entry for entry in lane.journal(after) if entry["grant_type"] == "refresh_token_exchange"]
    assert "refresh_token" not in seen
    assert len(exchanges) == case.exchanges
    assert lane.base.sound()


def test_two_processes_move_one_hotel(make_lane: MakeLane) -> None:
    """At the same time, on real files: one exchange, and both find it done."""
    lane: Lane = make_lane()
    after = lane.last_entry()
    both = [lane.fork("migrate", 0) for _ in range(2)]
    reports = [child.end() for child in both]
    for report in reports:
        assert report is not None
        if report.statuses != [200]:  # it gave up waiting for the other
            moved(lane)
    exchanges = [entry for entry in lane.journal(after) if entry["grant_type"] == "refresh_token_exchange"]
    assert len(exchanges) == 1
    assert lane.do("call", 0).statuses == [200]
