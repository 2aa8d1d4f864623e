"""The picture of token pairs as SVG: numbers and words for the template, which escapes what it writes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cloudbeds_auth.rules.documents import stamp
from cloudbeds_auth.rules.pair_drawing import CAME, UNTIL, Drawing, DrawnPair
from cloudbeds_auth.rules.timeline import AttemptOutcome, Ending

WIDTH, LEFT, RIGHT = 1000, 130, 730  # units: the picture, and where its bars begin and end
TOP, ROW = 36, 48  # the axis above the rows, and each row
NARROWEST = 3.0  # units of a bar that lived for no time to speak of


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a row, in units."""

    x: float
    width: float


@dataclass(frozen=True, slots=True)
class SvgMark:
    """A refresh that went wrong, or may be under way yet (`open`)."""

    x: float
    open: bool
    title: str


@dataclass(frozen=True, slots=True)
class SvgRow:
    """One pair: `y` is the top of its row."""

    pair: DrawnPair
    y: float
    came: str
    until: str
    life: Stretch
    refresh: Stretch | None
    marks: tuple[SvgMark, ...]
    began: str | None
    refresh_until: str | None


@dataclass(frozen=True, slots=True)
class PairPicture:
    """All of it. `now` and `planned` are places on the axis; `planned` None: nothing is, or it is further away."""

    width: int
    height: int
    rows: tuple[SvgRow, ...]
    ticks: tuple[tuple[float, str], ...]
    now: float
    planned: float | None
    left_out: int
    summary: str


def pair_svg(found: Drawing) -> PairPicture:
    """The drawing in units, newest pair first: where people look first."""
    rows = tuple(_row(found, pair, TOP + ROW * at) for at, pair in enumerate(reversed(found.rows)))
    return PairPicture(
        width=WIDTH,
        height=TOP + ROW * len(rows),
        rows=rows,
        ticks=tuple((_x(found, at), label) for at, label in found.ticks),
        now=_x(found, found.now),
        planned=None if found.planned is None else _x(found, found.planned),
        left_out=found.left_out,
        summary=_summary(found),
    )


def _x(found: Drawing, at: datetime) -> float:
    return round(LEFT + found.share(at) * (RIGHT - LEFT), 1)


def _stretch(found: Drawing, begins: datetime, ends: datetime) -> Stretch:
    x = _x(found, begins)
    return Stretch(min(x, RIGHT - NARROWEST), round(max(NARROWEST, _x(found, ends) - x), 1))


def _row(found: Drawing, pair: DrawnPair, y: float) -> SvgRow:
    until = pair.refresh_until
    marks = tuple(
        SvgMark(_x(found, one.at), one.outcome is AttemptOutcome.OPEN, f"{one.at:%H:%M:%S} UTC: {one.outcome.value}")
        for one in pair.marks
    )
    return SvgRow(
        pair=pair,
        y=y,
        came=CAME[pair.line.origin],
        until=pair.ending if pair.lives and pair.ending != Ending.LIVING else UNTIL[pair.line.ending],
        life=_stretch(found, pair.begins, pair.ends),
        refresh=None if until is None else _stretch(found, pair.begins, until),
        marks=marks,
        began=stamp(pair.line.began),
        refresh_until=stamp(until),
    )


def _summary(found: Drawing) -> str:
    """What a person who does not see the picture is told first."""
    troubles = sum(len(pair.marks) for pair in found.rows)
    count = len(found.rows)
    return (
        f"{count} token {'pair' if count == 1 else 'pairs'} from {stamp(found.start)} to {stamp(found.now)}. "
        f"{troubles or 'No'} refresh{'' if troubles == 1 else 'es'} went wrong. The table below says the same in words."
    )
