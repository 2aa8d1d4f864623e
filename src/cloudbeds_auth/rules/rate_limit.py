"""The vendor's rate limit, as a sliding window over the turns of a client id; and a fair queue.

Cloudbeds counts requests per second (10 for partners, 5 for property-level clients) and may suspend credentials that
exceed the limit. After a quiet window, as many requests as a window holds are sent at once. How Cloudbeds counts such a
burst is not known, so after a 429 requests are spaced evenly for an hour (ADR 0023). One request in ten is reserved for
a process that cannot ask the store (ADR 0014). Source: cloudbeds-facts.md section 6, "Rate limits".
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Generic, NamedTuple, TypeVar

ALONE = 0.1  # of the limit: the share of one process that cannot ask the store
# Seconds by which one request may take longer to the vendor than another: a new connection costs two round trips and a
# handshake more than a kept one. So requests that left within a second may arrive within that much less.
JITTER = 0.25
WINDOW = 1.0 + JITTER  # seconds in which no more requests leave than the vendor may receive in one second
TOO_MANY = 429  # RFC 6585 section 4
UNSAID = 1.0  # seconds of pause after a 429 that does not name any: the vendor counts by the second
SPACED = 3600.0  # seconds after a 429 in which requests are spaced evenly
LONGEST_PAUSE = 60.0  # seconds; a longer pause that a 429 asks for is cut to this


class TurnLine(NamedTuple):
    """The line in which a request waits: that of its caller for this hotel, named by the connection's id."""

    caller: str
    hotel: str


OURS = TurnLine("", "")  # for the requests that keep hotels connected: tokens and proofs
T = TypeVar("T")

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE]\+?[0-9]+)?\Z")  # RFC 9110's digits, and what some send instead


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `most` requests of all processes together within any `window` seconds; `alone`: requests per second of a
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
        """Seconds that a request with so many before it waits at least."""
        return waiting // self.most * self.window


@dataclass(frozen=True, slots=True)
class WindowUse:
    """How much of a client id's rate is in use: `taken` turns of the last window, and turns given `ahead`. After a 429
    no further turn is given for `paused` seconds, and turns are `spaced` evenly.
    """

    taken: int
    ahead: int
    paused: float
    spaced: bool


@dataclass(frozen=True, slots=True)
class Turns:
    """The stored turns of a client id; moments are seconds of one clock.

    `given`: the turns of the last window and those to come, ascending. No turn is given before `closed_until`; until
    `spaced_until` turns are spaced evenly.
    """

    given: tuple[float, ...] = ()
    closed_until: float = 0.0
    spaced_until: float = 0.0

    def next(self, now: float, rate: Rate) -> float:
        """The moment of the next turn, never before one already given: so each process may have its own rate."""
        gap = rate.interval if now < self.spaced_until else 0.0
        moments = [now, self.closed_until, *(last + gap for last in self.given[-1:])]
        if len(self.given) >= rate.most:
            moments.append(self.given[-rate.most] + rate.window)
        return max(moments)

    def give(self, moment: float, now: float, rate: Rate) -> Turns:
        """These turns with one more, at `moment`, and without those that no longer count."""
        return replace(self, given=(*(one for one in self.given if one > now - rate.window), moment))

    def use(self, now: float) -> WindowUse:
        """How much of the rate is in use now."""
        taken = sum(now - WINDOW < one <= now for one in self.given)
        ahead = sum(one > now for one in self.given)
        return WindowUse(taken, ahead, max(0.0, self.closed_until - now), now < self.spaced_until)

    def closed(self, until: float) -> Turns:
        """No further turn before this moment; those given stay given."""
        return replace(self, closed_until=max(self.closed_until, until))

    def paused(self, now: float, seconds: float) -> Turns:
        """After a 429: no further turn for `seconds`, and evenly spaced ones for an hour."""
        return replace(self.closed(now + seconds), spaced_until=now + SPACED)


@dataclass(frozen=True, slots=True)
class Limit:
    """The operator's setting: the rate, and whether it is only `observed`, not enforced."""

    rate: Rate
    observed: bool = False


def rate_within(limit: float) -> Rate:
    """The rate of which every one-second window holds at most `limit` requests (at least 1), both where they leave and,
    within `JITTER`, where they arrive; the requests of one process without the store included, if there is room for it.
    """
    shared = math.floor(limit) - math.ceil(ALONE * limit)
    if shared < 1:
        return Rate(1)
    return Rate(shared, alone=ALONE * shared / WINDOW)


def rate_of(a_second: float) -> Rate:
    """The rate of one caller in requests per second, above 0; below 1, one request takes more than a second."""
    most = max(1, math.floor(a_second))
    return Rate(most, most / a_second)


class FairQueue(Generic[T]):
    """Decides which of many requests goes next: callers take turns, each caller's hotels take turns, and each line is
    first come, first served (A61).

    tokens, proofs    → every second place, as long as one waits here
    key_1 con_1: c c  → of the other places, each caller has one before any has two;
    key_1 con_2: c      of a caller's places, each of its hotels
    key_2 con_1: c

    A new line is the last of its caller, a new caller the last of all. A request that is `gone` loses its place.
    """

    def __init__(self, gone: Callable[[T], bool]) -> None:
        self._gone = gone
        self._callers: dict[
            str, dict[str, deque[T]]
        ] = {}  # and their hotels, in the order in which they have their turn
        self._ours: deque[T] = deque()
        self._ours_was_last = False

    def join(self, line: TurnLine, one: T) -> None:
        """Put a request at the end of this line."""
        if line == OURS:
            self._ours.append(one)
        else:
            self._callers.setdefault(line.caller, {}).setdefault(line.hotel, deque()).append(one)

    def length(self, line: TurnLine) -> int:
        """How many wait in this line."""
        waiting = self._ours if line == OURS else self._callers.get(line.caller, {}).get(line.hotel, ())
        return sum(not self._gone(one) for one in waiting)

    def waiting(self) -> list[T]:
        """All waiting requests."""
        self._ours = self._left(self._ours)
        for caller, hotels in list(self._callers.items()):
            for hotel, line in list(hotels.items()):
                _keep(hotels, hotel, self._left(line))
            _keep(self._callers, caller, hotels)
        return [*self._ours, *(one for hotels in self._callers.values() for line in hotels.values() for one in line)]

    def next(self) -> T | None:
        """The next request, taken out of its line; None if none waits."""
        if not self.waiting():
            return None
        self._ours_was_last = bool(self._ours) and not (self._callers and self._ours_was_last)
        if self._ours_was_last:
            return self._ours.popleft()
        caller, hotels = _first(self._callers)
        hotel, line = _first(hotels)
        one = line.popleft()
        _keep(hotels, hotel, line)
        _keep(self._callers, caller, hotels)
        return one

    def _left(self, line: deque[T]) -> deque[T]:
        return deque(one for one in line if not self._gone(one))


C = TypeVar("C", bound=Sized)


def _first(lines: dict[str, C]) -> tuple[str, C]:
    """The entry whose turn it is, taken out."""
    name = next(iter(lines))
    return name, lines.pop(name)


def _keep(lines: dict[str, C], name: str, line: C) -> None:
    """Put a line back: in its place, or at the end if it was taken out; an empty line is dropped."""
    if line:
        lines[name] = line
    else:
        lines.pop(name, None)


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
    """The value of `Retry-After`, in seconds from now; None if it cannot be read.

    A date is measured against the answer's own `Date`, so that the local clock does not matter; if that cannot be read,
    the date counts as `LONGEST_PAUSE` away.
    """
    value = (retry_after or "").strip()
    if _SECONDS.match(value):
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter for a year that fits no machine word
        return None
    try:
        return max((until - parsedate_to_datetime(date or "")).total_seconds(), 0.0)
    except (TypeError, ValueError, OverflowError):  # none, or one of the two without a zone
        return LONGEST_PAUSE
