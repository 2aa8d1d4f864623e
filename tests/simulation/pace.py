"""I11 of ROTATION section 4: all requests keep the vendor's rate, all machines and restarts together.

They are token requests, proofs, look-ups, and what callers send. A process that stood still between its turn and its
request is not the limit's doing and is not counted for that second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tests.simulation.loop import SimLoop
from tests.simulation.trace import Trace

WINDOW = 1.0  # second, both ends included
BURST = 2  # what a boot that knows nothing of the last one may add; the product's own number is not asked
SLACK = 1e-6  # seconds, of floats


class Pace:
    """Told of every request. `boot()` numbers the host's boots; `limit` is in requests per second, 0: none."""

    def __init__(self, trace: Trace, loop: SimLoop, boot: Callable[[], int], limit: float) -> None:
        self._trace, self._loop, self._boot, self._limit = trace, loop, boot, limit
        self._sent: deque[tuple[float, int]] = deque()

    def leaving(self, machine: str, number: int) -> None:
        """Request `number` of this machine is about to be sent."""
        now = self._loop.now
        if not self._limit or self._stood_still(machine, now):
            return
        self._sent.append((now, self._boot()))
        while self._sent[0][0] < now - WINDOW + SLACK:
            self._sent.popleft()
        self._trace.count("checks")
        self._trace.count("paced requests")
        allowed = self._limit + (BURST if len({boot for _, boot in self._sent}) > 1 else 0)
        if len(self._sent) > allowed:
            self._trace.violate(
                "I11", f"#{number} is request {len(self._sent)} within {WINDOW:g} s, and {self._limit:g} are allowed"
            )

    def _stood_still(self, machine: str, now: float) -> bool:
        return now - self._loop.stood_still_until(machine) < WINDOW
