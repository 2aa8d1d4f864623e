"""The exhaustive set of faults: each kind of them at each point of one refresh where it can strike.

Four families: what happens to each request of the refresh; what the world does at each moment at which the machine may
yield; a statement or a COMMIT that fails; a disk operation that fails. Afterwards the hotel must serve within the
bound, or be told truly that its grant is dead. A strike that never struck is a failure of the set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.simulation.deeds import EVENTS, OF_COMMITS, OF_OPERATIONS, OF_STATEMENTS, Deed, OfOperation
from tests.simulation.exhaustive import Case, Tally, cases, one_refresh
from tests.simulation.faces import GATEWAY_OF_RESOURCE, GATEWAY_OF_TOKEN, LIFETIMES, ODD, REDIRECTS
from tests.simulation.fates import INSTEAD, Fate
from tests.simulation.machine import Machine
from tests.simulation.run import must_serve
from tests.simulation.trace import Violation
from tests.simulation.world import World

from cloudbeds_simulator.rotation import VARIANTS

FACES = {**INSTEAD, "redirect": REDIRECTS[:: len(REDIRECTS) // 4], "odd body": ODD}


@dataclass(frozen=True, slots=True)
class Strike:
    """`arm(world, machine)` lays it ready, and gives what says whether it has struck."""

    kind: str
    place: str
    arm: Callable[[World, Machine], Callable[[], bool]]


def everywhere(variants: Iterable[str] = VARIANTS, store: str = "disk", stride: int = 1, offset: int = 0) -> Tally:
    """Every strike at every point of one refresh, by scenario and variant.

    Of each kind every `stride`-th, and at least one.
    """
    tally = Tally()
    for variant in variants:
        by_kind: dict[str, list[tuple[Case, Strike]]] = {}
        for case in cases((variant,), store=store):
            for strike in strikes(case):
                by_kind.setdefault(strike.kind, []).append((case, strike))
        for kind, all_of_it in by_kind.items():
            for case, strike in all_of_it[offset % min(stride, len(all_of_it)) :: stride]:
                tally.runs += 1
                tally.points[kind] += 1
                if failed := struck(case, strike):
                    tally.failures.append(f"{case} {kind} {strike.place}: {failed}")
    return tally


def strikes(case: Case) -> Iterator[Strike]:
    """All that can strike the refresh of this case."""
    points = case.points()
    yield from _of_requests(points)
    for at, point in enumerate(points):
        if _may_yield(points, at):
            yield from _of_points(EVENTS, at, point)
        if point.startswith(("statement", "before commit")):
            yield from _of_points(OF_STATEMENTS, at, point)
        if point.startswith("committed"):
            yield from _of_points(OF_COMMITS, at, point)
    if case.store == "disk":
        yield from _of_operations(case)


def struck(case: Case, strike: Strike) -> str:
    """One refresh under one strike; what went wrong."""
    world, machine = case.staged(machines=2)
    try:
        has_struck = strike.arm(world, machine)
        one_refresh(world, machine)
        if not has_struck():
            return "it never struck"
        _calm(world)
        for number in sorted(world.machines):
            _must_be_told(world, world.machines[number])
    except Violation as found:
        return f"{found}\n{world.trace.story()}"
    finally:
        world.take_down()
    return ""


def fates(target: str) -> list[Fate]:
    """Every fate of one request that is a fault."""
    found = [
        Fate("connect"),
        *(Fate(kind, hangs=hangs) for kind in ("lose request", "lose answer") for hangs in (False, True)),
        *(Fate("late request", there=there) for there in (10.0, 100.0)),
        *(Fate("late answer", back=back) for back in (10.0, 45.0)),
        *(Fate("duplicate", again=again) for again in (0.01, 1.0, 30.0, 100.0)),
        *(Fate("answer twice", copy=copy) for copy in (0.0, 5.0)),
        *(Fate("cut", cut=cut, cut_mode=mode) for cut in (0, 40) for mode in ("end", "reset", "hang")),
    ]
    gateway = GATEWAY_OF_TOKEN if target == "token" else GATEWAY_OF_RESOURCE
    for kind, faces in {"gateway": gateway, **FACES}.items():
        found += [Fate(kind, answer=face, acted=acted) for face in faces for acted in (False, True)]
    if target == "token":
        found += [Fate("odd lifetime", lifetime=(lifetime,)) for lifetime in LIFETIMES]
    return found


def _of_requests(points: list[str]) -> Iterator[Strike]:
    sent: dict[str, int] = {}
    for target in [point.removesuffix(" connecting") for point in points if point.endswith(" connecting")]:
        before = sent.get(target, 0)
        sent[target] = before + 1
        for fate in fates(target):
            yield Strike(f"{target}: {fate.kind}", f"of request {before} ({fate})", _of_request(target, before, fate))


def _of_request(target: str, before: int, fate: Fate) -> Callable[[World, Machine], Callable[[], bool]]:
    def arm(world: World, machine: Machine) -> Callable[[], bool]:
        world.fates.script = {target: [*(Fate() for _ in range(before)), fate]}
        return lambda: any(exchange.fate is fate for exchange in world.network.exchanges)

    return arm


def _of_points(family: Mapping[str, Deed], at: int, point: str) -> Iterator[Strike]:
    for kind, deed in family.items():
        yield Strike(kind, f"at {point} ({at})", _of_point(deed, at))


def _of_point(deed: Deed, at: int) -> Callable[[World, Machine], Callable[[], bool]]:
    def arm(world: World, machine: Machine) -> Callable[[], bool]:
        struck: list[str] = []

        def strike(name: str) -> None:
            struck.append(name)
            deed(world, machine)

        world.points.arm(at + 1, strike)
        return lambda: bool(struck)

    return arm


def _may_yield(points: list[str], at: int) -> bool:
    """Whether others may run just before this point: not inside a transaction, and what comes between a COMMIT and
    the next point strikes there.
    """
    inside = points[at].startswith(("statement", "before commit")) and at > 0 and points[at - 1].startswith("statement")
    return not inside and not points[at].startswith("committed")


def _of_operations(case: Case) -> Iterator[Strike]:
    world, machine = case.staged()
    found: list[str] = []
    world.disk.hook = lambda kind, name: found.append(f"{kind} of {name}")
    one_refresh(world, machine)
    world.take_down()
    for at, operation in enumerate(found):
        for kind, deed in OF_OPERATIONS.items():
            yield Strike(kind, f"at {operation} ({at})", _of_operation(deed, at))


def _of_operation(deed: OfOperation, at: int) -> Callable[[World, Machine], Callable[[], bool]]:
    def arm(world: World, machine: Machine) -> Callable[[], bool]:
        struck: list[str] = []

        def strike(kind: str) -> None:
            struck.append(kind)
            deed(world)(kind)

        world.points.arm_disk(at + 1, strike)
        return lambda: bool(struck)

    return arm


def _calm(world: World) -> None:
    """Nothing new strikes; a machine that is down, or does not know the secret, is started anew."""
    world.trace.say("world", "the fault is over")
    world.points.calm()
    world.disk.busy = False
    world.fates.script = {}
    for number, machine in list(world.machines.items()):
        if world.secrets[0] != machine.world.apps["default"].secrets[0].reveal():
            world.kill(number)
    if 1 not in world.machines:
        world.boot(1)


def _must_be_told(world: World, machine: Machine) -> None:
    """Served, told truly to reconnect, or told that an operator disconnected it."""
    hotel = world.hotels[0]
    roles = {one.role for one in world.invariants.rest.grants().values() if one.connection_id == hotel.connection_id}
    if roles & {"active", "candidate"}:
        must_serve(world, machine, hotel)
        return
    ended = world.do(machine, world.callers.call(machine, hotel))
    if ended != "connection_disconnected":
        world.trace.violate("I10", f"{hotel.connection_id} is disconnected, and its caller is told: {ended}")
