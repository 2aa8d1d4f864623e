"""The way back for a hotel whose tokens are refused: a connect link of its own, shown wherever that is told.

One link a connection and process, made when it is first asked for and again when it was used or is about to end: a
program that asks every second is always shown the same.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from cloudbeds_auth.engine.authorize import Authorizer, hashed
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.views import Look
from cloudbeds_auth.errors import Error, ReauthorizationRequired
from cloudbeds_auth.rules.lifecycle import HOTEL_SCOPE_MISSING, UNRECOGNIZED, State
from cloudbeds_auth.rules.model import Connection
from cloudbeds_auth.transactions.authorizations import read_link

T = TypeVar("T")

GOOD_FOR = 7 * 86400.0  # seconds
MENDED_BY_LINK = (HOTEL_SCOPE_MISSING, UNRECOGNIZED)  # problems of a connection that is not marked
MADE_AGAIN = 86400.0  # seconds before its end


class Mender:
    """Makes connect links for connections that need one."""

    def __init__(self, world: World, authorizer: Authorizer, look: Look) -> None:
        self._world = world
        self._authorizer = authorizer
        self._look = look
        self._tokens: dict[str, str] = {}

    async def shown(self, connection: Connection) -> Connection:
        """The connection with its link, if the hotel has to approve again, or may have to, or it is to be claimed."""
        if connection.state is State.PARKED:
            return replace(connection, connect_url=self._world.claim_url(connection.id))
        if connection.state is not State.REAUTHORIZATION_REQUIRED and connection.problem not in MENDED_BY_LINK:
            return connection
        return await self.with_link(connection)

    async def with_link(self, connection: Connection) -> Connection:
        """The connection with its link, whatever its state."""
        with suppress(Error):  # the link is a help; without it the connection is still shown
            return replace(connection, connect_url=await self._url(connection))
        return connection

    async def explain(self, error: ReauthorizationRequired) -> None:
        """Put the link into the error that tells a caller to see to the hotel."""
        if error.connection_id is not None:
            with suppress(Error):
                error.connect_url = await self._url(await self._look.connection(error.connection_id))

    async def explained(self, work: Awaitable[T]) -> T:
        """What it comes to; where the hotel has to approve again, the error carries the link."""
        try:
            return await work
        except ReauthorizationRequired as error:
            await self.explain(error)
            raise

    async def _url(self, connection: Connection) -> str:
        token = self._tokens.get(connection.id)
        link = None if token is None else await self._world.db.read(read_link(hashed(token)))
        if token is None or link is None or link.lifetime < MADE_AGAIN:
            made = await self._authorizer.create_link(
                app=connection.app,
                reference=None,  # the connection keeps its own, and whoever changes it after this
                return_to=None,
                connection_id=connection.id,
                expires_in=GOOD_FOR,
            )
            token = self._tokens[connection.id] = made.token
        return self._world.link_url(token)
