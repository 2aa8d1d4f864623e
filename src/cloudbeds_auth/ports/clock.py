"""Time as an argument: the wall clock for people, a steady clock for durations, and sleep."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Production: `system.SystemClock`."""

    def wall(self) -> float:
        """Unix seconds. May jump; never used to measure a duration."""
        ...

    def steady(self) -> float:
        """Seconds that only run forward, also while the machine sleeps; comparable within one boot."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of steady time."""
        ...
