"""What the world does besides the network's faults, at moments that the dice choose.

Each kind of `kinds.MISCHIEF` is a deed: those of machines are here, those of clocks, leases and disks in `weather`,
those of hotels, operators, the vendor and callers in `people`. `Mischief.strike` does one of them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.disk import vfs
from tests.simulation.kinds import OF_FILES
from tests.simulation.lies import Lies
from tests.simulation.people import People
from tests.simulation.points import Strike
from tests.simulation.weather import Weather

from cloudbeds_auth.errors import Error

if TYPE_CHECKING:
    from tests.simulation.machine import Machine
    from tests.simulation.world import World

DOWN = (0.5, 120.0)  # seconds until a dead machine is started again
GRACE = 45.0  # seconds that a stopping process is given
Deed = Callable[[], None]


class Mischief:
    """Strikes until it is told to stop."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dice = random.Random(f"mischief {world.plan.seed}")
        self.spent = set(OF_FILES if world.plan.store == "memory" else ())  # kinds that do not strike (again)
        self.over = False
        self._doing = ""  # the kind that is being done, and whether it waits for its point
        self._waits = False
        self._deeds: dict[str, Deed] = {
            "kill": self._kill,
            "kill at a point": self._kill_at_a_point,
            "kill at a disk operation": self._kill_at_a_disk_operation,
            "drain": self._drain,
            "pause": self._pause,
            "stopped before a send": self._stopped_before_a_send,
            "power cut": self._power_cut,
            "power cut at a disk operation": self._power_cut_at_a_disk_operation,
            **Weather(self).deeds(),
            **People(self).deeds(),
            **Lies(self).deeds(),
        }

    async def run(self) -> None:
        """Strike at the plan's rates."""
        rates = self.world.plan.mischief
        total = sum(rates.values())
        while total and not self.over:
            await asyncio.sleep(self.dice.expovariate(total / 3600.0))
            if not self.over:
                self.strike(self.dice.choices(list(rates), list(rates.values()))[0])

    def strike(self, kind: str) -> None:
        """One of them, now or as soon as its point is reached; while nobody runs there is nothing to strike."""
        if kind in self.spent or not self.world.machines:
            return
        self.world.trace.say("world", f"mischief: {kind}")
        self._doing, self._waits = kind, False
        self._deeds[kind]()
        if not self._waits:
            self.world.trace.count(f"fault {kind}")

    def arm(self, after: int, strike: Strike, *, word: str = "") -> None:
        """As `Points.arm`; the fault counts when it strikes."""
        self.world.points.arm(after, self._counted(strike), word=word)

    def arm_disk(self, after: int, strike: Strike) -> None:
        """As `Points.arm_disk`; the fault counts when it strikes."""
        self.world.points.arm_disk(after, self._counted(strike))

    def _counted(self, strike: Strike) -> Strike:
        kind, self._waits = self._doing, True

        def counted(struck: str) -> None:
            self.world.trace.count(f"fault {kind}")
            strike(struck)

        return counted

    # --- machines

    def some(self) -> Machine:
        """One that runs."""
        return self.world.machines[self.dice.choice(sorted(self.world.machines))]

    def start_missing(self) -> None:
        """Start every machine that is down."""
        for number in range(1, self.world.plan.machines + 1):
            if number not in self.world.machines:
                self.world.boot(number)

    def restart(self, number: int) -> None:
        """Kill this machine and start it anew, unless all have been."""
        if not self.over:
            self.world.kill(number)
            self.start_missing()

    def _kill(self) -> None:
        self._kill_now(self.some().name)

    def _kill_now(self, name: str) -> None:
        self.world.kill_named(name)
        self._start_again()

    def _start_again(self) -> None:
        self.world.network.later(self.dice.uniform(*DOWN), self.start_missing)

    def _kill_at_a_point(self) -> None:
        word = self.dice.choice(["", "token", "commit_pair", "userinfo", "confirm", "write_intent"])
        self.arm(self.dice.randrange(1, 12 if word else 90), self._kill_now, word=word)

    def _kill_at_a_disk_operation(self) -> None:
        self.arm_disk(self.dice.randrange(1, 200), lambda kind: self._kill_now(vfs().opener))

    def _drain(self) -> None:
        """SIGTERM, now or in the middle of a request: it finishes what it sends, commits, and ends (F78)."""
        word = self.dice.choice(["", "token", "userinfo", "write_intent", "commit_pair"])
        self.arm(self.dice.randrange(1, 12), self.drain_now, word=word)

    def drain_now(self, name: str) -> None:
        """This process is told to stop."""
        machine = next((one for one in self.world.machines.values() if one.name == name), None)
        if machine is not None:
            self.world.loop.spawn(name, self._drained(machine))

    async def _drained(self, machine: Machine) -> None:
        world = self.world
        world.trace.say(machine.name, "is told to stop")
        world.callers.stop(machine)
        try:
            async with asyncio.timeout(GRACE):
                await machine.idle()
                world.sendings.drained(machine.name)
                await machine.calls.flush(everything=True)
            world.trace.count("drained to the end")
        except (TimeoutError, Error) as error:
            world.trace.say(machine.name, f"is cut short: {type(error).__name__}")
        self._kill_now(machine.name)

    def _pause(self) -> None:
        seconds = self.dice.choice([3.0, 25.0, 45.0, 700.0])
        word = self.dice.choice(["", "token answer read", "userinfo answer read"])
        after = 1 if word else self.dice.randrange(1, 40)
        self.arm(after, lambda name: self.pause(name, seconds), word=word)

    def _stopped_before_a_send(self) -> None:
        """Its intent is committed, and its lease runs out before the first byte leaves (F97)."""
        word = self.dice.choice(["committed write_intent", "committed write_intent", "token connecting"])
        self.arm(1, lambda name: self.pause(name, self.dice.choice([45.0, 700.0])), word=word)

    def pause(self, name: str, seconds: float) -> None:
        """This process stands still, as after SIGSTOP."""
        self.world.trace.say(name, f"stands still for {seconds:g} s")
        self.world.disturb(name)
        self.world.loop.pause(name, seconds)

    def _power_cut(self) -> None:
        self.world.cut_power()
        self._start_again()

    def _power_cut_at_a_disk_operation(self) -> None:
        self.arm_disk(self.dice.randrange(1, 200), lambda kind: self._power_cut())
