"""The simulated world: one disk (or one server in memory), one vendor, one network, machines and callers.

A run goes in four parts: hotels connect; callers call while the plan's faults strike; then faults stop, and every
living hotel must serve within the bound of I10; then it is looked whether any secret rests in plain text.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any

from tests.simulation.callers import Callers
from tests.simulation.disk import Disk, vfs
from tests.simulation.driver import SimDriver, logged_on_disk, on_disk, template
from tests.simulation.durable import DATABASE, Rest
from tests.simulation.fates import Fates
from tests.simulation.invariants import Invariants
from tests.simulation.loop import BEGAN, SimLoop
from tests.simulation.machine import Dice, Machine, start
from tests.simulation.memory import MemoryFile, Server
from tests.simulation.network import Exchange, Network
from tests.simulation.pace import Pace
from tests.simulation.plan import Plan
from tests.simulation.points import Points
from tests.simulation.sendings import Sendings
from tests.simulation.trace import Trace
from tests.simulation.vendor import SECRET, Vendor
from tests.support.keys import KEY

from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.transactions.statements import Instant, Statement

WALL = 1_800_000_000.0
DISK_NAME = "world"


class Clock:
    """ports.Clock of the simulated host: steady by boot, wall with jumps."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self.jump = 0.0
        self.boot = 1
        self._booted = BEGAN - 500.0

    def wall(self) -> float:
        return WALL + self._loop.now - BEGAN + self.jump

    def steady(self) -> float:
        return self._loop.now - self._booted

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def instant(self) -> Instant:
        """The store's clock."""
        return Instant(self.wall(), self.steady(), f"boot-{self.boot}", f"boot-{self.boot}")

    def reboot(self) -> None:
        """Steady time begins anew, under another name."""
        self.boot += 1
        self._booted = self._loop.now - 5.0


@dataclass
class Hotel:
    """A connected hotel."""

    property_id: str
    connection_id: str = ""


class World:
    """See the module's docstring."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        dice = {part: random.Random(f"{part} {plan.seed}") for part in ("loop", "vendor", "net", "store", "world")}
        self.dice = dice["world"]
        self.loop = SimLoop(dice["loop"], fifo=plan.fifo)  # type: ignore[abstract]
        self.trace = Trace(lambda: self.loop.now - BEGAN)
        self.trace.blind = plan.blind
        self.timing = Timing.of(20.0)
        self.clock = Clock(self.loop)
        self.sealer = AesGcmSealer([KEY], random=dice["store"].randbytes)
        self.disk = Disk()
        self.server = Server(self.disk) if plan.store == "memory" else None
        if self.server is None:
            self.disk.become({DATABASE: template()})
            self.disk.lying = plan.lying
            self.disk.attach(DISK_NAME)
        self.points = Points(self)
        self.vendor = Vendor(
            self.trace, dice["vendor"], lambda: WALL + self.loop.now - BEGAN, plan.variant, plan.lifetime, plan.hotels
        )
        self.fates = Fates(dice["net"], {}, plan.denies)
        self.network = Network(self.loop, self.vendor, self.trace, self.fates, self._leaving, self.points.reached)
        rest = Rest(self.disk, self.sealer, self.server.connection if self.server else None)
        self.invariants = Invariants(self.trace, rest, self.vendor, lambda: self.loop.now, self._asked_at)
        self.drivers: dict[str, SimDriver] = {}
        self.pace = Pace(self.trace, self.loop, plan.limit)
        self.sendings = Sendings(
            self.trace, self.invariants, self.drivers, self.loop, plan.faultless, self.pace, self._moving,
            lambda target: self.fates.lie(target) is not None,
        )  # fmt: skip
        self.entropy = Dice(dice["store"])
        self.machines: dict[int, Machine] = {}
        self.lives: dict[int, int] = {}
        self.dead: set[str] = set()
        self.secrets: tuple[str, ...] = (SECRET,)
        self.hotels = [Hotel(str(1000 + number)) for number in range(1, plan.hotels + 1)]
        self.callers = Callers(self)
        self.calling = self.keeping = False
        self._changes = -1
        self.loop.after_step = self._after_step

    # --- machines

    def boot(self, number: int, **settings: Any) -> Machine:
        """Start machine `number`, as a process with a name of its own; `settings` of `start` that are not usual."""
        self.lives[number] = self.lives.get(number, 0) + 1
        name = f"m{number}.{self.lives[number]}"
        driver = self.drivers[name] = self._way(name)
        machine = start(
            name, clock=self.clock, entropy=self.entropy, driver=driver, sealer=self.sealer, network=self.network,
            timing=self.timing, limit=self.plan.limit, is_dead=self._is_dead, alone=self.pace.alone,
            **{"secrets": self.secrets, **settings},
        )  # fmt: skip
        self.machines[number] = machine
        self.trace.say(name, "starts")
        self.set_to_work(machine)
        return machine

    def set_to_work(self, machine: Machine) -> None:
        """Its callers and its upkeep begin, as far as this part of the run has them."""
        if self.calling:
            self.callers.begin(machine)
        if self.keeping:
            self.callers.keep(machine)

    def _way(self, name: str) -> SimDriver:
        opened = logged_on_disk if self.plan.logged else on_disk
        file = MemoryFile(self.server, self.clock.instant) if self.server else opened(DISK_NAME, self.clock.instant)
        return SimDriver(file, name, self._linger, self.points.reached, self._committed, self.loop.alive)

    def kill(self, number: int) -> None:
        """As kill -9."""
        machine = self.machines.pop(number, None)
        if machine is not None:
            self._end(machine, "killed")

    def kill_named(self, name: str) -> None:
        """As kill -9, by the process's name."""
        for number, machine in list(self.machines.items()):
            if machine.name == name:
                self.kill(number)

    def cut_power(self) -> None:
        """Everything stops; what was not synced may be lost; the host starts under another boot."""
        for number in list(self.machines):
            self._end(self.machines.pop(number), "loses power")
        lost = self.disk.cut_power(self.dice)
        self.trace.say("host", f"power cut, {lost} un-synced writes lost")
        self.clock.reboot()
        self.sendings.booted = self.loop.now

    def _end(self, machine: Machine, how: str) -> None:
        self.trace.say(machine.name, how)
        self.loop.kill(machine.name)
        self.disk.abandon(machine.name)
        self.dead.add(machine.name)
        for exchange in self.network.exchanges:
            if exchange.machine == machine.name:
                exchange.flying = False

    def disturb(self, name: str) -> None:
        """This process stood still, or its lease was taken: what it has under way may overlap with another's."""
        for exchange in self.network.exchanges:
            if exchange.flying and name in {exchange.machine, "everybody"}:
                exchange.disturbed = True

    def _is_dead(self, owner: str, clock_id: str) -> bool:
        return clock_id != f"boot-{self.clock.boot}" or (self.plan.knows_dead and owner in self.dead)

    def _linger(self) -> float:
        if self.dice.random() < 0.5:
            return 0.0
        return self.dice.uniform(0.0, self.plan.linger)

    # --- watching

    def _after_step(self) -> None:
        if self.trace.violation is not None:
            raise self.trace.violation
        changes = self.disk.version + self.vendor.ledger.version  # both only grow
        if changes != self._changes:
            self._changes = changes
            self.invariants.check()

    def _leaving(self, exchange: Exchange) -> None:
        self.sendings.leaving(exchange)

    def _committed(self, machine: str, statements: list[Statement]) -> None:
        self.sendings.committed(machine, statements)
        if self.server is not None:
            self.server.answer()

    def _moving(self, name: str) -> bool:
        return any(len(machine.migrator.moves) for machine in self.machines.values() if machine.name == name)

    def _asked_at(self, number: int) -> int | None:
        return self.network.exchanges[number - 1].generation

    # --- helpers for the parts of a run

    def do(self, machine: Machine, coro: object, within: float = 600.0) -> object:
        """Run a coroutine as this machine until it ends; its result, or what it raised."""
        task = self.loop.start(machine.name, coro)  # type: ignore[arg-type]
        until = self.loop.now + within
        self.loop.run(lambda: task.done() or self.loop.now > until)
        if not task.done():
            raise AssertionError("it does not end")
        return task.result()

    def pass_time(self, seconds: float) -> None:
        """Let the world run for this long."""
        until = self.loop.now + seconds
        self.loop.call_at(until, lambda: None, context=self.network._context)
        self.loop.run_to(until)

    def take_down(self) -> None:
        """Leave nothing behind."""
        self.loop.take_down()
        for name, driver in self.drivers.items():
            self.disk.abandon(name)
            vfs().opener = name
            driver.file.close()
        self.invariants.rest.close()
        if self.server is not None:
            self.server.connection.close()
