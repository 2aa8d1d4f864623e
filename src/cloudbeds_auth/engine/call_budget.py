"""The turns of callers' own requests at the vendor: each hotel's callers stand in a line of their own."""

from __future__ import annotations

from cloudbeds_auth.engine.access import Access
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.rate_limiter import Budget
from cloudbeds_auth.errors import RateLimited
from cloudbeds_auth.rules.model import App


class CallBudget:
    """Turns of callers' requests, by connection."""

    def __init__(self, world: World, access: Access) -> None:
        self._world = world
        self._access = access
        self._budget = Budget(world)
        self._known: dict[str, App] = {}  # further apps, as they were when they were first called for

    async def spend(self, connection_id: str) -> None:
        """Wait for this hotel's next turn, at most `CALL` seconds; afterwards exactly one request may go.

        Raises RateLimited with the seconds to wait, the connection named.
        """
        if not self._world.limited:
            return
        app = await self._app(connection_id)
        if app is None:
            return
        try:
            await self._budget.spend_on_call(app, connection_id)
        except RateLimited as error:
            error.connection_id = connection_id
            raise

    async def heed(self, connection_id: str, pause: float) -> None:
        """A call was answered 429: nobody of this client id has a turn for `pause` seconds, in any process."""
        app = await self._app(connection_id)
        if app is not None:
            await self._budget.heed(app, pause)

    async def _app(self, connection_id: str) -> App | None:
        """Whose client id a call counts for. None: it is not registered here any more; its token is lent all the same.

        A further app is looked for once: what counts, its client id and level, never changes, and calls go on while the
        store is away.
        """
        name = self._access.app_of(connection_id)
        app = self._world.apps.get(name) or self._known.get(name) or await self._world.find(name)
        if app is not None and name not in self._world.apps:
            self._known[name] = app
        return app
