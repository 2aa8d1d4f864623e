"""How long the store is waited for by callers that can continue without it (F110).

A token in memory is good until it ends, and what a property stood for was read before: where the store does not answer,
both serve. What was begun is not ended with the wait: cancelling a query of a server that hangs takes as long as the
server does.
"""

from __future__ import annotations

import asyncio
import math
from typing import TypeVar

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.rate_limiter import AGAIN
from cloudbeds_auth.engine.tasks import Work
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.transactions.runner import DoesNotOpen

T = TypeVar("T")
PATIENCE = 1.0  # seconds that a read may take where memory has something to continue with


class Outage:
    """Whether the store has just failed to answer, as far as this process knows."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._away_until = -math.inf  # by the steady clock

    async def read_briefly(self, name: str, read: Work[T]) -> T:
        """What `read` returns within a second, shared by all that ask under this name before it begins.

        Raises StoreUnavailable, at once for some seconds after a read that failed or took longer. That one row does not
        open says nothing of the store.
        """
        if self._world.clock.steady() < self._away_until:
            raise StoreUnavailable
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._world.tasks.share(name, read)
        except DoesNotOpen:
            raise
        except (TimeoutError, StoreUnavailable):
            self._away_until = self._world.clock.steady() + AGAIN
            raise StoreUnavailable from None
