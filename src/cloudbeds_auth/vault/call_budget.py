"""The turns of callers' own requests at the vendor: each hotel's callers stand in a line of their own."""

from __future__ import annotations

from cloudbeds_auth.core.nouns import App
from cloudbeds_auth.errors import RateLimited
from cloudbeds_auth.vault.access import Access
from cloudbeds_auth.vault.budget import Budget
from cloudbeds_auth.vault.world import World


class CallBudget:
    """Turns of callers' requests, by connection."""

    def __init__(self, world: World, access: Access) -> None:
        self._world = world
        self._access = access
        self._budget = Budget(world)

    async def spend(self, connection_id: str) -> None:
        """Wait for this hotel's next turn, at most `CALL` seconds; afterwards exactly one request may go.

        Raises RateLimited with the seconds to wait, the connection named.
        """
        try:
            await self._budget.spend_on_call(await self._app(connection_id), connection_id)
        except RateLimited as error:
            error.connection_id = connection_id
            raise

    async def heed(self, connection_id: str, pause: float) -> None:
        """A call was answered 429: nobody of this client id has a turn for `pause` seconds, in any process."""
        await self._budget.heed(await self._app(connection_id), pause)

    async def _app(self, connection_id: str) -> App:
        return await self._world.app(self._access.app_of(connection_id))
