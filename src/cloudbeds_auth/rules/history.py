"""A connection's history: lines of counted calls, and reading them page by page beside the events, newest first.

Calls are lines instead of a row a call. A line belongs to one generation. One process counts for at most a minute; the
lines of several processes are merged into one for each minute, those of a day ago into one for each hour, those of a
month ago into one for each day. Events and lines are stored apart, so the place that a reader has come to names both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cloudbeds_auth.errors import InvalidRequest
from cloudbeds_auth.rules.schedule import DAY

BEYOND = 10**18 - 1  # no event has this number, and no call was made that late, in microseconds
FORM = re.compile(r"(\d{1,18})_(\d{1,18})_(\d{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True)
class HistoryPlace:
    """What is left to read: events numbered below `sequence`, and lines of calls that began at `first_us` or before.

    `skip` lines that began at that very microsecond were read already. The default is the newest end.
    """

    sequence: int = BEYOND
    first_us: int = BEYOND
    skip: int = 0

    @classmethod
    def parse(cls, cursor: str | None) -> HistoryPlace:
        """The place that `cursor` writes out; None is the newest end. Raises InvalidRequest."""
        if cursor is None:
            return cls()
        found = FORM.fullmatch(cursor)
        if found is None:
            raise InvalidRequest("the cursor is not one that an earlier page of a history gave")
        return cls(*(int(part) for part in found.groups()))

    @property
    def cursor(self) -> str:
        """For `parse`."""
        return f"{self.sequence}_{self.first_us}_{self.skip}"

    def after_event(self, sequence: int, at_us: int) -> HistoryPlace:
        """Behind this event: lines of calls that began after it came before it in the reading."""
        if self.first_us <= at_us:
            return HistoryPlace(sequence, self.first_us, self.skip)
        return HistoryPlace(sequence, at_us)

    def after_calls(self, first_us: int) -> HistoryPlace:
        """Behind a line that began at that microsecond."""
        return HistoryPlace(self.sequence, first_us, self.skip + 1 if first_us == self.first_us else 1)


NEWEST = HistoryPlace()


def microseconds(seconds: float) -> int:
    """Of unix seconds; a moment that is compared for equality is kept as a whole number."""
    return math.floor(seconds * 1e6 + 0.5)


MOST_PATHS = 50  # distinct method-and-path pairs counted separately in one line
LONGEST_PATH = 120  # characters of one of them

AS_COUNTED, A_MINUTE, AN_HOUR, A_DAY = 0, 60, 3600, 86400  # spans, in seconds
# What a line of one span becomes, and the age in seconds from which it does.
STEPS = ((AS_COUNTED, A_MINUTE, 600.0), (A_MINUTE, AN_HOUR, DAY), (AN_HOUR, A_DAY, 30 * DAY))
SPANS = (AS_COUNTED, A_MINUTE, AN_HOUR, A_DAY)


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls that one generation carried within one stretch of time; written behind, never one row a call.

    `first` and `last` are unix seconds; `refused` counts answers 401; `methods` counts by method and path. `line` names
    this line among all that are being counted: written again, it replaces itself. A merged line has no name.
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
    """Count calls of one method and path; calls beyond `MOST_PATHS` are counted together, as `other`."""
    path = path[:LONGEST_PATH]
    if path not in methods and len(methods) >= MOST_PATHS:
        path = "other"
    methods[path] = methods.get(path, 0) + count


def merged(lines: Iterable[Calls]) -> Calls:
    """One line for several of one generation; at least one."""
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
    """How coarse a merged line of this age, in seconds, is."""
    return max((coarser for _, coarser, since in STEPS if age >= since), default=A_MINUTE)


def beginning(at_us: int, span: int) -> int:
    """The microsecond in which the period of `span` seconds begins that a moment lies in."""
    return at_us - at_us % microseconds(span)
