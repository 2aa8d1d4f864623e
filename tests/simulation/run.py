"""One run from a plan: connect, call while faults strike, then calm, then look."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.simulation.loop import BEGAN
from tests.simulation.machine import BASE, Machine
from tests.simulation.mischief import Mischief
from tests.simulation.people import moved
from tests.simulation.plan import Plan, draw
from tests.simulation.sendings import SECRETS
from tests.simulation.trace import Violation
from tests.simulation.vendor import CLIENT
from tests.simulation.world import Hotel, World
from tests.support.genuine import altered

LANDING = 160.0  # seconds until the last delayed request has arrived, or died
ROUND_TRIP = 2.0  # seconds, at most, of a request and its answer once faults have stopped
BOUND = 30.0 + 60.0  # lease and backoff cap
BRAKED = 3600.0  # seconds more, where new tokens were answered 401, or marks came in a storm
RETRIED = 6 * 3600.0 + 600.0  # seconds until a marked hotel is tried again, at most, and all that may be in its way
MOVING = 300.0  # seconds more, where a latched hotel's token is over: until its exchange is answered (ADR 0010)
HOUR = 3600.0  # seconds until a hotel that is not marked serves again after a vendor that lied (I15)
MARKS = frozenset({"reauthorization_required", "connection_disconnected"})


@dataclass(slots=True)
class Result:
    """What a run did. `violation` is None when every invariant held."""

    plan: Plan
    hash: str
    story: str
    violation: Violation | None
    hours: float
    counts: Counter[str] = field(default_factory=Counter)


def run_seed(seed: int, store: str = "disk") -> Result:
    """The run of this seed, over this store."""
    return run_plan(draw(seed, store))


def run_plan(plan: Plan) -> Result:
    """One run; a violation is a result, anything else that goes wrong is raised."""
    world = World(plan)
    violation: Violation | None = None
    try:
        go(world)
    except Violation as found:
        violation = found
    finally:
        world.take_down()
    trace = world.trace
    hours = (world.loop.now - BEGAN) / 3600.0
    return Result(plan, trace.hash, trace.story(), violation, hours, trace.counts)


def go(world: World) -> None:
    """The four parts."""
    plan = world.plan
    connect(world)
    world.calling, world.keeping = True, plan.upkeep
    for number in range(1, plan.machines + 1):
        if number in world.machines:
            world.set_to_work(world.machines[number])
        else:
            world.boot(number)
    mischief = Mischief(world)
    world.fates.rates = dict(plan.rates)
    world.loop.spawn("world", mischief.run())
    world.pass_time(plan.hours * 3600.0)
    calm(world, mischief)
    for hotel in world.hotels:
        for number in sorted(world.machines):
            must_serve(world, world.machines[number], hotel)
    no_secret_rests(world)
    nothing_is_altered(world)


def connect(world: World) -> None:
    """Every hotel approves, over machine 1."""
    machine = world.boot(1)
    for hotel in world.hotels:
        hotel.connection_id = str(world.do(machine, _connected(world, machine, hotel)))


async def _connected(world: World, machine: Machine, hotel: Hotel) -> str:
    begun = await machine.authorizer.begin()
    code, state = world.vendor.approve(begun.url, hotel.property_id)
    finished = await machine.authorizer.finish(code=code, state=state)
    return finished.connection.id


def calm(world: World, mischief: Mischief) -> None:
    """Faults stop: nothing new is lost, what is under way lands, everybody runs and knows the secret."""
    world.trace.say("world", "faults stop")
    mischief.over = True
    world.calling, world.keeping = False, True
    world.fates.rates = {}
    world.fates.denies = 0.0
    world.fates.script = {}
    world.fates.lies = {}
    for hotel in world.hotels:
        world.vendor.model.set_app_state(CLIENT, hotel.property_id, "enabled", world.vendor._now(), True)
    world.points.calm()
    world.disk.busy = False
    world.loop._paused.clear()
    goes_on = world.plan.faultless or world.plan.goes_on
    for number, machine in list(world.machines.items()):
        if goes_on and _is_right(world, machine):  # its callers of the faulty part are gone
            world.callers.stop(machine)
            world.set_to_work(machine)
        else:
            world.kill(number)
    mischief.start_missing()
    world.pass_time(LANDING)
    mischief.start_missing()  # who was told to stop before has ended by now


def _is_right(world: World, machine: Machine) -> bool:
    """Whether it has the vendor's secret of today, and speaks to the vendor."""
    ours = machine.world
    return ours.issuer == BASE and ours.apps["default"].secrets[0].reveal() == world.secrets[0]


def must_serve(world: World, machine: Machine, hotel: Hotel) -> None:
    """I10: a living hotel serves within lease, backoff cap and (kept + 4) round trips; a dead one is told so.

    I15: one that was marked, because the vendor lied, serves when it is tried again; no person acts.
    """
    began, bound, marked = world.loop.now, 0.0, False
    while True:
        bound = max(bound, _bound(world, hotel))  # a brake may come with what is asked here
        ended = str(world.do(machine, world.callers.call(machine, hotel)))
        living = lives(world, hotel)  # under V7 a request that lands late may end it meanwhile
        if ended == "served" or (not living and ended in {*MARKS, "dead grant"}):
            return
        if ended in MARKS:
            if not world.vendor.ledger.lied:
                world.trace.violate("I10", f"{hotel.connection_id} lives and is said to need a new approval")
            if world.loop.now - began > RETRIED:
                world.trace.violate("I15", f"{hotel.connection_id} lives and is out for good ({ended})")
            marked = True
            world.trace.count("marked by mistake, until it is tried again")
            world.pass_time(60.0)
            continue
        if ended == "not_refreshable":  # a move that was cut off: the next step that is told
            world.do(machine, moved(world, machine, hotel.connection_id))
        waited, lied = world.loop.now - began, world.vendor.ledger.lied
        more = 0.0 if not lied else RETRIED if marked else HOUR
        if waited > (bound if living else 2 * bound + 60.0) + more:
            named = "I15" if lied else "I10"
            world.trace.violate(named, f"{hotel.connection_id} is not served after {waited:.0f} s ({ended})")
        world.pass_time(1.0)


def _bound(world: World, hotel: Hotel) -> float:
    """Seconds in which a living hotel serves, told by what is stored of it now."""
    stored = [one for one in world.invariants.rest.grants().values() if one.connection_id == hotel.connection_id]
    kept = max((len(one.tokens) for one in stored), default=1)
    moving = any(one.latched and one.role == "active" for one in stored)
    braked = any(one.denied or one.mark_after or one.reprieves for one in stored)
    return BOUND + (kept + 4) * ROUND_TRIP + (MOVING if moving else 0.0) + (BRAKED if braked else 0.0)


def lives(world: World, hotel: Hotel) -> bool:
    """Whether the vendor accepts something of what speaks for this connection."""
    stored = [one for one in world.invariants.rest.grants().values() if one.connection_id == hotel.connection_id]
    speaking = [one for one in stored if one.role in {"active", "candidate"}]
    vendor = world.vendor
    if any(not one.values and vendor.lives(one.access) for one in speaking):
        return True  # a key
    return any(value in vendor.accepted(value) for one in speaking for value in one.values)


def nothing_is_altered(world: World) -> None:
    """Whatever struck, every row and every history is as the product says that it wrote it (A59, A76)."""
    machine = world.machines[min(world.machines)]
    found = world.do(machine, altered(machine.world.db))
    assert found == [], found


def no_secret_rests(world: World) -> None:
    """I9: no token that was ever issued rests in plain text."""
    image = world.invariants.rest.plain()
    if any(mark in image for mark in SECRETS):
        world.trace.violate("I9", "a secret rests in plain text")
