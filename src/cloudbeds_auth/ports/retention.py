"""What is forgotten: on request, and after its time."""

from __future__ import annotations

from typing import Protocol

FORGOTTEN = "forgotten"
"""What the history calls that its personal data was deleted; it leads nowhere in the table of states."""


class RetentionStore(Protocol):
    """A part of `ports.store.Store`; every method is one transaction and may raise `errors.StoreUnavailable`."""

    async def forget(self, connection_id: str, *, actor: str) -> bool:
        """Of a connection that has ended: every token, who approved, and what its calls were. The history keeps what
        happened and when. False, and nothing changes: unknown, or it has not ended.
        """
        ...

    async def sweep(self, age: float, limit: int) -> int:
        """Delete events and lines of counted calls older than `age` seconds, who approved what ended longer ago, and
        states that are over; the oldest first, at most `limit` of each. How many there were.
        """
        ...

    async def roll_up(self, limit: int) -> bool:
        """Merge lines of counted calls that are old enough (`rules.calls`), the oldest first, at most `limit` of each
        span, each in a transaction of its own. Whether there may be more.
        """
        ...
