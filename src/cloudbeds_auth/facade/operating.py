"""What an operator asks for."""

from __future__ import annotations

from collections.abc import Mapping

from cloudbeds_auth.errors import ReauthorizationRequired
from cloudbeds_auth.facade.looking import Looking
from cloudbeds_auth.rules.model import Connection


class Operating(Looking):
    """Refreshes, moves, disconnects, forgets; looks after the database."""

    async def refresh(self, connection_id: str) -> Connection:
        """Refresh now, as an operator may: also where reauthorization is required."""
        engine = self._engine
        try:
            await engine.access.refresh_now(connection_id)
        except ReauthorizationRequired as error:
            await engine.mender.explain(error)
            raise
        return await engine.shown(connection_id)

    async def migrate_to_api_key(self, connection_id: str, *, app: str | None = None) -> Connection:
        """Move a hotel from OAuth to an API key, without a new approval; a move that was cut off goes on.

        `app` names the registration that may make the exchange, by default the connection's own. From its beginning on
        the hotel's refresh tokens are never refreshed again: that would kill the key. Until the key is seen to work the
        hotel is served by the access token it has. A hotel that has a key already is left as it is.

        Raises TryAgain's where the move goes on with a later call, by the background too; MigrationRefused where
        nothing was moved; ReauthorizationRequired where Cloudbeds refuses every stored refresh token.
        """
        engine = self._engine
        try:
            await engine.migrator.migrate(connection_id, app=app)
        except ReauthorizationRequired as error:
            await engine.mender.explain(error)
            raise
        return await engine.shown(connection_id)

    async def disconnect(self, connection_id: str, forget: bool = False) -> Connection:
        """Tell the vendor, then forget the tokens; `forget` insists where the vendor cannot be told."""
        engine = self._engine
        await engine.disconnecter.disconnect(connection_id, forget=forget, actor="operator")
        return await engine.shown(connection_id)

    async def forget(self, connection_id: str) -> Connection:
        """Delete who approved, and what is left, of a hotel that is disconnected; the history keeps what happened.

        Raises UnknownConnection, and InvalidRequest while it is connected.
        """
        engine = self._engine
        await engine.retention.forget(connection_id, actor="operator")
        return await engine.shown(connection_id)

    async def check(self) -> None:
        """Whether the database can be written and the keys open it; raises StoreUnavailable."""
        await self._engine.world.db.check()

    async def store_report(self) -> Mapping[str, str]:
        """What the database says about itself: version, file, durability as it is in effect, id of the sealing key."""
        return await self._engine.world.db.report()
