"""Groups of many hotels: callers at an expiry, upkeep, what a refresh costs."""

from __future__ import annotations

from benchmarks.measure import Group

GROUPS: tuple[Group, ...] = ()
