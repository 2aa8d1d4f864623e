"""Disconnecting: the vendor is notified with a living token, then the tokens are forgotten."""

from __future__ import annotations

from collections.abc import Sequence

from cloudbeds_auth.engine.access import Access
from cloudbeds_auth.engine.context import World, current_grant
from cloudbeds_auth.engine.lease import Lease, Leases
from cloudbeds_auth.engine.single_flight import Served
from cloudbeds_auth.errors import (
    ConnectionDisconnected,
    Error,
    RateLimited,
    ReauthorizationRequired,
    RefreshInDoubt,
    StoreReadOnly,
    TokenEndpointUnavailable,
    Unclaimed,
    UnknownConnection,
)
from cloudbeds_auth.ports import Throttled
from cloudbeds_auth.rules.auth_flow import MOST_SENDS
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import AccessToken, App, Grant, Role
from cloudbeds_auth.rules.refresh import Ask
from cloudbeds_auth.transactions.connections import disconnect, read_connection

Part = tuple[str, ...]  # one property, or none where none is known


class Disconnecter:
    """Disconnects hotels."""

    def __init__(self, world: World, access: Access) -> None:
        self._world = world
        self._access = access
        self._leases = Leases(world)

    async def disconnect(self, connection_id: str, *, forget: bool, actor: str) -> None:
        """Notify the vendor, then forget the tokens. Raises when that fails and `forget` is not set: nothing is lost.

        Disconnecting what is disconnected already changes nothing. A copy notifies no vendor: StoreReadOnly.
        """
        if self._world.db.read_only:
            raise StoreReadOnly(connection_id=connection_id)
        row = await current_grant(self._world.db, connection_id)
        if row is None and await self._world.db.read(read_connection(connection_id)) is None:
            raise UnknownConnection(connection_id=connection_id)
        try:
            detail = await self._tell(connection_id)
        except ConnectionDisconnected:
            if row is None or row.role is Role.DISCONNECTED:
                return
            detail = "the hotel disconnected the app at Cloudbeds before"
        except Error as error:
            if not forget:
                raise
            detail = f"the vendor could not be told ({error.code})"
        if row is not None:
            await self._under_lease(row, connection_id, actor, detail)
        self._access.forget(connection_id)
        self._world.observer.happened(Happening.DISCONNECTED, connection=connection_id)

    async def _tell(self, connection_id: str) -> str:
        """Send `postAppState disabled`; returns what to write into the history."""
        try:
            told = await self._told(connection_id)
        except ReauthorizationRequired:
            return "the vendor refuses every token already"
        except Unclaimed:
            return "the vendor refuses the token, and what waits to be claimed is not refreshed"
        if told is None:
            return "a property-level client has no app state to disable"
        if not told:
            raise TokenEndpointUnavailable(
                "Cloudbeds did not take note of the disconnect, so nothing was forgotten",
                connection_id=connection_id,
                next_step="try again, or insist with `forget`",
                retry_after=self._world.timing.backoff_first,
            )
        return "the vendor was told"

    async def _told(self, connection_id: str) -> bool | None:
        """Whether the vendor took note; None when there is nothing to report. A dead token is renewed (rule-9).

        The vendor says that `disabled` ends every session, and it is sent for each property: where the first one ends
        the session of all, the others cannot be sent any more, and need not be.
        """
        token = await self._token(connection_id)
        found = await self._world.db.read(read_connection(connection_id))
        assert found is not None  # noqa: S101 - its token was just lent
        app = await self._world.app_of(found)
        if app.level == "property":
            return None
        parts: list[Part] = [(one,) for one in found.property_ids] or [()]
        began = self._world.clock.steady()
        left = parts
        for _ in range(MOST_SENDS):
            left = await self._left(app, left, token)
            if not left:
                return True
            try:
                renewed = await self._access.access_token(connection_id, rejected=token)
            except RefreshInDoubt:
                if len(left) < len(parts) and await self._refused_since(began, connection_id):
                    return True
                raise
            if renewed.is_same(token):
                break  # it works: of these the vendor takes no note
            token = renewed
        return False

    async def _token(self, connection_id: str) -> AccessToken:
        row = await current_grant(self._world.db, connection_id)
        if row is not None and row.role is Role.PARKED:  # used for nothing but the disconnect
            await self._world.app_of(row)
            return row.token()
        return await self._access.access_token(connection_id)

    async def _left(self, app: App, parts: Sequence[Part], token: AccessToken) -> list[Part]:
        """Notify the vendor of each; returns those of which it took no note."""
        left: list[Part] = []
        for part in parts:  # one request each, so one turn each
            await self._world.limiter(app).spend(self._world.timing.wait)
            try:
                told = await self._world.vendor.disable_app(token.value, part)
            except Throttled as throttled:
                await self._world.limiter(app).pause(throttled.pause)
                raise RateLimited(retry_after=throttled.pause) from None
            if not told:
                left.append(part)
        return left

    async def _refused_since(self, began: float, connection_id: str) -> bool:
        """Whether the vendor has refused every token since it was first notified."""
        row = await current_grant(self._world.db, connection_id)
        return row is not None and row.refused_ago is not None and row.refused_ago <= self._world.clock.steady() - began

    async def _under_lease(self, row: Grant, connection_id: str, actor: str, detail: str) -> None:
        """With the lease, so that no refresh is under way (rule-15); it waits no longer than a caller would."""
        world = self._world
        until = world.clock.steady() + world.timing.wait
        lease: Lease | Served | None = None
        while not isinstance(lease, Lease):  # a refresh was committed meanwhile: ask about the new generation
            current = await current_grant(world.db, connection_id) or row
            lease = await self._leases.take(Ask(current.id, seen=current.generation), until)
        await world.db.write(disconnect(connection_id, actor=actor, detail=detail))
