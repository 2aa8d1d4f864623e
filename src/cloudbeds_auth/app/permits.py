"""What a route requires of its caller: each route of the API declares the one scope that it needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import Depends, Request

from cloudbeds_auth.app.gateway import HOTEL
from cloudbeds_auth.errors import AmbiguousProperty, Forbidden, UnknownConnection
from cloudbeds_auth.rules.permissions import (
    Caller,
    OfConnection,
    Scope,
    may,
    may_change,
    may_connect,
    not_for_connection,
    not_for_whole,
)

if TYPE_CHECKING:
    from cloudbeds_auth.engine.caller_keys import CallerKeys
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
        return (await self.hotel(identifier)).id

    async def hotel(self, identifier: str) -> OfConnection:
        """The connection that `identifier` names, with what its caller's permission depends on; raises as `resolve`."""
        looking = self.vault.resolve(identifier)
        return await reached(self.caller, self.scope, self.vault.keys, identifier, looking, self.state)

    async def find(self, identifier: str) -> str:
        """As `resolve`, for operations that check the caller's permission themselves."""
        return await _found(self.caller, self.scope, identifier, self.vault.resolve(identifier), self.state)

    def require_hotel(self, reference: str | None, expected_properties: Collection[str]) -> None:
        """Raises Forbidden unless the caller is for a hotel that is to be connected (`may_connect`)."""
        if not may_connect(self.caller, self.scope, reference, expected_properties):
            raise Forbidden(
                "this credential is not for any hotel",
                next_step="name a reference that it is for, or expect no properties but those that it is for",
            )

    async def resolve_whole(self, identifier: str, reference: str | None) -> str:
        """As `resolve`, for what changes the connection as a whole, and gives it this reference."""
        hotel = await self.hotel(identifier)
        if not may_change(self.caller, self.scope, hotel, reference):
            raise not_for_whole()
        return hotel.id


async def reached(
    caller: Caller, scope: Scope, keys: CallerKeys, named: str, looking: Awaitable[str], state: dict[str, Any]
) -> OfConnection:
    """The connection that `looking` finds for what is `named`, put into the request's state, as its caller is judged
    by it.

    Raises Forbidden, the same where there is none: a bound caller learns nothing of hotels but those that it names.
    """
    hotel = await keys.hotel(await _found(caller, scope, named, looking, state), caller)
    if not may(caller, scope, hotel):
        raise not_for_connection()
    return hotel


async def _found(caller: Caller, scope: Scope, named: str, looking: Awaitable[str], state: dict[str, Any]) -> str:
    """The id of that connection, whether its caller is for it or not."""
    try:
        connection_id = await looking
    except (UnknownConnection, AmbiguousProperty):
        if may(caller, scope, OfConnection(named, None, frozenset({named}))):
            raise
        raise not_for_connection() from None
    state[HOTEL] = connection_id
    return connection_id


async def still_good(request: Request) -> Caller:
    """The caller that the gateway admitted, checked again: the framework calls dependencies after the body has arrived,
    which may take a while. Raises Unauthenticated if its key has ended since.
    """
    caller: Caller = request.scope["state"]["caller"]
    keys: CallerKeys = request.app.state.vault.keys
    await keys.require_good(caller)
    return caller


SCOPES: Final[dict[object, Scope]] = {}
"""The scope of each dependency made by `need`, for the API's description."""


def need(scope: Scope) -> Callable[[Request], Awaitable[Permit]]:
    """The dependency of a route that needs `scope`; raises Forbidden, Unauthenticated."""

    async def permit(request: Request) -> Permit:
        caller = await still_good(request)
        if not may(caller, scope):
            raise Forbidden(f"the scope `{scope.value}` is needed")
        return Permit(caller, scope, request.app.state.vault, request.scope["state"])

    SCOPES[permit] = scope
    return permit


Reading = Annotated[Permit, Depends(need(Scope.READ))]
Proxying = Annotated[Permit, Depends(need(Scope.PROXY))]
Tokens = Annotated[Permit, Depends(need(Scope.TOKEN))]
Connecting = Annotated[Permit, Depends(need(Scope.CONNECT))]
Administering = Annotated[Permit, Depends(need(Scope.ADMIN))]
Measuring = Annotated[Permit, Depends(need(Scope.METRICS))]
