"""Random runs of the production code over the simulated world: every invariant of ROTATION section 4 holds."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.simulation.plan import MISCHIEF, Plan, draw
from tests.simulation.run import run_plan, run_seed

from cloudbeds_simulator.variants import VARIANTS

SHARE = 32  # seeds of the test command; `python -m tests.simulation.prove` runs as many as it is told
BATCH = 8


@pytest.mark.row(
    "F13", "F15", "F16", "F17", "F19", "F22", "F23", "F44", "F46", "F48", "F49", "F51", "F55", "F56", "F57"
)
@pytest.mark.parametrize("first", range(0, SHARE, BATCH))
def test_every_invariant_holds_under_drawn_faults(first: int) -> None:
    """Each seed draws hotels, machines, a variant and a random subset of the faults."""
    for seed in range(first, first + BATCH):
        result = run_seed(seed)
        assert result.violation is None, f"seed {seed}: {result.violation}\n{result.plan}\n{result.story}"


@pytest.mark.row("F44", "F45")
@pytest.mark.parametrize("variant", VARIANTS)
def test_without_faults_one_refresh_a_generation_and_nobody_sees_a_401(variant: str) -> None:
    """Three machines, callers in herds, no fault: I4 and I5 in their strict form."""
    result = run_plan(Plan(7, variant=variant, machines=3, lifetime=300.0, hours=0.5, calls=60.0, linger=0.1))
    assert result.violation is None, f"{result.violation}\n{result.story}"
    assert result.counts["told refreshed"] == result.counts["refreshes"] > 3


def test_an_endpoint_that_refuses_for_want_of_a_permission_costs_no_refresh() -> None:
    """F39: its own 401 is passed on, and the token that works is not spent."""
    result = run_plan(Plan(3, denies=0.3, lifetime=600.0, hours=1.0, calls=60.0))
    assert result.violation is None, f"{result.violation}\n{result.story}"
    assert result.counts["call 401"] > 5


@pytest.mark.parametrize("seed", [3, 11, 29])
def test_a_seed_replays_exactly(seed: int) -> None:
    """The hashes of two runs are equal, line for line."""
    assert run_seed(seed).hash == run_seed(seed).hash


def test_a_seed_replays_in_another_process_with_other_hash_seeds() -> None:
    """Nothing depends on the order of sets or on addresses."""
    program = "from tests.simulation.run import run_seed; print(run_seed(11).hash)"
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": os.pathsep.join(filter(None, [".", *sys.path]))},
        ).stdout
        for salt in ("1", "2")
    }  # fmt: skip
    assert len(hashes) == 1


def test_the_plans_of_a_few_seeds_draw_every_kind_of_fault_and_every_variant() -> None:
    """None at zero."""
    plans = [draw(seed) for seed in range(300)]
    assert {plan.variant for plan in plans} == set(VARIANTS)
    assert {kind for plan in plans for kind in plan.mischief} == set(MISCHIEF)


@pytest.mark.row("F48")
@pytest.mark.parametrize("seed", [1, 2])
def test_a_flight_that_still_proves_hides_no_newer_generation(seed: int) -> None:
    """Another machine commits while the proof is under way: who named the older token is not handed it back (I5)."""
    result = run_plan(
        Plan(
            seed, lifetime=600.0, hours=1.2, calls=120.0, linger=0.3, rates={"userinfo:late answer": 0.7},
            mischief={"lease taken": 200.0, "expire early": 120.0},
        )
    )  # fmt: skip
    assert result.violation is None, f"{result.violation}\n{result.story}"
