"""The layout of the picture of token pairs: its rows, their common time axis, and the words beside each bar.

Geometry only: positions on the axis are fractions of it, from 0 to 1. The page of a connection draws SVG from it, and
the terminal (`cli.pair_picture`) bars of characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import dropwhile

from cloudbeds_auth.rules.model import moment
from cloudbeds_auth.rules.time_words import span
from cloudbeds_auth.rules.timeline import Attempt, Ending, Origin, PairLine

NEWEST_DRAWN = 12  # pairs
AHEAD = 0.5  # of the time until now: how far the axis extends beyond it for what is planned
MOST_TICKS = 5
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800)
"""Seconds between two ticks of the axis; the first that yields at most `MOST_TICKS` ticks is used."""
KEYS = (Origin.EXCHANGE, Origin.PASTED)  # API keys, which have no refresh token
CAME = {
    Origin.APPROVAL: "from an approval",
    Origin.REFRESH: "from a refresh",
    Origin.EXCHANGE: "from an exchange",
    Origin.PASTED: "made by the hotel",
    Origin.UNKNOWN: "",
}
UNTIL = {
    Ending.LIVING: "in use",
    Ending.REFRESH: "until the next refresh",
    Ending.APPROVAL: "until a new approval",
    Ending.MIGRATION: "until an API key came",
    Ending.KEY: "until a newer API key came",
    Ending.DISCONNECT: "until the disconnect",
    Ending.REFUSED: "until Cloudbeds refused it",
    Ending.DROPPED: "never taken into use",
}
"""What a page says beside a bar: where the pair came from (`CAME`), and until when it was in use (`UNTIL`)."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The pairs of a history, oldest first, as of `now`, the moment up to which the history was read.

    `planned`: when upkeep next attends to the newest pair. `newest`: the history has no later events.
    """

    lines: Sequence[PairLine]
    now: datetime
    planned: datetime | None = None
    newest: bool = True


@dataclass(frozen=True, slots=True)
class DrawnPair:
    """One row. The access token could be used from `begins` to `ends`, the refresh token until `refresh_until`; None if
    there was none. `began` is False if the history does not contain the pair's beginning.
    """

    line: PairLine
    name: str
    title: str
    begins: datetime
    ends: datetime
    began: bool
    refresh_until: datetime | None
    lived: str
    ending: str
    calls: str
    notes: Sequence[str]

    @property
    def lives(self) -> bool:
        """Whether nothing has ended the pair."""
        return self.line.ending is Ending.LIVING

    @property
    def marks(self) -> Sequence[Attempt]:
        """Refreshes that did not yield the next pair."""
        return self.line.troubles


@dataclass(frozen=True, slots=True)
class Drawing:
    """The rows, oldest first, along one axis. `left_out`: the number of older pairs that are not drawn.

    `planned`: as in the timeline; None if it lies too far ahead, or in the past.
    """

    rows: Sequence[DrawnPair]
    start: datetime
    end: datetime
    now: datetime
    planned: datetime | None
    left_out: int

    def share(self, at: datetime) -> float:
        """The position of a moment on the axis; a moment outside the axis is put at the nearer end."""
        span = (self.end - self.start).total_seconds() or 1.0
        return min(1.0, max(0.0, (at - self.start).total_seconds() / span))

    @property
    def ticks(self) -> Sequence[tuple[datetime, str]]:
        """Round moments of the axis and their labels, with the date where it differs from that of the tick before."""
        begin, end = self.start.timestamp(), self.end.timestamp()
        step = next((one for one in STEPS if (end - begin) / one < MOST_TICKS), STEPS[-1])
        while (end - begin) / step >= MOST_TICKS:
            step *= 2
        first = int(begin // step + 1) * step
        moments = [moment(at) for at in range(first, int(end) + 1, step)]
        return [(at, _tick(at, before, step)) for before, at in zip([None, *moments], moments, strict=False)]


def drawing(timeline: Timeline) -> Drawing | None:
    """The layout of a timeline's newest pairs; None if there are none."""
    lines, now = timeline.lines, timeline.now
    if not lines:
        return None
    grants = list(dict.fromkeys(one.grant_id for one in lines))
    shown = lines[-NEWEST_DRAWN:]
    start = min(line.began or line.lived_until(now) for line in shown)
    until = max(line.lived_until(now) for line in shown)
    rows = [_drawn(line, timeline, start, f"{grants.index(line.grant_id) + 1}.{line.generation}") for line in shown]
    until = max([until, *(row.refresh_until for row in rows if row.refresh_until is not None)])
    planned = timeline.planned
    if planned is not None and not now <= planned <= now + AHEAD * (until - start):
        planned = None
    return Drawing(rows, start, max(until, planned or until), now, planned, len(lines) - len(shown))


def refresh_token_until(line: PairLine, lines: Sequence[PairLine], now: datetime) -> datetime | None:
    """Until when Cloudbeds accepted the refresh token of a pair: the first use of a later access token, issued with
    another refresh token, ends it (docs/rotation.md). None: the pair has none.
    """
    if line.origin in KEYS:
        return None
    if line.ending is not Ending.REFRESH:
        return min(line.ended or now, now)
    later = [one for one in lines if one.grant_id == line.grant_id and one.generation > line.generation]
    renewed = dropwhile(lambda one: one.same_refresh_token, later)
    used = [one.first_used for one in renewed if one.first_used is not None]
    ended = [one.ended for one in later if one.ending is not Ending.REFRESH and one.ended is not None]
    return min([*used, *ended, now])


def _drawn(line: PairLine, timeline: Timeline, start: datetime, name: str) -> DrawnPair:
    now, ends = timeline.now, line.lived_until(timeline.now)
    return DrawnPair(
        line=line,
        name=name,
        title=f"{'API key' if line.origin in KEYS else 'Pair'} {line.generation}",
        begins=line.began or start,
        ends=ends,
        began=line.began is not None,
        refresh_until=refresh_token_until(line, timeline.lines, now),
        lived=span((ends - line.began).total_seconds()) if line.began else "?",
        ending=_ending(line, timeline),
        calls=_calls(line),
        notes=_notes(line),
    )


def _ending(line: PairLine, timeline: Timeline) -> str:
    if line.ending is not Ending.LIVING:
        return line.ending.value
    if not timeline.newest:
        return "lived on after this"
    return "expired" if line.expires_at is not None and line.expires_at <= timeline.now else line.ending.value


def _calls(line: PairLine) -> str:
    if not line.calls:
        return ""
    refused = f", {line.calls_refused} answered 401" if line.calls_refused else ""
    return f"{line.calls:,} call{'s' if line.calls > 1 else ''}{refused}"


def _notes(line: PairLine) -> list[str]:
    """Failed refreshes on the way to the next pair, and a repeated refresh token, one line each."""
    notes = [
        f"{one.at:%H:%M:%S} refresh: {one.outcome.value}" + (f" ({one.detail})" if one.detail else "")
        for one in line.troubles
    ]
    if line.same_refresh_token:
        notes.append("came with the same refresh token as the pair before")
    return notes


def _tick(at: datetime, before: datetime | None, step: int) -> str:
    if step >= timedelta(days=1).total_seconds():
        return f"{at:%b} {at.day}"
    clock = f"{at:%H:%M:%S}" if step < 60 else f"{at:%H:%M}"
    return clock if before is not None and before.date() == at.date() else f"{at:%b} {at.day} {clock}"
