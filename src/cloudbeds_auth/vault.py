"""`TokenVault`: the whole library in one object, for asyncio. `cloudbeds_auth.sync` is the same for blocking code.

It imports the rules alone: all beneath comes with the vault that is opened.
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
    """Hotels' tokens: exchanged, sealed, refreshed, lent out.

        async with TokenVault.open() as vault:
            token = await vault.access_token(connection_id)

    Where a method takes a `connection_id`, the id of a property will do: ids of connections begin `con_`, anything else
    is a property id and means the one current connection that covers it. None raises UnknownConnection, several
    AmbiguousProperty.

    Every method raises subclasses of `cloudbeds_auth.Error` only; `diagnosis()` on them says what to do. After `aclose`
    each raises VaultClosed; a call that was under way then may raise it, too, and the work that it began is finished.
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
        """Open the vault; settings from the environment and `.env` (`Settings.load`) unless given.

        Raises ConfigurationError.

        `reread` is called for the settings again when the client secret is refused; by default it reads the
        environment, where the settings came from there.

        `upkeep`: while the vault is open, grants are refreshed before they expire and idle ones are kept alive; a
        program that runs for long sets it, also where others do. Without it a grant is refreshed when a caller asks.

        On leaving, a running refresh finishes and commits before the database closes.
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
        """A vault that lives as long as its program, for a module to have; settings from the environment and `.env`.

        Any event loop may use it, one after another or several at a time. It is opened when it is first used, and in a
        child process after `fork()` anew. Nothing has to close it: a program that ends waits for an answer under way,
        and five seconds for what is to be committed. Raises ConfigurationError.
        """
        from cloudbeds_auth.program_vault import ProgramVault

        return ProgramVault(None, observers=observers, upkeep=upkeep)

    async def aclose(self) -> None:
        """Let what runs finish and commit, then close; nothing new is begun. A cancelled caller waits, too."""
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
        """The parts beneath, for the service and the command line. Raises VaultClosed, and so does every method."""
        if self._open is None:
            raise VaultClosed
        return self._open

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
        return self.engine.admin_token

    @property
    def apps(self) -> Apps:
        """Registrations at Cloudbeds: the settings' own, and further ones that are added here."""
        return self.engine.apps

    @property
    def keys(self) -> CallerKeys:
        """Keys for callers of the service."""
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

        `reference` is your own name for the hotel; `app` the registration that the hotel approves: None is the
        connection's own, else the default one. Pass `trusted=False` where the reference comes from an address that any
        person may have made: it is taken only where the hotel has none.

        `browser`: an unguessable value that you keep in this browser's session, and give to `finish_authorization`
        again. Without it any person who holds the address may finish, also with a hotel of their own in the session of
        somebody else (RFC 6749 section 10.12): leave it out only where no browser comes back to you, as on a command
        line.

        `return_to`: where the browser goes afterwards, a path or an absolute address of an origin in
        CLOUDBEDS_AUTH_RETURN_ORIGINS; `finish` returns it. Raises InvalidReturnTo for any other, InvalidRequest, and
        RateLimited while too many approvals wait to be finished.

        `expected_properties`: Cloudbeds has to name one of them, else the approval is set aside (PropertyMismatch).
        `code_challenge`: the SHA-256 of a secret, the `code_verifier` to finish or claim it with (RFC 7636, S256).
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
        """Exchange the code that came back (RFC 6749 section 4.1.3), once; the connection it led to.

        `browser`: the value that it was begun with. Another one, none where it was begun with one, or one where it was
        begun with none raises StateMismatch, and nothing is exchanged: the browser that began may still finish. So does
        a wrong `code_verifier`; without one that is asked for, the connection is parked until `claim` brings it.
        Also raises AuthorizationExpired, ClientRefused, TokenEndpointUnavailable, PropertyMismatch where another hotel
        approved than was expected, and RefreshInDoubt until Cloudbeds says which one did.
        """
        return (await self.finish(code=code, state=state, browser=browser, code_verifier=code_verifier)).connection

    async def finish(
        self, *, code: str, state: str, browser: str | None = None, code_verifier: str | None = None
    ) -> Finished:
        """As `finish_authorization`; also returns where the browser wanted to go."""
        engine = self.engine
        finished = await engine.authorizer.finish(code=code, state=state, browser=browser, code_verifier=code_verifier)
        return Finished(await engine.views.shown(finished.connection.id), finished.return_to)

    async def arrive(self, *, code: str, app: str = "default") -> Connection:
        """The hotel began in Cloudbeds' Marketplace, so its browser brings a code and no state of ours.

        The code is exchanged, and the grant is parked: no caller can use it until `claim`; it is deleted after a day.
        """
        arrived = await self.engine.authorizer.arrive(code=code, app=app)
        return await self.engine.views.shown(arrived.connection.id)

    async def claim(
        self, connection_id: str, reference: str | None = None, *, code_verifier: str | None = None
    ) -> Connection:
        """Claim the grant that is parked there; `reference` is your own name for the hotel, `code_verifier` the secret
        of an approval that was begun with its hash. Returns the connection that it belongs to from now on: the one that
        this hotel has already, else this one.
        """
        engine = self.engine
        home = await engine.authorizer.claim(await engine.ids.find(connection_id), reference, code_verifier)
        return await engine.views.shown(home)

    async def deny(self, *, state: str, browser: str | None = None) -> str | None:
        """The hotel denied the approval: the state is spent. Returns where the browser wanted to go."""
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
        """A link for a hotel, good for one connection and `expires_in` seconds; the hotel opens its `url`, a page whose
        button begins. All else is as for `begin_authorization`. Raises InvalidRequest and InvalidReturnTo.
        """
        engine = self.engine
        return await engine.authorizer.create_link(
            app=app, reference=reference, return_to=return_to, expires_in=expires_in, code_challenge=code_challenge,
            connection_id=await engine.ids.find(connection_id), expected_properties=expected_properties,
        )  # fmt: skip

    async def read_link(self, token: str) -> LinkRequest:
        """What a link asks for: a page shows it before `begin_from_link`. Writes nothing; raises as that does."""
        return await self.engine.authorizer.read_link(token)

    async def begin_from_link(self, token: str, *, browser: str | None = None) -> AuthorizationRequest:
        """Begin what a link was made for, on a page of your own: `token` is `Link.token`, the end of its address.

        `browser` is as for `begin_authorization`: give it. A link may be begun again until it has led to a connection.
        Raises AuthorizationExpired for one that is used, over or unknown, and RateLimited.
        """
        return await self.engine.authorizer.begin_from_link(token, browser)

    async def link_outcome(self, token: str) -> str | None:
        """The id of the connection that an approval by this one-time link led to, for a day; None while none did, known
        from when its tokens are stored. Raises PropertyMismatch where another hotel approved last: the link stays good.
        """
        return await self.engine.authorizer.link_outcome(token)

    async def import_hotel(self, hotel: Handover) -> Imported:
        """Take a hotel over from another program: its token is stored, refreshed once, and seen to work.

        A second import of the same token resumes the first; a token that was renewed is never sent again. The other
        program must not refresh any more. Raises InvalidRequest, ClientRefused, StoreReadOnly and StoreUnavailable; a
        failure that concerns this hotel alone is the outcome.
        """
        return await self.engine.importer.bring_in(hotel)

    async def add_api_key(
        self, api_key: str | Secret, *, app: str | None = None, reference: str | None = None,
        connection_id: str | None = None, expected_properties: Collection[str] = (),
    ) -> Connection:  # fmt: skip
        """Take in an API key (`cbat_…`) that a hotel made at Cloudbeds by itself; its connection, which is in use.

        A hotel that is connected keeps its connection id; its OAuth tokens are never refreshed again. Cloudbeds is to
        name a property of `connection_id`, of `expected_properties`, or else of what is connected under `reference`.

        Raises KeyRefused, PropertyMismatch, InvalidRequest, and subclasses of TryAgain: nothing was stored.
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
        """A token that is valid for `min_valid` seconds yet; waits for a refresh where one is needed.

        More than half its lifetime counts as half (over HTTP it is refused). A token that has just been received is
        returned whatever its lifetime. Raises InvalidRequest for what is no number of seconds.

        `rejected` names the token (or its generation) that an endpoint answered 401 to. The same generation back means
        that it was proven good: the endpoint itself refuses. Raises UnknownConnection, ReauthorizationRequired,
        ConnectionDisconnected, ClientRefused, and a subclass of TryAgain where a later call can succeed.
        """
        if rejected is None and (token := self.cached(connection_id, min_valid)) is not None:
            return token
        engine = self.engine
        found = await engine.ids.find_to_call(connection_id)
        return await engine.views.explained(engine.access.access_token(found, min_valid, rejected))

    def cached(
        self, connection_id: str, min_valid: float = 60.0, rejected: AccessToken | int | None = None
    ) -> AccessToken | None:
        """The fresh token in this process's memory, unless one was rejected: no waiting, from any thread.

        By a property id it is found where its connection was read within a minute.
        """
        engine = self._open or self.engine  # the property alone takes a tenth of the look-up
        return engine.access.cached(connection_id, min_valid) if rejected is None else None

    def newest(self, connection_id: str, token: AccessToken) -> AccessToken:
        """A token that came while a request with `token` waited for its turn; else `token`. From any thread."""
        return self.cached(connection_id, 0.0) or token

    def auth(self, connection_id: str) -> CloudbedsAuth:
        """`auth=` for `httpx2.AsyncClient`, and for `httpx2.Client` in another thread than this vault's.

        The credential is added for `base_url`'s origin only; anything else raises ForeignOrigin before it is sent.
        """
        from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth

        return CloudbedsAuth(self.base_url, self.lender(connection_id), replay_limit=self.settings.replay_limit)

    def lender(self, connection_id: str) -> Lender:
        """What an adapter for a client of another library is made with; `cloudbeds_auth.contrib` has some."""
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
        """One protected call, healed; `parts` are httpx2's `params`, `data`, `json`, `files`, `headers`, `content`.
        An asynchronous `content` is read on the vault's loop: for a vault of `from_environment` not the caller's. What
        blocks, a file or another iterable, is read on a thread of its own.
        `path` is a path, a full address at the vendor, or a bare method name: `userinfo` is `/api/v1.3/userinfo`. A
        redirect is an answer, whatever `follow_redirects` says.
        Raises ForeignOrigin before anything is sent elsewhere; UpstreamFailed when nothing was sent, or no answer came
        to a GET, HEAD or OPTIONS; OutcomeUnknown when no answer came to another method; and as `access_token` does.
        """
        from cloudbeds_auth.wire import hotel_client, http_client

        url = hotel_client.address(path, self.base_url, self.settings.api_version)
        if self._http is None:
            self._http = http_client.client(self.engine.world.timing, None, keep_alive=hotel_client.KEEP_ALIVE)
        return await hotel_client.call(self._http, self.auth(connection_id), method, url, parts)

    async def turn(self, connection_id: str, caller: str = "", patience: float = 5.0) -> None:
        """Wait for this hotel's next turn at the vendor; then exactly one request may go with a token lent before.

        `lender()` and the proxy do this for every request. `caller`: on whose behalf; callers take turns, so that none
        waits behind all requests of another. Raises RateLimited after at most `patience` seconds.
        """
        engine = self.engine
        await engine.access.turn(await engine.ids.find_to_count(connection_id), caller, patience)

    async def note_pause(self, connection_id: str, pause: float) -> None:
        """A call for this hotel was answered 429: no request of its client id has a turn for `pause` seconds.

        `lender()` and the proxy do this at every 429. `rules.rate_limit.pause_of` reads the pause from an answer. The
        call was made, so this raises nothing when the vault was closed; nor do `note_call` and `note_refusal`.
        """
        with suppress(VaultClosed):
            engine = self.engine
            await engine.access.note_pause(await engine.ids.find_to_count(connection_id), pause)

    def note_call(self, token: AccessToken, method: str, path: str, status: int) -> None:
        """Count a call that went out with this token, for the connection's history. May be called from any thread."""
        if (engine := self._open) is not None:  # another thread may close it meanwhile
            engine.calls.note(token, method, path, status)

    def note_refusal(self, token: AccessToken, refusal: Refusal, method: str, path: str) -> None:
        """A call that was sent with this token was refused: apply that to the connection's health, in the background.

        May be called from any thread. `rules.api_errors` reads a refusal from an answer as it is passed on.
        """
        with suppress(VaultClosed, RuntimeError):  # RuntimeError: the loop is closed
            self.engine.loop.call_soon_threadsafe(self.engine.refused_calls.note_refusal, token, refusal, method, path)

    def carrying(self, token: AccessToken) -> AbstractContextManager[None]:
        """Held while a body is sent that cannot be sent again: a refresh that is due waits for it, up to its margin.

        May be used from any thread.
        """
        return self.engine.world.streams.carrying(token)

    # --- connections: one, many, their histories

    async def resolve(self, connection_or_property: str) -> str:
        """The id of the connection with this id, or covering this property id: an id that begins `con_` is one.

        Raises UnknownConnection, and AmbiguousProperty where several current connections cover the property.
        """
        return await self.engine.ids.resolve(connection_or_property)

    async def connection(self, connection_id: str) -> Connection:
        """One connection, with its connect link where the hotel has to approve again; raises UnknownConnection."""
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

        `lacking_scopes`: only those in use whose approval lacks a scope that the app asks for now, each with its
        connect link; then a page may hold fewer than there are, and have a next one.
        """
        views, search = self.engine.views, Search(state, reference, property_id, app, cursor, limit)
        return await (views.lacking_scopes if lacking_scopes else views.connections)(search)

    async def missing_scopes(self, connection_id: str) -> tuple[str, ...]:
        """What the app asks for now and this hotel did not grant; raises UnknownConnection."""
        engine = self.engine
        return await engine.views.missing_scopes(await engine.ids.find(connection_id))

    async def events(self, connection_id: str, cursor: str | None = None, limit: int = 100) -> Sequence[Event]:
        """The connection's history, newest first; `.cursor` of the last one continues where these end."""
        engine = self.engine
        return await engine.views.events(await engine.ids.find(connection_id), cursor=cursor, limit=limit)

    async def audit(self, cursor: str | None = None, limit: int = 100) -> Sequence[AuditEntry]:
        """Who did what, newest first; the `.id` of the last one continues where these end. Raises InvalidRequest."""
        return await self.engine.audit.entries(cursor=cursor, limit=limit)

    async def outbox(self) -> Outbox:
        """How many webhook messages wait to be delivered, since when, and how many were given up."""
        from cloudbeds_auth.transactions.outbox import read_outbox

        return await self.engine.world.db.browse(read_outbox())

    # --- what an operator asks for

    async def refresh(self, connection_id: str) -> Connection:
        """Refresh now, as an operator may: also where reauthorization is required."""
        engine = self.engine
        found = await engine.ids.find(connection_id)
        await engine.views.explained(engine.access.refresh_now(found))
        return await engine.views.shown(found)

    async def migrate_to_api_key(self, connection_id: str, *, app: str | None = None) -> Connection:
        """Move a hotel from OAuth to an API key, without a new approval; an interrupted move is resumed.

        `app` names the registration that may make the exchange, by default the connection's own. From its beginning on
        the hotel's refresh tokens are never refreshed again: that would kill the key. Until the key is seen to work the
        hotel is served by the access token it has. A hotel that has a key already is left as it is.

        Raises a subclass of TryAgain where a later call, or upkeep, resumes the move; MigrationRefused where
        nothing was moved; ReauthorizationRequired where Cloudbeds refuses every stored refresh token.
        """
        engine = self.engine
        found = await engine.ids.find(connection_id)
        await engine.views.explained(engine.migrator.migrate(found, app=app))
        return await engine.views.shown(found)

    async def disconnect(self, connection_id: str, forget: bool = False) -> Connection:
        """Notify the vendor, then forget the tokens; with `forget`, also where the vendor cannot be notified."""
        engine = self.engine
        found = await engine.ids.find(connection_id)
        await engine.disconnecter.disconnect(found, forget=forget)
        return await engine.views.shown(found)

    async def forget(self, connection_id: str) -> Connection:
        """Delete who approved, and what is left, of a hotel that is disconnected, or of an approval that was set
        aside; the history keeps what happened. Raises UnknownConnection, and InvalidRequest while it is connected.
        """
        engine = self.engine
        found = await engine.ids.find(connection_id)
        await engine.retention.forget(found)
        return await engine.views.shown(found)

    async def check(self) -> None:
        """Whether the database can be written and the keys open it; raises StoreUnavailable."""
        await self.engine.world.db.check()

    async def store_report(self) -> Mapping[str, str]:
        """What the database says about itself: version, file, durability as it is in effect, id of the sealing key."""
        return await self.engine.world.db.report()
