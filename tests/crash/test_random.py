"""A share of the random kills: fixed seeds, a few dozen each. Thousands: `python -m tests.crash.kill`."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from tests.crash import kill, marks
from tests.crash.conftest import LaneOf, MakeLane
from tests.crash.trials import Killing, Lost


@pytest.mark.parametrize(("variant", "seed"), [("V0/n", 11), ("V2/n", 12), ("V6", 13)])
@pytest.mark.row("F01", "F04", "F06", "F07", "F09", "F10")
def test_kills_at_random_microseconds_lose_nothing(variant: str, seed: int, tmp_path: Path) -> None:
    """Every kill is told apart, some fall inside a refresh, every hotel is served afterwards."""
    wanted = ["--trials", "16", "--workers", "1", "--hotels", "4", "--variant", variant, "--seed", str(seed)]
    said: list[str] = []
    assert kill.main([*wanted, "--report", str(tmp_path / "report")], said.append) == 0, "\n".join(said)
    told = json.loads((tmp_path / "report").read_text("utf-8"))
    assert (told["kills"], told["lost"], told["seed"]) == (16, 0, seed)
    assert 5 <= told["inside"] <= 16
    assert "grants lost 0" in said[0]


@pytest.mark.row("F04", "F08")
def test_the_whole_service_killed_under_its_callers(tmp_path: Path) -> None:
    """SIGKILL while callers call through /proxy; the next start serves the hotel, which notices nothing."""
    wanted = ["--service", "--trials", "2", "--workers", "1", "--seed", "14"]
    said: list[str] = []
    assert kill.main(wanted, said.append) == 0, "\n".join(said)
    assert "kills 2," in said[0]


def test_a_hotel_that_is_lost_is_found(make_lane: MakeLane) -> None:
    """Negative control: the vendor revokes a grant; the next heal says so, with the journal and the history."""
    lane = make_lane(hotels=2)
    killing = Killing(lane, random.Random(1), patience=0.5)
    killing.heal()
    lane.made.vendor.control("revoke", grant=2)
    with pytest.raises(Lost, match=r"(?s)not every hotel is served.*the vendor's journal:.*the history:"):
        killing.heal()
    assert len(killing.finish().lost) == 1


@pytest.mark.parametrize("processes", [2, 8])
@pytest.mark.row("F04", "F48")
def test_processes_on_one_file_of_which_half_are_killed(processes: int, lane_of: LaneOf) -> None:
    """All find the same dead token; every second one is killed at some microsecond; the others are served."""
    lane, dice = lane_of("V2/n"), random.Random(processes)
    lane.settled()
    lane.end_tokens()
    after = lane.last_entry()
    crowd = [lane.fork("heal", 0) for _ in range(processes)]
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
