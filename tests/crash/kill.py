"""Thousands of kills: `python -m tests.crash.kill --trials N`; exit status 1 when a hotel was lost.

Each worker has a simulator, a database with a few hotels and a warm parent of its own. Children are forked, killed with
SIGKILL after a random number of microseconds, and after one to three kills of every hotel a child that nobody kills has
to serve them all. With `--service` each child is the whole service, under callers. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apsw
from tests.crash.lane import lane
from tests.crash.nursery import ROOT
from tests.crash.progress import Shown
from tests.crash.service import Service
from tests.crash.tally import Tally
from tests.crash.trials import Killing, Lost

from cloudbeds_simulator.variants import VARIANTS

# V7 loses hotels by its own rules; the forms of V6 mean nothing.
ALL = tuple(label for label in VARIANTS if label[:2] != "V7" and label != "V6/y")
ROUNDS = {"vault": 10, "service": 24}  # of one lane, before a new one is made, of the next variant
SAVED_EVERY = 10.0  # seconds between two reports of a run that goes on


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.kill", description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--trials", type=int, default=200, help="kills in all (default: %(default)s)")
    add("--seconds", type=float, default=float("inf"), help="stop after so many seconds, however many kills it were")
    add("--workers", type=int, default=2, help="simulators, databases and warm parents side by side (default: 2)")
    add("--hotels", type=int, default=None, help="connected hotels of each database (default: 8; of a service, 5)")
    add("--service", action="store_true", help="kill the whole service under callers, instead of forked vaults")
    add("--processes", type=int, nargs="+", default=[1, 2], help="CLOUDBEDS_AUTH_WORKERS, by turns (default: 1 2)")
    add("--variant", default="V2/n", help="of the vendor, or `all`: one after another (default: %(default)s)")
    add("--deadline", type=float, default=0.3, help="CLOUDBEDS_AUTH_TOKEN_TIMEOUT; all else is in proportion")
    add("--seed", type=int, default=None, help="of the dice (default: drawn)")
    add("--report", type=Path, default=None, help="write the numbers here, as JSON, now and then and at the end")
    add("--resume", action="store_true", help="go on counting from what the report says; --trials is then of both")
    add("--merge", type=Path, nargs="+", default=[], help="run nothing: add these reports up, and print or write them")
    return parser.parse_args(argv)


@dataclass
class Run:
    """One run: what is left to do, what each worker has counted, and what was counted before."""

    options: argparse.Namespace
    shown: Shown
    before: Tally
    tallies: list[Tally]
    begun: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)
    started: int = 0
    stop: bool = False
    saved: float = field(default_factory=time.monotonic)

    @property
    def over(self) -> bool:
        """Nothing is left to do."""
        late = time.monotonic() > self.begun + self.options.seconds
        return self.stop or late or self.before.kills + self.started >= self.options.trials

    def go_on(self) -> bool:
        """Whether there is time for another kill; takes it."""
        with self.lock:
            if self.over:
                return False
            self.started += 1
            self.shown.tell(self.before.kills + self.started, sum(len(one.lost) for one in self.tallies))
            if self.options.report and time.monotonic() > self.saved + SAVED_EVERY:
                self.saved = time.monotonic()
                self.total().write(self.options.report)
            return True

    def total(self) -> Tally:
        """Everything so far."""
        total = Tally()
        for one in (self.before, *self.tallies):
            total.add(one)
        total.runs = [*self.before.runs, self._facts()]
        return total

    def _facts(self) -> dict[str, Any]:
        options = self.options
        return {
            "what": "services" if options.service else "forked vaults",
            "command": " ".join(["python -m tests.crash.kill", *sys.argv[1:]]),
            "variant": options.variant, "seed": options.seed, "deadline": options.deadline,
            "workers": options.workers, "kills": sum(one.kills for one in self.tallies),
            "seconds": round(time.monotonic() - self.begun, 1), **MACHINE,
        }  # fmt: skip


def _machine() -> dict[str, Any]:
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "machine": f"{platform.platform()}, {os.cpu_count()} cores",
        "python": platform.python_version(), "sqlite": apsw.sqlite_lib_version(), "commit": commit,
    }  # fmt: skip


MACHINE = _machine()


def work(run: Run, number: int) -> None:
    """One worker: lane after lane."""
    options, tally = run.options, run.tallies[number]
    dice = random.Random(f"{options.seed}/{number}")
    parts: dict[str, Any] = {"hotels": options.hotels, "deadline": options.deadline, "service": options.service}
    try:
        for turn in itertools.count():
            if run.over:
                return
            variant = ALL[(number + turn * options.workers) % len(ALL)] if options.variant == "all" else options.variant
            processes = options.processes[(number + turn) % len(options.processes)]
            with TemporaryDirectory(prefix="crash-") as folder, lane(Path(folder), variant=variant, **parts) as ready:
                if options.service:
                    _rounds(run, Service(ready, dice, tally, processes=processes))
                else:
                    _rounds(run, Killing(ready, dice, tally))
    except Lost:
        run.stop = True  # told in the tally
    except BaseException:
        run.stop = True
        raise


def _rounds(run: Run, killing: Killing | Service) -> None:
    killing.warm_up()
    for _ in range(ROUNDS["service" if run.options.service else "vault"]):
        if run.over:
            break
        killing.round(run.go_on)
    killing.finish()


@contextmanager
def stopped_by_signals(run: Run) -> Iterator[None]:
    """SIGINT and SIGTERM end the run after the kills at hand, healed and reported."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        run.stop = True

    before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(argv: Sequence[str] | None = None, say: Callable[[str], None] = print) -> int:
    """Run, print, and say whether every hotel is still connected."""
    options = arguments(argv)
    options.seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    options.hotels = options.hotels or (5 if options.service else 8)
    if options.merge:
        total = Tally()
        for path in options.merge:
            total.add(Tally.read(path))
        if options.report:
            total.write(options.report)
    else:
        total = _run(options)
    say(total.told())
    return 1 if total.lost else 0


def _run(options: argparse.Namespace) -> Tally:
    known = options.resume and options.report and options.report.exists()
    with Shown(options.trials) as shown:
        before = Tally.read(options.report) if known else Tally()
        run = Run(options, shown, before, [Tally() for _ in range(options.workers)])
        try:
            with stopped_by_signals(run), ThreadPoolExecutor(options.workers) as pool:
                for _ in pool.map(lambda number: work(run, number), range(options.workers)):
                    pass
        finally:
            if options.report:
                run.total().write(options.report)
        return run.total()


def apart() -> int:
    """Run `main` in a session of its own, so that Ctrl-C ends it by our hand and none of its children by itself."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os._exit(_flushed(main()))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(pid, number))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _flushed(status: int) -> int:
    sys.stdout.flush()
    return status


if __name__ == "__main__":
    sys.exit(apart())
