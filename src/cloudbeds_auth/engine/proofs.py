"""What Cloudbeds says about a credential: whether it works, and which properties it covers.

`/userinfo` says whether an access token works (rule-3), and so has a part in the final decision about a grant: whether
the hotel is asked to approve again (rule-12). A credential's properties are those that Cloudbeds names: never the first
of many, and never a guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.rate_limiter import BEHIND
from cloudbeds_auth.errors import Error, RateLimited, StoreUnavailable
from cloudbeds_auth.ports import Listed, Throttled, Unlisted
from cloudbeds_auth.rules.api_errors import Act, DeadGrant, DeadToken, Proof, Refusal, Verdict
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import App, Fence, Grant, Pair
from cloudbeds_auth.rules.properties import PropertyChanges
from cloudbeds_auth.rules.refresh import may_mark
from cloudbeds_auth.rules.refresh import reprieve as seconds_of_reprieve
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.refusals import Counted, confirm, count_refusal, reprieve
from cloudbeds_auth.transactions.upkeep import retry_all


async def verdict_on(world: World, app: App, row: Grant, patience: float = BEHIND) -> Verdict | Error:
    """What Cloudbeds says about the stored access token, or why there was no turn to ask within `patience` seconds.

    `app` is the registration that the token was issued to: the turn counts for its client id.
    """
    verdict = await verdict_of(world, app, row.access, patience, row.connection_id)
    if isinstance(verdict, Error):
        verdict.connection_id = row.connection_id
    return verdict


async def verdict_of(
    world: World, app: App, access: Secret, patience: float, connection_id: str | None = None
) -> Verdict | Error:
    """As `verdict_on`, for a credential that may not be stored yet."""
    try:
        await world.limiter(app).spend(patience)
    except (RateLimited, StoreUnavailable) as error:
        return error
    begun = world.clock.steady()
    verdict = await world.vendor.userinfo(access)
    seconds, kind = world.clock.steady() - begun, type(verdict).__name__
    world.observer.happened(Happening.PROOF, connection_id=connection_id, verdict=kind, seconds=seconds)
    await world.limiter(app).pause_after(verdict)
    return verdict


MOST_RETRIED = 1000  # marked grants of an app that one recovery makes due; each that recovers makes more of them due
Asked = Callable[[], Awaitable[Verdict | Error]]


class Marks:
    """Counts passes in which every stored token was refused, and ends the mark of a grant that is proven to work."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def count(self, row: Grant, epoch: int, reason: str, asked: Asked) -> Counted:
        """A whole pass was refused, or `/userinfo` named a dead grant, under the lease of this epoch.

        `row.valid_for` is 0 where `/userinfo` has just rejected the access token. An unexpired one is asked about,
        by `asked`, before a mark: while it works, nothing is marked. Raises StoreUnavailable.
        """
        world, fence = self._world, Fence(row.id, row.generation, epoch)
        final = may_mark(row, world.timing)
        if final and row.valid_for > 0 and row.reauth is None:
            verdict = await asked()
            if isinstance(verdict, Proof):
                return await self._reprieve(row, fence, reason)
            final = isinstance(verdict, DeadToken | DeadGrant)
        counted = await world.db.write(
            count_refusal(fence, reason, may_mark=final, interval=world.timing.refusal_interval)
        )
        if counted is Counted.MARKED:
            world.observer.happened(Happening.REAUTHORIZATION_REQUIRED, connection_id=row.connection_id, reason=reason)
        elif counted is Counted.DELAYED:
            world.observer.happened(Happening.MARK_DELAYED, connection_id=row.connection_id, app=row.app)
        return counted

    async def proven(self, grant: Grant) -> None:
        """The grant's generation was proven to work. If the grant was marked, it has recovered, and the app's other
        marked grants are due now.
        """
        world = self._world
        with suppress(StoreUnavailable):  # losing a proof is harmless: kept tokens stay kept
            confirmed = await world.db.write(confirm(grant.id, grant.generation, issuer=world.issuer))
            if confirmed and grant.reauth is not None:
                world.observer.happened(Happening.RECOVERED, connection_id=grant.connection_id, reason=grant.reauth)
                await world.db.write(retry_all(grant.app, MOST_RETRIED))

    async def _reprieve(self, row: Grant, fence: Fence, reason: str) -> Counted:
        hold = seconds_of_reprieve(row, self._world.timing)
        if not await self._world.db.write(reprieve(fence, reason, hold, issuer=self._world.issuer)):
            return Counted.MOVED
        self._world.observer.happened(Happening.REPRIEVED, connection_id=row.connection_id, hold=hold)
        return Counted.REPRIEVED


NO_ROOM = Refusal("rate_limited", Act.NOTHING)


async def listed(world: World, app: App, access: Secret) -> Listed | Unlisted:
    """What the vendor lists, within the rate limit; Unlisted also where a limit, our own or the vendor's, has no room.

    Raises StoreUnavailable.
    """
    try:
        return await world.vendor.properties(access, lambda: world.limiter(app).spend(BEHIND))
    except RateLimited:
        return Unlisted(NO_ROOM)
    except Throttled as throttled:
        await world.limiter(app).pause(throttled.pause)
        return Unlisted(NO_ROOM)


def tell_changes(world: World, connection_id: str, change: PropertyChanges | None) -> None:
    """Report how many properties a connection gained and lost, if any."""
    if change is not None and change.count:
        world.observer.happened(
            Happening.PROPERTIES_CHANGED,
            connection_id=connection_id,
            added=len(change.added),
            dropped=len(change.dropped),
        )


async def properties_of(world: World, app: App, key: Pair) -> tuple[str, ...]:
    """The key's properties, so that a hotel that comes back keeps its connection; empty where they cannot be learnt.

    A key may be used before it is stored: it has no parent that its first use would kill (rule-1). If the vendor cannot
    be asked, or is slow, the key is still stored, as a candidate of its own that waits until a property is named.
    """
    try:
        async with asyncio.timeout(BEHIND):
            answer = await listed(world, app, key.access)
    except Exception:  # noqa: BLE001 - the key is in memory, and is stored whatever fails here
        return ()
    return answer.property_ids if isinstance(answer, Listed) else ()
