"""Further registrations at Cloudbeds, beside those of the settings: a property-level hotel brings its own.

They are kept in the store, so every process that uses it knows them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace

from cloudbeds_auth.engine.authorize import hashed
from cloudbeds_auth.engine.context import NAMES, World
from cloudbeds_auth.errors import InvalidRequest
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.inputs import checked_reference, checked_seconds
from cloudbeds_auth.rules.links import AppRequest
from cloudbeds_auth.rules.model import App, Link, moment
from cloudbeds_auth.rules.origins import Foreign, same_service
from cloudbeds_auth.rules.redirects import allowed_return
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.apps import (
    AppConflict,
    RedirectUris,
    add_app,
    drop_previous_secret,
    read_apps,
    read_conflict,
    read_redirect_uris,
    remove_app,
    rotate_secret,
)
from cloudbeds_auth.transactions.authorizations import NewLink, add_link, link_over, read_link
from cloudbeds_auth.transactions.origins import (
    move_app,
    move_grants,
    read_foreign,
    read_issuer,
)

OURS = (
    "change the settings: CLOUDBEDS_CLIENT_ID, CLOUDBEDS_CLIENT_SECRET, and CLOUDBEDS_CLIENT_SECRET_PREVIOUS in a reset"
)

MOVE = "name the origin that it came from: `cloudbeds-auth doctor` and `cloudbeds-auth apps` say which"
LATER = "later"  # a placeholder for what a hotel will enter
AT_ONCE = 100  # grants that one transaction reads when the vendor moved


class Apps:
    """Lists, adds, resets, moves and removes apps. `checked` makes an App of what was given; raises InvalidRequest."""

    def __init__(self, world: World, checked: Callable[..., App]) -> None:
        self._world = world
        self._checked = checked
        self._redirect_uris = RedirectUris()

    async def list(self) -> Sequence[App]:
        """The settings' own apps, then the further ones by name. Their secrets are `Secret`, so nothing shows them."""
        own = self._world.apps
        first = [await self.get(name) for name in own]
        return [*first, *(app for app in await self._world.db.read(read_apps()) if app.id not in own)]

    async def get(self, name: str) -> App:
        """The app of this name; raises InvalidRequest when there is none."""
        return replace(await self._world.app(name), issuer=await self._world.db.read(read_issuer(name)))

    async def foreign(self) -> Sequence[Foreign]:
        """The credentials that may not be used with the present settings, because they came from another origin or
        client id (rule-11): one finding for each cause.
        """
        own = {app.id: app.client_id for app in self._world.apps.values()}
        return await self._world.db.browse(read_foreign(self._world.issuer, own))

    async def move_origin(self, name: str, former: str) -> int:
        """The vendor moved: bind this app's secret and grants from the origin `former` to the origin that the settings
        name. Returns how many grants were moved. Called again, it resumes a move that was interrupted. `former` is an
        origin as `App.issuer` gives it.

        Only an operator knows whether the vendor moved: afterwards every token is sent there. Raises InvalidRequest
        where nothing belongs to `former`, and StoreUnavailable.
        """
        db, here = self._world.db, self._world.issuer
        app = await self.get(name)
        if same_service(former, here):
            raise InvalidRequest(f"{former} is where the settings send everything already", next_step=MOVE)
        if app.issuer is not None and not same_service(app.issuer, former) and not same_service(app.issuer, here):
            raise InvalidRequest(f"the client secret of the app {name!r} is for {app.issuer}", next_step=MOVE)
        moved, after = 0, ""
        while True:  # the grants first: an interrupted move leaves the secret where it was
            last, more = await db.write(move_grants(name, former, here, after=after, limit=AT_ONCE))
            moved += more
            if last is None:
                break
            after = last
        if not moved and (app.issuer is None or same_service(app.issuer, here)):
            raise InvalidRequest(f"nothing of the app {name!r} came from {former}", next_step=MOVE)
        await db.write(move_app(name, former, here))
        self._world.observer.happened(Happening.ORIGIN_MOVED, app=name, former=former, origin=here, grants=moved)
        return moved

    async def redirect_uris(self) -> Mapping[str, str]:
        """The redirect URIs of the further apps, by name: the same object until one changes."""
        self._redirect_uris = await self._world.db.read(read_redirect_uris(self._redirect_uris))
        return self._redirect_uris.by_app

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
        """Register another client id. `name` is a word in lower case that connections and links refer to.

        `redirect_uri`: exactly as registered at Cloudbeds, with a path that no other app has; by default the settings'
        own with the name appended. `scopes`: by default the settings' own. `level`: `property` for an app that a hotel
        registered for itself, else `partner`. `credential`: what its approvals ask for, `oauth` or `api-key`; by
        default as the settings say. Raises InvalidRequest, StoreUnavailable.
        """
        app = self._checked(
            name=name, client_id=client_id, client_secret=client_secret, level=level, redirect_uri=redirect_uri,
            scopes=scopes, credential=credential,
        )  # fmt: skip
        return await self._added(app)

    async def create_link(
        self,
        name: str,
        *,
        level: str = "property",
        redirect_uri: str | None = None,
        scopes: Sequence[str] | None = None,
        credential: str | None = None,
        reference: str | None = None,
        return_to: str | None = None,
        expires_in: float = 7 * 86400.0,
    ) -> Link:
        """A link for a hotel that registers an app of its own: its page, `url`, says what to enter at Cloudbeds and
        asks for the client id and secret; then the same link connects the hotel. Good for one app, one connection, and
        `expires_in` seconds. `reference` and `return_to` are as for a connect link, all else as for `add`.

        Raises InvalidRequest, also if the name is taken; InvalidReturnTo, StoreUnavailable.
        """
        world, reference = self._world, checked_reference(reference)
        if return_to is not None:
            allowed_return(return_to, world.return_origins)
        checked_seconds("expires_in", expires_in)
        app = self._checked(
            name=name, client_id=LATER, client_secret=LATER, level=level, redirect_uri=redirect_uri, scopes=scopes,
            credential=credential,
        )  # fmt: skip
        taken = self._taken_by_own(app) or await world.db.read(read_conflict(app))
        if taken is not None:
            raise InvalidRequest(taken.value, next_step=NAMES)
        asked, token = AppRequest(name, level, app.redirect_uri, app.scopes, credential), world.entropy.token()
        link = NewLink(hashed(token), name, reference, return_to, None, expires_in, registration=asked)
        await world.db.write(add_link(link))
        return Link(token, world.app_url(token), moment(world.clock.wall() + expires_in))

    async def read_link(self, token: str) -> AppRequest | None:
        """What a link for registering an app asks for; None: its app is registered by now, so it connects a hotel.

        Raises AuthorizationExpired for a link that is used, expired or unknown. Nothing is written.
        """
        link = await self._world.db.read(read_link(hashed(token)))
        if link is None:
            raise link_over()
        return link.registration

    async def add_from_link(self, token: str, *, client_id: str, client_secret: Secret | str) -> App:
        """Register the app that the link was made for, with what the hotel entered; then the link accepts no other.

        Raises as `add`, and AuthorizationExpired for a link that registers nothing, or no longer does.
        """
        asked = await self.read_link(token)
        if asked is None:
            raise link_over()
        app = self._checked(**asdict(asked), client_id=client_id, client_secret=client_secret)
        return await self._added(app, hashed(token))

    async def _added(self, app: App, link_hash: str | None = None) -> App:
        new = replace(app, issuer=self._world.issuer)
        taken = self._taken_by_own(app) or await self._world.db.write(add_app(new, link_hash))
        if taken is not None:
            raise InvalidRequest(taken.value, next_step=NAMES)
        self._world.observer.happened(Happening.APP_ADDED, app=app.id)
        return await self.get(app.id)

    async def rotate_secret(self, name: str, client_secret: Secret | str) -> App:
        """Store the secret that Cloudbeds shows after a reset. It is presented first; the previous secret stays valid
        beside it until the next reset or `drop_previous_secret`. Raises InvalidRequest, StoreUnavailable.
        """
        app = await self._further(name)
        given = self._checked(
            name=name, client_id=app.client_id, client_secret=client_secret, level=app.level,
            redirect_uri=app.redirect_uri, scopes=app.scopes,
        )  # fmt: skip
        (secret,) = given.secrets
        if given.secrets == app.secrets[:1]:
            raise InvalidRequest(f"this is the secret that the app {name!r} has already; nothing was changed")
        if not await self._world.db.write(rotate_secret(name, secret)):
            raise _unknown(name)
        self._world.observer.happened(Happening.APP_SECRET_ROTATED, app=name)
        return await self.get(name)

    async def drop_previous_secret(self, name: str) -> App:
        """Forget the secret from before the last reset, once Cloudbeds accepts the new one."""
        await self._further(name)
        if not await self._world.db.write(drop_previous_secret(name)):
            raise _unknown(name)
        return await self.get(name)

    async def remove(self, name: str) -> None:
        """Forget a registration; raises InvalidRequest while connections use it."""
        await self._further(name)
        living = await self._world.db.write(remove_app(name))
        if living is None:
            raise _unknown(name)
        if living:
            raise InvalidRequest(
                f"{living} connection{'s' if living > 1 else ''} of the app {name!r} would be left without it",
                next_step=f"disconnect them first: `cloudbeds-auth connections list --app {name}`",
            )
        self._world.observer.happened(Happening.APP_REMOVED, app=name)

    async def _further(self, name: str) -> App:
        if name in self._world.apps:
            raise InvalidRequest(f"the app {name!r} is the settings' own", next_step=OURS)
        return await self.get(name)

    def _taken_by_own(self, app: App) -> AppConflict | None:
        for own in self._world.apps.values():
            if own.id == app.id:
                return AppConflict.NAME
            if own.client_id == app.client_id:
                return AppConflict.CLIENT_ID
            if own.redirect_path == app.redirect_path:
                return AppConflict.REDIRECT_PATH
        return None


def _unknown(name: str) -> InvalidRequest:
    """The error if another caller removed the app a moment ago."""
    return InvalidRequest(f"there is no app named {name!r}", next_step=NAMES)
