"""`TokenVault`: the whole library in one object, for asyncio. `cloudbeds_auth.sync` is the same for blocking code.

This module imports only the rules; everything else is imported when a vault is opened.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from cloudbeds_auth.errors import VaultClosed
from cloudbeds_auth.rules.audit import AuditEntry
from cloudbeds_auth.rules.imports import Handover, Imported
from cloudbeds_auth.rules.inputs import Search
from cloudbeds_auth.rules.links import LinkRequest
from cloudbeds_auth.rules.model import AccessToken, AuthorizationRequest, Connection, Event, Finished, Link, Page
from cloudbeds_auth.rules.secret import Secret

if TYPE_CHECKING:
    import httpx2

    from cloudbeds_auth.engine.apps import Apps
    from cloudbeds_auth.engine.caller_keys import CallerKeys
    from cloudbeds_auth.ports import Observer
    from cloudbeds_auth.rules.api_errors import Refusal
    from cloudbeds_auth.runtime import OpenEngine
    from cloudbeds_auth.settings import Settings
    from cloudbeds_auth.transactions.outbox import Outbox
    from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth
    from cloudbeds_auth.wire.lender import Lender


class TokenVault:
    """Hotels' tokens: exchanged, sealed, refreshed and lent out.

        async with TokenVault.open() as vault:
            token = await vault.access_token(connection_id)

    Wherever a method takes a `connection_id`, a property id may be given: connection ids begin with `con_`, anything
    else is a property id and stands for the one current connection that covers it. If there is none,
    UnknownConnection is raised; if there are several, AmbiguousProperty.

    Methods raise only subclasses of `cloudbeds_auth.Error`, whose `diagnosis()` says what to do. After `aclose` every
    method raises VaultClosed. One still under way may raise it, too, but the refresh, exchange or commit that it began
    is finished. A `call` under way is cut off: it raises OutcomeUnknown, or UpstreamFailed if it only reads, and
    VaultClosed if not all of its body had been sent.
    """

    def __init__(self, engine: OpenEngine) -> None:
        self._open: OpenEngine | None = engine
        self._settings = engine.settings
        self._http: httpx2.AsyncClient | None = None

    @staticmethod
    @asynccontextmanager
    async def open(
        settings: Settings | None = None,
        *,
        observers: Sequence[Observer] = (),
        reread: Callable[[], Settings] | None = None,
        upkeep: bool = False,
    ) -> AsyncIterator[TokenVault]:
        """Open the vault; without `settings`, they are read from the environment and `.env` (`Settings.load`).

        `reread` is called to get the settings again when the client secret is refused; by default it reads the
        environment, if the settings came from there.

        `upkeep`: while the vault is open, grants are refreshed before they expire and idle ones are kept alive. Set it
        in every long-running program, even if another sets it, too. Without it a grant is refreshed when a caller asks.

        On exit, a running refresh finishes and commits before the database closes. Raises ConfigurationError.
        """
        from cloudbeds_auth.runtime import build

        engine = await build(settings, observers, reread)
        vault = TokenVault(engine)
        engine.jobs.start(upkeep=upkeep)
        try:
            yield vault
        finally:
            await vault.aclose()

    @staticmethod
    def from_environment(*, observers: Sequence[Observer] = (), upkeep: bool = False) -> TokenVault:
        """A vault for a module-level variable: it lives as long as the program. Settings: the environment and `.env`.

        Any event loops may use it, in turn or at the same time. It is opened at its first use, and opened anew in a
        child process after `fork()`. It need not be closed: at exit the program waits for a response under way, and
        five seconds more for it to be committed. Raises ConfigurationError.
        """
        from cloudbeds_auth.program_vault import ProgramVault

        return ProgramVault(None, observers=observers, upkeep=upkeep)

    async def aclose(self) -> None:
        """Let refreshes and exchanges finish and commit, cut off each `call`, close. A cancelled caller waits, too."""
        from cloudbeds_auth.engine.tasks import to_its_end

        engine, self._open = self._open, None
        if engine is not None:
            await to_its_end(self._close(engine))

    async def _close(self, engine: OpenEngine) -> None:
        await engine.drain()
        if self._http is not None:
            await self._http.aclose()
        await engine.close()

    @property
    def engine(self) -> OpenEngine:
        """The internal parts, for the service and the command line. Raises VaultClosed, as every method does."""
        if self._open is None:
            raise VaultClosed
        return self._open

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self._settings

    @property
    def base_url(self) -> str:
        """Scheme and host of the vendor: the only origin that `auth` sends a credential to."""
        return self._settings.base_url

    @property
    def admin_token(self) -> Secret:
        """The service's admin token."""
        return self.engine.admin_token

    @property
    def apps(self) -> Apps:
        """Registrations at Cloudbeds: the one in the settings, and any added here."""
        return self.engine.apps

    @property
    def keys(self) -> CallerKeys:
        """API keys for callers of the service."""
        return self.engine.keys

    # --- how hotels come in: approvals, links, the Marketplace, another program

    async def begin_authorization(
        self,
        *,
        reference: str | None = None,
        return_to: str | None = None,
        app: str | None = None,
        connection_id: str | None = None,
        browser: str | None = None,
        trusted: bool = True,
        expected_properties: Collection[str] = (),
        code_challenge: str | None = None,
    ) -> AuthorizationRequest:
        """Begin an approval (RFC 6749 section 4.1.1): send the hotel to `.url` within ten minutes.

        `reference` is your own id for the hotel; `app` is the registration that the hotel approves: by default the
        connection's own, else the default app. Pass `trusted=False` if the reference comes from a URL that anyone could
        have written: it is then used only if the hotel has no reference yet.

        `browser`: an unguessable value that you keep in this browser's session and pass to `finish_authorization`
        again. Without it anyone who has the URL can finish the approval, and can connect their own hotel in another
        user's session (RFC 6749 section 10.12): omit it only if no browser comes back to you, as on a command line.

        `return_to`: where the browser goes afterwards, a path or an absolute URL of an origin in
        CLOUDBEDS_AUTH_RETURN_ORIGINS; `finish` returns it. Raises InvalidReturnTo for any other, InvalidRequest, and
        RateLimited while too many approvals are unfinished.

        `expected_properties`: Cloudbeds has to name one of them, else the approval is set aside (PropertyMismatch).
        `code_challenge`: the SHA-256 of a secret; that secret is the `code_verifier` needed to finish or claim the
        approval (RFC 7636, S256).
        """
        engine = self.engine
        found = await engine.ids.find(connection_id)
        return await engine.authorizer.begin(
            app=app, reference=reference, return_to=return_to, connection_id=found, browser=browser, trusted=trusted,
            expected_properties=expected_properties, code_challenge=code_challenge,
        )  # fmt: skip

    async def finish_authorization(
        self, *, code: str, state: str, browser: str | None = None, code_verifier: str | None = None
    ) -> Connection:
        """Exchange the returned code once (RFC 6749 section 4.1.3), and return the resulting connection.

        `browser`: what `begin_authorization` was given, a value or None. Anything else raises StateMismatch and nothing
        is exchanged: the browser that began may still finish. A wrong `code_verifier` does the same; if a required one
        is missing, the connection is parked until `claim` supplies it.
        Also raises AuthorizationExpired, ClientRefused, TokenEndpointUnavailable, PropertyMismatch if a hotel approved
        that was not expected, and RefreshInDoubt until Cloudbeds says which hotel approved.
        """
        return (await self.finish(code=code, state=state, browser=browser, code_verifier=code_verifier)).connection

    async def finish(
        self, *, code: str, state: str, browser: str | None = None, code_verifier: str | None = None
    ) -> Finished:
        """As `finish_authorization`; also returns the `return_to` that the approval began with."""
        engine = self.engine
        finished = await engine.authorizer.finish(code=code, state=state, browser=browser, code_verifier=code_verifier)
        return Finished(await engine.views.shown(finished.connection.id), finished.return_to)

    async def arrive(self, *, code: str, app: str = "default") -> Connection:
        """Accept an approval that began in Cloudbeds' Marketplace: its browser brings a code, but no state of ours.

        The code is exchanged and the grant is parked: no caller can use it until `claim`; it is deleted after a day.
        """
        arrived = await self.engine.authorizer.arrive(code=code, app=app)
        return await self.engine.views.shown(arrived.connection.id)

    async def claim(
        self, connection_id: str, reference: str | None = None, *, code_verifier: str | None = None
    ) -> Connection:
        """Claim the grant parked in this connection; `reference` is your own id for the hotel, `code_verifier` the
        secret whose hash the approval began with. Returns the connection that the grant now belongs to: the hotel's
        existing one, else this one.
        """
        engine = self.engine
        home = await engine.authorizer.claim(await engine.ids.find(connection_id), reference, code_verifier)
        return await engine.views.shown(home)

    async def deny(self, *, state: str, browser: str | None = None) -> str | None:
        """The hotel denied the approval: use up the state. Returns the `return_to` that the approval began with."""
        return await self.engine.authorizer.deny(state=state, browser=browser)

    async def create_link(
        self,
        *,
        app: str | None = None,
        reference: str | None = None,
        return_to: str | None = None,
        connection_id: str | None = None,
        expires_in: float = 7 * 86400.0,
        expected_properties: Collection[str] = (),
        code_challenge: str | None = None,
    ) -> Link:
        """A link for a hotel, valid for one connection and `expires_in` seconds. Its `url` is a page with a button that
        begins the approval. Otherwise as `begin_authorization`. Raises InvalidRequest and InvalidReturnTo.
        """
        engine = self.engine
        return await engine.authorizer.create_link(
            app=app, reference=reference, return_to=return_to, expires_in=expires_in, code_challenge=code_challenge,
            connection_id=await engine.ids.find(connection_id), expected_properties=expected_properties,
        )  # fmt: skip

    async def read_link(self, token: str) -> LinkRequest:
        """What a link asks for, to show before `begin_from_link`. Writes nothing; raises as `begin_from_link`."""
        return await self.engine.authorizer.read_link(token)

    async def begin_from_link(self, token: str, *, browser: str | None = None) -> AuthorizationRequest:
        """Begin the approval of a link from a page of your own: `token` is `Link.token`, the end of the link's URL.

        Pass `browser`, as for `begin_authorization`. A link may be begun again until it has led to a connection.
        Raises AuthorizationExpired for a link that is used, expired or unknown, and RateLimited.
        """
        return await self.engine.authorizer.begin_from_link(token, browser)

    async def link_outcome(self, token: str) -> str | None:
        """The id of the connection that this one-time link led to, for a day once its tokens are stored; None before.
        Raises PropertyMismatch if the last approval was by a hotel that was not expected: the link remains valid.
        """
        return await self.engine.authorizer.link_outcome(token)

    async def import_hotel(self, hotel: Handover) -> Imported:
        """Take a hotel over from another program: its token is stored, refreshed once, and seen to work.

        A second import of the same token resumes the first; a token that was renewed is never sent again. The other
        program must stop refreshing. Raises InvalidRequest, ClientRefused, StoreReadOnly and StoreUnavailable; a
        failure of this hotel alone is not raised but returned as its outcome.
        """
        return await self.engine.importer.bring_in(hotel)

    async def add_api_key(
        self, api_key: str | Secret, *, app: str | None = None, reference: str | None = None,
        connection_id: str | None = None, expected_properties: Collection[str] = (),
    ) -> Connection:  # fmt: skip
        """Add an API key (`cbat_…`) that a hotel created at Cloudbeds itself; returns its connection, ready for use.

        A hotel that is connected keeps its connection id; its OAuth tokens are never refreshed again. Cloudbeds has to
        name a property of `connection_id`, of `expected_properties`, or else of a connection with this `reference`.

        Raises KeyRefused, PropertyMismatch, InvalidRequest, and subclasses of TryAgain; nothing is stored then.
        """
        engine, api_key = self.engine, api_key if isinstance(api_key, Secret) else Secret(api_key)
        found = await engine.pasted_keys.add(
            api_key, app=app, reference=reference, connection_id=await engine.ids.find(connection_id),
            expected_properties=expected_properties,
        )  # fmt: skip
        return await engine.views.shown(found)

    # --- tokens lent out, and calls made with them

    async def access_token(
        self, connection_id: str, min_valid: float = 60.0, rejected: AccessToken | int | None = None
    ) -> AccessToken:
        """A token that is valid for at least `min_valid` more seconds; waits for a refresh if one is needed.

        A value above half the token's lifetime counts as half (over HTTP it is refused). A token just received is
        returned whatever its lifetime. Raises InvalidRequest if `min_valid` is not a number of seconds.

        `rejected` is the token (or its generation) that an endpoint answered with 401. If the same generation is
        returned, it was proven good: the endpoint itself refuses. Raises UnknownConnection, ReauthorizationRequired,
        ConnectionDisconnected, ClientRefused, and a subclass of TryAgain if a later call can succeed.
        """
        if rejected is None and (token := self.cached(connection_id, min_valid)) is not None:
            return token
        engine = self.engine
        found = await engine.ids.find_to_call(connection_id)
        return await engine.views.explained(engine.access.access_token(found, min_valid, rejected))

    def cached(
        self, connection_id: str, min_valid: float = 60.0, rejected: AccessToken | int | None = None
    ) -> AccessToken | None:
        """The fresh token in this process's memory; None if there is none, or if `rejected` is given. Never waits; may
        be called from any thread. A property id finds it only if its connection was read within the last minute.
        """
        engine = self._open or self.engine  # the property alone takes a tenth of the look-up
        return engine.access.cached(connection_id, min_valid) if rejected is None else None

    def newest(self, connection_id: str, token: AccessToken) -> AccessToken:
        """The token that arrived while a request with `token` waited for its turn, else `token`. From any thread."""
        return self.cached(connection_id, 0.0) or token

    def auth(self, connection_id: str) -> CloudbedsAuth:
        """`auth=` for `httpx2.AsyncClient`, and for `httpx2.Client` in a thread other than this vault's.

        The credential is added only for the origin of `base_url`; a request to any other raises ForeignOrigin unsent.
        """
        from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth

        return CloudbedsAuth(self.base_url, self.lender(connection_id), replay_limit=self.settings.replay_limit)

    def lender(self, connection_id: str) -> Lender:
        """What an adapter for another HTTP library is built on; `cloudbeds_auth.contrib` has several."""
        from cloudbeds_auth.rules.proxy_policy import property_of
        from cloudbeds_auth.wire.lender import Lender, blocking

        fetch, cached = partial(self.access_token, connection_id, 60.0), partial(self.cached, connection_id, 60.0)
        turn, note_pause = partial(self.turn, connection_id), partial(self.note_pause, connection_id)
        settings, loop = self.settings, self.engine.loop
        lender = Lender(
            fetch, blocking(loop, fetch, cached), self.note_call, self.carrying, self.note_refusal,
            note_pause=note_pause, note_pause_blocking=blocking(loop, note_pause),
            newest=partial(self.newest, connection_id), keys=settings.credential_header,
            property_id=property_of(connection_id),
        )  # fmt: skip
        limited = settings.limit is not None
        return replace(lender, turn=turn, turn_blocking=blocking(loop, turn)) if limited else lender

    async def call(self, /, connection_id: str, method: str, path: str, **parts: Any) -> httpx2.Response:
        """One protected call, with 401s healed; `parts` are httpx2's `params`, `data`, `json`, `files`, `headers` and
        `content`. Asynchronous `content` is read on the vault's loop, which is not the caller's if the vault is from
        `from_environment`. Content that blocks, a file or another iterable, is read on a thread of its own.
        `path` is a path, a full URL at the vendor, or a bare method name: `userinfo` is `/api/v1.3/userinfo`. Redirects
        are returned, never followed.
        Raises ForeignOrigin before anything is sent elsewhere; UpstreamFailed if nothing was sent, or if a GET, HEAD or
        OPTIONS got no response; OutcomeUnknown if any other method got none; and what `access_token` raises.
        """
        from cloudbeds_auth.wire import hotel_client, http_client

        url = hotel_client.address(path, self.base_url, self.settings.api_version)
        if self._http is None:
            self._http = http_client.client(self.engine.world.timing, None, keep_alive=hotel_client.KEEP_ALIVE)
        return await hotel_client.call(self._http, self.auth(connection_id), method, url, parts)

    async def turn(self, connection_id: str, caller: str = "", patience: float = 5.0) -> None:
        """Wait for this hotel's next turn under the rate limit; it permits exactly one request with a lent token.

        `lender()` and the proxy do this for every request. `caller`: who the request is for; callers take turns, so
        that none waits behind all requests of another. Raises RateLimited after at most `patience` seconds.
        """
        engine = self.engine
        await engine.access.turn(await engine.ids.find_to_count(connection_id), caller, patience)

    async def note_pause(self, connection_id: str, pause: float) -> None:
        """A call for this hotel was answered 429: no request of its client id gets a turn for `pause` seconds.

        `lender()` and the proxy do this at every 429. `rules.rate_limit.pause_of` reads the pause from a response. The
        call has been made, so a closed vault raises nothing here, nor in `note_call` and `note_refusal`.
        """
        with suppress(VaultClosed):
            engine = self.engine
            await engine.access.note_pause(await engine.ids.find_to_count(connection_id), pause)

    def note_call(self, token: AccessToken, method: str, path: str, status: int) -> None:
        """Count a call that was sent with this token, for the connection's history. May be called from any thread."""
        if (engine := self._open) is not None:  # another thread may close it meanwhile
            engine.calls.note(token, method, path, status)

    def note_refusal(self, token: AccessToken, refusal: Refusal, method: str, path: str) -> None:
        """A call with this token was refused: update the connection's health, in the background.

        May be called from any thread. `rules.api_errors` reads a refusal from a response as it is passed on.
        """
        with suppress(VaultClosed, RuntimeError):  # RuntimeError: the loop is closed
            self.engine.loop.call_soon_threadsafe(self.engine.refused_calls.note_refusal, token, refusal, method, path)

    def carrying(self, token: AccessToken) -> AbstractContextManager[None]:
        """Hold this while sending a body that cannot be sent again: a due refresh waits for it, up to its margin.

        May be used from any thread.
        """
        return self.engine.world.streams.carrying(token)

    # --- connections: one, many, their histories

    async def resolve(self, connection_or_property: str) -> str:
        """The id of the connection with this id (it begins with `con_`), or of the one covering this property id.

        Raises UnknownConnection, and AmbiguousProperty if several current connections cover the property.
        """
        return await self.engine.ids.resolve(connection_or_property)

    async def connection(self, connection_id: str) -> Connection:
        """One connection, with a connect link if the hotel has to approve again. Raises UnknownConnection."""
        engine = self.engine
        return await engine.views.shown(await engine.ids.find(connection_id))

    async def connections(
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
        """One page of connections, newest first; `.next` is the cursor of the next page.

        `lacking_scopes`: only connections in use whose approval lacks a scope that the app now asks for, each with its
        connect link; a page may then hold fewer than `limit` although a next page exists.
        """
        views, search = self.engine.views, Search(state, reference, property_id, app, cursor, limit)
        return await (views.lacking_scopes if lacking_scopes else views.connections)(search)

    async def missing_scopes(self, connection_id: str) -> tuple[str, ...]:
        """The scopes that the app now asks for and this hotel did not grant. Raises UnknownConnection."""
        engine = self.engine
        return await engine.views.missing_scopes(await engine.ids.find(connection_id))

    async def events(self, connection_id: str, cursor: str | None = None, limit: int = 100) -> Sequence[Event]:
        """The connection's history, newest first; pass `.cursor` of the last event to get the next page."""
        engine = self.engine
        return await engine.views.events(await engine.ids.find(connection_id), cursor=cursor, limit=limit)

    async def audit(self, cursor: str | None = None, limit: int = 100) -> Sequence[AuditEntry]:
        """The audit log, newest first; pass `.id` of the last entry to get the next page. Raises InvalidRequest."""
        return await self.engine.audit.entries(cursor=cursor, limit=limit)

    async def outbox(self) -> Outbox:
        """How many webhook messages wait for delivery, since when, and how many were given up."""
        from cloudbeds_auth.transactions.outbox import read_outbox

        return await self.engine.world.db.browse(read_outbox())

    # --- what an operator asks for

    async def refresh(self, connection_id: str) -> Connection:
        """Refresh now, for operators: even if reauthorization is required."""
        engine = self.engine
        found = await engine.ids.find(connection_id)
        await engine.views.explained(engine.access.refresh_now(found))
        return await engine.views.shown(found)

    async def migrate_to_api_key(self, connection_id: str, *, app: str | None = None) -> Connection:
        """Move a hotel from OAuth to an API key, without a new approval; an interrupted move is resumed.

        `app` names the registration that may make the exchange, by default the connection's own. Once the move begins,
        the hotel's refresh tokens are never refreshed again: that would kill the key. Until the key is seen to work,
        the hotel's current access token is used. A hotel that already has a key is left as it is.

        Raises a subclass of TryAgain if a later call, or upkeep, resumes the move; MigrationRefused if nothing was
        moved; ReauthorizationRequired if Cloudbeds refuses every stored refresh token.
        """
        engine = self.engine
        found = await engine.ids.find(connection_id)
        await engine.views.explained(engine.migrator.migrate(found, app=app))
        return await engine.views.shown(found)

    async def disconnect(self, connection_id: str, forget: bool = False) -> Connection:
        """Notify the vendor, then forget the tokens; with `forget`, even if the vendor cannot be notified."""
        engine = self.engine
        found = await engine.ids.find(connection_id)
        await engine.disconnecter.disconnect(found, forget=forget)
        return await engine.views.shown(found)

    async def forget(self, connection_id: str) -> Connection:
        """Delete the approving user, every token and the record of calls of a disconnected hotel or a set-aside
        approval; the history keeps what happened. Raises UnknownConnection, and InvalidRequest while it is connected.
        """
        engine = self.engine
        found = await engine.ids.find(connection_id)
        await engine.retention.forget(found)
        return await engine.views.shown(found)

    async def check(self) -> None:
        """Check that the database is writable and that the keys open it. Raises StoreUnavailable if not."""
        await self.engine.world.db.check()

    async def store_report(self) -> Mapping[str, str]:
        """What the database reports: version, file, durability settings in effect, id of the sealing key."""
        return await self.engine.world.db.report()
