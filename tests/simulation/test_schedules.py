"""Schedules of two coordinators, a share of them; `prove --complete` plays all and prints the counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.simulation import seeded, seeded_store
from tests.simulation.exhaustive import STATIONS, Case
from tests.simulation.patch import Patch
from tests.simulation.schedules import ON_DISK, Mark, Play, Schedule, distinct, of_case, schedules

from cloudbeds_simulator.rotation import VARIANTS


@pytest.mark.row("F44", "F48", "F49")
@pytest.mark.parametrize("variant", VARIANTS)
def test_two_coordinators_lose_nothing_however_they_interleave(variant: str) -> None:
    """Every invariant holds after every step, and both machines serve in the end."""
    tally = schedules((variant,), "memory", stride=10, offset=list(VARIANTS).index(variant))
    assert not tally.failures, "\n\n".join(tally.failures[:2])
    assert tally.runs > 30


@pytest.mark.long
@pytest.mark.row("F44", "F48")
@pytest.mark.parametrize("variant", ON_DISK)
def test_two_coordinators_over_the_sql_store(variant: str) -> None:
    """The same schedules over the product's SQL."""
    tally = schedules((variant,), "disk", stride=14, offset=ON_DISK.index(variant))
    assert not tally.failures, "\n\n".join(tally.failures[:2])
    assert tally.runs > 15


@pytest.mark.parametrize("store", ["memory", "disk"])
@pytest.mark.parametrize(
    ("bug", "invariant"),
    [(seeded_store.no_lease, "I4"), (seeded_store.fence_not_checked, "I6"), (seeded.prune_before_proof, "I3")],
)
def test_a_seeded_bug_is_found_by_a_schedule(store: str, bug: Callable[[Patch], None], invariant: str) -> None:
    """Without a lease, with a loose fence: an enumeration that finds nothing there would prove nothing."""
    with Patch() as patch:
        bug(patch)
        failures = (failed for _, _, failed in of_case(Case("V2/n", "expired", store)) if failed)
        assert next(failures, "not found").startswith(invariant)


def test_the_points_cover_a_refresh_from_its_lease_to_its_proof() -> None:
    """Pre-empted nowhere, a machine passes every station that a refresh without a refusal has."""
    play = Play(Case("V2/n", "expired", "memory"), Schedule())
    assert play.run() == ""
    passed = " ".join(mark.name for mark in play.passed[0])
    words = [word for word, _ in STATIONS if word not in {"settle", "token half written", "before commit commit_pair"}]
    assert [word for word in words if word not in passed] == []
    assert not [mark.name for mark in play.passed[1] if mark.name.startswith("token ")], "the second finds it done"


def test_both_stores_have_the_same_schedules() -> None:
    """The other machine comes in at each point, on the disk and in memory: as many points, the same outcome."""
    for schedule in (Schedule(1, 6), Schedule(1, 11, 20), Schedule(2, 12, 3)):
        plays = [Play(Case("V2/n", "expired", store), schedule) for store in ("disk", "memory")]
        assert [play.run() for play in plays] == ["", ""]
        disk, memory = ([len(passed) for passed in play.passed] for play in plays)
        assert disk == memory


def test_of_equal_questions_in_a_row_the_first_and_the_last_are_points() -> None:
    """A machine that waits asks again and again; nothing that it could meet differs in between."""
    marks = [Mark(name, state) for name, state in [("a", 1), ("a", 1), ("a", 1), ("a", 2), ("a", 2), ("b", 2)]]
    assert distinct(marks) == [1, 3, 4, 5, 6]
