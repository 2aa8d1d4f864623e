"""The one place that prints: tables for people at a terminal, aligned text in a pipe, or one JSON document.

Results go to standard output, everything else to standard error, so that `--json` and pipes carry results only.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import TaskID


class Output:
    """How one command speaks. With `as_json`, `document` and `note` do; without, all the others."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    @property
    def unicode(self) -> bool:
        """Whether standard output can show more than ASCII."""
        return "utf" in (sys.stdout.encoding or "").lower()

    @property
    def width(self) -> int:
        """Columns to draw in."""
        return shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100

    def document(self, data: object) -> None:
        """The one JSON document of `--json`; silent without."""
        if self.as_json:
            _write(json.dumps(data, indent=2, ensure_ascii=not self.unicode), sys.stdout)

    def line(self, text: str = "") -> None:
        """A line for people."""
        if not self.as_json:
            _write(_harmless(text), sys.stdout)

    def note(self, text: str) -> None:
        """A line on standard error, also with `--json`: what to do or wait for, not a result."""
        _write(_harmless(text), sys.stderr)

    def say(self, text: str) -> None:
        """A line for people that is no result and yet expected; with `--json` on standard error."""
        (self.note if self.as_json else self.line)(text)

    def hint(self, text: str) -> None:
        """A line on standard error for people."""
        if not self.as_json:
            self.note(text)

    def bare(self, text: str) -> None:
        """A value for scripts, exactly as it is."""
        if not self.as_json:
            _write(text, sys.stdout)

    def body(self, content: bytes) -> None:
        """Bytes exactly as they came."""
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()

    def fields(self, rows: Sequence[tuple[str, str | None]]) -> None:
        """Name and value, one line each, aligned; what has no value is left out."""
        there = [(name, value) for name, value in rows if value]
        width = max((len(name) for name, _ in there), default=0)
        for name, value in there:
            self.line(f"{name:<{width}}  {value}")

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows under headings: drawn by Rich at a terminal, aligned text elsewhere."""
        if self.as_json:
            return
        clean = [[_harmless(cell) for cell in row] for row in rows]
        if sys.stdout.isatty() and self.unicode:
            _rich_table(headings, clean)
            return
        widths = [max(len(row[at]) for row in [headings, *clean]) for at in range(len(headings))]
        for row in [headings, *clean]:
            self.line(aligned(row, widths))

    def step(self, ok: bool, name: str, detail: str = "") -> None:
        """One step of a longer work, as it happened."""
        marks = ("✓", "✗") if self.unicode else ("ok", "FAILED")
        mark = marks[0] if ok else marks[1]
        if sys.stdout.isatty():
            mark = f"\033[3{2 if ok else 1}m{mark}\033[0m"
        if not self.as_json:
            _write(f"{mark} {_harmless(name)}" + (f"\n    {_harmless(detail)}" if detail else ""), sys.stdout)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show that the command waits: a spinner at a terminal, one line elsewhere."""
        if not sys.stderr.isatty():
            self.note(text)
            yield
            return
        from rich.console import Console

        with Console(stderr=True).status(_harmless(text)):
            yield

    @contextmanager
    def progress(self, text: str) -> Iterator[Callable[[str, int, int], None]]:
        """Show how far a long work is: a bar at a terminal, else nothing. Call it with what, how many, of how many."""
        if not sys.stderr.isatty():
            yield lambda what, done, total: None
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            tasks: dict[str, TaskID] = {}

            def show(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bar.add_task(_harmless(f"{text}: {what}"))
                bar.update(tasks[what], completed=done, total=total)

            yield show


def aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """A row of a table as text."""
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def complain(text: str) -> None:
    """An error for people, on standard error."""
    _write(_harmless(text), sys.stderr)


def _rich_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def _harmless(text: str) -> str:
    """Control characters taken out: a vendor's or a hotel's text must not steer the reader's terminal."""
    return "".join(char if char in "\n\t" or char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _write(text: str, stream: TextIO) -> None:
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), file=stream, flush=True)
