"""Moments and numbers as people read them. Moments are UTC: who looks may be anywhere."""

from __future__ import annotations

from datetime import UTC, datetime


def when(moment: datetime | None) -> str | None:
    """`24 Nov 2026, 07:00 UTC`; None stays None."""
    return None if moment is None else f"{moment.astimezone(UTC):%-d %b %Y, %H:%M} UTC"


def up_to(number: int, most: int) -> str:
    """`1,234`; `10,000 or more` of what was counted no further."""
    return f"{number:,} or more" if number >= most else f"{number:,}"
