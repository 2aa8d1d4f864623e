"""How many approvals one address, and all addresses together, may begin here or bring from the Marketplace.

Anybody can open `/connect`, which stores a state, and call a callback with a made-up code, which costs a request at
Cloudbeds: the bound comes before both. It is this process's own; the store bounds what all processes keep.
"""

from __future__ import annotations

from collections import Counter, deque

from cloudbeds_auth.errors import RateLimited
from cloudbeds_auth.ports.clock import Clock
from cloudbeds_auth.rules.redirects import MOST_PENDING

WINDOW = 600.0  # seconds; as long as a state lives
OF_ONE, OF_ALL = 5, 60  # approvals from the Marketplace in any such window
STARTS_OF_ONE, STARTS_OF_ALL = 100, MOST_PENDING  # approvals that are begun here


class Arrivals:
    """Remembers what came in the last ten minutes, by address; never more than `of_all`."""

    def __init__(self, clock: Clock, what: str, *, of_one: int, of_all: int) -> None:
        self._clock = clock
        self._what = what
        self._of_one = of_one
        self._of_all = of_all
        self._recent: deque[tuple[float, str]] = deque()
        self._counts: Counter[str] = Counter()

    def admit(self, source: str) -> None:
        """Count one from this `addresses.address_of`; raises RateLimited when it, or all together, brought too many."""
        now = self._clock.steady()
        self._forget(now - WINDOW)
        if self._counts[source] >= self._of_one:
            raise self._too_many("from this address", self._oldest(source) + WINDOW - now)
        if len(self._recent) >= self._of_all:
            raise self._too_many("at once", self._recent[0][0] + WINDOW - now)
        self._recent.append((now, source))
        self._counts[source] += 1

    def _forget(self, before: float) -> None:
        while self._recent and self._recent[0][0] <= before:
            _, source = self._recent.popleft()
            self._counts[source] -= 1
            if not self._counts[source]:
                del self._counts[source]

    def _oldest(self, source: str) -> float:
        return next(since for since, one in self._recent if one == source)

    def _too_many(self, where: str, wait: float) -> RateLimited:
        return RateLimited(
            f"too many approvals {self._what} {where}", next_step="start again in ten minutes", retry_after=wait
        )


def starts(clock: Clock) -> Arrivals:
    """For approvals that are begun here."""
    return Arrivals(clock, "were begun", of_one=STARTS_OF_ONE, of_all=STARTS_OF_ALL)


def from_marketplace(clock: Clock) -> Arrivals:
    """For approvals that a hotel began in the Marketplace."""
    return Arrivals(clock, "came from the Marketplace", of_one=OF_ONE, of_all=OF_ALL)
