"""How long callers that can continue without the store wait for it (F110).

A token in memory is good until it expires, and the connection of a property was read before: both serve while the store
does not answer. The end of the wait does not cancel the read: to cancel a query of a server that hangs takes as long as
the server hangs.
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
PATIENCE = 1.0  # seconds that a read may take if memory has something to continue with


class Outage:
    """Whether the store has just failed to answer, as far as this process knows."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._away_until = -math.inf  # by the steady clock

    async def read_briefly(self, name: str, read: Work[T]) -> T:
        """What `read` returns within a second, shared by all callers that ask under this name before it begins.

        Raises StoreUnavailable; for some seconds after a read that failed or took longer, at once. A row that does not
        open says nothing about the store.
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
