"""What a route asks of its caller: each route of the API declares the one scope that it needs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request

from cloudbeds_auth.app.gateway import HOTEL
from cloudbeds_auth.errors import Forbidden
from cloudbeds_auth.rules.permissions import Caller, OfConnection, Scope, may, pinned

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault


@dataclass(frozen=True, slots=True)
class Permit:
    """The caller holds `scope`; `resolve` also asks whether for this connection."""

    caller: Caller
    scope: Scope
    vault: TokenVault
    state: dict[str, Any]

    async def resolve(self, identifier: str) -> str:
        """The id of the connection that `identifier` names; raises UnknownConnection, AmbiguousProperty, Forbidden."""
        connection_id = self.state[HOTEL] = await self.vault.resolve(identifier)
        if not may(self.caller, self.scope, await self.vault.keys.hotel(connection_id, self.caller)):
            raise Forbidden("this credential is not for this connection", connection_id=connection_id)
        return connection_id

    def require_hotel(self, reference: str | None, expected_properties: Collection[str]) -> None:
        """Raises Forbidden unless the caller is for a hotel that is to be connected: by the reference that it gets, or
        because nothing but properties is expected that the caller is for.
        """
        hotel = OfConnection("", reference, frozenset(expected_properties))
        if not (may(self.caller, self.scope, hotel) and pinned(self.caller, hotel) is None):
            raise Forbidden(
                "this credential is not for any hotel",
                next_step="name a reference that it is for, or expect no properties but those that it is for",
            )


def need(scope: Scope) -> Callable[[Request], Permit]:
    """The dependency of a route that needs `scope`; raises Forbidden."""

    def permit(request: Request) -> Permit:
        state = request.scope["state"]
        caller: Caller = state["caller"]
        if not may(caller, scope):
            raise Forbidden(f"the scope `{scope.value}` is needed")
        return Permit(caller, scope, request.app.state.vault, state)

    return permit


Reading = Annotated[Permit, Depends(need(Scope.READ))]
Proxying = Annotated[Permit, Depends(need(Scope.PROXY))]
Tokens = Annotated[Permit, Depends(need(Scope.TOKEN))]
Connecting = Annotated[Permit, Depends(need(Scope.CONNECT))]
Administering = Annotated[Permit, Depends(need(Scope.ADMIN))]
Measuring = Annotated[Permit, Depends(need(Scope.METRICS))]
