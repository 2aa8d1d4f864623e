"""Moments, durations and numbers as people read them. Moments are UTC: who looks may be anywhere."""

from __future__ import annotations

from datetime import UTC, datetime

_LONGEST = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))


def when(moment: datetime | None) -> str | None:
    """`24 Nov 2026, 07:00 UTC`; None stays None."""
    return None if moment is None else f"{moment.astimezone(UTC):%-d %b %Y, %H:%M} UTC"


def duration(seconds: float) -> str:
    """`3 minutes`: the largest unit that it is one of, cut; below a second nothing is said of it."""
    for length, unit in _LONGEST:
        whole = int(seconds // length)
        if whole:
            return f"{whole:,} {unit}{'s' if whole > 1 else ''}"
    return "less than a second"


def up_to(number: int, most: int) -> str:
    """`1,234`; `10,000 or more` of what was counted no further."""
    return f"{number:,} or more" if number >= most else f"{number:,}"
