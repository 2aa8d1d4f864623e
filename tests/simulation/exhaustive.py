"""The exhaustive sets: kill points, ordered pairs of them, byte cuts of the token answer.

A dry run lists every point that one refresh passes (statements, commits, and the stations of each request); then the
same seed is run again and killed at each. `stride` leaves some out where time is short; 1 is complete. `lost_pages` and
`everywhere` hold the other sets, `sets` names them all.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.simulation.deeds import lease_taken
from tests.simulation.fates import Fate
from tests.simulation.machine import Machine
from tests.simulation.plan import Plan
from tests.simulation.run import connect, must_serve
from tests.simulation.trace import Violation
from tests.simulation.world import World

from cloudbeds_simulator.rotation import VARIANTS

LIFETIME = 600.0
SCENARIOS = ("expired", "unproven", "child refused", "rejected", "lease lost")
PAIRED = ("V0/n", "V2/n", "V3/n", "V3/y")


@dataclass
class Tally:
    """What a set covered; `failures` should be empty."""

    runs: int = 0
    points: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def staged(
    variant: str, scenario: str, store: str = "disk", machines: int = 1, *, logged: bool = False
) -> tuple[World, Machine]:
    """A world whose one hotel is about to be refreshed, and the machine that will do it; only that one runs."""
    world = World(
        Plan(1, store=store, variant=variant, lifetime=LIFETIME, machines=machines, linger=0.0, logged=logged)
    )
    world.plan = world.plan.but(mischief={"kill": 0.0})  # a kill is a fault: the checks for faultless runs are off
    world.sendings._faultless = False
    connect(world)
    machine = world.machines[1]
    if scenario == "rejected":  # by the vendor, long before its time: `/userinfo` is asked first
        world.pass_time(LIFETIME / 2)
        for grant in world.vendor.model.grants:
            grant.rotation.expire(world.vendor._now())
        return world, machine
    if scenario == "lease lost":  # while the answer is under way
        world.points.arm(1, lambda name: lease_taken(False, world, machine), word="token acted")
    elif scenario != "expired":
        again = 30.0 if scenario == "child refused" else None
        world.pass_time(LIFETIME + 5.0)
        world.fates.script = {
            "token": [Fate(kind="duplicate" if again else "none", again=again)],
            "userinfo": [Fate(kind="lose request")],
            "resource": [Fate(kind="lose request")],
        }
        world.do(machine, world.callers.call(machine, world.hotels[0]))
        world.pass_time(40.0)
    world.pass_time(LIFETIME + 5.0)
    return world, machine


def one_refresh(world: World, machine: Machine) -> None:
    """A call that refreshes; whatever its machine meets."""
    task = world.loop.start(machine.name, world.callers.call(machine, world.hotels[0]))
    until = world.loop.now + 60.0
    world.loop.call_at(until, lambda: None, context=world.network._context)
    world.loop.run(lambda: not world.loop.alive(machine.name) or task.done() or world.loop.now >= until)
    world.loop.run(lambda: world.loop.now >= until or not world.loop.alive(machine.name))


def points_of(variant: str, scenario: str, store: str = "disk") -> list[str]:
    """Every point that one refresh passes."""
    world, machine = staged(variant, scenario, store)
    world.points.log = []
    one_refresh(world, machine)
    found = [point for _, point in world.points.log]
    world.take_down()
    return found


@dataclass(frozen=True, slots=True)
class Case:
    """What a run of a set begins with."""

    variant: str
    scenario: str
    store: str = "disk"
    logged: bool = False

    def staged(self, machines: int = 1) -> tuple[World, Machine]:
        """See `staged`."""
        return staged(self.variant, self.scenario, self.store, machines, logged=self.logged)

    def points(self) -> list[str]:
        """See `points_of`."""
        return points_of(self.variant, self.scenario, self.store)


def cases(variants: Iterable[str], scenarios: Iterable[str] = SCENARIOS, store: str = "disk") -> list[Case]:
    """All of them."""
    return [Case(variant, scenario, store) for variant, scenario in itertools.product(variants, scenarios)]


def killed(case: Case, kills: tuple[int, ...], log: list[list[str]] | None = None) -> str:
    """Kill the first machine at its `kills[0]`-th point, the next one at `kills[1]`, …; then the hotel must serve."""
    world, machine = case.staged()
    try:
        for at in kills:
            world.points.arm(at + 1, world.kill_named)
            one_refresh(world, machine)
            world.points.calm()
            for number in list(world.machines):
                world.kill(number)
            machine = world.boot(1)
        if log is not None:
            world.points.log = []
            one_refresh(world, machine)
            log.append([point for _, point in world.points.log])
            return ""
        must_serve(world, machine, world.hotels[0])
    except Violation as found:
        return f"{case} {kills}: {found}\n{world.trace.story()}"
    finally:
        world.take_down()
    return ""


def kill_points(variants: Iterable[str] = VARIANTS, store: str = "disk", stride: int = 1, offset: int = 0) -> Tally:
    """Every kill point of one refresh, by scenario and variant."""
    tally = Tally()
    for case in cases(variants, store=store):
        points = case.points()
        named = list(zip(itertools.count(), points, stations(points), strict=False))
        for at, point, station in named[offset % stride :: stride]:
            tally.runs += 1
            tally.points[station] += 1
            if failed := killed(case, (at,)):
                tally.failures.append(f"at {point}: {failed}")
    return tally


def pairs(
    variants: Iterable[str] = PAIRED,
    store: str = "disk",
    stride: int = 1,
    scenarios: Iterable[str] = SCENARIOS[:2],
) -> Tally:
    """All ordered pairs: killed once, started again, killed while it recovers, started again."""
    tally = Tally()
    for case in cases(variants, scenarios, store):
        for first in range(0, len(case.points()), stride):
            log: list[list[str]] = []
            if failed := killed(case, (first,), log):
                tally.failures.append(failed)
            for second in range(0, len(log[0]) if log else 0, stride):
                tally.runs += 1
                if failed := killed(case, (first, second)):
                    tally.failures.append(failed)
    return tally


def cuts(variants: Iterable[str] = ("V0/n", "V2/n"), store: str = "disk", stride: int = 1) -> Tally:
    """Every byte cut of the token answer, ended, reset and hanging."""
    tally = Tally()
    for case, mode in itertools.product(cases(variants, ("expired",), store), ("end", "reset", "hang")):
        for cut in range(0, 400, stride):
            world, machine = case.staged()
            world.fates.script = {"token": [Fate(kind="cut", cut=cut, cut_mode=mode)]}
            try:
                one_refresh(world, machine)
                must_serve(world, machine, world.hotels[0])
            except Violation as found:
                tally.failures.append(f"{case} {mode} at {cut}: {found}\n{world.trace.story()}")
            whole = next(one.read for one in world.network.exchanges if one.refresh) and mode == "end"
            world.take_down()
            tally.runs += 1
            if whole:
                break
    return tally


def stations(points: list[str]) -> list[str]:
    """The kill point, K0 to K13, that each point of a refresh belongs to."""
    found, now = [], IDLE
    for point in points:
        if now in {IDLE, PROBE} and "write_intent" not in point:
            now = PROBE if point.startswith("userinfo") else now
        elif "take_lease" in point:
            now = SECOND_LEASE if now in {SECOND_LEASE, "K6 parsed", IN_TRANSACTION} else now
        elif named := next((station for word, station in STATIONS if word in point), ""):
            now = named
        elif "statement" in point:
            now = WRITES.get(now, now)
        found.append(now)
    return found


IDLE, PROBE, IN_TRANSACTION = "K0 idle", "probe sent", "K7 in transaction"
SECOND_LEASE = "second lease, pair in hand"
STATIONS = (
    ("write_intent", "K1 intent"),
    ("token half written", "K2 half written"),
    ("token sent", "K3 sent"),
    ("token acted", "K4 rotated, no reply"),
    ("token answer half read", "K5 half read"),
    ("token answer read", "K6 parsed"),
    ("settle", "child refused, kept unsent"),
    ("before commit commit_pair", "K8 in COMMIT"),
    ("committed commit_pair", "K9 committed"),
    ("userinfo connecting", "K10 published"),
    ("userinfo sent", "K11 first use"),
    ("userinfo answer read", "K12 proven"),
    ("committed confirm", "K13 pruned"),
)
"""What a point's name holds, and where the refresh is from there on."""
WRITES = {"K6 parsed": IN_TRANSACTION, SECOND_LEASE: IN_TRANSACTION, "K11 first use": "K12 proven"}
ALL_STATIONS = {IDLE, PROBE, IN_TRANSACTION, SECOND_LEASE, *(station for _, station in STATIONS)}
