"""Thousands of kills: `python -m tests.crash.kill --trials N`; exit status 1 when a hotel was lost.

Each worker has a simulator, a database with a few hotels and a warm parent of its own. Children are forked, killed with
SIGKILL after a random number of microseconds, and after one to three kills of every hotel a child that nobody kills has
to serve them all. With `--kill service` each child is the whole service, under callers; with `--kill server` it is the
database's server that is killed, and the processes over it live on. See README.md beside this file.
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
from tests.crash.bases import DATABASES, Bases, bases
from tests.crash.lane import Lane, lane
from tests.crash.nursery import ROOT
from tests.crash.outages import Outages
from tests.crash.progress import Shown
from tests.crash.service import Service
from tests.crash.tally import Tally
from tests.crash.trials import Killing, Lost

from cloudbeds_simulator.rotation import VARIANTS

# V7 loses hotels by its own rules; the forms of V6 mean nothing.
ALL = tuple(label for label in VARIANTS if label[:2] != "V7" and label != "V6/y")
ROUNDS = {"vault": 10, "service": 24, "server": 12}  # of one lane, before a new one is made, of the next variant
HOTELS = {"vault": 8, "service": 5, "server": 5}
DEADLINES = {"vault": 0.3, "service": 0.3, "server": 1.0}  # a server that was killed is back within a lease of that
WHAT = {"vault": "forked vaults", "service": "services", "server": "database servers"}
SAVED_EVERY = 10.0  # seconds between two reports of a run that goes on


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.kill", description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--trials", type=int, default=200, help="kills in all (default: %(default)s)")
    add("--seconds", type=float, default=float("inf"), help="stop after so many seconds, however many kills it were")
    add("--workers", type=int, default=2, help="simulators, databases and warm parents side by side (default: 2)")
    add("--hotels", type=int, default=None, help="connected hotels of each database (default: 8; of a service, 5)")
    add("--kill", choices=tuple(ROUNDS), default="vault", help="whom: forked vaults, a service, the database's server")
    add("--service", dest="kill", action="store_const", const="service", help="the same as --kill service")
    add(
        "--database", choices=DATABASES, default=None, help="where hotels rest (default: sqlite; postgresql for server)"
    )
    add("--url", default=None, help="a server of PostgreSQL on which databases may be made (default: one of its own)")
    add("--processes", type=int, nargs="+", default=[1, 2], help="CLOUDBEDS_AUTH_WORKERS, by turns (default: 1 2)")
    add("--variant", default="V2/n", help="of the vendor, or `all`: one after another (default: %(default)s)")
    add("--deadline", type=float, default=None, help="CLOUDBEDS_AUTH_TOKEN_TIMEOUT; all else is in proportion to it")
    add("--seed", type=int, default=None, help="of the dice (default: drawn)")
    add("--report", type=Path, default=None, help="write the numbers here, as JSON, now and then and at the end")
    add("--resume", action="store_true", help="go on counting from what the report says; --trials is then of both")
    add("--merge", type=Path, nargs="+", default=[], help="run nothing: add these reports up, and print or write them")
    options = parser.parse_args(argv)
    if options.kill == "server" and (options.url or options.database == "sqlite"):
        parser.error("--kill server kills a PostgreSQL of its own")
    options.database = options.database or ("postgresql" if options.kill == "server" or options.url else "sqlite")
    options.seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    options.hotels = options.hotels or HOTELS[options.kill]
    options.deadline = options.deadline or DEADLINES[options.kill]
    return options


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
            "what": WHAT[options.kill], "database": options.database,
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
    try:
        dice = random.Random(f"{run.options.seed}/{number}")
        with bases(run.options.database, run.options.url) as places:
            for turn in itertools.count():
                if run.over:
                    return
                _lane(run, number, turn, places, dice)
    except Lost:
        run.stop = True  # told in the tally
    except BaseException:
        run.stop = True
        raise


def _lane(run: Run, number: int, turn: int, places: Bases, dice: random.Random) -> None:
    options, tally = run.options, run.tallies[number]
    variant = ALL[(number + turn * options.workers) % len(ALL)] if options.variant == "all" else options.variant
    parts: dict[str, Any] = {"hotels": options.hotels, "deadline": options.deadline, "bases": places}
    with (
        TemporaryDirectory(prefix="crash-") as folder,
        lane(Path(folder), variant=variant, service=options.kill != "vault", **parts) as ready,
    ):
        killing = _killing(options, ready, dice, tally, number + turn)
        killing.warm_up()
        for _ in range(ROUNDS[options.kill]):
            if run.over:
                break
            killing.round(run.go_on)
        killing.finish()


def _killing(
    options: argparse.Namespace, ready: Lane, dice: random.Random, tally: Tally, turn: int
) -> Killing | Service:
    if options.kill == "vault":
        return Killing(ready, dice, tally)
    processes = options.processes[turn % len(options.processes)]
    if options.kill == "service":
        return Service(ready, dice, tally, processes=processes)
    return Outages(ready, dice, tally, processes=processes, serving=turn // len(options.processes) % 2 == 0)


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
