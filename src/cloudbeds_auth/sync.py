"""`TokenVault` for blocking code: the same vault over the same store, run by an event loop on a thread of its own.

Its methods are those of `cloudbeds_auth.TokenVault`, made blocking one by one, with their signatures and docstrings. A
fresh token is read in the caller's own thread. After `fork()` the child opens a vault of its own at its next call.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import replace
from functools import partial, update_wrapper
from inspect import signature
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from cloudbeds_auth import vault as aio
from cloudbeds_auth.engine import apps as aio_apps
from cloudbeds_auth.errors import VaultClosed
from cloudbeds_auth.loop_thread import LoopThread
from cloudbeds_auth.ports import Observer
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Settings

if TYPE_CHECKING:
    from cloudbeds_auth.rules.model import AccessToken
    from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth
    from cloudbeds_auth.wire.lender import Lender

A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)
P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def _presents(method: Callable[..., Any]) -> Callable[[F], F]:
    """As `functools.wraps`, but nothing leads back to the method: FastAPI would find it, and await what blocks."""

    def decorated(derived: F) -> F:
        update_wrapper(derived, method)
        derived.__dict__.update(__signature__=signature(method))
        del derived.__dict__["__wrapped__"]
        return derived

    return decorated


class Blocking(Protocol[A_co]):
    """Has an asynchronous `A` on another thread."""

    def _here(self) -> A_co:
        """The `A`, for what may be done from any thread. Raises VaultClosed."""

    def _wait(self, work: Callable[[A_co], Coroutine[Any, Any, T]]) -> T:
        """The result of `work` on that thread. Raises VaultClosed."""


def blocking(
    method: Callable[Concatenate[A, P], Coroutine[Any, Any, T]],
    at_once: Callable[Concatenate[A, P], T | None] | None = None,
) -> Callable[Concatenate[Blocking[A], P], T]:
    """The method, waited for; unless `at_once` has its result, in the caller's own thread."""

    @_presents(method)
    def blocks(self: Blocking[A], /, *args: P.args, **kwargs: P.kwargs) -> T:
        found = None if at_once is None else at_once(self._here(), *args, **kwargs)
        return self._wait(lambda there: method(there, *args, **kwargs)) if found is None else found

    return blocks


def from_any_thread(method: Callable[Concatenate[A, P], T]) -> Callable[Concatenate[Blocking[A], P], T]:
    """The method, which waits for nothing."""

    @_presents(method)
    def runs(self: Blocking[A], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return method(self._here(), *args, **kwargs)

    return runs


def if_open(method: Callable[P, None]) -> Callable[P, None]:
    """The method, which reports what has happened already: after the vault was closed it does nothing."""

    @_presents(method)
    def says(*args: P.args, **kwargs: P.kwargs) -> None:
        with suppress(VaultClosed):
            method(*args, **kwargs)

    return says


class TokenVault:
    """As `cloudbeds_auth.TokenVault`, method by method, blocking. May be used from many threads."""

    def __init__(self, settings: Settings, *, observers: Sequence[Observer] = (), upkeep: bool = False) -> None:
        self._settings = settings
        self._observers = tuple(observers)
        self._upkeep = upkeep
        self._closed = False
        self._opening = threading.Lock()
        self._left_behind: list[LoopThread] = []  # of parents: their sockets must not be closed here
        self._running = self._run()

    @classmethod
    def open(
        cls, settings: Settings | None = None, *, observers: Sequence[Observer] = (), upkeep: bool = False
    ) -> AbstractContextManager[TokenVault]:
        """Open the vault; settings from the environment and `.env` unless given. Raises ConfigurationError.

        It is closed at the end of the `with` block, or by `close`, or when the program ends, whichever comes first.
        Observers are called on the vault's own thread. `upkeep` is as for `cloudbeds_auth.TokenVault.open`.
        """
        return closing(cls(settings or Settings.load(), observers=observers, upkeep=upkeep))

    def close(self) -> None:
        """Let what runs finish and commit, then close; afterwards every method raises VaultClosed.

        While the program ends, from `atexit` for example, a pair that cannot be committed is waited for five seconds.
        """
        self._closed = True
        self._running.close()

    def _run(self) -> LoopThread:
        return LoopThread(self._settings, self._observers, self._upkeep)

    def _now(self) -> LoopThread:
        if self._closed:
            raise VaultClosed
        if self._running.pid != os.getpid():
            self._opening = threading.Lock() if self._opening.locked() else self._opening
            with self._opening:
                if self._running.pid != os.getpid():
                    self._left_behind.append(self._running)
                    self._running = self._run()
        return self._running

    def _here(self) -> aio.TokenVault:
        return self._now().vault

    def _wait(self, work: Callable[[aio.TokenVault], Coroutine[Any, Any, T]]) -> T:
        running = self._now()
        return running.wait(work(running.vault))

    async def _there(self, work: Callable[[aio.TokenVault], Coroutine[Any, Any, T]]) -> T:
        """As `_wait`, from another event loop. No thread waits: many callers of one hotel would take all of them."""
        running = self._now()
        return await running.wait_elsewhere(work(running.vault))

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self._settings

    @property
    def base_url(self) -> str:
        """Scheme and host of the vendor: the only origin that `auth` serves."""
        return self._settings.base_url

    @property
    def admin_token(self) -> Secret:
        """The service's admin token."""
        return self._here().admin_token

    @property
    def apps(self) -> Apps:
        """Registrations at Cloudbeds: the settings' own, and further ones that are added here."""
        return Apps(self)

    begin_authorization = blocking(aio.TokenVault.begin_authorization)
    finish_authorization = blocking(aio.TokenVault.finish_authorization)
    finish = blocking(aio.TokenVault.finish)
    arrive = blocking(aio.TokenVault.arrive)
    claim = blocking(aio.TokenVault.claim)
    deny = blocking(aio.TokenVault.deny)
    create_link = blocking(aio.TokenVault.create_link)
    begin_from_link = blocking(aio.TokenVault.begin_from_link)
    link_outcome = blocking(aio.TokenVault.link_outcome)
    import_hotel = blocking(aio.TokenVault.import_hotel)

    access_token = blocking(aio.TokenVault.access_token, at_once=aio.TokenVault.cached)
    cached = from_any_thread(aio.TokenVault.cached)
    newest = from_any_thread(aio.TokenVault.newest)
    call = blocking(aio.TokenVault.call)
    turn = blocking(aio.TokenVault.turn)
    note_pause = if_open(blocking(aio.TokenVault.note_pause))
    note_call = if_open(from_any_thread(aio.TokenVault.note_call))
    note_refusal = if_open(from_any_thread(aio.TokenVault.note_refusal))
    carrying = from_any_thread(aio.TokenVault.carrying)

    resolve = blocking(aio.TokenVault.resolve)
    connection = blocking(aio.TokenVault.connection)
    connections = blocking(aio.TokenVault.connections)
    missing_scopes = blocking(aio.TokenVault.missing_scopes)
    events = blocking(aio.TokenVault.events)
    outbox = blocking(aio.TokenVault.outbox)

    refresh = blocking(aio.TokenVault.refresh)
    migrate_to_api_key = blocking(aio.TokenVault.migrate_to_api_key)
    disconnect = blocking(aio.TokenVault.disconnect)
    forget = blocking(aio.TokenVault.forget)
    check = blocking(aio.TokenVault.check)
    store_report = blocking(aio.TokenVault.store_report)

    def auth(self, connection_id: str) -> CloudbedsAuth:
        """`auth=` for `httpx2.Client`, and for `httpx2.AsyncClient`.

        The credential is added for `base_url`'s origin only; anything else raises ForeignOrigin before it is sent.
        """
        from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth

        return CloudbedsAuth(self.base_url, self.lender(connection_id), replay_limit=self._settings.replay_limit)

    def lender(self, connection_id: str) -> Lender:
        """What an adapter for a client of another library is made with; `cloudbeds_auth.contrib` has some."""
        from cloudbeds_auth.wire.lender import Lender

        def ask(rejected: AccessToken | None) -> AccessToken:
            return self.access_token(connection_id, rejected=rejected)

        async def fetch(rejected: AccessToken | None) -> AccessToken:
            fresh = self.cached(connection_id, rejected=rejected)
            if fresh is not None:
                return fresh
            return await self._there(lambda vault: vault.access_token(connection_id, rejected=rejected))

        async def note_pause(pause: float) -> None:
            with suppress(VaultClosed):  # as `note_pause` for callers that block
                await self._there(lambda vault: vault.note_pause(connection_id, pause))

        lender = Lender(
            fetch, ask, self.note_call, self.carrying, self.note_refusal,
            note_pause=note_pause, note_pause_blocking=partial(self.note_pause, connection_id),
            newest=partial(self.newest, connection_id), keys=self._here().settings.credential_header,
        )  # fmt: skip
        if self._settings.limit is None:
            return lender
        turn = partial(self._there, lambda vault: vault.turn(connection_id))
        return replace(lender, turn=turn, turn_blocking=partial(self.turn, connection_id))


class Apps:
    """As `cloudbeds_auth.TokenVault.apps`, blocking."""

    def __init__(self, vault: TokenVault) -> None:
        self._vault = vault

    def _here(self) -> aio_apps.Apps:
        return self._vault._here().apps

    def _wait(self, work: Callable[[aio_apps.Apps], Coroutine[Any, Any, T]]) -> T:
        return self._vault._wait(lambda vault: work(vault.apps))

    list = blocking(aio_apps.Apps.list)
    get = blocking(aio_apps.Apps.get)
    foreign = blocking(aio_apps.Apps.foreign)
    redirect_uris = blocking(aio_apps.Apps.redirect_uris)
    add = blocking(aio_apps.Apps.add)
    rotate_secret = blocking(aio_apps.Apps.rotate_secret)
    drop_previous_secret = blocking(aio_apps.Apps.drop_previous_secret)
    move_origin = blocking(aio_apps.Apps.move_origin)
    remove = blocking(aio_apps.Apps.remove)
