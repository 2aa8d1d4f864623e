"""The long run: `python -m tests.simulation.prove --seconds 600 --workers 2 --report proof.md`.

Runs random seeds of the production code for as long as it is told, over SQLite on a simulated disk (`--store disk`), or
over SQLite in memory (`--store memory`), which is faster, where the disk is not the question; `--controls` runs every
negative control first, `--complete` the exhaustive sets too. What fails prints its story and the command that
replays it, and the exit status is 1. `--resume FILE` keeps the record of the run in a file and goes on where that file
ends; several such files make one page: `python -m tests.simulation.report FILE ...`. Ctrl-C ends a run with the report
so far.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from tests.simulation import record as records
from tests.simulation.controls import CONTROLS
from tests.simulation.progress import Shown
from tests.simulation.record import Failure, OtherCode, Record
from tests.simulation.report import page
from tests.simulation.sets import SETS
from tests.simulation.tasks import MODULE, Outcome, Task, do
from tests.simulation.workers import Died, Workers

SAVED_EVERY = 5.0  # seconds
INTERRUPTED = 130


@dataclass
class Run:
    """One run of this program, writing into a record."""

    record: Record
    workers: int
    file: Path | None
    console: Console
    do: Callable[[Task], Outcome] = do
    stopping: bool = False
    _saved: float = field(default_factory=time.monotonic)
    _seconds_before: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._seconds_before = self.record.seconds

    def phase(self, what: str, tasks: Iterator[Task], total: float | None, *, by_time: bool = False) -> None:
        """Do these tasks and write down what comes of them."""
        pool: Workers[Task, Outcome] = Workers(self.workers, self.do)
        with Shown(self.record, what, total, by_time=by_time, console=self.console) as shown:
            for outcome in pool.run(tasks):
                if isinstance(outcome, Died):
                    outcome = _died(outcome)
                outcome.enter(self.record)
                for failure in outcome.failures:
                    shown.failed(failure)
                shown.moved()
                self.save(at_once=bool(outcome.failures))
                if self.stopping:
                    raise KeyboardInterrupt

    def interrupt(self, *_: object) -> NoReturn:
        """End at once, or after what runs now: raised inside a finalizer, an exception is swallowed by Python."""
        self.stopping = True
        raise KeyboardInterrupt

    def save(self, *, at_once: bool) -> None:
        """Keep the record, now and then or now."""
        self.record.seconds = round(self._seconds_before + time.monotonic() - self._began, 1)
        if self.file is not None and (at_once or time.monotonic() - self._saved >= SAVED_EVERY):
            self.record.save(self.file)
            self._saved = time.monotonic()


def _died(one: Died[Task]) -> Outcome:
    why = f"the worker died (exit code {one.code})"
    return Outcome(one.task, failures=[Failure(str(one.task), why, "", one.task.replay)])


def sets_and_controls(record: Record) -> list[Task]:
    """What `--complete` has still to do. The controls are run on the disk, which some of them are bugs of."""
    parts = [
        Task("set", record.store, name=one.name, variant=variant)
        for one in SETS
        for variant in one.variants.get(record.store, ()) if variant not in record.sets.get(one.name, {})
    ]  # fmt: skip
    controls = CONTROLS if record.store == "disk" else ()
    return parts + [Task("control", record.store, name=one.name) for one in controls if one.name not in record.controls]


def seeds(record: Record, first: int, number: int | None, until: float) -> Iterator[Task]:
    """Seeds that are not done, one after another, until the count or the time is over."""
    waiting = (seed for seed in itertools.count(first) if not record.has_seed(seed))
    for seed in itertools.islice(waiting, number):
        if time.monotonic() > until:
            return
        yield Task("seed", record.store, seed=seed)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog=MODULE, description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--seconds", type=float, help="run random seeds for so long")
    add("--seeds", type=int, help="run so many random seeds")
    add("--from", dest="first", type=int, default=0, help="the first seed (default: %(default)s)")
    add("--store", choices=("disk", "memory"), default="disk", help="what the seeds run over (default: %(default)s)")
    add("--workers", type=int, default=1, help="processes side by side (default: %(default)s)")
    add("--controls", action="store_true", help="first every negative control: each seeded bug must be caught")
    add("--complete", action="store_true", help="first the exhaustive sets in full, and every negative control")
    add("--set", choices=[one.name for one in SETS], help="only this exhaustive set; with --variant only that part")
    add("--variant", help="see --set")
    add("--control", choices=[one.name for one in CONTROLS], help="only this negative control")
    add("--resume", type=Path, metavar="FILE", help="keep the record here, and go on where it ends")
    add("--report", type=Path, metavar="FILE", help="write the page here, as Markdown")
    asked = parser.parse_args(argv)
    if not any([asked.seconds, asked.seeds, asked.set, asked.control, asked.controls, asked.complete]):
        parser.error("say --seconds, --seeds, --complete, --controls, --set or --control")
    return asked


def command(asked: argparse.Namespace) -> str:
    """What was asked, without the names of files."""
    names = ("store", "seconds", "seeds", "set", "variant", "control", "workers")
    given = {name: value for name in names if (value := getattr(asked, name)) is not None}
    words = [f"--{name} {shlex.quote(str(value))}" for name, value in given.items()]
    words += [f"--from {asked.first}"] if asked.first else []
    return " ".join([MODULE, *words, *(f"--{name}" for name in ("controls", "complete") if getattr(asked, name))])


def fixed(asked: argparse.Namespace, record: Record) -> list[Task]:
    """The tasks besides seeds."""
    tasks = sets_and_controls(record)
    if asked.set:
        return [one for one in tasks if one.name == asked.set and asked.variant in {None, one.variant}]
    if asked.control:
        return [one for one in tasks if one.name == asked.control]
    if asked.controls and not asked.complete:
        return [one for one in tasks if one.kind == "control"]
    return tasks if asked.complete else []


def work(run: Run, asked: argparse.Namespace) -> None:
    """Everything that was asked for."""
    if tasks := fixed(asked, run.record):
        run.phase("sets and controls", iter(tasks), len(tasks))
    if asked.seconds is not None or asked.seeds is not None:
        until = time.monotonic() + asked.seconds if asked.seconds is not None else float("inf")
        total = asked.seeds if asked.seeds is not None else asked.seconds
        running = seeds(run.record, asked.first, asked.seeds, until)
        run.phase(f"seeds over {asked.store}", running, total, by_time=asked.seeds is None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the report, and say whether everything held."""
    asked = arguments(argv)
    try:
        record = records.resumed(asked.resume, asked.store)
    except OtherCode as error:
        print(error, file=sys.stderr)
        return 2
    record.commands.append(command(asked))
    run = Run(record, asked.workers, asked.resume, Console(stderr=True))
    former = [(one, signal.signal(one, run.interrupt)) for one in (signal.SIGINT, signal.SIGTERM)]
    ended = 0
    try:
        work(run, asked)
    except KeyboardInterrupt:
        ended = INTERRUPTED
    for one, handler in former:
        signal.signal(one, handler)
    run.save(at_once=True)
    text = page([record], [])
    print(text)
    if asked.report:
        asked.report.write_text(text, "utf-8")
    return 1 if record.failures else ended


if __name__ == "__main__":
    sys.exit(main())
