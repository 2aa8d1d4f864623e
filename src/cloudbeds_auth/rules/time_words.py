"""Lengths of time and moments in the words that people read; the exact moment is shown beside them by whoever can."""

from __future__ import annotations

from datetime import datetime

MINUTE, HOUR, DAY = 60, 3600, 86400  # seconds


def duration(seconds: float) -> str:
    """A length of time in one or two units: `4.0 s`, `12 min 5 s`, `7 h 59 min`, `9 d 4 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    minutes = int(seconds // MINUTE)
    if minutes < MINUTE:
        return f"{minutes} min {int(seconds % MINUTE)} s"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def relative(at: datetime, now: datetime) -> str:
    """How far a moment is from now, in one unit, rounded down: `just now`, `5 minutes ago`, `in 3 hours`."""
    seconds = (at - now).total_seconds()
    for length, unit in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        count = int(abs(seconds) // length)
        if count:
            words = f"{count} {unit}{'s' if count > 1 else ''}"
            return f"in {words}" if seconds > 0 else f"{words} ago"
    return "in less than a minute" if seconds > 0 else "just now"
