"""Being woken when another process has done something to a grant, where the database can notify."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class Heard(Protocol):
    """The notifications about one grant."""

    async def wait(self, seconds: float) -> None:
        """Return when it is worth reading the row again: after `seconds` at the latest, and too early now and then.

        The return itself says nothing about the grant: the row says what happened.
        """
        ...


class Wakeups(Protocol):
    """Production: `database.notify.Listener` over PostgreSQL; where there is none, `engine.lease` polls."""

    def hearing(self, grant_id: str, poll: float) -> AbstractContextManager[Heard]:
        """Listen for this grant until the context ends; `poll` seconds between two reads while nothing can be heard."""
        ...
