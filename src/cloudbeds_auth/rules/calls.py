"""Counted calls: lines instead of a row a call, which become fewer and coarser as they grow older.

A line belongs to one generation. One process counts for at most a minute; the lines of several processes are merged
into one for each minute, those of a day ago into one for each hour, those of a month ago into one for each day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cloudbeds_auth.rules.history import microseconds
from cloudbeds_auth.rules.schedule import DAY

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
