"""Kills at random microseconds: drawn, made, told apart, and healed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.crash import marks
from tests.crash.child import HEALED
from tests.crash.evidence import Life, broken_promise, point_of
from tests.crash.lane import Lane
from tests.crash.tally import Tally

INNER = "licshptedruvw"  # the marks of a refresh, from the lease taken to the kept tokens dropped
SHORTEST_SLEEP = 0.00005  # seconds; a shorter sleep takes as long
MOST_IN_A_ROW = 3  # kills of one hotel until a process may live and must heal it


class Lost(Exception):
    """A hotel that could not be served again, or a promise broken on the way; the text is the story."""


class Aim:
    """Draws the moment of a kill: from the start of the process, or from a phase, by what they were seen to last.

    About two thirds shall fall inside a refresh: whichever side is behind is drawn next.
    """

    def __init__(self, dice: random.Random, tally: Tally, first: float = 0.05) -> None:
        self._dice, self._tally = dice, tally
        self._lasts: dict[str, float] = dict.fromkeys(marks.POINTS, 0.001)
        self._whole = first

    def draw(self) -> tuple[str, float]:
        """A mark to wait for, and how many seconds behind it to kill."""
        if self._dice.random() < 0.2:
            return marks.OPEN, self._microseconds(self._whole)
        if self._tally.inside * 3 > self._tally.kills * 2:
            mark = self._dice.choice((marks.OPEN, marks.SERVED))
            return mark, self._microseconds(self._lasts.get(mark, 0.01))
        mark = self._dice.choice(INNER)
        return mark, self._microseconds(1.2 * self._lasts[mark])

    def learn(self, times: dict[str, float]) -> None:
        """How long each phase of an undisturbed refresh took."""
        order = sorted(times, key=lambda mark: times[mark])
        for mark, following in pairwise(order):
            self._lasts[mark] = 0.8 * self._lasts.get(mark, 0.001) + 0.2 * (times[following] - times[mark])
        if {marks.OPEN, marks.RELEASED} <= set(times):
            self._whole = 0.8 * self._whole + 0.2 * (times[marks.RELEASED] - times[marks.OPEN])

    def _microseconds(self, most: float) -> float:
        return self._dice.randint(0, max(1, int(most * 1e6))) / 1e6


def slow_network(
    lane: Lane, dice: random.Random, mark: str, kinds: tuple[str, ...] = ("delay", "delay", "late")
) -> None:
    """Behind a sent request, more often than not: the vendor takes its time, or acts when the caller is gone.

    Under V3 nothing is late: a request that lands behind a first use costs the approval, whatever a client does.
    """
    if mark == marks.SENT and dice.random() < 0.8:
        kind = dice.choice(("delay",) if lane.variant.startswith("V3") else kinds)
        seconds = dice.randint(10, 400) / 1000 if kind == "late" else 0.02
        lane.made.vendor.control("faults", target="token", kind=kind, seconds=seconds)


@dataclass
class Killing:
    """Kills over one lane, hotel by hotel."""

    lane: Lane
    dice: random.Random
    tally: Tally = field(default_factory=Tally)
    patience: float = HEALED

    def __post_init__(self) -> None:
        self.aim = Aim(self.dice, self.tally)
        self.hotels = range(len(self.lane.connections))
        self.seen = self.lane.last_entry()

    def warm_up(self) -> None:
        """Measure a few refreshes that nobody disturbs."""
        for hotel in list(self.hotels)[:4]:
            self.lane.end_tokens(hotel)
            victim = self.lane.fork("call", hotel, victim=True)
            times: dict[str, float] = {}
            while not {marks.RELEASED, marks.SERVED} <= set(times) and not victim.closed:
                times |= {mark: time.monotonic() for mark in victim.marks if mark not in times}
                victim.read(1.0)
            victim.kill()
            self.aim.learn(times)
        self.seen = self.lane.last_entry()

    def round(self, go_on: Callable[[], bool]) -> None:
        """Kills in every hotel, one to three in a row, then a process that lives and must serve them all."""
        for _ in range(self.dice.randint(1, MOST_IN_A_ROW)):
            self.lane.end_tokens()
            for hotel in self.hotels:
                if go_on():
                    self.kill(hotel)
        self.heal()

    def kill(self, hotel: int) -> str:
        """One kill; its kill point."""
        before = self.lane.row(hotel)
        mark, delay = self.aim.draw()
        slow_network(self.lane, self.dice, mark)
        victim = self.lane.fork("call", hotel, victim=True)
        victim.wait_for_any(mark + marks.SERVED)
        if delay > SHORTEST_SLEEP:
            time.sleep(delay)
        left = victim.kill()
        self.lane.base.settle()
        entries = self._news()
        self.lane.made.vendor.control("faults", "DELETE")
        life = Life(left, entries)
        point = point_of(left, life.refreshes)
        self.tally.points[point] += 1
        self.tally.variants[self.lane.variant] += 1
        after = self.lane.row(hotel)
        self.tally.most_kept = max(self.tally.most_kept, after["stored"] - 1)
        broken = broken_promise(point, life, before, after)
        if broken:
            self._lost(hotel, f"killed at {point} ({left}), and {broken}")
        return point

    def heal(self) -> None:
        """A process that nobody kills: 200 for every hotel, and nobody has to approve again."""
        report = self.lane.heal(*self.hotels, patience=self.patience)
        self._news()
        self.tally.heals += 1
        self.tally.later += len(report.errors)
        for hotel in self.hotels:
            if self.lane.connections[hotel] in self.lane.marked():
                self._lost(hotel, "marked as to be approved again")
        if report.statuses != [200] * len(self.hotels):
            self._lost(None, f"not every hotel is served: {report.statuses} {report.errors[-8:]}")
        if not self.lane.base.sound():
            self._lost(None, "the database is damaged")

    def finish(self) -> None:
        """Judge the last round, too, and ask the vendor what it counted. An access token that lives on would serve,
        whatever rests beside it: it is ended, and every hotel has to be healed by its refresh token.
        """
        self.lane.end_tokens()
        self.heal()
        self.tally.refreshes.update(self.lane.made.vendor.counts())

    def _news(self) -> list[dict[str, Any]]:
        entries = self.lane.journal(self.seen)
        self.seen += len(entries)
        return entries

    def _lost(self, hotel: int | None, why: str) -> None:
        stories = [f"hotel {one}: {why}\n{self.lane.story(one)}" for one in self.hotels if hotel in (one, None)]
        story = f"variant {self.lane.variant}\n" + "\n".join(stories)
        self.tally.lost.append(story)
        raise Lost(story)
