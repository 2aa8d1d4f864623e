"""What rests for the background: which grants are due, and how fast all processes together may ask the vendor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cloudbeds_auth.rules.rate_limit import Rate, Turn


class UpkeepStore(Protocol):
    """A part of `ports.store.Store`; every method is one transaction and may raise `errors.StoreUnavailable`."""

    async def reserve_turn(self, client_id: str, rate: Rate, patience: float) -> Turn:
        """The next turn of this client id among all processes; not taken when it is more than `patience` seconds off.

        By the store's steady clock, so restarts count; after a restart of the machine it begins afresh.
        """
        ...

    async def pause_turns(self, client_id: str, seconds: float) -> None:
        """Give nobody a turn of this client id for `seconds`, in any process; those given already stay given."""
        ...

    async def claim_due(self, limit: int, hold: float) -> Sequence[str]:
        """Ids of at most `limit` grants that are due, the first to expire first; theirs is nobody else's turn for
        `hold` seconds. What becomes of a grant decides when it is due next.
        """
        ...

    async def claim_retries(self, limit: int, hold: float) -> Sequence[str]:
        """As `claim_due`, of marked grants, which have a queue of their own (rule 12)."""
        ...

    async def retry_all(self, app: str, limit: int) -> int:
        """Make marked grants of this app due now, at most `limit`, the newest marks first; how many."""
        ...

    async def claim_polls(self, limit: int, every: float) -> Sequence[str]:
        """Ids of at most `limit` connections in use whose app state is to be asked about, longest first.

        The next time is `every` seconds later, whatever comes of it.
        """
        ...

    async def next_due(self) -> float | None:
        """Seconds until a grant is due (0: one is), marked ones too; None when none ever is."""
        ...
