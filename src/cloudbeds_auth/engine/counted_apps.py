"""For which app, and so for which client id, the calls of a hotel count."""

from __future__ import annotations

from cloudbeds_auth.engine.context import World, of_key
from cloudbeds_auth.engine.memory import Recent
from cloudbeds_auth.rules.model import App, Grant


class CountedApps:
    """The apps of hotels whose tokens were lent here. A further one is read once: what counts, its client id and level,
    never changes while it is registered, and calls continue while the store is away.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._apps: Recent[str, tuple[str, bool]] = Recent()  # by connection: its app, and whether it has a pasted key
        self._further: Recent[str, App] = Recent()  # by name, as they were when they were first called for

    def note(self, row: Grant) -> None:
        """A token of this grant is lent. Where it was issued to another client id than the further app had that is
        known by this name, that one was removed, and another one added: it is read anew.
        """
        self._apps[row.connection_id] = row.app, row.pasted
        known = self._further.get(row.app)
        if known is not None and row.source.client_id not in {None, known.client_id}:
            del self._further[row.app]

    async def of(self, connection_id: str) -> App | None:
        """The app that a call counts for. None: it is not registered here any more; its token is lent all the same.
        Raises UnknownConnection.
        """
        if connection_id not in self._apps:  # no token of it was lent here
            known = await self._world.known(connection_id)
            self._apps[connection_id] = known.app, known.pasted
        name, pasted = self._apps[connection_id]
        app = self._world.apps.get(name) or self._further.get(name)
        if app is None:
            app = await self._world.find(name)
            if app is not None:
                self._further[name] = app
        return of_key(app, connection_id) if app is not None and pasted else app
