"""What may happen to one request, drawn by the dice: kinds of faults, and how often each."""

from __future__ import annotations

import random
from dataclasses import dataclass

from cloudbeds_simulator.answers import Answer, denied, failed, html_page, json_answer

NETWORK_FAULTS = (
    "connect",
    "lose request",
    "lose answer",
    "late request",
    "late answer",
    "duplicate",
    "cut",
    "gateway unacted",
    "gateway acted",
)
LONGEST_DELAY = 150.0


@dataclass(slots=True)
class Fate:
    """How one request fares: seconds on each way, and at most one fault."""

    kind: str = "none"
    connect: float = 0.01
    there: float = 0.05
    back: float = 0.05
    again: float | None = None
    answer: Answer | None = None
    acted: bool = True
    cut: int | None = None
    cut_mode: str = "end"
    hangs: bool = False

    def __str__(self) -> str:
        shown = f" {self.answer.status}" if self.answer else ""
        again = f" again in {self.again:.1f}" if self.again is not None else ""
        cut = f" at byte {self.cut} ({self.cut_mode})" if self.cut is not None else ""
        return f"{self.kind}{shown}{again}{cut} there {self.there:.1f} back {self.back:.1f}"


class Fates:
    """Draws fates. `rates`: fault kind (or `target:kind`) to probability. `script`: fates to hand out first, by target.

    `denies`: how often an endpoint refuses a token that is good, for want of a permission. That is no fault.
    """

    def __init__(self, dice: random.Random, rates: dict[str, float], denies: float = 0.0) -> None:
        self._dice = dice
        self.rates = dict(rates)
        self.denies = denies
        self.script: dict[str, list[Fate]] = {}

    def draw(self, target: str) -> Fate:
        """The next request's fate."""
        waiting = self.script.get(target)
        if waiting:
            return waiting.pop(0)
        dice = self._dice
        fate = Fate(connect=dice.uniform(0.0, 0.05), there=self._way(), back=self._way())
        if target == "resource" and self.denies and dice.random() < self.denies:
            fate.kind, fate.acted, fate.answer = "denied", False, denied("message")
            return fate
        roll = dice.random()
        for kind in NETWORK_FAULTS:
            roll -= self.rates.get(f"{target}:{kind}", self.rates.get(kind, 0.0))
            if roll < 0:
                fate.kind = kind
                self._strike(fate, target)
                break
        return fate

    def _way(self) -> float:
        dice = self._dice
        return dice.uniform(2.0, 7.0) if dice.random() < 0.03 else dice.uniform(0.01, 0.4)

    def _strike(self, fate: Fate, target: str) -> None:
        dice = self._dice
        fate.hangs = dice.random() < 0.5
        match fate.kind:
            case "late request":
                fate.there = dice.uniform(1.0, LONGEST_DELAY)
            case "late answer":
                fate.back = dice.uniform(10.0, 60.0)
            case "duplicate":
                fate.again = dice.uniform(0.0, LONGEST_DELAY)
            case "cut":
                fate.cut = dice.randrange(0, 220)
                fate.cut_mode = dice.choice(["end", "reset", "hang"])
            case "gateway unacted" | "gateway acted":
                fate.acted = fate.kind == "gateway acted"
                fate.answer = dice.choice(FACES_OF_TOKEN if target == "token" else FACES_OF_RESOURCE)


def _too_many(headers: dict[str, str]) -> Answer:
    return Answer(429, b'{"error": "too_many_requests"}', headers=headers)


FACES_OF_TOKEN = (
    html_page(500, "500 Internal Server Error"),
    html_page(502, "502 Bad Gateway"),
    json_answer(503, {"error": "server_error"}),
    html_page(504, "504 Gateway Timeout"),
    _too_many({"retry-after": "7"}),
    _too_many({"retry-after": "1000000000"}),
    html_page(200, "Welcome to the hotel's wireless network"),
    Answer(302, b"", headers={"location": "http://169.254.169.254/"}),
    Answer(200, b"", "application/json"),
    json_answer(400, {"error": "server_error", "message": "The refresh token is invalid."}),
    json_answer(401, {"error": "server_error", "error_description": "Something went wrong"}),
    json_answer(400, {"error": "invalid_request", "message": "The request is malformed."}),
)
FACES_OF_RESOURCE = (
    html_page(500, "500 Internal Server Error"),
    html_page(502, "502 Bad Gateway"),
    json_answer(404, {"status": False, "error": "Unknown method."}),
    _too_many({}),
    json_answer(403, {"error": "forbidden"}),
    html_page(200, "Welcome to the hotel's wireless network"),
    failed("Something went wrong"),
    html_page(401, "401 Authorization Required"),
    Answer(302, b"", headers={"location": "http://portal.example/"}),
)
