"""What a route asks for: one scope, for one connection where one is concerned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from fastapi import Request

from cloudbeds_auth.app.relaying import Relay
from cloudbeds_auth.errors import Forbidden
from cloudbeds_auth.rules.permissions import Caller, Scope, may

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault


@dataclass(frozen=True, slots=True)
class Permit:
    """The caller holds `scope`; `resolve` also asks whether for this connection."""

    caller: Caller
    scope: Scope
    vault: TokenVault
    relay: Relay

    async def resolve(self, identifier: str) -> str:
        """The id of the connection that `identifier` names; raises UnknownConnection, AmbiguousProperty, Forbidden."""
        connection_id = await self.vault.resolve(identifier)
        if not may(self.caller, self.scope, connection_id):
            raise Forbidden("this credential is not for this connection", connection_id=connection_id)
        return connection_id


def need(scope: Scope) -> Callable[[Request], Permit]:
    """The dependency of a route that needs `scope`; raises Forbidden."""

    def permit(request: Request) -> Permit:
        caller: Caller = request.scope["state"]["caller"]
        if not may(caller, scope):
            raise Forbidden(f"the scope `{scope.value}` is needed")
        state = request.app.state
        return Permit(caller, scope, cast("TokenVault", state.vault), cast(Relay, state.relay))

    return permit
