"""Which properties a connection covers, asked again about once a day: groups grow and shrink.

Only the vendor's complete list changes anything. After a refusal, an outage, an empty or a truncated list, what is
known stays, and the question is repeated; so it is if a process was killed over it.
"""

from __future__ import annotations

from cloudbeds_auth.engine.access import Access
from cloudbeds_auth.engine.context import World, current_grant
from cloudbeds_auth.engine.proofs import listed, tell_changes
from cloudbeds_auth.engine.refused_calls import RefusedCalls
from cloudbeds_auth.engine.tasks import each
from cloudbeds_auth.ports import Listed, Unlisted
from cloudbeds_auth.rules.api_errors import Act
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import AccessToken, App, Role
from cloudbeds_auth.rules.properties import HOLD
from cloudbeds_auth.rules.schedule import PAUSE
from cloudbeds_auth.transactions.connections import claim_listings, relist

AT_ONCE = 4  # connections that one tick asks about


class PropertyLists:
    """Asks with the token that callers are lent, and as a caller does: a few connections a tick."""

    def __init__(self, world: World, access: Access, refused_calls: RefusedCalls) -> None:
        self._world = world
        self._access = access
        self._refused_calls = refused_calls

    async def tick(self) -> float:
        """Ask about a few connections whose turn it is; seconds until the next tick. Raises StoreUnavailable."""
        if not self._world.vendor.lists_properties:
            return PAUSE
        claimed = await self._world.db.write(claim_listings(AT_ONCE, HOLD))
        await each(claimed, self._ask, self._failed)
        return 0.0 if len(claimed) == AT_ONCE else PAUSE

    def _failed(self, connection_id: str, error: Exception) -> None:
        """Report it; the connection is asked about again."""
        code = getattr(error, "code", type(error).__name__)
        self._world.observer.happened(Happening.LISTING_FAILED, connection_id=connection_id, error=code)

    async def _ask(self, connection_id: str) -> None:
        row = await current_grant(self._world.db, connection_id)
        if row is None or row.role is not Role.ACTIVE or row.reauth:
            return
        token = await self._access.access_token(connection_id)
        if token.grant_id != row.id:
            return  # the hotel approved again meanwhile
        answer = await self._listed(await self._world.app_of(row), connection_id, token)
        if isinstance(answer, Listed) and answer.whole:
            await self._relist(connection_id, row.id, answer.property_ids)
        elif isinstance(answer, Listed) or answer.final:
            await self._relist(connection_id, row.id, ())  # not a complete list: nothing changes, for a day

    async def _listed(self, app: App, connection_id: str, token: AccessToken) -> Listed | Unlisted:
        """The vendor's answer. A token that it rejects is renewed, as for any caller, and the request repeated once."""
        answer = await listed(self._world, app, token.value)
        if not isinstance(answer, Unlisted):
            return answer
        if answer.refusal.act is Act.SUSPECT:
            self._refused_calls.note_refusal(token, answer.refusal, "GET", "getHotels")
        elif answer.refusal.act is Act.HEAL:
            healed = await self._access.access_token(connection_id, rejected=token)
            if healed.grant_id == token.grant_id and not healed.is_same(token):
                return await listed(self._world, app, healed.value)
        return answer

    async def _relist(self, connection_id: str, grant_id: str, named: tuple[str, ...]) -> None:
        change = await self._world.db.write(relist(grant_id, named))
        if change is None:
            return
        tell_changes(self._world, connection_id, change)
        for one in change.elsewhere:
            self._world.observer.happened(Happening.PROPERTY_ELSEWHERE, connection_id=connection_id, property=one)
