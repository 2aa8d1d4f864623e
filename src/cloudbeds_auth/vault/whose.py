"""Which hotel a key is for: the answer that brings one names none."""

from __future__ import annotations

import asyncio

from cloudbeds_auth.core.nouns import App, Pair
from cloudbeds_auth.errors import RateLimited, StoreUnavailable
from cloudbeds_auth.ports.vendor import Throttled
from cloudbeds_auth.vault.budget import BEHIND, Budget
from cloudbeds_auth.vault.world import World


async def properties_of(world: World, budget: Budget, app: App, key: Pair) -> tuple[str, ...]:
    """The key's properties, so that a hotel that comes back keeps its connection; empty where that cannot be learnt.

    A key may be used before it is stored: it has no parent that its first use would kill (rule 1). Where the vendor
    cannot be asked, or is slow, the key still comes in, as a connection of its own.
    """
    try:
        async with asyncio.timeout(BEHIND):
            return await world.vendor.properties(key.access, lambda: budget.spend(app, BEHIND))
    except Throttled as told:
        await budget.heed(app, told.pause)
    except (RateLimited, StoreUnavailable, TimeoutError):
        pass
    return ()
