"""Kills at random microseconds: drawn, made, told apart, and healed."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.crash import marks
from tests.crash.lane import Lane, point_of

POINTS = ("K0", "K0p", "K1", "K2", "K3", "K4", "K5", "K6", "K7", "K8", "K9", "K10", "K11", "K12", "K13")
OUTSIDE = {"K0"}
INNER = "licshptedruvw"  # the marks of a refresh, from the lease taken to the kept tokens dropped
SHORTEST_SLEEP = 0.00005  # seconds; a shorter sleep takes as long
MOST_IN_A_ROW = 3  # kills of one hotel until a process may live and must heal it
UNCOMMITTED, DURABLE = {"K1", "K2", "K3", "K4", "K5", "K6", "K7"}, {"K9", "K10", "K11", "K12", "K13"}


class Lost(Exception):
    """A hotel that could not be served again, or a promise broken on the way; the text is the story."""


@dataclass
class Tally:
    """What was counted."""

    points: Counter[str] = field(default_factory=Counter)
    refreshes: Counter[str] = field(default_factory=Counter)
    heals: int = 0
    later: int = 0  # calls answered 503 with Retry-After before the one answered 200
    most_kept: int = 0
    lost: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """All of them."""
        return self.points.total()

    @property
    def inside(self) -> int:
        """Those inside a refresh."""
        return sum(count for point, count in self.points.items() if point not in OUTSIDE)

    def add(self, other: Tally) -> None:
        """Take another worker's into this."""
        self.points += other.points
        self.refreshes += other.refreshes
        self.heals += other.heals
        self.later += other.later
        self.most_kept = max(self.most_kept, other.most_kept)
        self.lost += other.lost


class Aim:
    """Draws the moment of a kill: from the start of the process, or from a phase, by what they were seen to last.

    About two thirds shall fall inside a refresh: whichever side is behind is drawn next.
    """

    def __init__(self, dice: random.Random, tally: Tally) -> None:
        self._dice, self._tally = dice, tally
        self._lasts: dict[str, float] = dict.fromkeys(marks.POINTS, 0.001)
        self._whole = 0.05

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
        if marks.RELEASED in times:
            self._whole = 0.8 * self._whole + 0.2 * (times[marks.RELEASED] - times[marks.OPEN])

    def _microseconds(self, most: float) -> float:
        return self._dice.randint(0, max(1, int(most * 1e6))) / 1e6


@dataclass
class Killing:
    """Kills over one lane, hotel by hotel."""

    lane: Lane
    dice: random.Random
    tally: Tally = field(default_factory=Tally)
    patience: float = 20.0

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
        self._slow_network(mark)
        victim = self.lane.fork("call", hotel, victim=True)
        victim.wait_for_any(mark + marks.SERVED)
        if delay > SHORTEST_SLEEP:
            time.sleep(delay)
        left = victim.kill()
        entries = self._news()
        self.lane.made.vendor.control("faults", "DELETE")
        point = point_of(left, [entry for entry in entries if entry["grant_type"] == "refresh_token"])
        self.tally.points[point] += 1
        self._judge(hotel, point, before, entries)
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
            self._lost(0, f"not every hotel is served: {report.statuses} {report.errors[-8:]}")
        if not self.lane.sound():
            self._lost(0, "the database file is damaged")

    def finish(self) -> Tally:
        """The tally, with what the vendor counted."""
        self.tally.refreshes = Counter(self.lane.made.vendor.counts())
        return self.tally

    def _slow_network(self, mark: str) -> None:
        """Behind a sent request, more often than not: the vendor takes its time, or acts when the caller is gone."""
        if mark == marks.SENT and self.dice.random() < 0.8:
            kind = self.dice.choice(("delay", "delay", "late"))
            seconds = self.dice.randint(10, 400) / 1000 if kind == "late" else 0.02
            self.lane.made.vendor.control("faults", target="token", kind=kind, seconds=seconds)

    def _news(self) -> list[dict[str, Any]]:
        entries = self.lane.journal(self.seen)
        self.seen += len(entries)
        return entries

    def _judge(self, hotel: int, point: str, before: dict[str, Any], entries: list[dict[str, Any]]) -> None:
        """What the kill point promises about the database and the wire (rule 1)."""
        after = self.lane.row(hotel)
        self.tally.most_kept = max(self.tally.most_kept, after["stored"] - 1)
        if point in DURABLE and after["generation"] == before["generation"]:
            self._lost(hotel, f"killed at {point}, and the committed pair is gone")
        if point in UNCOMMITTED and after["intent_position"] is None and after["generation"] == before["generation"]:
            self._lost(hotel, f"killed at {point}, and no intent rests")
        issued = [entry["ordinal"] for entry in entries if entry["outcome"] == "issued"]
        used = [entry["ordinal"] for entry in entries if entry["target"] != "token" and entry["outcome"] == "accepted"]
        if point in UNCOMMITTED and after["generation"] == before["generation"] and set(issued) & set(used):
            self._lost(hotel, f"killed at {point}, and the uncommitted token was used")

    def _lost(self, hotel: int, why: str) -> None:
        story = f"hotel {hotel}: {why}\n{self.lane.story(hotel)}"
        self.tally.lost.append(story)
        raise Lost(story)
