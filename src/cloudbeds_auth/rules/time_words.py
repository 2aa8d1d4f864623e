"""Durations and moments in words for people; pages show the exact moment beside them where they can."""

from __future__ import annotations

from datetime import datetime

MINUTE = 60  # seconds
_LONGEST = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))


def duration(seconds: float) -> str:
    """`3 minutes`: in the largest unit that fits, rounded down. Below one second, `less than a second`; so, too, below
    0, which a clock that was set back yields.
    """
    if seconds < 1:
        return "less than a second"
    length, unit = next(row for row in _LONGEST if seconds >= row[0])
    whole = int(seconds // length)
    return f"{whole:,} {unit}{'s' if whole > 1 else ''}"


def span(seconds: float) -> str:
    """A duration in one or two units: `4.0 s`, `12 min 5 s`, `7 h 59 min`, `9 d 4 h`; below 0, `0 ms`."""
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    minutes = int(seconds // MINUTE)
    if minutes < MINUTE:
        return f"{minutes} min {int(seconds % MINUTE)} s"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def relative(at: datetime, now: datetime) -> str:
    """A moment relative to now: `just now`, `5 minutes ago`, `in 3 hours`."""
    seconds = (at - now).total_seconds()
    if abs(seconds) < MINUTE:
        return "in less than a minute" if seconds > 0 else "just now"
    return f"in {duration(seconds)}" if seconds > 0 else f"{duration(-seconds)} ago"
