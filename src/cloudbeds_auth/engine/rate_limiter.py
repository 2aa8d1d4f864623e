"""Whose turn it is at the vendor: one rate for all processes of a client id, kept in the store (I11).

Every request asks here first: tokens, proofs, `getHotels`, `postAppState`, and what callers send with a lent token.
"""

from __future__ import annotations

from contextlib import suppress

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.turns import Turns
from cloudbeds_auth.errors import RateLimited, StoreReadOnly, StoreUnavailable
from cloudbeds_auth.rules.api_errors import Inconclusive, Verdict
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import App
from cloudbeds_auth.rules.rate_limit import OURS
from cloudbeds_auth.transactions.rate_limit import pause_turns, reserve_turn

BEHIND = 5.0  # seconds that a request waits for its turn when nobody waits for its answer
CALL = 5.0  # seconds that a caller's request waits for its turn
OBSERVED = 1.0  # a rate that is only watched stays this close: switched on later, it begins with no longer queue


class Budget:
    """Spends turns of the app's limit; without one it does nothing, not even in the store."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def spend(self, app: App, patience: float, line: str = OURS) -> None:
        """Wait for the next turn of this app's client id; afterwards exactly one request may go.

        Raises RateLimited, with the seconds to wait, when the turn would come later than `patience` seconds, and
        StoreUnavailable. A limit that is only observed never waits and never raises RateLimited.
        """
        world, limit = self._world, self._world.limit_of(app)
        if limit is None:
            return
        if limit.observed:
            turn = await world.db.write(reserve_turn(app.client_id, limit.rate, OBSERVED))
            if turn.wait > 0:
                world.observer.happened(Happening.RATE_EXCEEDED, app=app.id, wait=turn.wait)
            return
        try:
            await self._turns(app).take(line, max(0.0, patience))
        except RateLimited as error:
            world.observer.happened(Happening.RATE_LIMITED, app=app.id, wait=error.retry_after)
            raise

    async def spend_on_call(self, app: App, connection_id: str) -> None:
        """As `spend`, for a request of this hotel's caller. While the store cannot be asked, this process goes on by
        itself, slowly: the tokens in its memory are good (F62). Raises RateLimited, and StoreUnavailable where the
        limit is too low to go on beside the others.
        """
        limit = self._world.limit_of(app)
        try:
            await self.spend(app, CALL, connection_id)
        except (StoreUnavailable, StoreReadOnly):
            if limit is None or limit.observed:
                return
            if not limit.rate.alone:
                raise
            await self._go_alone(app, connection_id)

    async def _go_alone(self, app: App, connection_id: str) -> None:
        """At this process's own slow pace, the store asked once more before each send. Raises RateLimited."""
        turns, clock, left = self._turns(app), self._world.clock, CALL
        while True:
            left = await turns.wait_alone(left)
            asked = clock.steady()
            try:
                await self.spend(app, left, connection_id)
            except (StoreUnavailable, StoreReadOnly):
                if not turns.goes_alone():  # a store that hangs told several at once, and one of them went
                    left -= clock.steady() - asked
                    continue
                self._world.observer.happened(Happening.WENT_ALONE, app=app.id, connection=connection_id)
            return

    async def heed(self, app: App, pause: float | None) -> None:
        """After an answer of the vendor: a 429 gives nobody of this client id a turn for `pause` seconds."""
        world, limit = self._world, self._world.limit_of(app)
        if pause is None:
            return
        world.observer.happened(Happening.VENDOR_RATE_LIMITED, app=app.id, pause=pause)
        if limit is None or limit.observed:
            return
        self._turns(app).pause(pause)
        with suppress(StoreUnavailable, StoreReadOnly):  # this process has heard it
            await world.db.write(pause_turns(app.client_id, pause))

    async def heed_verdict(self, app: App, verdict: Verdict) -> None:
        """As `heed`, after an answer of `/userinfo`."""
        await self.heed(app, verdict.pause if isinstance(verdict, Inconclusive) else None)

    def _turns(self, app: App) -> Turns:
        world, limit = self._world, self._world.limit_of(app)
        assert limit is not None  # noqa: S101 - without one nobody waits
        turns = world.turns.get(app.client_id)
        if turns is None:
            turns = world.turns[app.client_id] = Turns(world.db, world.clock, app.client_id, limit.rate)
        return turns
