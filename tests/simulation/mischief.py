"""What the world does besides the network's faults: kills, pauses, power cuts, full disks, clocks, hotels, operators.

Each kind of `plan.MISCHIEF` is a method here; `Mischief.strike` does one of them, at a moment that the dice choose.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import apsw

from cloudbeds_auth.errors import Error, StoreUnavailable
from cloudbeds_auth.ports.store import Leased

if TYPE_CHECKING:
    from tests.simulation.machine import Machine
    from tests.simulation.world import World

DOWN = (0.5, 120.0)  # seconds until a dead machine is started again


class Mischief:
    """Strikes until it is told to stop."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = random.Random(f"mischief {world.plan.seed}")
        self._done: set[str] = set()
        self.over = False
        self._kinds: dict[str, Callable[[], None]] = {
            "kill": self._kill,
            "kill at a point": self._kill_at_a_point,
            "kill at a disk operation": self._kill_at_a_disk_operation,
            "pause": self._pause,
            "power cut": self._power_cut,
            "power cut at a disk operation": self._power_cut_at_a_disk_operation,
            "wall jump": self._wall_jump,
            "expire early": self._expire_early,
            "lease taken": self._lease_taken,
            "disk error": self._disk_error,
            "disk full": self._disk_full,
            "database locked": self._database_locked,
            "commit answer lost": self._commit_answer_lost,
            "reconnect": self._reconnect,
            "revoke": self._revoke,
            "user inactive": self._user_inactive,
            "secret reset": self._secret_reset,
            "herd": self._herd,
            "cancelled caller": self._cancelled_caller,
        }

    async def run(self) -> None:
        """Strike at the plan's rates."""
        rates = self._world.plan.mischief
        total = sum(rates.values())
        while total and not self.over:
            await asyncio.sleep(self._dice.expovariate(total / 3600.0))
            if not self.over:
                self.strike(self._dice.choices(list(rates), list(rates.values()))[0])

    def strike(self, kind: str) -> None:
        """One of them, now."""
        if kind in self._done:
            return
        self._world.trace.say("world", f"mischief: {kind}")
        self._world.trace.count(f"fault {kind}")
        self._kinds[kind]()

    # --- machines

    def _some(self) -> Machine | None:
        running = sorted(self._world.machines)
        return self._world.machines[self._dice.choice(running)] if running else None

    def _kill(self) -> None:
        machine = self._some()
        if machine is not None:
            self._kill_now(machine.name)

    def _kill_now(self, name: str) -> None:
        self._world.kill_named(name)
        self._start_again()

    def _start_again(self) -> None:
        self._world.network.later(self._dice.uniform(*DOWN), self.start_missing)

    def start_missing(self) -> None:
        """Start every machine that is down."""
        for number in range(1, self._world.plan.machines + 1):
            if number not in self._world.machines:
                self._world.boot(number)

    def _kill_at_a_point(self) -> None:
        word = self._dice.choice(["", "token", "commit_pair", "userinfo", "confirm", "write_intent"])
        self._world.points.arm(self._dice.randrange(1, 12 if word else 90), self._kill_now, word=word)

    def _kill_at_a_disk_operation(self) -> None:
        self._world.points.arm_disk(self._dice.randrange(1, 200), lambda kind: self._kill_writer())

    def _kill_writer(self) -> None:
        from tests.simulation.disk import vfs

        self._kill_now(vfs().opener)

    def _pause(self) -> None:
        machine = self._some()
        if machine is None:
            return
        seconds = self._dice.choice([3.0, 25.0, 45.0, 700.0])
        word = self._dice.choice(["", "token answer read", "userinfo answer read"])
        after = 1 if word else self._dice.randrange(1, 40)
        self._world.points.arm(after, lambda name: self._pause_now(name, seconds), word=word)

    def _pause_now(self, name: str, seconds: float) -> None:
        self._world.trace.say(name, f"stands still for {seconds:g} s")
        self._world.disturb(name)
        self._world.loop.pause(name, seconds)

    def _power_cut(self) -> None:
        self._world.cut_power()
        self._start_again()

    def _power_cut_at_a_disk_operation(self) -> None:
        self._world.points.arm_disk(self._dice.randrange(1, 200), lambda kind: self._power_cut())

    # --- time, leases

    def _wall_jump(self) -> None:
        seconds = self._dice.choice([-3.2e7, -3600.0, -600.0, 600.0, 3600.0, 3.2e7])
        self._world.trace.say("host", f"wall clock jumps by {seconds:g} s")
        self._world.clock.jump += seconds

    def _expire_early(self) -> None:
        for grant in self._world.vendor.model.grants:
            grant.rotation.expire(self._world.vendor._now())

    def _lease_taken(self) -> None:
        """Somebody takes every lease, and gives it back or not: an operator's tool, a machine of another namespace."""
        machine = self._some()
        if machine is not None:
            keep = self._dice.random() < 0.3
            self._world.loop.spawn(machine.name, self._take(machine, keep))

    async def _take(self, machine: Machine, keep: bool) -> None:
        world = self._world
        for grant in list(world.invariants.rest.grants().values()):
            try:
                world.disturb("everybody")
                seconds = self._dice.uniform(0.1, 30.0)
                store = type(machine.world.store)(machine.driver, world.sealer, lambda owner, clock: True)  # type: ignore[call-arg]
                taken = await store.take_lease(grant.id, "somebody", seconds)
                if isinstance(taken, Leased):
                    world.sendings.strangers.add((grant.id, taken.epoch))
                if isinstance(taken, Leased) and not keep:
                    await asyncio.sleep(self._dice.uniform(0.0, 5.0))
                    await store.release_lease(grant.id, taken.epoch)
            except StoreUnavailable:
                pass

    # --- the disk

    def _disk_error(self) -> None:
        lasting = self._dice.random() < 0.4
        until = self._world.loop.now + self._dice.uniform(1.0, 90.0)

        def fail(kind: str) -> None:
            if lasting and self._world.loop.now < until and not self.over:
                self._world.points.arm_disk(1, fail)
            raise apsw.IOError("simulated EIO")

        self._world.points.arm_disk(self._dice.randrange(1, 120), fail)

    def _disk_full(self) -> None:
        until = self._world.loop.now + self._dice.uniform(1.0, 200.0)

        def fail(kind: str) -> None:
            if self._world.loop.now < until and not self.over:
                self._world.points.arm_disk(1, fail)
                if kind in {"write", "create"}:
                    raise apsw.FullError("simulated ENOSPC")

        self._world.points.arm_disk(self._dice.randrange(1, 120), fail)

    def _database_locked(self) -> None:
        seconds = self._dice.choice([2.0, 30.0])

        def lock(name: str) -> None:
            self._world.disk.busy = True
            self._world.network.later(seconds, self.unlock)

        self._world.points.arm(self._dice.randrange(1, 30), lock, word="sent")

    def unlock(self) -> None:
        """The other program has finished."""
        self._world.disk.busy = False

    def _commit_answer_lost(self) -> None:
        def lose(name: str) -> None:
            raise StoreUnavailable("simulated: the answer of COMMIT was lost")

        word = self._dice.choice(["committed commit_pair", "committed"])
        self._world.points.arm(self._dice.randrange(1, 4), lose, word=word)

    # --- people

    def _reconnect(self) -> None:
        machine = self._some()
        if machine is not None:
            hotel = self._dice.choice(self._world.hotels)
            self._world.loop.spawn(machine.name, self._connect_again(machine, hotel.property_id, hotel.connection_id))

    async def _connect_again(self, machine: Machine, property_id: str, connection_id: str) -> None:
        try:
            begun = await machine.authorizer.begin(connection_id=connection_id)
            code, state = self._world.vendor.approve(begun.url, property_id)
            await machine.authorizer.finish(code=code, state=state)
        except Error as error:
            self._world.trace.say(machine.name, f"reconnecting ended with {error.code}")

    def _revoke(self) -> None:
        self._end_grant("revoked by the hotel", self._dice.choice(["denied", "not_available"]))

    def _user_inactive(self) -> None:
        self._end_grant("user inactive", "user_inactive")

    def _end_grant(self, reason: str, face: str) -> None:
        self._done |= {"revoke", "user inactive"}
        living = [grant for grant in self._world.vendor.model.grants if not grant.rotation.revoked]
        if living:
            self._world.vendor.model.end(self._dice.choice(living), reason, face)
            self._world.vendor.ledger.version += 1

    def _secret_reset(self) -> None:
        """The vendor takes another secret; machines learn of it when they are started next, one by one."""
        world = self._world
        secret = f"secret-sim-{len(world.secrets)}{self._dice.getrandbits(32)}"
        world.vendor.reset_secret(secret)
        world.secrets = (secret, *world.secrets)[:2]
        for number in sorted(world.machines):
            world.network.later(self._dice.uniform(10.0, 600.0), self._restart, number)

    def _restart(self, number: int) -> None:
        self._world.kill(number)
        if not self.over:
            self.start_missing()

    # --- callers

    def _herd(self) -> None:
        machine = self._some()
        if machine is not None:
            for _ in range(30):
                for hotel in self._world.hotels:
                    self._world.loop.spawn(machine.name, self._world.callers.call(machine, hotel))

    def _cancelled_caller(self) -> None:
        machine = self._some()
        if machine is not None:
            hotel = self._dice.choice(self._world.hotels)
            task = self._world.loop.spawn(machine.name, self._world.callers.call(machine, hotel))
            self._world.network.later(self._dice.uniform(0.0, 3.0), _hang_up, task)


def _hang_up(task: asyncio.Task[str]) -> None:
    task.cancel()
