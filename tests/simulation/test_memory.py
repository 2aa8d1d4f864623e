"""Random runs over SQLite in memory: the same faults but those of files, more seeds, every invariant."""

from __future__ import annotations

import pytest
from tests.simulation.kinds import MISCHIEF, OF_FILES
from tests.simulation.plan import Plan
from tests.simulation.run import connect, run_plan, run_seed
from tests.simulation.world import World

from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.transactions.grants import take_lease
from cloudbeds_simulator.rotation import VARIANTS

SHARE = 64  # seeds of the test command; `python -m tests.simulation.prove` runs as many as it is told
BATCH = 16


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, SHARE, BATCH))
def test_every_invariant_holds_over_sqlite_in_memory(first: int) -> None:
    """Machines share a database that outlives them; it refuses, fails for a while, and loses answers."""
    for seed in range(first, first + BATCH):
        result = run_seed(seed, "memory")
        assert result.violation is None, f"seed {seed}: {result.violation}\n{result.plan}\n{result.story}"


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_faults_one_refresh_a_generation(variant: str) -> None:
    """Three machines, callers in herds, no fault: I4 and I5 in their strict form."""
    plan = Plan(7, store="memory", variant=variant, machines=3, lifetime=300.0, hours=0.5, calls=60.0, linger=0.1)
    result = run_plan(plan)
    assert result.violation is None, f"{result.violation}\n{result.story}"
    assert result.counts["told refreshed"] == result.counts["refreshes"] > 3


@pytest.mark.parametrize("seed", [3, pytest.param(11, marks=pytest.mark.long)])
def test_a_seed_replays_exactly(seed: int) -> None:
    """The hashes of two runs are equal, line for line."""
    assert run_seed(seed, "memory").hash == run_seed(seed, "memory").hash


@pytest.mark.long
def test_every_fault_of_a_store_strikes_here_too() -> None:
    """Each kind but a copy of files: among them refused, failing for a while, done and reported as failed."""
    for kind in sorted(set(MISCHIEF) - OF_FILES):
        result = run_plan(Plan(5, store="memory", lifetime=600.0, hours=1.0, mischief={kind: 12.0}))
        assert result.violation is None, f"{kind}: {result.violation}\n{result.story}"
        assert result.counts[f"fault {kind}"] > 0, kind


@pytest.mark.parametrize(("point", "committed"), [("statement take_lease", False), ("committed take_lease", True)])
def test_a_transaction_is_whole_or_not_at_all(point: str, committed: bool) -> None:
    """Killed before it, nothing happened; killed after it, it is there, and nobody was told."""
    world = World(Plan(1, store="memory", linger=0.0))
    connect(world)
    (grant,) = world.invariants.rest.grants().values()
    machine = world.machines[1]
    world.points.arm(1, world.kill_named, word=point)
    task = world.loop.start(machine.name, machine.world.db.write(take_lease(grant.id, machine.name, 30.0)))
    world.pass_time(60.0)
    (after,) = world.invariants.rest.grants().values()
    assert not task.done()
    assert after.lease_epoch - grant.lease_epoch == int(committed)
    world.take_down()


def test_an_answer_lost_is_committed_and_reported_as_failed() -> None:
    """The unknown result of F63: the caller is told that the store is unavailable, and the row has changed."""
    world = World(Plan(1, store="memory", linger=0.0))
    connect(world)
    (grant,) = world.invariants.rest.grants().values()
    machine = world.machines[1]

    def lose(name: str) -> None:
        raise StoreUnavailable("simulated")

    world.points.arm(1, lose, word="committed take_lease")
    with pytest.raises(StoreUnavailable):
        world.do(machine, machine.world.db.write(take_lease(grant.id, machine.name, 30.0)))
    (after,) = world.invariants.rest.grants().values()
    assert after.lease_epoch == grant.lease_epoch + 1
    world.take_down()
