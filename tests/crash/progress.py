"""How far a run has come: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

EVERY = 10.0  # seconds between two lines


class Shown:
    """Told of every kill."""

    def __init__(self, trials: int) -> None:
        self._trials = trials
        self._begun = self._said = time.monotonic()
        self._stack = ExitStack()
        self._bar: Progress | None = None

    def __enter__(self) -> Shown:
        console = Console(stderr=True)
        if console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("kills, {task.fields[said]}"))
            bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True)
            bar.add_task("kills", total=self._trials, said="none lost")
            self._bar = self._stack.enter_context(bar)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def tell(self, kills: int, lost: int) -> None:
        """So many were made, and so many hotels lost."""
        said = f"{lost} lost" if lost else "none lost"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=kills, said=said)
            return
        now = time.monotonic()
        if now - self._said >= EVERY:
            self._said = now
            rate = kills / (now - self._begun)
            print(f"{kills}/{self._trials} kills, {rate:.1f}/s, {said}", file=sys.stderr, flush=True)
