"""Random runs of the production code over the simulated world: every invariant (docs/rotation.md#invariants) holds."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.simulation.kinds import KINDS, MISCHIEF
from tests.simulation.plan import Plan, draw
from tests.simulation.run import run_plan, run_seed

from cloudbeds_simulator.rotation import VARIANTS

SHARE = 32  # seeds, half of them in `make test`; `python -m tests.simulation.prove` runs as many as it is told
BATCH = 8


@pytest.mark.row(
    "F13", "F15", "F16", "F17", "F19", "F22", "F23", "F44", "F46", "F48", "F49", "F51", "F55", "F56", "F57"
)
@pytest.mark.parametrize(
    "first",
    [pytest.param(one, marks=[pytest.mark.long] if one >= SHARE // 2 else []) for one in range(0, SHARE, BATCH)],
)
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


@pytest.mark.parametrize("seed", [3, *(pytest.param(seed, marks=pytest.mark.long) for seed in (11, 29))])
def test_a_seed_replays_exactly(seed: int) -> None:
    """The hashes of two runs are equal, line for line."""
    assert run_seed(seed).hash == run_seed(seed).hash


@pytest.mark.long
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


def test_every_kind_of_fault_is_sure_to_strike_under_every_variant() -> None:
    """Within as many seeds as there are kinds times variants, but for the tenth of the seeds without faults."""
    many = 3 * len(KINDS) * len(VARIANTS)
    plans = [draw(seed) for seed in range(many)]
    sure = {(plan.variant, kind) for plan in plans for kind in KINDS if _strikes(plan, kind)}
    assert len(sure) == len(KINDS) * len(VARIANTS)
    assert many // 15 < sum(plan.faultless for plan in plans) < many // 7
    assert {plan.limit for plan in plans} == {0.0, 2.0, 3.0, 5.0, 10.0}


def _strikes(plan: Plan, kind: str) -> bool:
    """Whether four strikes of it, or one in seven requests, are to be expected."""
    if kind in MISCHIEF:
        return plan.mischief.get(kind, 0.0) * plan.hours > 3.99
    return plan.rates.get(kind, 0.0) >= 0.15


@pytest.mark.long
@pytest.mark.row("F75", "F76")
@pytest.mark.parametrize("limit", [2.0, 5.0])
def test_our_own_requests_keep_the_rate_over_all_machines_and_restarts(limit: float) -> None:
    """Every hotel's token ends at once, again and again, while machines are killed and power fails (I11)."""
    result = run_plan(
        Plan(
            5, hotels=3, machines=3, limit=limit, lifetime=600.0, hours=1.0, calls=60.0,
            rates={"userinfo:lose request": 0.3},
            mischief={"all expire together": 30.0, "kill": 30.0, "power cut": 5.0, "herd": 10.0},
        )
    )  # fmt: skip
    assert result.violation is None, f"{result.violation}\n{result.story}"
    assert result.counts["paced requests"] > 150


@pytest.mark.long
@pytest.mark.row("F18")
def test_an_answer_that_comes_twice_is_nobody_elses() -> None:
    """Callers' kept connections take it for the next call's; no token request and no proof ever does."""
    result = run_plan(
        Plan(4, hotels=2, lifetime=600.0, hours=3.0, calls=240.0, rates={"answer twice": 0.6},
             mischief={"expire early": 20.0})
    )  # fmt: skip
    assert result.violation is None, f"{result.violation}\n{result.story}"
    assert result.counts["strayed answers"] > 5


@pytest.mark.long
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
