"""Several processes on one database: some are killed, some were forked with an open file (F04, F45, F48, F50, F61)."""

from __future__ import annotations

import random
import time

import pytest
from tests.crash import marks
from tests.crash.conftest import HASTY, LaneOf, variants
from tests.crash.lane import CALM
from tests.crash.outages import HOUR


@pytest.mark.parametrize("processes", [2, 8])
@pytest.mark.row("F04", "F48")
def test_processes_on_one_file_of_which_half_are_killed(processes: int, lane_of: LaneOf) -> None:
    """All find the same dead token; every second one is killed at some microsecond; the others are served."""
    lane, dice = lane_of("V2/n"), random.Random(processes)
    lane.settled()
    lane.end_tokens()
    after = lane.last_entry()
    crowd = [lane.fork("heal", 0, settings=None if one % 2 else HASTY) for one in range(processes)]
    for victim in crowd[::2]:
        victim.wait_for_any(marks.LEASED + marks.SERVED + marks.FINISHED, 0.05)
        time.sleep(dice.randint(0, 20_000) / 1e6)
        victim.kill()
    for survivor in crowd[1::2]:
        report = survivor.end()
        assert report is not None
        assert report.statuses == [200], f"{report}\n{lane.story(0, after)}"
    lane.served()
    assert len(lane.refreshes(after)) <= 1 + processes // 2


@pytest.mark.row("F04", "F50")
@variants("V2/n", "V0/n")
def test_two_machines_whose_processes_are_killed(variant: str, lane_of: LaneOf) -> None:
    """The same over PostgreSQL, four processes an hour ahead and four behind: who lives is served, no lease is ignored.

    One refresh for each that was killed with the lease, and one for who is left.
    """
    lane, dice = lane_of(variant, "postgresql"), random.Random(45)
    lane.settled()
    lane.end_tokens()
    after = lane.last_entry()
    victims, survivors = (
        [lane.fork("heal", 0, skew=skew, settings=settings) for skew in (HOUR, -HOUR) * 2] for settings in (HASTY, None)
    )
    for victim in victims:
        victim.wait_for_any(marks.LEASED + marks.SERVED + marks.FINISHED, 0.05)
        time.sleep(dice.randint(0, 20_000) / 1e6)
        victim.kill()
    for survivor in survivors:
        report = survivor.end()
        assert report is not None
        assert report.statuses == [200], f"{report}\n{lane.story(0, after)}"
    lane.served()
    leased = sum(victim.marks.count(marks.LEASED) for victim in victims)
    assert len(lane.refreshes(after)) <= 1 + leased, lane.story(0, after)


@pytest.mark.row("F45", "F50")
def test_two_machines_that_nobody_kills(lane_of: LaneOf) -> None:
    """Sixteen processes find the same dead token, eight an hour ahead and eight behind: one refresh, all are served."""
    lane = lane_of("V2/n", "postgresql")
    generation = lane.settled()["generation"]
    lane.end_tokens()
    after = lane.last_entry()
    crowd = [lane.fork("call", 0, skew=skew, settings=CALM) for skew in (HOUR, -HOUR) * 8]
    for process in crowd:
        report = process.end()
        assert report is not None
        assert (report.statuses, report.errors) == ([200], [])
    assert lane.row()["generation"] == generation + 1
    assert [entry["outcome"] for entry in lane.refreshes(after)] == ["issued"]


@pytest.mark.row("F61")
def test_a_fork_with_an_open_database(lane_of: LaneOf) -> None:
    """The forked process opens the file anew and writes; the first one refreshes as if nothing had happened."""
    lane = lane_of("V2/n")
    generation = lane.settled()["generation"]
    lane.end_tokens()
    after = lane.last_entry()
    report = lane.do("check+fork+call", 0)
    assert (report.statuses, report.errors) == ([200, 0, 200], [])
    assert lane.row()["generation"] == generation + 1
    assert len(lane.refreshes(after)) == 1
    lane.served()


@pytest.mark.row("F61")
def test_a_fork_is_killed_while_its_parent_refreshes(lane_of: LaneOf) -> None:
    """What the forked process held dies with it: the parent's locks hold, its refresh goes on."""
    lane = lane_of("V2/n")
    generation = lane.settled()["generation"]
    lane.end_tokens()
    after = lane.last_entry()
    report = lane.do("check+call_beside_a_fork", 0)
    assert (report.statuses, report.errors) == ([200, 200], [])
    assert lane.row()["generation"] == generation + 1
    assert [entry["outcome"] for entry in lane.refreshes(after)] == ["issued"]
    lane.served()
