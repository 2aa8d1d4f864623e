"""Registrations at Cloudbeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cloudbeds_auth.core.lifecycle import State
from cloudbeds_auth.core.nouns import App, Role, moment
from cloudbeds_auth.core.secret import Secret
from cloudbeds_auth.ports.apps import Taken
from cloudbeds_auth.store.memory.shelf import Shelf


class Apps(Shelf):
    """`ports.apps.AppStore`."""

    async def app(self, name: str) -> App | None:
        """See ports.apps."""
        return self._tables.apps.get(name)

    async def apps(self) -> Sequence[App]:
        """See ports.apps."""
        return [app for _, app in sorted(self._tables.apps.items())]

    async def redirect_uris(self) -> Mapping[str, str]:
        """See ports.apps."""
        return {app.id: app.redirect_uri for app in await self.apps()}

    async def add_app(self, app: App) -> Taken | None:
        """See ports.apps."""
        now, known = self._write(), self._tables.apps
        if app.id in known:
            return Taken.NAME
        if any(one.client_id == app.client_id for one in known.values()):
            return Taken.CLIENT_ID
        if any(one.redirect_path == app.redirect_path for one in known.values()):
            return Taken.REDIRECT_PATH
        known[app.id] = replace(app, secrets=app.secrets[:1], created_at=moment(now.wall), rotated_at=None)
        return None

    async def rotate_secret(self, name: str, secret: Secret) -> bool:
        """See ports.apps."""
        now, app = self._write(), self._tables.apps.get(name)
        if app is None:
            return False
        self._tables.apps[name] = replace(app, secrets=(secret, app.secrets[0]), rotated_at=moment(now.wall))
        return True

    async def drop_previous_secret(self, name: str) -> bool:
        """See ports.apps."""
        self._write()
        app = self._tables.apps.get(name)
        if app is None:
            return False
        self._tables.apps[name] = replace(app, secrets=app.secrets[:1])
        return True

    async def remove_app(self, name: str) -> int | None:
        """See ports.apps."""
        self._write()
        if name not in self._tables.apps:
            return None
        grants = [one for one in self._tables.grants.values() if one.app == name]
        living = {
            one.connection_id
            for one in grants
            if one.role in {Role.ACTIVE, Role.CANDIDATE} or one.state is State.PARKED
        }
        if not living:
            del self._tables.apps[name]
            for key in [key for key in self._tables.circuits if key[0] == name]:
                del self._tables.circuits[key]
        return len(living)
