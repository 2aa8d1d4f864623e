"""Progress of long operations: a bar, a spinner, or an occasional line if nothing can be drawn."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import TaskID
    from rich.status import Status

LATE = 2.0  # seconds until a command shows that it is still working
SAID_EVERY = 10.0  # seconds between two lines

Show = Callable[[str, int, int | None], None]  # what, how many, of how many (None: that is not known)


def lines(text: str, note: Callable[[str], None]) -> Show:
    """Note the progress, at most once every `SAID_EVERY` seconds; shorter operations note nothing."""
    from cloudbeds_auth.system import SystemClock

    clock = SystemClock()
    due = clock.steady() + SAID_EVERY

    def show(what: str, done: int, total: int | None) -> None:
        nonlocal due
        if clock.steady() >= due:
            due = clock.steady() + SAID_EVERY
            note(f"{text}: {done}{'' if total is None else f' of {total}'} {what}")

    return show


@contextmanager
def bar(text: str) -> Iterator[Show]:
    """A bar for each kind of item; removed at the end."""
    from rich.console import Console
    from rich.progress import Progress

    # Rich would send what is printed meanwhile to its own console, which is the terminal, even if stdout is a file.
    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as drawn:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = drawn.add_task(f"{text}: {what}", total=None)
            drawn.update(tasks[what], completed=done, total=total)

        yield show


@contextmanager
def spinner(text: str, after: float = LATE) -> Iterator[None]:
    """A spinner that appears after `after` seconds; removed at the end."""
    shown = _LateSpinner(text)
    timer = Timer(after, shown.begin)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        shown.end()


class _LateSpinner:
    """Started by a timer's thread, unless the work has ended already."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lock = Lock()
        self._status: Status | None = None
        self._over = False

    def begin(self) -> None:
        from rich.console import Console

        with self._lock:
            if not self._over:
                self._status = Console(stderr=True).status(self._text)
                self._status.start()

    def end(self) -> None:
        with self._lock:
            self._over = True
            if self._status is not None:
                self._status.stop()
