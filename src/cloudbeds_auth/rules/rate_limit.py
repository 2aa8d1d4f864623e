"""The vendor's rate limit, as a sliding window over the turns of a client id; a fair queue.

Cloudbeds counts requests per second (10 for partners, 5 for property-level clients) and may suspend credentials that
exceed it. As many requests as a window holds go at once where none went before. How Cloudbeds counts such a burst is
not known, so after a 429 requests are spaced evenly for an hour (ADR 0023). One request in ten is set aside for a
process that cannot ask the store (ADR 0014). Source: cloudbeds-facts.md section 6, "Rate limits".
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Generic, TypeVar

ALONE = 0.1  # of the limit: what one process may send while it cannot ask the store
# Seconds by which one request may take longer to the vendor than another: a new connection costs two round trips and a
# handshake more than a kept one. What left within a second may arrive within that much less.
JITTER = 0.25
WINDOW = 1.0 + JITTER  # seconds in which no more leave than the vendor may see in one
TOO_MANY = 429  # RFC 6585 section 4
UNSAID = 1.0  # seconds of pause after a 429 that names none: the vendor counts by the second
SPACED = 3600.0  # seconds after a 429 in which requests are spaced evenly
LONGEST_PAUSE = 60.0  # seconds; a longer pause that a 429 asks for is cut to this
OURS = ""  # the line of requests that keep hotels connected: tokens and proofs; the others are named by a connection

T = TypeVar("T")

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE]\+?[0-9]+)?\Z")  # RFC 9110's digits, and what some send instead


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `most` requests of all processes together within any `window` seconds; `alone` per second from each
    process that cannot ask the store (0: none).
    """

    most: int
    window: float = WINDOW
    alone: float = 0.0

    @property
    def interval(self) -> float:
        """Seconds between two requests that are spaced evenly."""
        return self.window / self.most

    def wait_behind(self, waiting: int) -> float:
        """Seconds that a request waits at least which has so many before it."""
        return waiting // self.most * self.window


@dataclass(frozen=True, slots=True)
class Turns:
    """What is stored of a client id; moments are seconds of one clock.

    `given`: the turns of the last window and those to come, ascending. None is given before `closed_until`; until
    `spaced_until` they are spaced evenly.
    """

    given: tuple[float, ...] = ()
    closed_until: float = 0.0
    spaced_until: float = 0.0

    def next(self, now: float, rate: Rate) -> float:
        """The moment of the next turn: never before one that was given, so that each process may have its own rate."""
        gap = rate.interval if now < self.spaced_until else 0.0
        moments = [now, self.closed_until, *(last + gap for last in self.given[-1:])]
        if len(self.given) >= rate.most:
            moments.append(self.given[-rate.most] + rate.window)
        return max(moments)

    def give(self, moment: float, now: float, rate: Rate) -> Turns:
        """With the turn of this moment, and without those that no longer count."""
        return replace(self, given=(*(one for one in self.given if one > now - rate.window), moment))

    def closed(self, until: float) -> Turns:
        """No further turn before this moment; those given stay given."""
        return replace(self, closed_until=max(self.closed_until, until))

    def paused(self, now: float, seconds: float) -> Turns:
        """After a 429: no further turn for `seconds`, and evenly spaced ones for an hour."""
        return replace(self.closed(now + seconds), spaced_until=now + SPACED)


@dataclass(frozen=True, slots=True)
class Limit:
    """What an operator set: the rate, and whether it is only watched (`observed`) instead of kept."""

    rate: Rate
    observed: bool = False


def rate_within(limit: float) -> Rate:
    """The rate whose every one-second window holds at most `limit` requests (`limit` of at least 1), where they leave
    and, within `JITTER`, where they arrive: one process's that goes alone among them, if the limit has room for it.
    """
    shared = math.floor(limit) - math.ceil(ALONE * limit)
    if shared < 1:
        return Rate(1)
    return Rate(shared, alone=ALONE * shared / WINDOW)


class FairQueue(Generic[T]):
    """Which of many requests goes next: each line in the order of coming, one line after the other.

    "": refresh      → every second place, as long as one waits here
    con_1: c c c c c → of the other places, each line has one before any has two
    con_2: c

    A line that is joined anew is the last one. What is `gone` has no place any more.
    """

    def __init__(self, gone: Callable[[T], bool]) -> None:
        self._gone = gone
        self._lines: dict[str, deque[T]] = {}  # in the order in which they have their turn
        self._ours_was_last = False

    def join(self, name: str, one: T) -> None:
        """Wait at the end of this line."""
        self._lines.setdefault(name, deque()).append(one)

    def length(self, name: str) -> int:
        """How many wait in this line."""
        return sum(not self._gone(one) for one in self._lines.get(name, ()))

    def waiting(self) -> list[T]:
        """All that wait."""
        for name, line in list(self._lines.items()):
            self._put(name, deque(one for one in line if not self._gone(one)))
        return [one for line in self._lines.values() for one in line]

    def next(self) -> T | None:
        """The next one, taken out of its line; None when none waits."""
        self.waiting()
        others = [name for name in self._lines if name != OURS]
        self._ours_was_last = OURS in self._lines and not (others and self._ours_was_last)
        name = OURS if self._ours_was_last else next(iter(others), None)
        if name is None:
            return None
        line = self._lines.pop(name)
        one = line.popleft()
        self._put(name, line)
        return one

    def _put(self, name: str, line: deque[T]) -> None:
        """Where it was, or behind the others when it was taken out; an empty line is none."""
        if line:
            self._lines[name] = line
        else:
            self._lines.pop(name, None)


def pause_of(status: int, headers: Mapping[str, str | None]) -> float | None:
    """For how many seconds an answer asks every process of this client id to send nothing; None unless it is a 429.

    Read from `Retry-After` (RFC 9110 section 10.2.3: seconds, or a date) and `Date` (6.6.1). Names are found in
    `headers` without regard to case.
    """
    if status != TOO_MANY:
        return None
    wait = seconds_of(headers.get("Retry-After"), headers.get("Date"))
    return UNSAID if wait is None else min(max(wait, UNSAID), LONGEST_PAUSE)


def seconds_of(retry_after: str | None, date: str | None) -> float | None:
    """What `Retry-After` says, in seconds from now; None when it says nothing that can be read.

    A date is measured against the answer's own `Date`, so that no clock of ours takes part; where that says nothing, it
    counts as `LONGEST_PAUSE` away.
    """
    value = (retry_after or "").strip()
    if _SECONDS.match(value):
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter of a year that fits no machine word
        return None
    try:
        return max((until - parsedate_to_datetime(date or "")).total_seconds(), 0.0)
    except (TypeError, ValueError, OverflowError):  # none, or one of the two without a zone
        return LONGEST_PAUSE
