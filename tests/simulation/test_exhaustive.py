"""The exhaustive sets, a share of each; `prove --complete` runs them whole and prints the counts."""

from __future__ import annotations

import pytest
from tests.simulation import exhaustive
from tests.simulation.deeds import EVENTS, OF_COMMITS, OF_OPERATIONS, OF_STATEMENTS
from tests.simulation.everywhere import everywhere, strikes
from tests.simulation.exhaustive import SCENARIOS, Case
from tests.simulation.lost_pages import lost_pages
from tests.simulation.trace import Violation

from cloudbeds_auth.database import durability
from cloudbeds_simulator.rotation import VARIANTS

LABELS = list(VARIANTS)
STRIDE = 10


@pytest.mark.row("F01", "F02", "F03", "F04", "F05", "F06", "F07", "F08", "F09", "F10")
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_kill_at_any_point_of_a_refresh_loses_nothing(variant: str) -> None:
    """Killed there, started again, the hotel serves within the bound; all variants together meet every point."""
    points = [len(Case(variant, scenario).points()) for scenario in SCENARIOS]
    tally = exhaustive.kill_points((variant,), stride=STRIDE, offset=LABELS.index(variant))
    assert tally.failures == []
    assert tally.runs >= sum(count // STRIDE for count in points) >= 20


def test_the_points_of_a_refresh_cover_every_kill_point() -> None:
    """K0 to K13, the probe, the child refused with a kept one unsent, the second lease with a pair in hand."""
    refreshes = [Case("V2/n", scenario).points() for scenario in SCENARIOS]
    met = {station for points in refreshes for station in exhaustive.stations(points)}
    assert met == exhaustive.ALL_STATIONS


@pytest.mark.parametrize("variant", ["V0/n", "V2/n", "V3/n"])
def test_a_second_kill_while_it_recovers_loses_nothing(variant: str) -> None:
    """Ordered pairs of kill points."""
    tally = exhaustive.pairs((variant,), stride=22)
    assert tally.failures == []
    assert tally.runs >= 10


@pytest.mark.long
@pytest.mark.row("F22")
def test_an_answer_cut_at_any_byte_loses_nothing() -> None:
    """Ended early, reset, or silent until the deadline."""
    tally = exhaustive.cuts(("V2/n",), stride=20)
    assert tally.failures == []
    assert tally.runs >= 30


@pytest.mark.row("F11")
@pytest.mark.parametrize("variant", ["V0/n", "V2/n", "V3/n"])
@pytest.mark.parametrize("subsets", [3, pytest.param(6, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "logged",
    [pytest.param(False, id="rollback journal", marks=pytest.mark.long), pytest.param(True, id="write-ahead log")],
)
def test_a_power_cut_at_any_disk_operation_leaves_a_living_token(logged: bool, subsets: int, variant: str) -> None:
    """Whichever un-synced writes made it, torn or whole: the database opens, is whole, and holds a token that works."""
    tally = lost_pages((variant,), most=subsets, logged=logged)
    assert tally.failures == []
    assert tally.runs >= 80 * subsets
    assert ("delete" in tally.points) is not logged


def test_a_log_that_is_not_synced_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the write-ahead log synced at checkpoints alone, a token would be used before it is durable."""
    monkeypatch.setattr(durability, "FULL", durability.NORMAL)
    with pytest.raises(Violation, match=r"I1: A1\.0 is sent before it is durable"):
        lost_pages(("V2/n",), most=3, logged=True)


@pytest.mark.row("F13", "F14", "F15", "F16", "F18", "F19", "F20", "F21", "F23", "F24", "F27", "F30", "F31", "F35")
@pytest.mark.row("F37", "F38", "F46", "F48", "F51", "F52", "F55", "F56", "F57", "F63", "F65", "F77", "F78", "F86")
@pytest.mark.parametrize("variant", VARIANTS)
def test_any_fault_at_any_point_of_a_refresh_loses_nothing(variant: str) -> None:
    """The hotel serves within the bound, or is told truly that its grant is dead or that it was disconnected."""
    share = 151
    tally = everywhere((variant,), stride=share, offset=share * LABELS.index(variant) // len(LABELS))
    assert tally.failures == []
    assert set(tally.points) == {strike.kind for scenario in SCENARIOS for strike in strikes(Case(variant, scenario))}


def test_the_strikes_of_a_refresh_are_all_kinds_of_faults() -> None:
    """Every deed, and every fate on each kind of request."""
    kinds = {strike.kind for scenario in SCENARIOS for strike in strikes(Case("V2/n", scenario))}
    assert kinds >= {*EVENTS, *OF_STATEMENTS, *OF_COMMITS, *OF_OPERATIONS}
    assert {kind.split(":")[0] for kind in kinds if ":" in kind} == {"token", "userinfo", "resource"}
