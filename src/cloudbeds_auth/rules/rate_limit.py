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
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Generic, NamedTuple, TypeVar

ALONE = 0.1  # of the limit: what one process may send while it cannot ask the store
# Seconds by which one request may take longer to the vendor than another: a new connection costs two round trips and a
# handshake more than a kept one. What left within a second may arrive within that much less.
JITTER = 0.25
WINDOW = 1.0 + JITTER  # seconds in which no more leave than the vendor may see in one
TOO_MANY = 429  # RFC 6585 section 4
UNSAID = 1.0  # seconds of pause after a 429 that names none: the vendor counts by the second
SPACED = 3600.0  # seconds after a 429 in which requests are spaced evenly
LONGEST_PAUSE = 60.0  # seconds; a longer pause that a 429 asks for is cut to this


class TurnLine(NamedTuple):
    """Where a request waits: with the others of its caller that are for this hotel, by the connection's id."""

    caller: str
    hotel: str


OURS = TurnLine("", "")  # of requests that keep hotels connected: tokens and proofs
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
class WindowUse:
    """How much of a client id's rate is in use: turns of the last window, and those that were given for later. No other
    is given for `paused` seconds, and they are `spaced` evenly, since Cloudbeds answered 429.
    """

    taken: int
    ahead: int
    paused: float
    spaced: bool


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

    def use(self, now: float) -> WindowUse:
        """What of them is in use now."""
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


def rate_of(a_second: float) -> Rate:
    """The rate of one caller: so many requests a second, a number above 0, which below 1 is one in longer than that."""
    most = max(1, math.floor(a_second))
    return Rate(most, most / a_second)


class FairQueue(Generic[T]):
    """Which of many requests goes next: each line in the order of coming, one caller after the other, and of a caller
    one hotel after the other (A61).

    tokens, proofs    → every second place, as long as one waits here
    key_1 con_1: c c  → of the other places, each caller has one before any has two;
    key_1 con_2: c      of a caller's places, each of its hotels
    key_2 con_1: c

    A line that is joined anew is the last one of its caller, a caller that comes anew the last one of all. What is
    `gone` has no place any more.
    """

    def __init__(self, gone: Callable[[T], bool]) -> None:
        self._gone = gone
        self._callers: dict[
            str, dict[str, deque[T]]
        ] = {}  # and their hotels, in the order in which they have their turn
        self._ours: deque[T] = deque()
        self._ours_was_last = False

    def join(self, line: TurnLine, one: T) -> None:
        """Wait at the end of this line."""
        if line == OURS:
            self._ours.append(one)
        else:
            self._callers.setdefault(line.caller, {}).setdefault(line.hotel, deque()).append(one)

    def length(self, line: TurnLine) -> int:
        """How many wait in this line."""
        waiting = self._ours if line == OURS else self._callers.get(line.caller, {}).get(line.hotel, ())
        return sum(not self._gone(one) for one in waiting)

    def waiting(self) -> list[T]:
        """All that wait."""
        self._ours = self._left(self._ours)
        for caller, hotels in list(self._callers.items()):
            for hotel, line in list(hotels.items()):
                _keep(hotels, hotel, self._left(line))
            _keep(self._callers, caller, hotels)
        return [*self._ours, *(one for hotels in self._callers.values() for line in hotels.values() for one in line)]

    def next(self) -> T | None:
        """The next one, taken out of its line; None when none waits."""
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
    """The one that has its turn, taken out."""
    name = next(iter(lines))
    return name, lines.pop(name)


def _keep(lines: dict[str, C], name: str, line: C) -> None:
    """Where it was, or behind the others where it was taken out; an empty one is none."""
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
