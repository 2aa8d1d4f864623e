"""Further registrations at Cloudbeds, beside the settings' own: a property-level hotel brings its own.

They rest in the store, so every process that uses it knows them as soon as they are there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cloudbeds_auth.core.nouns import App
from cloudbeds_auth.core.secret import Secret
from cloudbeds_auth.errors import InvalidRequest
from cloudbeds_auth.ports.apps import Taken
from cloudbeds_auth.vault.world import NAMES, World

OURS = (
    "change the settings: CLOUDBEDS_CLIENT_ID, CLOUDBEDS_CLIENT_SECRET, and CLOUDBEDS_CLIENT_SECRET_PREVIOUS in a reset"
)


class Apps:
    """Lists, adds, resets and removes them. `checked` makes an App of what was given; raises InvalidRequest."""

    def __init__(self, world: World, checked: Callable[..., App]) -> None:
        self._world = world
        self._checked = checked

    async def list(self) -> Sequence[App]:
        """The settings' own, then the further ones by name. Their secrets are `Secret`; nothing shows them."""
        own = self._world.apps
        return [*own.values(), *(app for app in await self._world.store.apps() if app.id not in own)]

    async def get(self, name: str) -> App:
        """One of them; raises InvalidRequest when there is none of this name."""
        return await self._world.app(name)

    async def redirect_uris(self) -> Mapping[str, str]:
        """Where Cloudbeds sends browsers for each of the further ones, by name."""
        return await self._world.store.redirect_uris()

    async def add(
        self,
        name: str,
        *,
        client_id: str,
        client_secret: Secret | str,
        level: str = "property",
        redirect_uri: str | None = None,
        scopes: Sequence[str] | None = None,
        credential: str | None = None,
    ) -> App:
        """Register another client id. `name` is a word in lower case that connections and links go by.

        `redirect_uri`: exactly as registered at Cloudbeds, with a path that no other app has; by default the settings'
        own and the name behind it. `scopes`: by default the settings' own. `level`: `property` for what a hotel
        registered for itself, else `partner`. `credential`: what its approvals ask for, `oauth` or `api-key`; by
        default as the settings say. Raises InvalidRequest, StoreUnavailable.
        """
        app = self._checked(
            name=name, client_id=client_id, client_secret=client_secret, level=level, redirect_uri=redirect_uri,
            scopes=scopes, credential=credential,
        )  # fmt: skip
        taken = self._taken_by_own(app) or await self._world.store.add_app(app)
        if taken is not None:
            raise InvalidRequest(taken.value, next_step=NAMES)
        self._world.observer.happened("app_added", app=name)
        return await self.get(name)

    async def rotate_secret(self, name: str, client_secret: Secret | str) -> App:
        """The secret that Cloudbeds shows after a reset. It is presented first; the one until now stays valid beside
        it, until the next reset or `drop_previous_secret`. Raises InvalidRequest, StoreUnavailable.
        """
        app = await self._further(name)
        given = self._checked(
            name=name, client_id=app.client_id, client_secret=client_secret, level=app.level,
            redirect_uri=app.redirect_uri, scopes=app.scopes,
        )  # fmt: skip
        (secret,) = given.secrets
        if secret in app.secrets[:1]:
            raise InvalidRequest(f"this is the secret that the app {name!r} has already; nothing was changed")
        if not await self._world.store.rotate_secret(name, secret):
            raise _unknown(name)
        self._world.observer.happened("app_secret_rotated", app=name)
        return await self.get(name)

    async def drop_previous_secret(self, name: str) -> App:
        """Forget the secret before the last reset, once Cloudbeds takes the new one."""
        await self._further(name)
        if not await self._world.store.drop_previous_secret(name):
            raise _unknown(name)
        return await self.get(name)

    async def remove(self, name: str) -> None:
        """Forget a registration; raises InvalidRequest while connections live by it."""
        await self._further(name)
        living = await self._world.store.remove_app(name)
        if living is None:
            raise _unknown(name)
        if living:
            raise InvalidRequest(
                f"{living} connection{'s' if living > 1 else ''} of the app {name!r} would be left without it",
                next_step=f"disconnect them first: `cloudbeds-auth connections list --app {name}`",
            )
        self._world.observer.happened("app_removed", app=name)

    async def _further(self, name: str) -> App:
        if name in self._world.apps:
            raise InvalidRequest(f"the app {name!r} is the settings' own", next_step=OURS)
        return await self.get(name)

    def _taken_by_own(self, app: App) -> Taken | None:
        for own in self._world.apps.values():
            if own.id == app.id:
                return Taken.NAME
            if own.client_id == app.client_id:
                return Taken.CLIENT_ID
            if own.redirect_path == app.redirect_path:
                return Taken.REDIRECT_PATH
        return None


def _unknown(name: str) -> InvalidRequest:
    """Somebody else removed it a moment ago."""
    return InvalidRequest(f"there is no app named {name!r}", next_step=NAMES)
