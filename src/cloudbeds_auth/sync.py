"""`TokenVault` for blocking code: the same vault over the same store, run by an event loop on a thread of its own.

A fresh token is read in the caller's own thread. After `fork()` the child opens a vault of its own at its next call.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from cloudbeds_auth import facade
from cloudbeds_auth.errors import VaultClosed
from cloudbeds_auth.loop_thread import LoopThread
from cloudbeds_auth.ports.observer import Observer
from cloudbeds_auth.rules.model import AccessToken, App, Begun, Connection, Event, Handover, Imported, Link
from cloudbeds_auth.rules.origins import Foreign
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Settings, load_from_environment
from cloudbeds_auth.transactions.connections import Page

if TYPE_CHECKING:
    import httpx2

    from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth
    from cloudbeds_auth.wire.lender import Lender

T = TypeVar("T")


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
        Observers are told on the vault's own thread. `upkeep` refreshes behind, as `cloudbeds_auth.TokenVault.open`.
        """
        return closing(cls(settings or load_from_environment(), observers=observers, upkeep=upkeep))

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

    def _wait(self, work: Callable[[facade.TokenVault], Coroutine[Any, Any, T]]) -> T:
        running = self._now()
        return running.wait(work(running.vault))

    async def _there(self, work: Callable[[facade.TokenVault], Coroutine[Any, Any, T]]) -> T:
        """As `_wait`, from another event loop. No thread waits: many callers of one hotel would take all of them."""
        running = self._now()
        return await running.wait_elsewhere(work(running.vault))

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self._settings

    @property
    def base_url(self) -> str:
        """Scheme and host of the vendor."""
        return self._settings.base_url

    @property
    def admin_token(self) -> Secret:
        """The service's admin token."""
        return self._now().vault.admin_token

    @property
    def apps(self) -> Apps:
        """Registrations at Cloudbeds: the settings' own, and further ones that are added here."""
        return Apps(self)

    def begin_authorization(
        self,
        *,
        reference: str | None = None,
        return_to: str | None = None,
        app: str | None = None,
        connection_id: str | None = None,
        browser: str | None = None,
        trusted: bool = True,
    ) -> Begun:
        """Begin an approval: send the hotel to `.url` within ten minutes."""
        return self._wait(
            lambda vault: vault.begin_authorization(
                reference=reference,
                return_to=return_to,
                app=app,
                connection_id=connection_id,
                browser=browser,
                trusted=trusted,
            )
        )

    def finish_authorization(self, *, code: str, state: str, browser: str | None = None) -> Connection:
        """Exchange the code that came back, once; the connection it led to."""
        return self._wait(lambda vault: vault.finish_authorization(code=code, state=state, browser=browser))

    def arrive(self, *, code: str, app: str = "default") -> Connection:
        """The hotel began in the Marketplace: exchange the code and park what comes of it until `claim`."""
        return self._wait(lambda vault: vault.arrive(code=code, app=app))

    def claim(self, connection_id: str, reference: str | None = None) -> Connection:
        """Take what is parked there for yours; the connection that it is from now on."""
        return self._wait(lambda vault: vault.claim(connection_id, reference))

    def create_link(
        self,
        *,
        app: str | None = None,
        reference: str | None = None,
        return_to: str | None = None,
        connection_id: str | None = None,
        expires_in: float = 7 * 86400.0,
    ) -> Link:
        """A link for a hotel, good for one connection and `expires_in` seconds."""
        return self._wait(
            lambda vault: vault.create_link(
                app=app, reference=reference, return_to=return_to, connection_id=connection_id, expires_in=expires_in
            )
        )

    def link_outcome(self, token: str) -> str | None:
        """The id of the connection that this one-time link led to; None while it led to none."""
        return self._wait(lambda vault: vault.link_outcome(token))

    def access_token(
        self, connection_id: str, min_valid: float = 60.0, rejected: AccessToken | int | None = None
    ) -> AccessToken:
        """A token with `min_valid` seconds left; a fresh one never crosses to another thread."""
        token = self._fresh(connection_id, min_valid) if rejected is None else None
        return token or self._wait(lambda vault: vault.access_token(connection_id, min_valid, rejected))

    def _fresh(self, connection_id: str, min_valid: float = 60.0) -> AccessToken | None:
        return self._now().vault.cached(connection_id, min_valid)

    def auth(self, connection_id: str) -> CloudbedsAuth:
        """`auth=` for `httpx2.Client`, and for `httpx2.AsyncClient`."""
        from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth

        return CloudbedsAuth(self.base_url, self.lender(connection_id), replay_limit=self._settings.replay_limit)

    def lender(self, connection_id: str) -> Lender:
        """What an adapter for a client of another library is made with; `cloudbeds_auth.contrib` has some."""
        from cloudbeds_auth.wire.lender import Lender

        def ask(rejected: AccessToken | None) -> AccessToken:
            return self.access_token(connection_id, rejected=rejected)

        async def fetch(rejected: AccessToken | None) -> AccessToken:
            token = self._fresh(connection_id) if rejected is None else None
            if token is not None:
                return token
            return await self._there(lambda vault: vault.access_token(connection_id, rejected=rejected))

        async def turn() -> None:
            await self._there(lambda vault: vault.turn(connection_id))

        async def heed_pause(pause: float) -> None:
            with suppress(VaultClosed):  # as `facade.TokenVault.heed_pause`
                await self._there(lambda vault: vault.heed_pause(connection_id, pause))

        def heed_pause_blocking(pause: float) -> None:
            with suppress(VaultClosed):
                self._wait(lambda vault: vault.heed_pause(connection_id, pause))

        def note(*call: Any) -> None:
            with suppress(VaultClosed):
                self._now().vault.note_call(*call)

        def heed(*refused: Any) -> None:
            with suppress(VaultClosed):
                self._now().vault.heed(*refused)

        lender = Lender(
            fetch,
            ask,
            note,
            lambda token: self._now().vault.carrying(token),
            heed,
            newest=lambda token: self._now().vault.newest(connection_id, token),
            heed_pause=heed_pause,
            heed_pause_blocking=heed_pause_blocking,
            keys=self._now().vault.settings.credential_header,
        )
        if self._settings.limit is None:
            return lender
        return replace(lender, turn=turn, turn_blocking=lambda: self.turn(connection_id))

    def turn(self, connection_id: str) -> None:
        """Wait for this hotel's next turn at the vendor, at most 5 seconds; `lender()` does it for every request."""
        self._wait(lambda vault: vault.turn(connection_id))

    def call(self, connection_id: str, method: str, path: str, **parts: Any) -> httpx2.Response:
        """One protected call, healed: to a path, a full address at the vendor, or a bare method name.

        Raises ForeignOrigin, UpstreamFailed, OutcomeUnknown, and as `access_token` does.
        """
        return self._wait(lambda vault: vault.call(connection_id, method, path, **parts))

    def resolve(self, connection_or_property: str) -> str:
        """The id of the connection with this id, or covering this property id."""
        return self._wait(lambda vault: vault.resolve(connection_or_property))

    def connection(self, connection_id: str) -> Connection:
        """One connection."""
        return self._wait(lambda vault: vault.connection(connection_id))

    def connections(
        self,
        *,
        state: str | None = None,
        reference: str | None = None,
        property_id: str | None = None,
        app: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
        lacking_scopes: bool = False,
    ) -> Page:
        """One page of connections, newest first; with `lacking_scopes` those that have to approve again for a scope."""
        return self._wait(
            lambda vault: vault.connections(
                state=state, reference=reference, property_id=property_id, app=app, cursor=cursor, limit=limit,
                lacking_scopes=lacking_scopes,
            )
        )  # fmt: skip

    def missing_scopes(self, connection_id: str) -> tuple[str, ...]:
        """What the app asks for now and this hotel did not grant."""
        return self._wait(lambda vault: vault.missing_scopes(connection_id))

    def events(self, connection_id: str, cursor: str | None = None, limit: int = 100) -> Sequence[Event]:
        """The connection's history, newest first; `.cursor` of the last one goes on where these end."""
        return self._wait(lambda vault: vault.events(connection_id, cursor, limit))

    def import_hotel(self, hotel: Handover) -> Imported:
        """Take a hotel over from another program, or go on with it."""
        return self._wait(lambda vault: vault.import_hotel(hotel))

    def refresh(self, connection_id: str) -> Connection:
        """Refresh now, as an operator may."""
        return self._wait(lambda vault: vault.refresh(connection_id))

    def migrate_to_api_key(self, connection_id: str, *, app: str | None = None) -> Connection:
        """Move a hotel from OAuth to an API key, without a new approval; a move that was cut off goes on.

        Raises as `cloudbeds_auth.TokenVault.migrate_to_api_key`.
        """
        return self._wait(lambda vault: vault.migrate_to_api_key(connection_id, app=app))

    def disconnect(self, connection_id: str, forget: bool = False) -> Connection:
        """Tell the vendor, then forget the tokens."""
        return self._wait(lambda vault: vault.disconnect(connection_id, forget))

    def forget(self, connection_id: str) -> Connection:
        """Delete who approved, and what is left, of a hotel that is disconnected."""
        return self._wait(lambda vault: vault.forget(connection_id))

    def check(self) -> None:
        """Whether the database can be written and the keys open it."""
        self._wait(lambda vault: vault.check())


class Apps:
    """As `cloudbeds_auth.TokenVault.apps`, blocking."""

    def __init__(self, vault: TokenVault) -> None:
        self._vault = vault

    def list(self) -> Sequence[App]:
        """The settings' own, then the further ones by name."""
        return self._vault._wait(lambda vault: vault.apps.list())

    def get(self, name: str) -> App:
        """One of them; raises InvalidRequest when there is none of this name."""
        return self._vault._wait(lambda vault: vault.apps.get(name))

    def add(
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
        """Register another client id. Raises InvalidRequest, StoreUnavailable."""
        return self._vault._wait(
            lambda vault: vault.apps.add(
                name, client_id=client_id, client_secret=client_secret, level=level, redirect_uri=redirect_uri,
                scopes=scopes, credential=credential,
            )
        )  # fmt: skip

    def rotate_secret(self, name: str, client_secret: Secret | str) -> App:
        """The secret after a reset; the one until now stays valid beside it."""
        return self._vault._wait(lambda vault: vault.apps.rotate_secret(name, client_secret))

    def drop_previous_secret(self, name: str) -> App:
        """Forget the secret before the last reset."""
        return self._vault._wait(lambda vault: vault.apps.drop_previous_secret(name))

    def foreign(self) -> Sequence[Foreign]:
        """What may not be used with the settings as they are: it came from another origin or client id."""
        return self._vault._wait(lambda vault: vault.apps.foreign())

    def move_origin(self, name: str, former: str, *, actor: str = "operator") -> int:
        """The vendor moved from `former` to the origin that the settings name; how many grants were moved."""
        return self._vault._wait(lambda vault: vault.apps.move_origin(name, former, actor=actor))

    def remove(self, name: str) -> None:
        """Forget a registration; raises InvalidRequest while connections live by it."""
        self._vault._wait(lambda vault: vault.apps.remove(name))
