"""The whole service, killed under its callers and started again.

Several hotels are refreshed at once. A kill is aimed at one of them, and its kill point is that hotel's; where it found
the others is counted as well.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.crash import marks
from tests.crash.callers import PATIENCE, Callers
from tests.crash.evidence import Life, broken_promise, point_of
from tests.crash.lane import Lane
from tests.crash.nursery import Child
from tests.crash.tally import OUTSIDE, Tally
from tests.crash.trials import SHORTEST_SLEEP, Aim, Lost, slow_network

from cloudbeds_auth.rules.refresh import Timing, brake

IN_A_ROW = 0.35  # how often a service is killed while it heals what the kill before left
MARK_SECONDS = 2.0  # a mark that does not come within this time is given up: some are rare
LOG_LINES = 60  # of a service's log, in a story


@dataclass
class Running:
    """A started service under its callers."""

    child: Child
    callers: Callers
    log: Path
    begun: float


@dataclass
class Service:
    """Kills of one service. `processes`: its workers."""

    lane: Lane
    dice: random.Random
    tally: Tally = field(default_factory=Tally)
    processes: int = 1
    patience: float = PATIENCE
    logs: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.aim = Aim(self.dice, self.tally, first=0.3)
        self.hotels = range(len(self.lane.connections))
        self._numbers = count()
        self._seen = 0
        self._unhealed = False

    def warm_up(self) -> None:
        """Measure a few refreshes that nobody disturbs."""
        with self._running() as running:
            self._must_serve(running)
            for hotel in list(self.hotels)[:4]:
                running.child.read(0.0)
                cut = len(running.child.marks)
                self.lane.end_tokens(hotel)
                times: dict[str, float] = {}
                until = time.monotonic() + MARK_SECONDS
                while marks.RELEASED not in times and time.monotonic() < until:
                    running.child.read(0.1)
                    told = marks.of(running.child.marks[cut:], hotel)
                    times |= {mark: time.monotonic() for mark in told if mark not in times}
                self.aim.learn(times)
            running.child.kill()

    def round(self, go_on: Callable[[], bool]) -> None:
        """One service: started, must serve everybody (unless it is killed while it heals), tokens end, killed."""
        mark, delay = self.aim.draw()
        early = mark == marks.OPEN or (self._unhealed and self.dice.random() < IN_A_ROW)
        target = self.dice.choice(self.hotels)
        if early:
            before = self._end_some(target)
        with self._running() as running:
            cut = 0
            if not early:
                self._must_serve(running)
                running.child.read(0.0)
                cut = len(running.child.marks)
                slow_network(self.lane, self.dice, mark)
                before = self._end_some(target)
            if not go_on():
                running.child.kill()
                return
            self._wait(running, mark, target, cut)
            if delay > SHORTEST_SLEEP:
                time.sleep(delay)
            running.child.signal(signal.SIGKILL)
            at_the_kill = self.lane.refreshes(self._seen)  # what is pending now may be acted on later
            left = running.child.kill()[cut:]
            self.lane.base.settle()
        self.lane.made.vendor.control("faults", "DELETE")
        self._judge(target, before, left, at_the_kill)

    def finish(self) -> None:
        """The product as an operator starts it, cold and without marks: it serves everybody, and stops when asked.

        Its brake is not in proportion to the deadline, as that of the killed services is: rule 11 may hold a hotel
        back for a whole minute before it is served.
        """
        self._end_some(None)
        started = self.lane.made.start()
        try:
            with self._callers() as callers:
                self._all_served(callers, 0.0, self.patience + brake(1, Timing()))
            assert started.stop(signal.SIGTERM) == 0, started.output
        finally:
            started.stop(signal.SIGKILL)
        self.tally.refreshes.update(self.lane.made.vendor.counts())

    # --- one service

    @contextmanager
    def _running(self) -> Iterator[Running]:
        log = self.lane.made.folder / f"service-{next(self._numbers)}.log"
        self.logs.append(log)
        begun = time.monotonic()
        settings = {"CLOUDBEDS_AUTH_WORKERS": str(self.processes)}
        child = self.lane.fork("serve", settings=settings, log=str(log), grants=self.lane.grants())
        try:
            with self._callers() as callers:
                yield Running(child, callers, log, begun)
        finally:
            if not child.ended:
                child.kill()
            self._account(callers)

    @contextmanager
    def _callers(self) -> Iterator[Callers]:
        with Callers(self.lane.made.port, self.lane.base.admin_token, self.lane.connections) as callers:
            yield callers

    def _account(self, callers: Callers) -> None:
        self.tally.answers.update(callers.answers)
        self.tally.later += callers.later
        if callers.wrong:
            self._lost(None, f"callers were told: {callers.wrong}")

    def _end_some(self, target: int | None) -> list[dict[str, Any]]:
        """End the tokens of some hotels, or of all; the rows of all as they rest. Evidence counts from here."""
        self._seen = self.lane.last_entry()
        some = [one for one in self.hotels if target in (one, None) or self.dice.random() < 0.5]
        rows = [self.lane.row(one) for one in self.hotels]
        for hotel in some:
            self.lane.end_tokens(hotel)
        return rows

    def _wait(self, running: Running, mark: str, target: int, cut: int) -> None:
        """Until the target's refresh has come to this mark, or is over."""
        child, begun = running.child, time.monotonic()
        until = begun + MARK_SECONDS
        while mark != marks.OPEN and not child.closed and time.monotonic() < until:
            told = marks.of(child.marks[cut:], target)
            if (
                mark in told
                or marks.RELEASED in told
                or (mark == marks.SERVED and running.callers.served(target, begun))
            ):
                return
            child.read(0.005 if mark == marks.SERVED else until - time.monotonic())

    def _must_serve(self, running: Running) -> None:
        self._all_served(running.callers, running.begun, self.patience)

    def _all_served(self, callers: Callers, since: float, patience: float) -> None:
        """200 for every hotel, perhaps after a 503 with Retry-After; never a word about approving again."""
        self.tally.heals += 1
        self._unhealed = False
        missing = callers.all_served(since, patience)
        if missing:
            self._lost(missing, f"not served: {dict(callers.answers)} {callers.wrong}")
        if self.lane.marked() or not self.lane.base.sound():
            self._lost(None, f"marked as to be approved again: {self.lane.marked()}, or a damaged database")

    # --- what a kill left

    def _judge(self, target: int, before: list[dict[str, Any]], left: str, at_the_kill: list[dict[str, Any]]) -> None:
        entries = self.lane.journal(self._seen)
        self.tally.variants[f"{self.lane.variant} x{self.processes}"] += 1
        self._unhealed = True
        for hotel in self.hotels:
            after = self.lane.row(hotel)
            life = Life(marks.of(left, hotel), [one for one in entries if self.lane.may_be(hotel, one)])
            point = point_of(life.marks, [one for one in at_the_kill if self.lane.may_be(hotel, one)])
            if hotel == target:
                self.tally.points[point] += 1
            if point not in OUTSIDE:
                self.tally.caught[point] += 1
            self.tally.most_kept = max(self.tally.most_kept, after["stored"] - 1)
            broken = broken_promise(point, life, before[hotel], after)
            if broken:
                self._lost([hotel], f"killed at {point} ({life.marks}), and {broken}")

    def _lost(self, hotels: list[int] | None, why: str) -> None:
        stories = [self.lane.story(one) for one in self.hotels if hotels is None or one in hotels]
        logs = [f"{log.name}:\n" + "\n".join(_last_lines(log)) for log in self.logs[-3:]]
        variant = f"variant {self.lane.variant}, {self.processes} workers, hotels {hotels}: {why}"
        story = "\n".join([*stories, *logs, variant])  # what is cut off is the beginning
        self.tally.lost.append(story)
        raise Lost(story)


def _last_lines(log: Path) -> list[str]:
    return log.read_text("utf-8", "replace").splitlines()[-LOG_LINES:] if log.exists() else ["nothing"]
