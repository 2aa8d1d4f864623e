"""The long run: `python -m tests.simulation.prove --seconds 600 --workers 2 --report proof.md`.

Runs random seeds over the real SQL store for as long as it is told, then writes what ROTATION section 5 asks a release
to report. A seed that fails prints its story and the command that replays it. `--complete` runs the exhaustive sets in
full first, and every negative control.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulation import exhaustive
from tests.simulation.controls import CONTROLS, catch
from tests.simulation.fates import NETWORK_FAULTS
from tests.simulation.plan import MISCHIEF
from tests.simulation.run import run_seed

from cloudbeds_simulator.variants import VARIANTS


@dataclass
class Outcome:
    """One seed, as a worker sends it back."""

    seed: int
    variant: str
    hours: float
    counts: Counter[str]
    failed: str = ""
    story: str = ""


@dataclass
class Totals:
    """All seeds so far."""

    seeds: int = 0
    hours: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    per_variant: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[Outcome] = field(default_factory=list)

    def add(self, one: Outcome) -> None:
        """One more seed."""
        self.seeds += 1
        self.hours += one.hours
        self.counts += one.counts
        self.per_variant.setdefault(one.variant, Counter()).update(one.counts)
        if one.failed:
            self.failures.append(one)
            print(f"\nseed {one.seed} ({one.variant}): {one.failed}\n{one.story}\n{replay(one.seed)}\n", flush=True)


def replay(seed: int) -> str:
    """The command that runs this seed again."""
    return f"replay: python -m tests.simulation.prove --from {seed} --seeds 1"


def work(seed: int) -> Outcome:
    """Run a seed; whatever goes wrong is a failure of that seed."""
    try:
        result = run_seed(seed)
    except Exception as error:  # noqa: BLE001 - a crash of the run is told like a violation
        return Outcome(seed, "?", 0.0, Counter(), f"{type(error).__name__}: {error}")
    failed = str(result.violation) if result.violation else ""
    return Outcome(seed, result.plan.variant, result.hours, result.counts, failed, result.story if failed else "")


def outcomes(first: int, seeds: int | None, until: float, workers: int) -> Iterator[Outcome]:
    """Seeds one after another, until the count or the time is over."""
    numbers = iter(range(first, first + seeds)) if seeds is not None else iter(range(first, 1 << 60))

    def bounded() -> Iterator[int]:
        for number in numbers:
            if time.monotonic() > until:
                return
            yield number

    if workers == 1:
        yield from map(work, bounded())
        return
    with multiprocessing.get_context("spawn").Pool(workers, maxtasksperchild=400) as pool:
        while batch := [number for _, number in zip(range(20 * workers), bounded(), strict=False)]:
            yield from pool.imap_unordered(work, batch)


def report(totals: Totals, seconds: float, command: str, extra: list[str]) -> str:
    """What a release tells."""
    counts = totals.counts
    rate = totals.seeds / max(seconds, 1e-9)
    lines = [
        "# Proof run",
        "",
        f"`{command}` on {platform.machine()}, Python {platform.python_version()}:",
        f"{seconds:.0f} s, {rate:.1f} seeds/s.",
        "",
        f"- seeds: {totals.seeds}, over the real SQL store",
        f"- simulated hours: {totals.hours:,.0f}",
        f"- refreshes sent: {counts['refreshes']:,}, committed: {counts['told refreshed']:,}",
        f"- invariant checks: {counts['checks']:,}",
        f"- grants revoked at the vendor by reuse (V3) or by the plan: {counts['revoked at the vendor']:,}",
        f"- violations: {len(totals.failures)}",
        *extra,
        "",
        "| fault | in all | fewest under a variant |",
        "|---|---:|---:|",
    ]
    for kind in (*NETWORK_FAULTS, *MISCHIEF):
        fewest = min(totals.per_variant.get(variant, Counter())[f"fault {kind}"] for variant in VARIANTS)
        lines.append(f"| {kind} | {counts[f'fault {kind}']:,} | {fewest:,} |")
    return "\n".join(lines) + "\n"


def complete() -> list[str]:
    """The exhaustive sets in full and all controls, as lines of the report."""
    lines = [f"- {line}" for line in exhaustive.everything()]
    caught = 0
    for control in CONTROLS:
        found = catch(control)
        caught += found is not None
        print(f"control {control.name}: {found or 'NOT CAUGHT'}", flush=True)
    return [*lines, f"- controls caught: {caught}/{len(CONTROLS)}"]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--complete", action="store_true")
    asked = parser.parse_args()
    if asked.seconds is None and asked.seeds is None:
        parser.error("say --seconds or --seeds")
    extra = complete() if asked.complete else []
    began, totals = time.monotonic(), Totals()
    until = began + asked.seconds if asked.seconds is not None else float("inf")
    for one in outcomes(asked.first, asked.seeds, until, asked.workers):
        totals.add(one)
        if sys.stderr.isatty():
            print(f"\r{totals.seeds} seeds, {len(totals.failures)} violations", end="", file=sys.stderr)
    command = "python -m tests.simulation.prove " + " ".join(sys.argv[1:])
    text = report(totals, time.monotonic() - began, command, extra)
    print(text)
    if asked.report:
        asked.report.write_text(text)
    return 1 if totals.failures else 0


if __name__ == "__main__":
    sys.exit(main())
