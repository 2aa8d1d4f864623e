"""What is told to logs and metrics: one stream of happenings."""

from __future__ import annotations

from typing import Protocol

Fact = str | int | float | bool | None


class Observer(Protocol):
    """Production: `observe`. Implementations never raise: a broken metric is no reason to lose a hotel (F80)."""

    def happened(self, what: str, /, **facts: Fact) -> None:
        """`what` is a stable snake_case name; `facts` are small, and never secrets."""
        ...
