"""Every schedule of two coordinators with at most two pre-emptions (iterative context bounding).

Two machines are asked for the same hotel, whose token is dead. One runs up to a point of its own, the other up to a
point of its own or to its end, then the one goes on to its end, and the other. A *point* is an await at which a machine
has just touched what both share: a transaction of the store, or a station of a request. Between two points nothing that
it does can be seen by the other, so these are all schedules with at most two pre-emptions, but for one thing: a machine
that waits asks again and again, and of equal questions in a row (same point, D and S unchanged) only the first and the
last are points.

While one machine stands still time passes for the other, so its lease may end: that is when a takeover is right, and
until then two requests under way at once are a violation (I4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.simulation.exhaustive import Case, Tally, cases, stations
from tests.simulation.machine import Machine
from tests.simulation.run import must_serve
from tests.simulation.trace import Violation

SCENARIOS = ("expired", "unproven")
ON_DISK = ("V0/n", "V2/n", "V3/n", "V3/y")
CALLS = 4  # of each machine, at most, until it is served
LONGEST = 600.0  # seconds until a machine must have come to its end
SURELY_HELD = 20.0  # seconds for which a lease is held that was just taken or renewed: lease less renewal


@dataclass(frozen=True, slots=True)
class Schedule:
    """Machine `first` runs to its `at`-th point, then the other to its `back`-th; None: to its end."""

    first: int = 1
    at: int | None = None
    back: int | None = None

    def __str__(self) -> str:
        return f"m{self.first} until {self.at}, the other until {self.back}"


@dataclass(frozen=True, slots=True)
class Mark:
    """A point that a machine passed, and a digest of D and S there."""

    name: str
    state: int


class Play:
    """One schedule of a case. `passed`: the points of the first machine and of the other until they were pre-empted."""

    def __init__(self, case: Case, schedule: Schedule) -> None:
        self.schedule = schedule
        self.world, one = case.staged(machines=2)
        machines = [one, self.world.boot(2)]
        self.pair = machines if schedule.first == 1 else machines[::-1]
        self.passed: tuple[list[Mark], list[Mark]] = ([], [])
        self._overtaken = False  # somebody stood still for longer than its lease surely lasts

    def run(self) -> str:
        """What went wrong, if anything."""
        world, log = self.world, list[tuple[str, str]]()
        world.points.log = log
        try:
            for machine in self.pair:
                world.loop.hold(machine.name)
            tasks = [world.loop.start(machine.name, self._served(machine)) for machine in self.pair]
            for turn, until in enumerate((self.schedule.at, self.schedule.back, None, None)):
                self._let(turn % 2, tasks[turn % 2], until, log)
            for machine in self.pair:
                world.loop.release(machine.name)
            for machine in self.pair:
                must_serve(world, machine, world.hotels[0])
        except Violation as found:
            return f"{found}\n{world.trace.story()}"
        finally:
            world.take_down()
        return ""

    async def _served(self, machine: Machine) -> None:
        for _ in range(CALLS):
            if await self.world.callers.call(machine, self.world.hotels[0]) == "served":
                return

    def _let(self, who: int, task: asyncio.Task[None], until: int | None, log: list[tuple[str, str]]) -> None:
        """Only this machine runs, until nothing of it is under way or it has passed so many points."""
        world, mine = self.world, self.pair[who]
        passed, seen, limit = self.passed[who], len(log), world.loop.now + LONGEST
        watched = not passed
        flights = mine.refresher.flights._flights
        world.loop.release(mine.name)
        lapse = world.loop.call_later(SURELY_HELD, self._lapse, context=world.network._context)
        if self._overtaken:
            world.disturb("everybody")

        def stop() -> bool:
            nonlocal seen
            new = [point for name, point in log[seen:] if name == mine.name]
            seen = len(log)
            if new and watched:
                passed.append(Mark(new[-1], self._digest()))
            ended = task.done() and not flights
            return ended or (watched and len(passed) == until) or world.loop.now > limit

        world.loop.run(stop)
        lapse.cancel()
        if world.loop.now > limit:
            world.trace.violate("I10", f"{mine.name} does not end while the other one stands still")
        world.loop.hold(mine.name)

    def _lapse(self) -> None:
        self._overtaken = True
        self.world.disturb("everybody")

    def _digest(self) -> int:
        world = self.world
        return hash((tuple(world.invariants.rest.grants().values()), world.vendor.ledger.version))


def distinct(marks: list[Mark]) -> list[int]:
    """The numbers of the points, from 1, without those amid a row of equals."""
    return [
        at
        for at, mark in enumerate(marks, 1)
        if not (1 < at < len(marks) and marks[at - 2] == mark == marks[at])
    ]  # fmt: skip


def of_case(case: Case, stride: int = 1, offset: int = 0) -> Iterator[tuple[Play, str, str]]:
    """Every schedule of a case: the play, the station at which its first machine was pre-empted, and what failed."""
    for first in (1, 2):
        alone = Play(case, Schedule(first))
        yield alone, "none", alone.run()
        marks = alone.passed[0]
        named = stations([mark.name for mark in marks])
        for at in distinct(marks[:-1])[offset % stride :: stride]:
            once = Play(case, Schedule(first, at))
            yield once, named[at - 1], once.run()
            for back in distinct(once.passed[1][:-1])[offset % stride :: stride]:
                twice = Play(case, Schedule(first, at, back))
                yield twice, named[at - 1], twice.run()


def schedules(
    variants: Iterable[str], store: str = "disk", stride: int = 1, offset: int = 0, scenarios: Iterable[str] = SCENARIOS
) -> Tally:
    """All schedules of these variants; `stride`: only every so-many-th point of each machine, beginning at `offset`."""
    tally = Tally()
    for case in cases(variants, scenarios, store):
        for play, station, failed in of_case(case, stride, offset):
            tally.runs += 1
            tally.points[station] += 1
            if failed:
                tally.failures.append(f"{case}: {play.schedule}: {failed}")
    return tally
