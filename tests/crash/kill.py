"""Thousands of kills: `python -m tests.crash.kill --trials N`; exit status 1 when a hotel was lost.

Each worker has a simulator, a database with a few hotels and a warm parent of its own. Children are forked, killed with
SIGKILL after a random number of microseconds, and after one to three kills of every hotel a child that nobody kills has
to serve them all. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.crash.lane import lane
from tests.crash.service import Service
from tests.crash.trials import OUTSIDE, POINTS, Killing, Lost, Tally

VARIANTS = ("V2/n", "V0/n", "V6", "V1/n", "V2/y")


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.kill", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--trials", type=int, default=200, help="kills in all (default: %(default)s)")
    add("--seconds", type=float, default=float("inf"), help="stop after so many seconds, however many kills it were")
    add("--workers", type=int, default=2, help="simulators, databases and warm parents side by side (default: 2)")
    add("--hotels", type=int, default=8, help="connected hotels of each database (default: %(default)s)")
    add("--service", action="store_true", help="kill the whole service under callers, instead of forked vaults")
    add("--variant", default=VARIANTS[0], help="of the vendor, or `all`: the workers change by turns (default: V2/n)")
    add("--deadline", type=float, default=0.3, help="CLOUDBEDS_AUTH_TOKEN_TIMEOUT; all else is in proportion")
    add("--seed", type=int, default=None, help="of the dice (default: drawn)")
    add("--report", type=Path, default=None, help="write the numbers here, as JSON")
    return parser.parse_args(argv)


@dataclass
class Run:
    """One run: how many kills are left, and what was counted."""

    trials: int
    until: float
    begun: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)
    started: int = 0
    stop: bool = False

    def go_on(self) -> bool:
        """Whether there is time for another kill; takes it."""
        with self.lock:
            if self.stop or self.started >= self.trials or time.monotonic() > self.until:
                return False
            self.started += 1
            self._show()
            return True

    @property
    def over(self) -> bool:
        """Nothing is left to do."""
        return self.stop or self.started >= self.trials or time.monotonic() > self.until

    def _show(self) -> None:
        if sys.stderr.isatty():
            passed = time.monotonic() - self.begun
            print(f"\r{self.started} kills, {self.started / passed:.1f}/s ", end="", file=sys.stderr, flush=True)


def work(run: Run, options: argparse.Namespace, number: int) -> Tally:
    """One worker."""
    dice = random.Random(f"{options.seed}/{number}")
    total = Tally()
    turn = number
    while not run.over:
        variant = VARIANTS[turn % len(VARIANTS)] if options.variant == "all" else options.variant
        rounds = 12 if options.variant == "all" else sys.maxsize
        turn += options.workers
        with TemporaryDirectory(prefix="crash-") as folder:
            total.add(_lane_of(run, options, Path(folder), variant, dice, rounds))
    return total


def _lane_of(
    run: Run, options: argparse.Namespace, folder: Path, variant: str, dice: random.Random, rounds: int
) -> Tally:
    hotels = 1 if options.service else options.hotels
    with lane(folder, variant=variant, hotels=hotels, deadline=options.deadline) as ready:
        killing: Killing | Service = Service(ready, dice) if options.service else Killing(ready, dice)
        try:
            killing.warm_up()
            for _ in range(rounds):
                if run.over:
                    break
                killing.round(run.go_on)
        except Lost:
            run.stop = True
        return killing.finish()


def told(options: argparse.Namespace, tally: Tally, seconds: float) -> str:
    """The numbers, for people."""
    kills = max(1, tally.kills)
    most = max([1, *tally.points.values()])
    what = "services" if options.service else "forked vaults"
    how = f"deadline {options.deadline:g} s, seed {options.seed}, {options.workers} workers, {seconds:.0f} s"
    lines = [
        f"{what}, {options.variant}, {how}",
        *(f"  {point:<4}{tally.points[point]:>7}  {'#' * (40 * tally.points[point] // most)}" for point in POINTS),
        f"kills {tally.kills}, inside a refresh {tally.inside} ({100 * tally.inside / kills:.1f} %)",
        f"kill points hit {sum(tally.points[point] > 0 for point in POINTS)}/{len(POINTS)}",
        f"healing processes {tally.heals}, calls that came again {tally.later}, most tokens kept {tally.most_kept}",
        f"refreshes at the vendor: {dict(tally.refreshes)}",
        f"grants lost {len(tally.lost)}, with 95 % certainty fewer than {3 / kills:.2g} per kill",
    ]
    return "\n".join([*lines, *tally.lost])


def report(options: argparse.Namespace, tally: Tally, seconds: float) -> dict[str, object]:
    """The numbers, for programs."""
    return {
        "command": " ".join(["python -m tests.crash.kill", *sys.argv[1:]]),
        "machine": f"{platform.platform()}, python {platform.python_version()}, {os.cpu_count()} cores",
        "seed": options.seed, "variant": options.variant, "service": options.service, "seconds": round(seconds, 1),
        "kills": tally.kills, "points": {point: tally.points[point] for point in POINTS}, "inside": tally.inside,
        "outside": sum(tally.points[point] for point in OUTSIDE), "heals": tally.heals, "later": tally.later,
        "most_kept": tally.most_kept, "refreshes": dict(tally.refreshes), "lost": len(tally.lost),
        "upper_bound_95": 3 / max(1, tally.kills),
    }  # fmt: skip


def main(argv: Sequence[str] | None = None, say: Callable[[str], None] = print) -> int:
    """Run, print, and say whether every hotel is still connected."""
    options = arguments(argv)
    options.seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    run = Run(options.trials, time.monotonic() + options.seconds)
    total = Tally()
    with ThreadPoolExecutor(options.workers) as pool:
        for tally in pool.map(lambda number: work(run, options, number), range(options.workers)):
            total.add(tally)
    seconds = time.monotonic() - run.begun
    say(told(options, total, seconds))
    if options.report:
        options.report.write_text(json.dumps(report(options, total, seconds), indent=2) + "\n", "utf-8")
    return 1 if total.lost else 0


if __name__ == "__main__":
    sys.exit(main())
