"""Which app, and so which client id, the calls of a hotel count for."""

from __future__ import annotations

from cloudbeds_auth.engine.context import World, of_key
from cloudbeds_auth.engine.memory import Recent
from cloudbeds_auth.rules.model import App, Grant


class CountedApps:
    """The apps of hotels whose tokens were lent here. A further app is read once: its client id and level, which matter
    here, never change while it is registered, and so calls continue while the store is away.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._apps: Recent[str, tuple[str, bool]] = Recent()  # by connection: its app, and whether it has a pasted key
        self._further: Recent[str, App] = Recent()  # by name, as of the first call for each

    def note(self, row: Grant) -> None:
        """A token of this grant is lent. If it was issued to another client id than that of the further app known by
        this name, that app was removed and another added: it is read anew.
        """
        self._apps[row.connection_id] = row.app, row.pasted
        known = self._further.get(row.app)
        if known is not None and row.source.client_id not in {None, known.client_id}:
            del self._further[row.app]

    async def of(self, connection_id: str) -> App | None:
        """The app that a call counts for. None: the app is no longer registered here; the token is lent nevertheless.
        Raises UnknownConnection.
        """
        if connection_id not in self._apps:  # no token of this connection was lent here
            known = await self._world.known(connection_id)
            self._apps[connection_id] = known.app, known.pasted
        name, pasted = self._apps[connection_id]
        app = self._world.apps.get(name) or self._further.get(name)
        if app is None:
            app = await self._world.find(name)
            if app is not None:
                self._further[name] = app
        return of_key(app, connection_id) if app is not None and pasted else app
