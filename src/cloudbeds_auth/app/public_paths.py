"""Which paths need no credential. Everything else is refused without one, whether it exists or not.

What strangers may ask as often as they like is asked of the database at most once a second (A79).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlsplit

from cloudbeds_auth.ports import Clock

if TYPE_CHECKING:
    from cloudbeds_auth.engine.apps import Apps

EXACT = frozenset({"/healthz", "/readyz", "/connect", "/connected", "/favicon.ico"})
# Paths with one variable segment, in the only spelling that is accepted: an encoded twin is not one of them.
PATTERN = re.compile(
    r"/hooks/[A-Za-z0-9_-]{1,256}\Z|/claim/con_[A-Za-z0-9]{1,64}\Z|/connect/[A-Za-z0-9_-]{1,256}\Z"
    r"|/(?:errors|not-connected)/[a-z_]{1,64}\Z|/static/[a-z0-9-]{1,40}\.[a-z]{2,5}\Z"
)
# What only callers with a credential ask for: no redirect URI may have such a path, so none is looked for.
CREDENTIALLED = frozenset({"/metrics", "/openapi.json"})
BELOW = ("/api/v1/", "/proxy/")
_SECRETIVE = re.compile(r"\A/(connect|hooks)/.*", re.DOTALL)


APP = "cloudbeds_app"
"""In a request's state: the name of the app whose callback is asked for."""


class Anyone:
    """The paths marked *anyone* in the public contract, but for the callbacks: `Further` knows those."""

    def may(self, raw_path: str) -> bool:
        """Whether the path, exactly as it came over the wire, is open to anyone."""
        return raw_path in EXACT or PATTERN.match(raw_path) is not None


class Further:
    """Where browsers come back: for the settings' own app, and for those that the settings do not name.

    These are added while we run, so they are read when a host or a path is asked for that is not known, and remembered
    for a second (decision 0009). `home` is the path at which the one handler of all callbacks is served, however the
    redirect URIs are spelled; `hosts`: whether the hosts of further redirect URIs may be asked for.
    """

    home = "/callback"

    def __init__(self, apps: Apps, clock: Clock, redirect_uri: str, public_url: str, *, hosts: bool) -> None:
        self._own = callback_paths([redirect_uri], public_url)
        self._redirect_uris = Remembered(apps.redirect_uris, clock)
        self._public_url = public_url
        self._hosts = hosts

    async def knows_host(self, name: str) -> bool:
        """Whether it is the host of one of their redirect URIs."""
        return self._hosts and any(urlsplit(uri).hostname == name for uri in (await self._redirect_uris()).values())

    async def app_at(self, raw_path: str) -> str | None:
        """The app whose callback it is, exactly as the path came over the wire; no two have the same."""
        if raw_path in self._own:
            return "default"
        if raw_path in CREDENTIALLED or raw_path.startswith(BELOW):
            return None
        known = (await self._redirect_uris()).items()
        return next((name for name, uri in known if raw_path in callback_paths([uri], self._public_url)), None)


def callback_paths(redirect_uris: Iterable[str], public_url: str) -> tuple[str, ...]:
    """The paths that the vendor sends browsers to, as they reach us: with the public URL's prefix and without it."""
    prefix = path_prefix(public_url)
    paths: list[str] = []
    for uri in redirect_uris:
        path = urlsplit(uri).path or "/"
        paths.append(path)
        if prefix and path.startswith(prefix + "/"):
            paths.append(path[len(prefix) :])
    return tuple(dict.fromkeys(paths))


def path_prefix(public_url: str) -> str:
    """The path of the public URL without its last slash: empty, or `/auth` behind a reverse proxy that strips it."""
    return urlsplit(public_url).path.rstrip("/")


def told(raw_path: str) -> str:
    """A path as logs may show it: without the secret that a one-time link or a hook carries in it."""
    return _SECRETIVE.sub(r"/\1/…", raw_path)


FOR = 1.0  # seconds

T = TypeVar("T")


class Remembered(Generic[T]):
    """What `ask` returns or raises, for all that ask while it runs and for a second after it ended."""

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, T]], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._asked: asyncio.Task[T] | None = None
        self._until = 0.0

    async def __call__(self) -> T:
        """Ask, or remember. Being cancelled does not cancel it for the others."""
        if self._asked is None or (self._asked.done() and self._clock.steady() >= self._until):
            self._asked = asyncio.create_task(self._ask())
            self._asked.add_done_callback(self._answered)
        return await asyncio.shield(self._asked)

    def _answered(self, asked: asyncio.Task[T]) -> None:
        self._until = self._clock.steady() + FOR
        if not asked.cancelled():
            asked.exception()  # retrieved, also where all that asked are gone
