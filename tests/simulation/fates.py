"""What may happen to one request, drawn by the dice: kinds of faults, and how often each."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.simulation.faces import (
    GATEWAY_OF_RESOURCE,
    GATEWAY_OF_TOKEN,
    LIFETIMES,
    MENTIONED,
    ODD,
    RATE_LIMITED,
    REDIRECTS,
    TRY_LATER,
)

from cloudbeds_simulator.answers import REFUSALS, SimulatedAnswer, html_page

NETWORK_FAULTS = (
    "connect",
    "lose request",
    "lose answer",
    "late request",
    "late answer",
    "duplicate",
    "answer twice",
    "cut",
    "gateway unacted",
    "gateway acted",
    "rate limited",
    "try later",
    "redirect",
    "odd body",
    "odd lifetime",
    "mentions a token",
)
OF_TOKEN_ONLY = frozenset({"odd lifetime", "mentions a token"})
LONGEST_DELAY = 150.0
LATEST_COPY = 30.0  # seconds after its first copy
INSTEAD: Mapping[str, tuple[SimulatedAnswer, ...]] = {
    "rate limited": RATE_LIMITED,
    "try later": TRY_LATER,
    "redirect": REDIRECTS,
    "odd body": ODD,
    "mentions a token": MENTIONED,
}
DOWN = ("refused", "silent", "page")  # how a vendor that is down shows it


@dataclass(slots=True)
class Fate:
    """How one request fares: seconds on each way, and at most one fault."""

    kind: str = "none"
    connect: float = 0.01
    there: float = 0.05
    back: float = 0.05
    again: float | None = None  # the request arrives once more
    copy: float | None = None  # the answer comes once more, so many seconds later
    answer: SimulatedAnswer | None = None
    acted: bool = True
    lifetime: tuple[object, ...] = ()  # what is said of the new pair's instead
    cut: int | None = None
    cut_mode: str = "end"
    hangs: bool = False

    def __str__(self) -> str:
        shown = f" {self.answer.status}" if self.answer else ""
        again = f" again in {self.again:.1f}" if self.again is not None else ""
        copy = f" its answer again in {self.copy:.1f}" if self.copy is not None else ""
        cut = f" at byte {self.cut} ({self.cut_mode})" if self.cut is not None else ""
        said = f" {self.lifetime[0]!r}" if self.lifetime else ""
        return f"{self.kind}{shown}{again}{copy}{cut}{said} there {self.there:.1f} back {self.back:.1f}"


class Fates:
    """Draws fates. `rates`: fault kind (or `target:kind`) to probability. `script`: fates to hand out first, by target.

    `denies`: how often an endpoint refuses a token that is good, for want of a permission. That is no fault. `down()`
    says whether the vendor is down, and one of `DOWN` how it shows; `lies`, by target, what it answers instead of the
    truth, None: nothing.
    """

    def __init__(self, dice: random.Random, rates: dict[str, float], denies: float = 0.0) -> None:
        self._dice = dice
        self.rates = dict(rates)
        self.denies = denies
        self.down: Callable[[], str] = lambda: ""
        self.lies: dict[str, Callable[[], SimulatedAnswer | None]] = {}
        self.script: dict[str, list[Fate]] = {}

    def draw(self, target: str) -> Fate:
        """The next request's fate."""
        waiting = self.script.get(target)
        if waiting:
            return waiting.pop(0)
        dice = self._dice
        fate = Fate(connect=dice.uniform(0.0, 0.05), there=self._way(), back=self._way())
        if how := self.down():
            return _down(fate, how)
        lie = self.lie(target)
        if lie is not None:
            fate.kind, fate.acted, fate.answer = "lie", False, lie
            return fate
        if target == "resource" and self.denies and dice.random() < self.denies:
            fate.kind, fate.acted, fate.answer = "denied", False, REFUSALS["message"]
            return fate
        roll = dice.random()
        for kind in NETWORK_FAULTS:
            roll -= self._rate(target, kind)
            if roll < 0:
                self.strike(fate, kind, target)
                break
        return fate

    def lie(self, target: str) -> SimulatedAnswer | None:
        """What is answered there instead of the truth; None: nothing."""
        return self.lies.get(target, _no_lie)()

    def strike(self, fate: Fate, kind: str, target: str) -> Fate:
        """Give this fate a fault."""
        dice = self._dice
        fate.kind = kind
        fate.hangs = dice.random() < 0.5
        match kind:
            case "late request":
                fate.there = dice.uniform(1.0, LONGEST_DELAY)
            case "late answer":
                fate.back = dice.uniform(10.0, 60.0)
            case "duplicate":
                fate.again = dice.uniform(0.0, LONGEST_DELAY)
            case "answer twice":
                fate.copy = dice.choice([dice.uniform(0.0, 1.0), dice.uniform(0.0, LATEST_COPY)])
            case "cut":
                fate.cut = dice.randrange(0, 220)
                fate.cut_mode = dice.choice(["end", "reset", "hang"])
            case "gateway unacted" | "gateway acted":
                fate.acted = kind == "gateway acted"
                fate.answer = dice.choice(GATEWAY_OF_TOKEN if target == "token" else GATEWAY_OF_RESOURCE)
            case "odd lifetime":
                fate.lifetime = (dice.choice(LIFETIMES),)
            case _ if kind in INSTEAD:
                fate.acted = dice.random() < 0.5
                fate.answer = dice.choice(INSTEAD[kind])
        return fate

    def _rate(self, target: str, kind: str) -> float:
        if kind in OF_TOKEN_ONLY and target != "token":
            return 0.0
        return self.rates.get(f"{target}:{kind}", self.rates.get(kind, 0.0))

    def _way(self) -> float:
        dice = self._dice
        return dice.uniform(2.0, 7.0) if dice.random() < 0.03 else dice.uniform(0.01, 0.4)


def _no_lie() -> None:
    """The truth."""


def _down(fate: Fate, how: str) -> Fate:
    fate.kind = f"down: {how}"
    if how == "silent":
        fate.hangs = True
    elif how == "page":
        fate.acted, fate.answer = False, html_page(503, "Cloudbeds is being maintained")
    return fate
