"""Named points of a machine's life at which something may strike: a kill, a power cut, a failing statement.

The driver and the network call `reached(machine, point)`; a plan arms what happens there. A dry run with a `log` lists
the points of one refresh, for the exhaustive sets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import World

Strike = Callable[[str], None]


class Points:
    """Arms strikes. `log` collects (machine, point) while it is not None."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._armed: list[tuple[int, str, Strike]] = []
        self._disk: list[tuple[int, Callable[[str], None]]] = []
        self.log: list[tuple[str, str]] | None = None
        world.disk.hook = self._operation

    def arm(self, after: int, strike: Strike, *, word: str = "") -> None:
        """Strike at the `after`-th point from now whose name holds `word`; the strike is given the machine's name."""
        self._armed.append((after, word, strike))

    def arm_disk(self, after: int, strike: Callable[[str], None]) -> None:
        """Strike at the `after`-th changing operation of the disk from now; it is given the operation's kind."""
        self._disk.append((after, strike))

    def calm(self) -> None:
        """Nothing strikes any more."""
        self._armed.clear()
        self._disk.clear()

    def reached(self, machine: str, point: str) -> None:
        """A machine is at this point."""
        if self.log is not None:
            self.log.append((machine, point))
        if not self._armed:
            return
        due: list[Strike] = []
        waiting: list[tuple[int, str, Strike]] = []
        for after, word, strike in self._armed:
            if word not in point:
                waiting.append((after, word, strike))
            elif after <= 1:
                due.append(strike)
            else:
                waiting.append((after - 1, word, strike))
        self._armed = waiting
        for strike in due:
            self._world.trace.say(machine, f"is struck at: {point}")
            strike(machine)

    def _operation(self, kind: str, name: str) -> None:
        if not self._disk:
            return
        due = [strike for after, strike in self._disk if after <= 1]
        self._disk = [(after - 1, strike) for after, strike in self._disk if after > 1]
        for strike in due:
            self._world.trace.say("disk", f"is struck at {kind} of {name}")
            strike(kind)
