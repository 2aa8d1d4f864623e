"""A connection's history: lines of counted calls, and the cursor that pages through them and the events, newest first.

Calls are counted in lines, not stored one row each. A line belongs to one generation. One process counts for at most a
minute; the lines of several processes are merged into one for each minute, after a day into one for each hour, after a
month into one for each day. Events and lines are stored apart, so a reader's place names a position in both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cloudbeds_auth.errors import InvalidRequest
from cloudbeds_auth.rules.schedule import DAY

BEYOND = 10**18 - 1  # above every event's number, and after every call, in microseconds
FORM = re.compile(r"(\d{1,18})_(\d{1,18})_(\d{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True)
class HistoryPlace:
    """What is left to read: events numbered below `sequence`, and lines of calls that began at `first_us` or before.

    `skip` of the lines that began in that microsecond have been read already. The default is the newest end.
    """

    sequence: int = BEYOND
    first_us: int = BEYOND
    skip: int = 0

    @classmethod
    def parse(cls, cursor: str | None) -> HistoryPlace:
        """The place that this cursor names; None is the newest end. Raises InvalidRequest."""
        if cursor is None:
            return cls()
        found = FORM.fullmatch(cursor)
        if found is None:
            raise InvalidRequest("the cursor is not one that an earlier page of a history gave")
        return cls(*(int(part) for part in found.groups()))

    @property
    def cursor(self) -> str:
        """The place as text, for `parse`."""
        return f"{self.sequence}_{self.first_us}_{self.skip}"

    def after_event(self, sequence: int, at_us: int) -> HistoryPlace:
        """The place after this event. Lines of calls that began later than the event have been read before it."""
        if self.first_us <= at_us:
            return HistoryPlace(sequence, self.first_us, self.skip)
        return HistoryPlace(sequence, at_us)

    def after_calls(self, first_us: int) -> HistoryPlace:
        """The place after a line that began in that microsecond."""
        return HistoryPlace(self.sequence, first_us, self.skip + 1 if first_us == self.first_us else 1)


NEWEST = HistoryPlace()


def microseconds(seconds: float) -> int:
    """Unix seconds in microseconds; a moment that is compared for equality is stored as an integer."""
    return math.floor(seconds * 1e6 + 0.5)


MOST_PATHS = 50  # distinct pairs of method and path that one line counts separately
LONGEST_PATH = 120  # characters of one such pair

AS_COUNTED, A_MINUTE, AN_HOUR, A_DAY = 0, 60, 3600, 86400  # spans, in seconds
# The span of a line, the next coarser span, and the age in seconds at which the line is merged into it.
STEPS = ((AS_COUNTED, A_MINUTE, 600.0), (A_MINUTE, AN_HOUR, DAY), (AN_HOUR, A_DAY, 30 * DAY))
SPANS = (AS_COUNTED, A_MINUTE, AN_HOUR, A_DAY)


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls made with one generation within one period; written in the background, never one row for each call.

    `first` and `last` are unix seconds. `refused` counts the answers 401; `methods` counts calls by method and path.
    `line` identifies a line that is still counted, so that writing it again replaces it. A merged line has none.
    """

    grant_id: str
    generation: int
    first: float
    last: float
    count: int
    refused: int
    methods: Mapping[str, int]
    line: str = ""


def tally(methods: dict[str, int], path: str, count: int) -> None:
    """Count calls of one method and path; paths beyond the first `MOST_PATHS` are counted together, as `other`."""
    path = path[:LONGEST_PATH]
    if path not in methods and len(methods) >= MOST_PATHS:
        path = "other"
    methods[path] = methods.get(path, 0) + count


def merged(lines: Iterable[Calls]) -> Calls:
    """Several lines of one generation, at least one, merged into one line."""
    lines = sorted(lines, key=lambda line: line.first)
    methods: dict[str, int] = {}
    for line in lines:
        for path, count in line.methods.items():
            tally(methods, path, count)
    return Calls(
        grant_id=lines[0].grant_id,
        generation=lines[0].generation,
        first=lines[0].first,
        last=max(line.last for line in lines),
        count=sum(line.count for line in lines),
        refused=sum(line.refused for line in lines),
        methods=methods,
    )


def span_at(age: float) -> int:
    """The span in seconds of a merged line of this age, in seconds."""
    return max((coarser for _, coarser, since in STEPS if age >= since), default=A_MINUTE)


def beginning(at_us: int, span: int) -> int:
    """The first microsecond of the period of `span` seconds that contains this moment."""
    return at_us - at_us % microseconds(span)
