"""Registrations at Cloudbeds that rest in the store, beside the one of the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Protocol

from cloudbeds_auth.rules.model import App
from cloudbeds_auth.rules.origins import Held
from cloudbeds_auth.rules.secret import Secret

ORIGIN_MOVED = "origin_moved"
"""What the history calls that an operator said where the vendor is now; it leads nowhere in the table of states."""


class Taken(Enum):
    """What another registration has already; the words complete a sentence."""

    NAME = "there is an app of this name already"
    CLIENT_ID = "another app has this client id already"
    REDIRECT_PATH = "another app has a redirect URI with this path already"


class AppStore(Protocol):
    """A part of `ports.store.Store`; every method is one transaction and may raise `errors.StoreUnavailable`."""

    async def app(self, name: str) -> App | None:
        """The registration, with those of its secrets that open."""
        ...

    async def apps(self) -> Sequence[App]:
        """All of them, by name."""
        ...

    async def redirect_uris(self) -> Mapping[str, str]:
        """Where Cloudbeds may send browsers for each, by name; no secret is opened for it."""
        ...

    async def add_app(self, app: App) -> Taken | None:
        """Remember a registration with its first secret, which is for `app.issuer`. Taken: nothing was written."""
        ...

    async def rotate_secret(self, name: str, secret: Secret) -> bool:
        """A new secret; the one until now stays as the previous one, in place of any before. False: no such app."""
        ...

    async def drop_previous_secret(self, name: str) -> bool:
        """Only the current secret is left. False: no such app."""
        ...

    async def remove_app(self, name: str) -> int | None:
        """Forget the registration unless connections live by it: how many do (0: it is gone). None: no such app."""
        ...

    async def issuer(self, app: str) -> str | None:
        """The vendor's origin that the client secret of this app is for; None: it is not bound to one yet."""
        ...

    async def issuers(self) -> Mapping[str, str]:
        """Of every app that is bound, those of the settings among them, by name."""
        ...

    async def held(self) -> Sequence[Held]:
        """Where the living grants came from, by app."""
        ...

    async def move_grants(
        self, app: str, former: str, issuer: str, *, actor: str, after: str, limit: int
    ) -> tuple[str | None, int]:
        """Of the next `limit` grants of this app behind the id `after`, those that came from `former`, or from another
        origin of the same service, are of `issuer` from now on; each has a line of history.

        The last id, None when there are no more; and how many were moved.
        """
        ...

    async def move_app(self, app: str, former: str, issuer: str) -> None:
        """The client secret of this app is for `issuer` from now on, if it was for `former`."""
        ...
