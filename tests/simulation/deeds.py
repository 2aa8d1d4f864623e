"""What can strike at one point of one refresh, each kind a small deed; `everywhere` does each at every point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import apsw
from tests.simulation.machine import Machine
from tests.simulation.mischief import Mischief
from tests.simulation.weather import full, lose_answer
from tests.simulation.world import World

from cloudbeds_auth.errors import Error, StoreUnavailable
from cloudbeds_auth.transactions.grants import Leased, release_lease, take_lease
from cloudbeds_auth.transactions.runner import Database

PAST_THE_LEASE = 45.0  # seconds
A_WHILE = 20.0
A_YEAR = 3.2e7
Deed = Callable[[World, Machine], None]
"""Done at the point, which `machine` has reached; it may raise what the point then raises."""
OfOperation = Callable[[World], Callable[[str], None]]
"""Begun at the disk operation; what it gives is done with the operation's kind, and may raise."""


def stands_still(world: World, machine: Machine) -> None:
    """Past the lease, while another machine wants the same token."""
    Mischief(world).pause(machine.name, PAST_THE_LEASE)
    _call_from_another(world)


def another_commits(world: World, machine: Machine) -> None:
    """Another machine takes the lease, as of a dead process, refreshes and commits meanwhile."""
    world.disturb(machine.name)
    world.dead.add(machine.name)
    _call_from_another(world)


def _call_from_another(world: World) -> None:
    other = world.boot(2)
    world.loop.spawn(other.name, world.callers.call(other, world.hotels[0]))


def lease_taken(keep: bool, world: World, machine: Machine) -> None:
    """By an operator's tool, which gives it back at once or keeps it until it runs out."""
    world.disturb("everybody")
    world.drivers["operator"] = world._way("operator")
    world.loop.spawn("operator", _take(world, keep))


async def _take(world: World, keep: bool) -> None:
    store = Database(world.drivers["operator"], world.sealer, lambda owner, clock: True)
    for grant in list(world.invariants.rest.grants().values()):
        try:
            taken = await store.write(take_lease(grant.id, "somebody", A_WHILE))
            if isinstance(taken, Leased):
                world.sendings.strangers.add((grant.id, taken.epoch))
                if not keep:
                    await store.write(release_lease(grant.id, taken.epoch))
        except Error:
            pass  # held by another program just now


def clock_jumps(seconds: float, world: World, machine: Machine) -> None:
    world.clock.jump += seconds


def expires(world: World, machine: Machine) -> None:
    for grant in world.vendor.model.grants:
        grant.rotation.expire(world.vendor._now())


def secret_reset(world: World, machine: Machine) -> None:
    """The machine learns of it when it is started next."""
    world.vendor.reset_secret("secret-sim-new")
    world.secrets = ("secret-sim-new", *world.secrets)


def revoked(reason: str, face: str, world: World, machine: Machine) -> None:
    world.vendor.model.end(world.vendor.model.grants[0], reason, face)
    world.vendor.ledger.version += 1


def vendor_down(how: str, world: World, machine: Machine) -> None:
    until = world.loop.now + A_WHILE
    world.fates.down = lambda: how if world.loop.now < until else ""


def told_to_stop(world: World, machine: Machine) -> None:
    mischief = Mischief(world)
    mischief.over = True
    mischief.drain_now(machine.name)


def power_cut(world: World, machine: Machine) -> None:
    world.cut_power()


def disconnected(world: World, machine: Machine) -> None:
    """By an operator, over another machine."""
    world.invariants.operator_disconnects = True
    other = world.boot(2)
    world.loop.spawn(other.name, _disconnect(world, other))


async def _disconnect(world: World, other: Machine) -> None:
    connection_id = world.hotels[0].connection_id
    try:
        await other.disconnecter.disconnect(connection_id, forget=False)
    except Error as error:
        world.trace.say(other.name, f"disconnecting ended with {error.code}")


def reconnected(world: World, machine: Machine) -> None:
    """The hotel approves once more, over another machine (F86)."""
    other = world.boot(2)
    world.loop.spawn(other.name, _reconnect(world, other))


async def _reconnect(world: World, other: Machine) -> None:
    begun = await other.authorizer.begin(connection_id=world.hotels[0].connection_id)
    code, state = world.vendor.approve(begun.url, world.hotels[0].property_id)
    try:
        await other.authorizer.finish(code=code, state=state)
    except Error as error:
        world.trace.say(other.name, f"reconnecting ended with {error.code}")


def locked(seconds: float, world: World, machine: Machine) -> None:
    """Another program holds the database."""
    world.disk.busy = True
    world.network.later(seconds, setattr, world.disk, "busy", False)


EVENTS: Mapping[str, Deed] = {
    "stands still past the lease": stands_still,
    "another machine commits": another_commits,
    "lease taken and given back": partial(lease_taken, False),
    "lease taken and kept": partial(lease_taken, True),
    "clock jumps ahead a year": partial(clock_jumps, A_YEAR),
    "clock jumps back a year": partial(clock_jumps, -A_YEAR),
    "clock jumps ahead ten minutes": partial(clock_jumps, 600.0),
    "clock jumps back ten minutes": partial(clock_jumps, -600.0),
    "token expires": expires,
    "secret reset": secret_reset,
    "revoked": partial(revoked, "revoked by the hotel", "denied"),
    "app not available": partial(revoked, "revoked by the hotel", "not_available"),
    "user inactive": partial(revoked, "user inactive", "user_inactive"),
    "vendor refuses connections": partial(vendor_down, "refused"),
    "vendor is silent": partial(vendor_down, "silent"),
    "vendor shows a page": partial(vendor_down, "page"),
    "told to stop": told_to_stop,
    "power cut": power_cut,
    "disconnected": disconnected,
    "reconnected": reconnected,
    "database locked for 2 s": partial(locked, 2.0),
    "database locked for 30 s": partial(locked, 30.0),
}
"""What the world does; a moment at which the machine may yield is enough for these."""


def statement_fails(world: World, machine: Machine) -> None:
    raise StoreUnavailable("simulated: the statement failed")


def statements_fail(world: World, machine: Machine) -> None:
    """From then on, for a while."""
    until = world.loop.now + A_WHILE

    def fail(name: str) -> None:
        if world.loop.now < until:
            world.points.arm(1, fail, word="statement")
            raise StoreUnavailable("simulated: statements fail")

    fail(machine.name)


def commit_answer_lost(world: World, machine: Machine) -> None:
    lose_answer(machine.name)


OF_STATEMENTS: Mapping[str, Deed] = {"statement fails": statement_fails, "statements fail for 20 s": statements_fail}
OF_COMMITS: Mapping[str, Deed] = {"answer of COMMIT lost": commit_answer_lost}


def operation_fails(world: World) -> Callable[[str], None]:
    def fail(kind: str) -> None:
        raise apsw.IOError("simulated EIO")

    return fail


def operations_fail(world: World) -> Callable[[str], None]:
    """From then on, for a while."""
    until = world.loop.now + A_WHILE

    def fail(kind: str) -> None:
        if world.loop.now < until:
            world.points.arm_disk(1, fail)
            raise apsw.IOError("simulated EIO")

    return fail


def disk_full(world: World) -> Callable[[str], None]:
    """From then on, for a while."""
    until = world.loop.now + A_WHILE
    return full(world.points.arm_disk, lambda: world.loop.now < until)


OF_OPERATIONS: Mapping[str, OfOperation] = {
    "EIO": operation_fails,
    "EIO for 20 s": operations_fail,
    "disk full for 20 s": disk_full,
}
