"""How far a proof run has come: a bar on a terminal, a line every ten seconds in a log."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text
from tests.simulation.record import Failure, Record

EVERY = 10.0  # seconds between two lines of a log


class Shown:
    """Shows one phase of a run. `total` is in seeds, parts or seconds; None when only Ctrl-C ends it."""

    def __init__(self, record: Record, what: str, total: float | None, *, by_time: bool, console: Console) -> None:
        self._record, self._what, self._total, self._by_time = record, what, total, by_time
        self._console = console
        self._began = self._told = time.monotonic()
        self._before = record.seeds
        self._done = 0
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(12), TextColumn("{task.fields[said]}"), _Left(),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._line = self._bar.add_task(what, total=total, said="")

    def __enter__(self) -> Shown:
        self._bar.start()
        if not self._console.is_terminal:
            self._tell()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()
        if not self._console.is_terminal:
            self._tell()

    def moved(self) -> None:
        """One more is done."""
        self._done += 1
        passed = time.monotonic() - self._began
        self._bar.update(self._line, completed=passed if self._by_time else self._done, said=self._said())
        if not self._console.is_terminal and time.monotonic() - self._told >= EVERY:
            self._tell()

    def failed(self, failure: Failure) -> None:
        """Something was found: told at once, whole."""
        told = f"\n{failure.what}: {failure.violation}\n{failure.story}\nreplay: {failure.replay}\n"
        self._console.print(told, markup=False, highlight=False, soft_wrap=True)

    def _said(self) -> str:
        record, passed = self._record, max(time.monotonic() - self._began, 1e-9)
        if not record.seeds and not record.counts:
            return f"{len(record.failures)} failures"
        rate = (record.seeds - self._before) / passed
        refreshes = record.counts["refreshes"]
        return f"{record.seeds:,} seeds, {rate:.1f}/s, {refreshes:,} refreshes, {len(record.failures)} violations"

    def _tell(self) -> None:
        self._told = time.monotonic()
        passed = self._told - self._began
        of = f" of {self._total:g}{' s' if self._by_time else ''}" if self._total is not None else ""
        at = f"{passed:.0f} s" if self._by_time or self._total is None else f"{self._done}"
        self._console.print(f"{self._what}: {at}{of}; {self._said()}", markup=False, highlight=False, soft_wrap=True)


class _Left(ProgressColumn):
    """The time that is left, from what is done so far."""

    def render(self, task: Task) -> Text:
        left = task.time_remaining
        return Text("" if left is None else f"{left // 60:.0f}:{left % 60:02.0f} left", no_wrap=True)
