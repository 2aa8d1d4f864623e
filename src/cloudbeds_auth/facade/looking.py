"""Looking at connections: one, many, their histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cloudbeds_auth.facade.opened import Opened
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection, Event
from cloudbeds_auth.transactions.connections import Page
from cloudbeds_auth.transactions.outbox import Outbox, read_outbox


class Looking(Opened):
    """Reads; nothing is sent to the vendor."""

    async def resolve(self, connection_or_property: str) -> str:
        """The id of the connection with this id, or covering this property id."""
        return await self._engine.look.resolve(connection_or_property)

    async def connection(self, connection_id: str) -> Connection:
        """One connection, with its connect link where the hotel has to approve again; raises UnknownConnection."""
        return await self._engine.shown(connection_id)

    async def lifetime(self, connection_id: str) -> float:
        """Seconds from issue to end of its stored access token; infinite where there is none, or none that ends."""
        return await self._engine.look.lifetime(connection_id)

    async def connections(
        self,
        *,
        state: str | None = None,
        reference: str | None = None,
        property_id: str | None = None,
        app: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
        lacking_scopes: bool = False,
    ) -> Page:
        """One page of connections, newest first; `.next` is the cursor of the next page.

        `lacking_scopes`: only those in use whose approval lacks a scope that the app asks for now, each with its
        connect link; then a page may hold fewer than there are, and have a next one.
        """
        listed = self._engine.scopes.lacking if lacking_scopes else self._engine.look.connections
        return await listed(
            state=state, reference=reference, property_id=property_id, app=app, cursor=cursor, limit=limit
        )

    async def missing_scopes(self, connection_id: str) -> tuple[str, ...]:
        """What the app asks for now and this hotel did not grant; raises UnknownConnection."""
        return await self._engine.scopes.missing(await self._engine.look.connection(connection_id))

    async def events(self, connection_id: str, cursor: str | None = None, limit: int = 100) -> Sequence[Event]:
        """The connection's history, newest first; `.cursor` of the last one goes on where these end."""
        return await self._engine.look.events(connection_id, cursor=cursor, limit=limit)

    async def count_states(self) -> Mapping[State, int]:
        """How many connections are in which state."""
        return await self._engine.look.count_states()

    def hint(self, body: bytes) -> None:
        """A webhook of Cloudbeds' came, and its secrets were right: what it tells of is confirmed behind the sender."""
        self._engine.inbound.hint(body)

    async def outbox(self) -> Outbox:
        """How many webhook messages wait to be delivered, since when, and how many were given up."""
        return await self._engine.world.db.read(read_outbox())
