"""The one place that prints: tables for people at a terminal, aligned text in a pipe, or one JSON document.

Results go to standard output, everything else to standard error, so that `--json` and pipes carry results only. A dumb
terminal (`TERM=dumb`) gets no escape codes, and one with `NO_COLOR` no colours; on a narrow one the layout changes, but
nothing is left out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, Final, TextIO

import click

from cloudbeds_auth.cli import progress, tables
from cloudbeds_auth.cli.progress import Show
from cloudbeds_auth.cli.tables import Look, Screen
from cloudbeds_auth.rules.inputs import harmless

UNDRAWN: Final = {"", "dumb", "unknown"}  # values of TERM: terminals without escape codes
STEPS: Final = {True: Look("green", "✓", "ok"), False: Look("red", "✗", "FAILED")}
BEYOND_ASCII: Final = re.compile(r"[^\n -~]")
LIVE_COLUMNS, LIVE_LINES = 80, 12  # the smallest terminal in which a table is drawn in place


class Output:
    """The output of one command. With `as_json`, `document`, `json_line` and `note` print; else all the others."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    @property
    def unicode(self) -> bool:
        """Whether standard output can show more than ASCII."""
        return "utf" in (sys.stdout.encoding or "").lower()

    @property
    def width(self) -> int:
        """Columns available."""
        return shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100

    @property
    def colour(self) -> bool:
        """Whether standard output is a terminal that has colours, and its reader wants them (no-color.org)."""
        return draws(sys.stdout) and not os.environ.get("NO_COLOR")

    @property
    def screen(self) -> Screen | None:
        """The terminal on standard output; None if it is not a terminal."""
        return Screen(self.width, self.unicode, self.colour) if sys.stdout.isatty() else None

    # --- for programs

    def document(self, data: object) -> None:
        """Print the JSON document of `--json`; nothing without it."""
        if self.as_json:
            _write(self._json(data, indent=2), sys.stdout)

    def json_line(self, data: object) -> None:
        """Print one of many JSON documents of `--json`, on a line of its own."""
        if self.as_json:
            _write(self._json(data), sys.stdout)

    def _json(self, data: object, indent: int | None = None) -> str:
        """What steers a terminal is written as JSON's own escapes."""
        text = json.dumps(data, ensure_ascii=not self.unicode, indent=indent)
        return BEYOND_ASCII.sub(lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], text)

    def bare(self, text: str) -> None:
        """A value for scripts, exactly as it is."""
        if not self.as_json:
            _write(text, sys.stdout)

    def body(self, content: bytes) -> None:
        """Bytes exactly as they came."""
        with _printing():
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()

    # --- for people

    def line(self, text: str = "") -> None:
        """A line for people."""
        if not self.as_json:
            _write(harmless(text), sys.stdout)

    def note(self, text: str) -> None:
        """A line on standard error, even with `--json`: what to do or wait for, not a result."""
        _write(harmless(text), sys.stderr)

    def say(self, text: str) -> None:
        """A line for people that is expected although not a result; with `--json` on standard error."""
        (self.note if self.as_json else self.line)(text)

    def hint(self, text: str) -> None:
        """A line on standard error for people."""
        if not self.as_json:
            self.note(text)

    def cells(self, *cells: str) -> None:
        """One line of continuing output, with two spaces between cells; on a terminal with symbols and colours."""
        if not self.as_json:
            screen = self.screen
            _write("  ".join(screen.drawn(one) if screen else harmless(one) for one in cells if one), sys.stdout)

    def fields(self, rows: Sequence[tuple[str, str | None]]) -> None:
        """Names and values, one line each, aligned; those without a value are left out. On a terminal, a long value is
        wrapped between words.
        """
        if self.as_json:
            return
        there, screen = [(name, value) for name, value in rows if value], self.screen
        indent = max((len(name) for name, _ in there), default=0) + 2
        for name, value in there:
            first, *rest = screen.wrapped(value, indent) if screen else [harmless(value)]
            _write(f"{harmless(name):<{indent}}{first}", sys.stdout)
            for line in rest:
                _write(f"{'':<{indent}}{line}", sys.stdout)

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows under headings. On a terminal they are wrapped to its width, or shown as fields if the longest words do
        not fit; elsewhere each row is one line.
        """
        if self.as_json:
            return
        screen = self.screen
        drawn = None if screen is None else tables.as_text(screen, headings, rows)
        if drawn is not None:
            _write(drawn, sys.stdout)
        elif screen is not None:
            self._as_fields(headings, rows)
        else:
            clean = [[harmless(cell) for cell in row] for row in rows]
            widths = [max(len(row[at]) for row in [headings, *clean]) for at in range(len(headings))]
            for row in [headings, *clean]:
                self.line(aligned(row, widths))

    def _as_fields(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        for number, row in enumerate(rows):
            if number:
                self.line()
            self.fields([(name, None if cell == "-" else cell) for name, cell in zip(headings, row, strict=True)])

    @property
    def live(self) -> Screen | None:
        """The terminal in which a table can be drawn in place (`tables.in_place`); None if there is none."""
        size = shutil.get_terminal_size((0, 0))
        roomy = size.columns >= LIVE_COLUMNS and size.lines >= LIVE_LINES
        return self.screen if roomy and draws(sys.stdout) and not self.as_json else None

    def step(self, ok: bool, name: str, detail: str = "") -> None:
        """One finished step of a longer operation, and whether it succeeded."""
        look = STEPS[ok]
        mark = look.symbol if self.unicode else look.plain
        mark = click.style(mark, fg=look.colour) if self.colour else mark
        if not self.as_json:
            _write(f"{mark} {harmless(name)}" + (f"\n    {harmless(detail)}" if detail else ""), sys.stdout)

    # --- while a command runs

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show that the command is waiting: a spinner on a terminal, one line elsewhere."""
        if not draws(sys.stderr):
            self.note(text)
            yield
            return
        with progress.spinner(harmless(text), after=0.0):
            yield

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show a spinner on a terminal once the command has worked for two seconds; nothing elsewhere."""
        if self.as_json or not draws(sys.stderr):
            yield
            return
        with progress.spinner(harmless(text)):
            yield

    @contextmanager
    def progress(self, text: str) -> Iterator[Show]:
        """Show the progress of a long operation: a bar on a terminal, else a line on standard error every ten seconds;
        nothing with `--json`.
        """
        if self.as_json:
            yield lambda what, done, total: None
        elif not draws(sys.stderr):
            yield progress.lines(text, self._mention)
        else:
            with progress.bar(harmless(text)) as show:
                yield show

    def _mention(self, text: str) -> None:
        """A note without which the work goes on where it cannot be written: half done, it would be worse."""
        with suppress(CannotPrint, BrokenPipeError):
            self.note(text)


def aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """A row of a table as text."""
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def complain(text: str) -> None:
    """An error for people, on standard error."""
    _write(harmless(text), sys.stderr)


def draws(stream: TextIO) -> bool:
    """Whether this is a terminal with escape codes."""
    return stream.isatty() and os.environ.get("TERM", "") not in UNDRAWN


def close_stdout() -> None:
    """Print no more, and nothing when the interpreter exits: the reader closed the pipe, or the disk is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class CannotPrint(click.ClickException):
    """The output cannot be written: a full disk, a terminal that is gone."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Say so on standard error, if that can be written."""
        close_stdout()
        with suppress(OSError):
            super().show(file)


@contextmanager
def _printing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CannotPrint(f"the output cannot be written: {error.strerror}") from None


def _write(text: str, stream: TextIO) -> None:
    encoding = stream.encoding or "utf-8"
    with _printing():
        print(text.encode(encoding, "replace").decode(encoding), file=stream, flush=True)
