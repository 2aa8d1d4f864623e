"""I11: all requests keep the vendor's rate, all machines and restarts together.

They are token requests, proofs, look-ups, and what callers send. A process that stood still between its turn and its
request is not the limit's doing and is not counted for that second. Processes that cannot ask the store go alone: the
limit has room for one of them beside those that can, and no process can know of another one (ADR 0014).
"""

from __future__ import annotations

from collections import deque

from tests.simulation.loop import SimLoop
from tests.simulation.trace import Trace

WINDOW = 1.0  # second, both ends included
SLACK = 1e-6  # seconds, of floats


class Pace:
    """Notified of every request. `limit` is in requests per second, 0: none."""

    def __init__(self, trace: Trace, loop: SimLoop, limit: float) -> None:
        self._trace, self._loop, self._limit = trace, loop, limit
        self._sent: deque[float] = deque()
        self._alone: deque[tuple[float, str]] = deque()

    def alone(self, machine: str) -> None:
        """A request of this machine goes now without a turn of the store's: never two of one machine in a second."""
        now = self._loop.now
        self._forget(now)
        if self._limit and any(name == machine for _, name in self._alone) and not self._stood_still(machine, now):
            self._trace.violate("I11", f"{machine} went alone twice within {WINDOW:g} s")
        self._alone.append((now, machine))
        self._trace.count("alone")

    def leaving(self, machine: str, number: int) -> None:
        """Request `number` of this machine is about to be sent."""
        now = self._loop.now
        if not self._limit or self._stood_still(machine, now):
            return
        self._sent.append(now)
        self._forget(now)
        self._trace.count("checks")
        self._trace.count("paced requests")
        allowed = self._allowed()
        if len(self._sent) > allowed:
            self._trace.violate(
                "I11", f"#{number} is request {len(self._sent)} within {WINDOW:g} s, and {allowed:g} are allowed"
            )

    def _allowed(self) -> float:
        """The limit, and one more for each process that goes alone beside the first."""
        return self._limit + max(0, len({machine for _, machine in self._alone}) - 1)

    def _forget(self, now: float) -> None:
        while self._sent and self._sent[0] < now - WINDOW + SLACK:
            self._sent.popleft()
        while self._alone and self._alone[0][0] < now - WINDOW + SLACK:
            self._alone.popleft()

    def _stood_still(self, machine: str, now: float) -> bool:
        return now - self._loop.stood_still_until(machine) < WINDOW
