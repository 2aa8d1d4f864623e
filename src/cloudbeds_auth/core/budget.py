"""The vendor's rate limit, as a generic cell rate algorithm over one number a client id.

Cloudbeds counts requests per second (10 for partners, 5 for property-level clients) and may suspend credentials that
exceed it. GCRA spaces requests by an interval and lets a small burst pass; what can pass in any one second is then at
most burst + rate, so both are chosen together to stay at the limit. Source: CLOUDBEDS section 6, "Rate limits";
ITU-T I.371 for the algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass

BURST = 2  # a refresh is two requests: the token, and the proof


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` requests in the long run, `burst` at once."""

    per_second: float
    burst: int

    @property
    def interval(self) -> float:
        """Seconds between two requests in the long run."""
        return 1.0 / self.per_second

    @property
    def tolerance(self) -> float:
        """Seconds by which a request may come before its turn."""
        return (self.burst - 1) * self.interval


@dataclass(frozen=True, slots=True)
class Turn:
    """When a request may go: after `wait` seconds, if `taken`. `arrival` is the new theoretical arrival time."""

    taken: bool
    wait: float
    arrival: float


@dataclass(frozen=True, slots=True)
class Limit:
    """What an operator set: the rate, and whether it is only watched (`observed`) instead of kept."""

    rate: Rate
    observed: bool = False


def rate_within(limit: float) -> Rate:
    """The rate whose every one-second window holds at most `limit` requests (`limit` of at least 1)."""
    burst = BURST if limit >= 2 * BURST else 1
    # A closed window of one second holds burst + floor(rate) requests at most.
    return Rate(max(limit - burst, 0.5), burst)


def reserve(arrival: float, now: float, rate: Rate, patience: float) -> Turn:
    """Take the next turn unless it is further away than `patience` seconds.

    `arrival` is the theoretical arrival time left by the last request (0 when there was none); all are seconds of one
    clock.
    """
    wait = max(0.0, arrival - rate.tolerance - now)
    if wait > patience:
        return Turn(False, wait, arrival)
    return Turn(True, wait, max(arrival, now) + rate.interval)
