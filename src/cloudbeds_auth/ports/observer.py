"""What is reported to logs and metrics: one stream of happenings."""

from __future__ import annotations

from typing import Protocol

from cloudbeds_auth.rules.happenings import Happening

Fact = str | int | float | bool | None


class Observer(Protocol):
    """Production: `observe`. Implementations never raise: a broken metric is no reason to lose a hotel (F80)."""

    def happened(self, what: Happening, /, **facts: Fact) -> None:
        """`what` is a `str` as well: its stable name. `facts` are those that it declares: small, and never secrets."""
        ...
