"""Several processes on one file: some are killed, some were forked with an open database (F04, F48, F61)."""

from __future__ import annotations

import random
import time

import pytest
from tests.crash import marks
from tests.crash.conftest import HASTY, LaneOf


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
