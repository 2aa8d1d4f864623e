"""The picture of token pairs in a terminal: a bar for each on one time axis, and what the bar cannot show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from textwrap import wrap

from cloudbeds_auth.cli.output import aligned
from cloudbeds_auth.rules.pair_drawing import Drawing, DrawnPair, Timeline, drawing
from cloudbeds_auth.rules.time_words import relative
from cloudbeds_auth.rules.timeline import AttemptOutcome

HEADINGS = ("pair", "", "lived", "ended by", "proven", "calls")
NARROWEST, WIDEST = 20, 48  # columns of a bar
IN_ASCII = str.maketrans("█▶✗─·░○└\N{MULTIPLICATION SIGN}—", "=>x-.~o`x-")  # what a picture is drawn with
LEGEND = "█ the access token works   ░ its refresh token is still good   ✗ a refresh went wrong"


def picture(timeline: Timeline, *, width: int = 100, plain: bool = False) -> list[str]:
    """One line for each pair, and another for each refresh that failed. If `width` columns are too few, calls are only
    counted; if there are fewer still, the text about a pair is on a line below its bar.

    `plain` uses ASCII only, for terminals that cannot show more.
    """
    found = drawing(timeline)
    if found is None:
        return ["no token pairs in this history"]
    drawn = [*_rows(found, width), *wrap(LEGEND, width)]
    if found.left_out:
        drawn.append(f"older pairs that are not drawn: {found.left_out}")
    if timeline.planned is not None:
        drawn.append(f"looked after next: {relative(timeline.planned, timeline.now)} (○ if drawn)")
    return [one.translate(IN_ASCII) for one in drawn] if plain else drawn


def _rows(found: Drawing, width: int) -> Iterator[str]:
    """The rows, in the first form that fits."""
    for rows in (list(map(_columns, found.rows)), list(map(_short_columns, found.rows))):
        widths = [max(len(HEADINGS[at]), *(len(row[at]) for row in rows)) for at in range(len(HEADINGS))]
        left = width - sum(widths) - 2 * (len(HEADINGS) - 1)
        if left >= NARROWEST:
            widths[1] = min(WIDEST, left)
            return _table(found, rows, widths, width)
    return _narrow(found, width)


def _table(found: Drawing, rows: Sequence[Sequence[str]], widths: Sequence[int], width: int) -> Iterator[str]:
    """A line for each pair."""
    yield aligned((HEADINGS[0], _heading(found, widths[1]), *HEADINGS[2:]), widths)
    for row, columns in zip(found.rows, rows, strict=True):
        yield aligned((columns[0], _bar(found, row, widths[1]), *columns[2:]), widths)
        yield from _notes(row, widths[0] + 2, width)


def _narrow(found: Drawing, width: int) -> Iterator[str]:
    """The bars, each with its text below instead of beside it."""
    widths = [max(len(HEADINGS[0]), *(len(row.name) for row in found.rows)), 0]
    indent, cells = widths[0] + 2, max(NARROWEST, min(WIDEST, width - widths[0] - 2))
    yield aligned((HEADINGS[0], _heading(found, cells)), widths)
    for row in found.rows:
        yield aligned((row.name, _bar(found, row, cells)), widths)
        said = f"lived {row.lived}; {row.ending}; {'' if row.line.proven else 'not '}proven; {row.calls or 'no calls'}"
        yield from _indented(said, indent, width)
        yield from _notes(row, indent, width)


def _notes(row: DrawnPair, indent: int, width: int) -> Iterator[str]:
    for note in row.notes:
        yield from _indented(f"└ {note}", indent, width)


def _indented(text: str, indent: int, width: int) -> Sequence[str]:
    return wrap(text, max(NARROWEST, width), initial_indent=" " * indent, subsequent_indent=" " * (indent + 2))


def _short_columns(row: DrawnPair) -> tuple[str, ...]:
    return row.name, "", row.lived, row.ending, "yes" if row.line.proven else "no", row.calls or "—"


def _columns(row: DrawnPair) -> tuple[str, ...]:
    """With the calls by method and path, where the history has them."""
    named = ", ".join(f"{name} \N{MULTIPLICATION SIGN}{number}" for name, number in sorted(row.line.methods.items()))
    refused = f" ({row.line.calls_refused} of {row.line.calls} answered 401)" if row.line.calls_refused else ""
    *columns, calls = _short_columns(row)
    return *columns, f"{named}{refused}" if named else calls


def _heading(found: Drawing, cells: int) -> str:
    """Begin and end of the axis over the bars."""
    shape = "%H:%M:%S" if found.start.date() == found.end.date() else "%m-%d %H:%M"
    left, right = found.start.strftime(shape), found.end.strftime(shape)
    rail = cells - len(left) - len(right) - 2
    return f"{left} {'─' * rail} {right}" if rail > 0 else left


def _bar(found: Drawing, row: DrawnPair, cells: int) -> str:
    """One pair's time, with a mark where a refresh went wrong."""

    def cell(at: datetime) -> int:
        return min(cells - 1, int(found.share(at) * cells))

    drawn = ["·"] * cells
    if row.refresh_until is not None:
        _fill(drawn, cell(row.begins), cell(row.refresh_until), "░")
    _fill(drawn, cell(row.begins), cell(row.ends), "█")
    if row.lives:
        drawn[cell(row.ends)] = "▶"
    if row.lives and found.planned is not None:
        drawn[cell(found.planned)] = "○"
    for attempt in row.marks:
        drawn[cell(attempt.at)] = "?" if attempt.outcome is AttemptOutcome.OPEN else "✗"
    return "".join(drawn)


def _fill(cells: list[str], first: int, last: int, sign: str) -> None:
    for at in range(first, last + 1):
        cells[at] = sign
