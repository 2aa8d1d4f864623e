"""The exhaustive sets: kill points, ordered pairs of them, byte cuts of the token answer, lost and torn pages.

A dry run lists every point that one refresh passes (statements, commits, and the stations of each request); then the
same seed is run again and killed at each. `stride` leaves some out where time is short; 1 is complete.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.simulation.disk import vfs
from tests.simulation.durable import connection_to
from tests.simulation.fates import Fate
from tests.simulation.machine import Machine
from tests.simulation.plan import Plan
from tests.simulation.run import connect, must_serve
from tests.simulation.trace import Violation
from tests.simulation.world import World

from cloudbeds_simulator.variants import VARIANTS

LIFETIME = 600.0
SCENARIOS = ("expired", "unproven", "child refused")
PAIRED = ("V0/n", "V2/n", "V3/n", "V3/y")
MOST_SUBSETS = 1024


@dataclass
class Tally:
    """What a set covered; `failures` should be empty."""

    runs: int = 0
    points: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def staged(variant: str, scenario: str) -> tuple[World, Machine]:
    """A world whose one hotel is about to be refreshed, and the machine that will do it."""
    world = World(Plan(1, variant=variant, lifetime=LIFETIME, machines=1, linger=0.0))
    world.plan = world.plan.but(mischief={"kill": 0.0})  # a kill is a fault: the checks for faultless runs are off
    world.sendings._faultless = False
    connect(world)
    machine = world.machines[1]
    if scenario != "expired":
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
    task = world.loop.spawn(machine.name, world.callers.call(machine, world.hotels[0]))
    until = world.loop.now + 60.0
    world.loop.call_at(until, lambda: None, context=world.network._context)
    world.loop.run(lambda: not world.loop.alive(machine.name) or task.done() or world.loop.now >= until)
    world.loop.run(lambda: world.loop.now >= until or not world.loop.alive(machine.name))


def points_of(variant: str, scenario: str) -> list[str]:
    """Every point that one refresh passes."""
    world, machine = staged(variant, scenario)
    world.points.log = []
    one_refresh(world, machine)
    found = [point for _, point in world.points.log]
    world.take_down()
    return found


def killed(variant: str, scenario: str, kills: tuple[int, ...], log: list[list[str]] | None = None) -> str:
    """Kill the first machine at its `kills[0]`-th point, the next one at `kills[1]`, …; then the hotel must serve."""
    world, machine = staged(variant, scenario)
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
        return f"{variant} {scenario} {kills}: {found}\n{world.trace.story()}"
    finally:
        world.take_down()
    return ""


def kill_points(variants: tuple[str, ...] = tuple(VARIANTS), stride: int = 1, offset: int = 0) -> Tally:
    """Every kill point of one refresh, by scenario and variant."""
    tally = Tally()
    for variant, scenario in itertools.product(variants, SCENARIOS):
        points = points_of(variant, scenario)
        named = list(zip(itertools.count(), points, stations(points)))
        for at, point, station in named[offset % stride :: stride]:
            tally.runs += 1
            tally.points[station] += 1
            if failed := killed(variant, scenario, (at,)):
                tally.failures.append(f"at {point}: {failed}")
    return tally


def pairs(variants: tuple[str, ...] = PAIRED, stride: int = 1, scenarios: tuple[str, ...] = SCENARIOS[:2]) -> Tally:
    """All ordered pairs: killed once, started again, killed while it recovers, started again."""
    tally = Tally()
    for variant, scenario in itertools.product(variants, scenarios):
        for first in range(0, len(points_of(variant, scenario)), stride):
            log: list[list[str]] = []
            failed = killed(variant, scenario, (first,), log)
            for second in range(0, len(log[0]) if log else 0, stride):
                tally.runs += 1
                if failed := killed(variant, scenario, (first, second)):
                    tally.failures.append(failed)
    return tally


def cuts(variants: tuple[str, ...] = ("V0/n", "V2/n"), stride: int = 1) -> Tally:
    """Every byte cut of the token answer, ended, reset and hanging."""
    tally = Tally()
    for variant, mode in itertools.product(variants, ("end", "reset", "hang")):
        for cut in range(0, 400, stride):
            world, machine = staged(variant, "expired")
            world.fates.script = {"token": [Fate(kind="cut", cut=cut, cut_mode=mode)]}
            try:
                one_refresh(world, machine)
                must_serve(world, machine, world.hotels[0])
            except Violation as found:
                tally.failures.append(f"{variant} {mode} at {cut}: {found}\n{world.trace.story()}")
            whole = next(one.read for one in world.network.exchanges if one.refresh) and mode == "end"
            world.take_down()
            tally.runs += 1
            if whole:
                break
    return tally


def lost_pages(variants: tuple[str, ...] = ("V0/n", "V2/n", "V3/n"), most: int = MOST_SUBSETS) -> Tally:
    """Power fails before each disk operation of one refresh; every subset of the un-synced writes may have made it."""
    tally = Tally()
    for variant, scenario in itertools.product(variants, SCENARIOS):
        world, machine = staged(variant, scenario)
        world.disk.hook = _power_fails(world, tally, most)
        one_refresh(world, machine)
        world.take_down()
    return tally


def _power_fails(world: World, tally: Tally, most: int) -> Callable[[str, str], None]:
    seen: set[int] = set()

    def hook(kind: str, name: str) -> None:
        opener = vfs().opener
        tally.points[kind] += 1
        for keep, torn in subsets(world.disk.unsynced(), most, random.Random(len(seen))):
            files = world.disk.left(keep, torn)
            mark = hash(tuple(sorted(files.items())))
            if mark in seen:
                continue
            seen.add(mark)
            tally.runs += 1
            if failed := _opens(world, files):
                tally.failures.append(
                    f"{world.plan.variant} before {kind} of {name}, kept {keep} torn {torn}: {failed}"
                )
        vfs().opener = opener

    return hook


def subsets(
    pending: list[tuple[str, int]], most: int, dice: random.Random
) -> Iterator[tuple[list[tuple[str, int]], int | None]]:
    """Every subset when there are few, else a sample; each also with its last write torn."""
    if 2 ** len(pending) <= most:
        chosen = [list(some) for size in range(len(pending) + 1) for some in itertools.combinations(pending, size)]
    else:
        chosen = [[], pending, *([one for one in pending if dice.random() < 0.5] for _ in range(most - 2))]
    for keep in chosen:
        yield keep, None
        if keep:
            yield keep, dice.randrange(1, 4096)


def _opens(world: World, files: dict[str, bytes]) -> str:
    """The database opens, is whole, and holds a refresh token that the vendor accepts (F11)."""
    try:
        connection = connection_to(files)
        whole = connection.execute("PRAGMA integrity_check").get
        connection.close()
        if whole != "ok":
            return f"integrity: {whole}"
        stored = world.invariants.rest.read(files)
    except Exception as error:  # noqa: BLE001 - whatever it is, the database does not open
        return f"{type(error).__name__}: {error}"
    for grant in stored.values():
        if not any(value in world.vendor.accepted(value) for value in grant.values):
            return f"{grant.id} is lost"
    return "" if stored else "the grant is gone"


def stations(points: list[str]) -> list[str]:
    """The kill point of FAULTS, K0 to K13, that each point of a refresh belongs to."""
    found, now = [], "K0 idle"
    for point in points:
        for word, station in STATIONS:
            if word in point:
                now = station
                break
        else:
            if "statement" in point and now == "K6 parsed":
                now = "K7 in transaction"
            elif "statement" in point and now == "K11 first use":
                now = "K12 proven"
        found.append(now)
    return found


STATIONS = (
    ("take_lease", "K0 idle"),
    ("write_intent", "K1 intent"),
    ("token half written", "K2 half written"),
    ("token sent", "K3 sent"),
    ("token acted", "K4 rotated, no reply"),
    ("token answer half read", "K5 half read"),
    ("token answer read", "K6 parsed"),
    ("settle", "child refused, kept unsent"),
    ("before commit commit_pair", "K8 in COMMIT"),
    ("committed commit_pair", "K9 committed"),
    ("connecting", "K10 published"),
    ("userinfo sent", "K11 first use"),
    ("userinfo answer read", "K12 proven"),
    ("committed confirm", "K13 pruned"),
)


def everything() -> Iterator[str]:
    """All sets in full, each as a line of the report."""
    for name, run in (("kill points", kill_points), ("ordered pairs of kill points", pairs), ("byte cuts", cuts),
                      ("lost or torn page images", lost_pages)):  # fmt: skip
        tally = run()
        points = ", ".join(f"{point} {times}" for point, times in sorted(tally.points.items()))
        line = f"{name}: {tally.runs:,} runs, {len(tally.failures)} failures" + (f" ({points})" if points else "")
        print(line, *tally.failures[:3], sep="\n", flush=True)
        yield line
