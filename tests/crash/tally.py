"""What a run counted: added up over workers and over runs, as JSON for programs and as a histogram for people."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

POINTS = ("K0", "K0p", "K1", "K2", "K3", "K4", "K5", "K6", "K7", "K8", "K9", "K10", "K11", "K12", "K13")
OUTSIDE = frozenset({"K0"})
COUNTERS = ("points", "caught", "variants", "refreshes", "answers", "cost")
NUMBERS = ("heals", "later")
BAR = 40  # characters of the longest bar


@dataclass
class Tally:
    """What was counted.

    `points`: kills by kill point. `caught`: hotels by the point at which a kill of a whole service found them, those
    outside a refresh left out. `variants`: kills by variant. `refreshes`: token requests by outcome, as the vendor
    counted them. `answers`: what callers of the service were told. `cost`: hotels under a killed database server, by
    how many token requests so many generations took, and whether the kill fell into that. `later`: calls that had to
    come again before they were answered 200. `lost`: a story each. `runs`: what was run, and where.
    """

    points: Counter[str] = field(default_factory=Counter)
    caught: Counter[str] = field(default_factory=Counter)
    variants: Counter[str] = field(default_factory=Counter)
    refreshes: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    cost: Counter[str] = field(default_factory=Counter)
    heals: int = 0
    later: int = 0
    most_kept: int = 0
    lost: list[str] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """All of them."""
        return self.points.total()

    @property
    def inside(self) -> int:
        """Those inside a refresh."""
        return sum(count for point, count in self.points.items() if point not in OUTSIDE)

    def add(self, other: Tally) -> None:
        """Take another worker's, or another run's, into this."""
        for name in COUNTERS:
            getattr(self, name).update(getattr(other, name))
        for name in NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.most_kept = max(self.most_kept, other.most_kept)
        self.lost += other.lost
        self.runs += other.runs

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON; `read` makes a tally of it again."""
        found = {name: dict(sorted(getattr(self, name).items())) for name in COUNTERS}
        found["points"] = {point: self.points[point] for point in POINTS}
        return {
            "kills": self.kills,
            "inside": self.inside,
            "lost": len(self.lost),
            "upper_bound_95": at_most(len(self.lost)) / max(1, self.kills),
            "upper_bound_95_inside": at_most(len(self.lost)) / max(1, self.inside),
            "points_hit": f"{sum(self.points[point] > 0 for point in POINTS)}/{len(POINTS)}",
            **found,
            **{name: getattr(self, name) for name in (*NUMBERS, "most_kept")},
            "runs": self.runs,
            "stories": self.lost,
        }

    def write(self, path: Path) -> None:
        """Whole or not at all: a run that is killed leaves the report of a moment before."""
        draft = path.with_name(f".{path.name}.draft")
        draft.write_text(json.dumps(self.as_dict(), indent=2) + "\n", "utf-8")
        draft.replace(path)

    @classmethod
    def read(cls, path: Path) -> Tally:
        """A report as it was written."""
        found = json.loads(path.read_text("utf-8"))
        counters: dict[str, Any] = {name: Counter(found.get(name, {})) for name in COUNTERS}
        rest = {name: found[name] for name in (*NUMBERS, "most_kept", "runs")}
        return cls(**counters, **rest, lost=found["stories"])

    def told(self) -> str:
        """For people."""
        kills, inside, lost = self.kills, self.inside, len(self.lost)
        longest = max([1, *self.points.values()])
        lines = [
            *(f"{run['what']}, {run['variant']}, seed {run['seed']}, {run['seconds']:.0f} s" for run in self.runs),
            *(
                f"  {point:<4}{self.points[point]:>7}  {'#' * (BAR * self.points[point] // longest)}"
                for point in POINTS
            ),
            f"kills {kills}, inside a refresh {inside} ({100 * inside / max(1, kills):.1f} %)",
            f"kill points hit {self.as_dict()['points_hit']}",
            f"kills by variant: {_listed(self.variants)}",
            f"healing processes {self.heals}, calls that came again {self.later}, most tokens kept {self.most_kept}",
            f"refreshes at the vendor: {_listed(self.refreshes)}",
            *([f"hotels caught inside a refresh: {_listed(self.caught)}"] if self.caught else []),
            *([f"what callers were told: {_listed(self.answers)}"] if self.answers else []),
            *([f"refreshes per generation: {_listed(self.cost)}"] if self.cost else []),
            f"grants lost {lost}, with 95 % certainty fewer than {at_most(lost) / max(1, kills):.2g} per kill",
            f"and {at_most(lost) / max(1, inside):.2g} per kill inside a refresh",
        ]
        return "\n".join([*lines, *self.lost])


def _listed(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items())) or "none"


def at_most(seen: int) -> float:
    """The mean of a Poisson count that exceeds `seen` with 95 % certainty: the rule of three for none seen."""
    low, high = 0.0, 10.0 + 3.0 * seen
    for _ in range(60):
        middle = (low + high) / 2
        as_few = math.exp(-middle) * sum(middle**k / math.factorial(k) for k in range(seen + 1))
        low, high = (middle, high) if as_few > 0.05 else (low, middle)
    return high
