"""What a terminal is sent: words with a symbol and a colour, tables that are as wide as it is, and one drawn in place.

Nothing here prints but the table that is drawn in place: Rich moves the cursor for that.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import click

from cloudbeds_auth.rules.inputs import harmless
from cloudbeds_auth.rules.presentation import Badge

if TYPE_CHECKING:
    from rich.table import Table

Draw = Callable[[Sequence[str], Sequence[Sequence[str]], str], None]  # headings, rows, a line below them
WIDEST = 100_000  # columns, in which every table fits
NARROWEST = 20  # columns that a value is wrapped to, however long its name is


class Look(NamedTuple):
    """How a word is drawn at a terminal: the name of its colour, and a symbol before it for who sees no colour; in
    `plain` one of ASCII.
    """

    colour: str
    symbol: str
    plain: str


LOOKS: Final = {
    Badge.HEALTHY: Look("green", "✓", "+"),
    Badge.RECOVERING: Look("yellow", "↻", "~"),
    Badge.ATTENTION: Look("red", "!", "!"),
    Badge.ENDED: Look("bright_black", "\N{EN DASH}", "-"),
}
"""Each badge, with the symbol that the pages have for it."""


class Painted(str):
    """A word with the look that it has at a terminal; elsewhere it is the word alone."""

    __slots__ = ("look",)
    look: Look

    def __new__(cls, word: str, look: Look) -> Painted:
        """As `str`, with its look."""
        made = super().__new__(cls, word)
        made.look = look
        return made


def with_badge(words: str, badge: Badge) -> Painted:
    """Words in the look of a badge."""
    return Painted(words, LOOKS[badge])


class Screen(NamedTuple):
    """A terminal: how wide it is, and whether it has more than ASCII, and colours."""

    width: int
    unicode: bool
    colour: bool

    def marked(self, cell: str) -> str:
        """A cell's text, with its symbol where it has one."""
        if not isinstance(cell, Painted):
            return harmless(cell)
        return f"{cell.look.symbol if self.unicode else cell.look.plain} {harmless(cell)}"

    def drawn(self, cell: str) -> str:
        """The same, in its colour where there are colours."""
        marked = self.marked(cell)
        return click.style(marked, fg=cell.look.colour) if self.colour and isinstance(cell, Painted) else marked

    def wrapped(self, value: str, indent: int) -> list[str]:
        """A value as lines beside its name; what is longer than one, as an address is, stays whole to be copied."""
        if isinstance(value, Painted):
            return [self.drawn(value)]
        room = max(self.width - indent, NARROWEST)
        return textwrap.wrap(harmless(value), room, break_long_words=False, break_on_hyphens=False) or [""]


def as_text(screen: Screen, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str | None:
    """A table as wide as the terminal, wrapped between words; None where it has no room for the longest of them."""
    from rich.console import Console
    from rich.measure import Measurement

    made, colours = _table(screen, headings, rows), _colours(screen)
    console = Console(
        file=StringIO(), width=screen.width, force_terminal=screen.colour, color_system=colours, highlight=False
    )
    # Asked as if there were room for all: Rich says of no table that it is wider than the terminal.
    if Measurement.get(console, console.options.update(width=WIDEST), made).minimum > screen.width:
        return None
    with console.capture() as captured:
        console.print(made)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


@contextmanager
def in_place(screen: Screen) -> Iterator[Draw]:
    """Draw a table again and again in the same place."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console = Console(color_system=_colours(screen), highlight=False)
    with Live(console=console, auto_refresh=False) as live:

        def draw(headings: Sequence[str], rows: Sequence[Sequence[str]], below: str) -> None:
            live.update(Group(_table(screen, headings, rows), Text(harmless(below))), refresh=True)

        yield draw


def _colours(screen: Screen) -> Literal["standard"] | None:
    return "standard" if screen.colour else None


def _table(screen: Screen, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    made = Table(box=SIMPLE_HEAD if screen.unicode else None, pad_edge=False)
    for at, heading in enumerate(headings):
        # Only what has words is wrapped: an id that is broken in two cannot be copied.
        whole = not any(" " in row[at] for row in rows)
        made.add_column(heading, no_wrap=whole, overflow="fold")
    for row in rows:
        styles = (cell.look.colour if screen.colour and isinstance(cell, Painted) else "" for cell in row)
        made.add_row(*(Text(screen.marked(cell), style=style) for cell, style in zip(row, styles, strict=True)))
    return made
