"""The exhaustive sets, a share of each; `prove --complete` runs them whole and prints the counts."""

from __future__ import annotations

import pytest
from tests.simulation import exhaustive
from tests.simulation.exhaustive import Tally

from cloudbeds_simulator.variants import VARIANTS

LABELS = list(VARIANTS)


def sound(tally: Tally, at_least: int) -> None:
    assert not tally.failures, "\n\n".join(tally.failures[:3])
    assert tally.runs >= at_least


@pytest.mark.row("F01", "F02", "F03", "F04", "F05", "F06", "F07", "F08", "F09", "F10")
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_kill_at_any_point_of_a_refresh_loses_nothing(variant: str) -> None:
    """Killed there, started again, the hotel serves within the bound; all variants together meet every point."""
    sound(exhaustive.kill_points((variant,), stride=10, offset=LABELS.index(variant)), 15)


def test_the_points_of_a_refresh_cover_every_kill_point() -> None:
    """K0 to K13, and the child refused with a kept one unsent."""
    refreshes = [exhaustive.points_of("V2/n", scenario) for scenario in exhaustive.SCENARIOS]
    met = {station for points in refreshes for station in exhaustive.stations(points)}
    assert met == {name for _, name in exhaustive.STATIONS} | {"K7 in transaction"}


@pytest.mark.parametrize("variant", ["V0/n", "V2/n", "V3/n"])
def test_a_second_kill_while_it_recovers_loses_nothing(variant: str) -> None:
    """Ordered pairs of kill points."""
    sound(exhaustive.pairs((variant,), stride=22), 10)


@pytest.mark.row("F22")
def test_an_answer_cut_at_any_byte_loses_nothing() -> None:
    """Ended early, reset, or silent until the deadline."""
    sound(exhaustive.cuts(("V2/n",), stride=20), 30)


@pytest.mark.row("F11")
@pytest.mark.parametrize("variant", ["V0/n", "V2/n", "V3/n"])
def test_a_power_cut_at_any_disk_operation_leaves_a_living_token(variant: str) -> None:
    """Whichever un-synced writes made it, torn or whole: the database opens, is whole, and holds a token that works."""
    sound(exhaustive.lost_pages((variant,), most=6), 500)
