"""Seeded bugs of rule 11: a grant that goes where it did not come from."""

from __future__ import annotations

from typing import Any

from tests.simulation.patch import Patch

from cloudbeds_auth.engine import context


def where_from_is_not_compared(patch: Patch) -> None:
    """It is stored, and nothing is refused for it."""

    def nothing(*where: Any, **how: Any) -> None:
        return None

    patch.put(context, "foreign", nothing)
    patch.put(context, "foreign_secret", nothing)
