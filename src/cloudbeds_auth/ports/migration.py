"""What rests of a hotel's move to an API key (rule 15): latched first, and then never refreshed again."""

from __future__ import annotations

from typing import Protocol

from cloudbeds_auth.rules.model import Fence, Pair

MIGRATION_BEGUN, MIGRATION_ENDED = "migration_begun", "migration_ended"
"""What the history calls the latch and its end; the grant is as healthy as before."""


MIGRATION_UNDER_WAY = "migration_under_way"
"""The problem that is shown of a hotel between the two: it is served, and nothing of it is refreshed."""


class MigrationStore(Protocol):
    """A part of `ports.store.Store`; every method is one transaction and may raise `errors.StoreUnavailable`."""

    async def begin_migration(self, fence: Fence, client_id: str) -> bool:
        """Latch the grant; a migration that is under way goes on, under this client id. False: the fence moved."""
        ...

    async def end_migration(self, fence: Fence, *, in_doubt: bool = False) -> bool:
        """Give it up and lift the latch. False, and nothing changes: an exchange may have been accepted.

        `in_doubt`: lift it all the same, because the answer of that exchange can come no more.
        """
        ...

    async def add_key(self, old_grant_id: str, grant_id: str, app: str, pair: Pair) -> bool:
        """Store the key that an exchange of this grant's token brought, as a candidate of its connection.

        It needs no fence: whatever moved meanwhile, the key in hand may be the only living one, and the proof decides.
        Repeating it is harmless. False: the hotel was disconnected, or approved anew.
        """
        ...
