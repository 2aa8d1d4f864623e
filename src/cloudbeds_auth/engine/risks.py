"""Risks to a connection, assessed once a day for each hotel: scopes that its approval or its subscriptions lack, and an
approver whose leaving would end it.

Warnings in a refused refresh or call are recorded where they are learnt, by the transaction that notes the refusal.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.rate_limiter import BEHIND
from cloudbeds_auth.rules.api_errors import Refusal
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import AccessToken, App, Connection
from cloudbeds_auth.rules.risks import (
    APPROVER_NO_OWNER,
    SCOPE_NOT_APPROVED,
    SUBSCRIPTION_LACKS_SCOPE,
    lacking_scope,
    no_owner,
    unapproved_scopes,
)
from cloudbeds_auth.transactions.risks import note_risks


class Risks:
    """Asks for the approver's roles with the token that callers are lent."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def assess(self, app: App, connection: Connection, token: AccessToken) -> None:
        """Record what is at risk and what no longer is. Raises RateLimited and StoreUnavailable.

        If Cloudbeds does not say which roles the approver has, what is known of them stays. A key that the hotel made
        itself was approved by no user. An approval that was requested without scopes has those of the app's
        registration, which are unknown here. `connection` is as the comparison of its subscriptions left it.
        """
        lacking = unapproved_scopes(app, connection) if connection.scopes else ()
        missed = lacking_scope(connection.subscriptions, () if connection.pasted else app.scopes)
        found: dict[str, str | None] = {
            SCOPE_NOT_APPROVED: " ".join(lacking) or None,
            SUBSCRIPTION_LACKS_SCOPE: " ".join(missed) or None,
        }
        roles: Sequence[str] | Refusal = ()
        if not connection.pasted:
            roles = await self._world.limiter(app).ask(BEHIND, partial(self._world.vendor.roles, token.value))
        if not isinstance(roles, Refusal):
            found[APPROVER_NO_OWNER] = no_owner(roles)
        changes = await self._world.db.write(note_risks(token.grant_id, found))
        for risk in changes.found:
            self._world.observer.happened(Happening.AT_RISK, connection_id=connection.id, risk=risk)
        for risk in changes.over:
            self._world.observer.happened(Happening.RISK_OVER, connection_id=connection.id, risk=risk)
