"""Which hotels a credential is for, as Cloudbeds says it: never the first of many, and never a guess."""

from __future__ import annotations

import asyncio

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.rate_limiter import BEHIND
from cloudbeds_auth.errors import RateLimited
from cloudbeds_auth.ports import Listed, Throttled, Unlisted
from cloudbeds_auth.rules.api_errors import Act, Refusal
from cloudbeds_auth.rules.model import App, Pair
from cloudbeds_auth.rules.secret import Secret

NO_ROOM = Refusal("rate_limited", Act.NOTHING)


async def listed(world: World, app: App, access: Secret) -> Listed | Unlisted:
    """What the vendor lists, within the rate limit; Unlisted too where that, ours or the vendor's, leaves no room.

    Raises StoreUnavailable.
    """
    try:
        return await world.vendor.properties(access, lambda: world.limiter(app).spend(BEHIND))
    except RateLimited:
        return Unlisted(NO_ROOM)
    except Throttled as told:
        await world.limiter(app).pause(told.pause)
        return Unlisted(NO_ROOM)


async def properties_of(world: World, app: App, key: Pair) -> tuple[str, ...]:
    """The key's properties, so that a hotel that comes back keeps its connection; empty where that cannot be learnt.

    A key may be used before it is stored: it has no parent that its first use would kill (rule-1). Where the vendor
    cannot be asked, or is slow, the key still comes in, as a candidate of its own that waits until a property is named.
    """
    try:
        async with asyncio.timeout(BEHIND):
            answer = await listed(world, app, key.access)
    except Exception:  # noqa: BLE001 - the key is in hand, and comes in after every failure here
        return ()
    return answer.property_ids if isinstance(answer, Listed) else ()
