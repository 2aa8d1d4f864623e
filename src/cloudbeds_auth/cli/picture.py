"""Draws the token pairs of a connection for a terminal: a bar per pair on one time axis, and what the bar cannot say.

Returns lines of text and prints nothing. `plain` keeps to ASCII, for terminals that cannot show more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cloudbeds_auth.rules.timeline import AttemptOutcome, Ending, PairLine

HEADINGS = ("pair", "", "lived", "ended by", "proven", "calls")
NARROWEST, WIDEST = 20, 48
MARKS = {AttemptOutcome.ANSWERED: "", AttemptOutcome.OPEN: "?"}  # every other outcome is a trouble: x


@dataclass(frozen=True, slots=True)
class Pens:
    """The characters a picture is drawn with."""

    bar: str
    living: str
    trouble: str
    rail: str
    gap: str
    note: str
    times: str
    none: str


FINE = Pens("█", "▶", "✗", "─", "·", "└", "\N{MULTIPLICATION SIGN}", "—")
ASCII = Pens("=", ">", "x", "-", ".", "`", "x", "-")


def picture(lines: Sequence[PairLine], now: datetime, *, width: int = 100, plain: bool = False) -> list[str]:
    """The picture, at most about `width` columns wide; a line per pair, and one more per troubled attempt."""
    pens = ASCII if plain else FINE
    if not lines:
        return ["no token pairs in this history"]
    axis = _Axis(lines, now)
    rows = [_columns(line, lines, now, pens) for line in lines]
    widths = [max(len(HEADINGS[at]), *(len(row[at]) for row in rows)) for at in range(len(HEADINGS))]
    taken = sum(widths) + 2 * (len(HEADINGS) - 1)
    axis.cells = max(NARROWEST, min(WIDEST, width - taken))
    widths[1] = axis.cells
    drawn = [_row((HEADINGS[0], axis.heading(pens), *HEADINGS[2:]), widths)]
    for line, row in zip(lines, rows, strict=True):
        drawn.append(_row((row[0], axis.bar(line, pens), *row[2:]), widths))
        drawn.extend(" " * (widths[0] + 2) + note for note in _notes(line, pens))
    return drawn


class _Axis:
    """The time all bars share, cut into cells."""

    def __init__(self, lines: Sequence[PairLine], now: datetime) -> None:
        starts = [line.began or line.lived_until(now) for line in lines]
        self.start = min(starts)
        self.end = max(line.lived_until(now) for line in lines)
        self.now = now
        self.cells = NARROWEST

    def cell(self, at: datetime) -> int:
        """Which cell a moment falls into."""
        span = (self.end - self.start).total_seconds() or 1.0
        share = (at - self.start).total_seconds() / span
        return min(self.cells - 1, max(0, int(share * self.cells)))

    def heading(self, pens: Pens) -> str:
        """Begin and end of the axis over the bars."""
        same_day = self.start.date() == self.end.date() and (self.end - self.start).total_seconds() < 86400
        shape = "%H:%M:%S" if same_day else "%m-%d %H:%M"
        left, right = self.start.strftime(shape), self.end.strftime(shape)
        rail = self.cells - len(left) - len(right) - 2
        return f"{left} {pens.rail * rail} {right}" if rail > 0 else left

    def bar(self, line: PairLine, pens: Pens) -> str:
        """One pair's time, with a mark where a refresh went wrong."""
        first, last = self.cell(line.began or self.start), self.cell(line.lived_until(self.now))
        drawn = [pens.gap] * self.cells
        drawn[first : last + 1] = [pens.bar] * (last + 1 - first)
        if line.ending is Ending.LIVING:
            drawn[last] = pens.living
        for attempt in line.troubles:
            drawn[self.cell(attempt.at)] = MARKS.get(attempt.outcome, pens.trouble)
        return "".join(drawn)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _columns(line: PairLine, lines: Sequence[PairLine], now: datetime, pens: Pens) -> tuple[str, ...]:
    grants = list(dict.fromkeys(one.grant_id for one in lines))
    name = f"{grants.index(line.grant_id) + 1}.{line.generation}"
    lived = _span((line.lived_until(now) - line.began).total_seconds()) if line.began else "?"
    return name, "", lived, _ending(line, now), "yes" if line.proven else "no", _calls(line, pens)


def _ending(line: PairLine, now: datetime) -> str:
    if line.ending is Ending.LIVING:
        return "expired" if line.expires_at is not None and line.expires_at <= now else "still living"
    return line.ending.value


def _calls(line: PairLine, pens: Pens) -> str:
    carried = line.carried
    if not carried.count:
        return pens.none
    named = [f"{name} {pens.times}{number}" for name, number in sorted(carried.methods.items())]
    refused = f" ({carried.refused} of {carried.count} answered 401)" if carried.refused else ""
    return (", ".join(named) or str(carried.count)) + refused


def _notes(line: PairLine, pens: Pens) -> list[str]:
    """What went wrong on the way to the next pair, one line each."""
    notes = [
        f"{pens.note} {one.at:%H:%M:%S} refresh: {one.outcome.value}" + (f" ({one.detail})" if one.detail else "")
        for one in line.troubles
    ]
    if line.same_refresh_token:
        notes.append(f"{pens.note} came with the same refresh token as the pair before")
    return notes


def _span(seconds: float) -> str:
    """A length of time in one or two units."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
