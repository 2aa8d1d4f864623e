"""A share of the random kills: fixed seeds, a few dozen each. Thousands: `python -m tests.crash.kill`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.crash import kill
from tests.crash.conftest import MakeLane
from tests.crash.tally import Tally
from tests.crash.trials import Killing, Lost

pytestmark = pytest.mark.long  # `make test` has the kills at fixed points


def killed(folder: Path, *wanted: str) -> Tally:
    """What a run with one worker counted; no hotel was lost."""
    said: list[str] = []
    report = folder / "report.json"
    assert kill.main([*wanted, "--workers", "1", "--report", str(report)], said.append) == 0, "\n".join(said)
    assert "grants lost 0" in said[0]
    return Tally.read(report)


@pytest.mark.parametrize(("variant", "seed"), [("V2/n", 12), ("V0/n", 11), ("V3/y", 14), ("V6", 13)])
@pytest.mark.row("F01", "F04", "F06", "F07", "F09", "F10")
def test_kills_at_random_microseconds_lose_nothing(variant: str, seed: int, tmp_path: Path) -> None:
    """Every kill is told apart, some fall inside a refresh, every hotel is served afterwards."""
    tally = killed(tmp_path, "--trials", "20", "--hotels", "4", "--variant", variant, "--seed", str(seed))
    assert (tally.kills, tally.variants[variant], tally.runs[0]["seed"]) == (20, 20, seed)
    assert tally.inside
    assert tally.heals


@pytest.mark.parametrize("variant", ["V2/n", "V0/n", "V3/y", "V6"])
@pytest.mark.row("F01", "F04", "F06", "F07", "F09", "F10", "F66")
def test_kills_over_postgresql_lose_nothing(variant: str, tmp_path: Path, postgres_server: str) -> None:
    """The same, where a killed process's lease has to run out, and what it sent may be done after its death."""
    given = ("--url", postgres_server, "--hotels", "4", "--deadline", "0.2", "--variant", variant, "--seed", "21")
    tally = killed(tmp_path, "--trials", "12", *given)
    assert (tally.kills, tally.runs[0]["database"]) == (12, "postgresql")
    assert tally.inside


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.row("F04", "F08", "F66")
def test_the_whole_service_killed_over_postgresql(processes: int, tmp_path: Path, postgres_server: str) -> None:
    """SIGKILL of all its processes while callers call through /proxy; the next start serves every hotel."""
    given = ("--kill", "service", "--url", postgres_server, "--hotels", "3", "--processes", str(processes))
    tally = killed(tmp_path, "--trials", "3", *given, "--seed", "22")
    assert tally.kills == 3
    assert tally.answers["200"]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.row("F04", "F08")
def test_the_whole_service_killed_under_its_callers(processes: int, tmp_path: Path) -> None:
    """SIGKILL of all its processes while callers call through /proxy; the next start serves every hotel."""
    tally = killed(
        tmp_path, "--service", "--trials", "5", "--hotels", "3", "--processes", str(processes), "--seed", "14"
    )
    assert tally.kills == 5
    assert tally.answers["200"]


def test_a_run_goes_on_where_another_ended(tmp_path: Path) -> None:
    """Resumed, it counts on to the same number; merged, reports add up."""
    first = killed(tmp_path, "--trials", "3", "--hotels", "2", "--seed", "1")
    both = killed(tmp_path, "--trials", "7", "--hotels", "2", "--seed", "2", "--resume")
    assert (first.kills, both.kills) == (3, 7)
    assert [run["kills"] for run in both.runs] == [3, 4]
    report = str(tmp_path / "report.json")
    said: list[str] = []
    assert kill.main(["--merge", report, report, "--report", str(tmp_path / "sum.json")], said.append) == 0
    assert Tally.read(tmp_path / "sum.json").kills == 14


def test_a_hotel_that_is_lost_is_found(make_lane: MakeLane) -> None:
    """Negative control: the vendor revokes a grant; the next heal says so, with the journal and the history."""
    lane = make_lane(hotels=2)
    killing = Killing(lane, random.Random(1), patience=0.5)
    killing.heal()
    lane.made.vendor.control("revoke", grant=lane.first_grant + 1)
    with pytest.raises(Lost, match=r"(?s)not every hotel is served.*the vendor's journal:.*the history:"):
        killing.heal()
    assert len(killing.tally.lost) == 1
