"""How many approvals from the Marketplace one address, and everybody together, may bring to this process.

Anybody can call a callback with a made-up code, and each costs a request at Cloudbeds: the bound comes before it.
"""

from __future__ import annotations

from collections import deque

from cloudbeds_auth.errors import RateLimited
from cloudbeds_auth.ports.clock import Clock

WINDOW = 600.0  # seconds
OF_ONE, OF_ALL = 5, 60  # arrivals in any such window


class Arrivals:
    """Remembers the arrivals of the last ten minutes; never more than `OF_ALL`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._recent: deque[tuple[float, str]] = deque()

    def admit(self, address: str) -> None:
        """Count one from this address; raises RateLimited when it, or everybody together, brought too many."""
        now = self._clock.steady()
        while self._recent and self._recent[0][0] <= now - WINDOW:
            self._recent.popleft()
        of_one = [since for since, one in self._recent if one == address]
        if len(of_one) >= OF_ONE:
            raise _too_many("from this address", of_one[0] + WINDOW - now)
        if len(self._recent) >= OF_ALL:
            raise _too_many("at once", self._recent[0][0] + WINDOW - now)
        self._recent.append((now, address))


def _too_many(where: str, wait: float) -> RateLimited:
    return RateLimited(
        f"too many approvals came {where}; nothing was exchanged",
        next_step="connect again from Cloudbeds' Marketplace in ten minutes",
        retry_after=wait,
    )
