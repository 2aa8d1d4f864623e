"""A hand between the engine and its database: one transaction of those that are written is treated otherwise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.statements import Call

Write = Callable[[Call[Any]], Awaitable[Any]]


def intercept(
    patch: pytest.MonkeyPatch, db: Database, name: str, instead: Callable[[Write, Call[Any]], Awaitable[Any]]
) -> None:
    """When the transaction of this name is to be written, `instead` is called with what would write it."""
    original = db.write

    async def write(call: Call[Any], *, synced: bool = True) -> Any:
        writes = partial(original, synced=synced)
        return await (instead(writes, call) if call.name == name else writes(call))

    patch.setattr(db, "write", write)
