"""Whose turn it is at the vendor: one rate for all processes of a client id, kept in the store (I11).

Every request of ours asks here first: tokens, proofs, `getHotels`, `postAppState`.
"""

from __future__ import annotations

from cloudbeds_auth.core.nouns import App
from cloudbeds_auth.errors import RateLimited
from cloudbeds_auth.vault.world import World

BEHIND = 5.0  # seconds that a request waits for its turn when nobody waits for its answer
OBSERVED = 1.0  # a rate that is only watched stays this close: switched on later, it begins with no longer queue


class Budget:
    """Spends turns of the app's limit; without one it does nothing, not even in the store."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def spend(self, app: App, patience: float) -> None:
        """Wait for the next turn of this app's client id; afterwards exactly one request may go.

        Raises RateLimited, with the seconds to wait, when the turn would come later than `patience` seconds, and
        StoreUnavailable. A limit that is only observed never waits and never raises RateLimited.
        """
        world, limit = self._world, self._world.limit_of(app)
        if limit is None:
            return
        asked = OBSERVED if limit.observed else max(0.0, patience)
        turn = await world.store.reserve_turn(app.client_id, limit.rate, asked)
        if limit.observed:
            if turn.wait > 0:
                world.observer.happened("rate_exceeded", app=app.id, wait=turn.wait)
        elif not turn.taken:
            world.observer.happened("rate_limited", app=app.id, wait=turn.wait)
            raise RateLimited(retry_after=turn.wait)
        elif turn.wait > 0:
            await world.clock.sleep(turn.wait)
