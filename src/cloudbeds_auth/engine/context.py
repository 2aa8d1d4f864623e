"""The ports that the engine acts through, in one object, and the reads that several parts share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from cloudbeds_auth.engine.limiters import Limiters
from cloudbeds_auth.engine.rate_limiter import RateLimiter, Shared
from cloudbeds_auth.engine.tasks import Tasks
from cloudbeds_auth.errors import (
    ClientRefused,
    InvalidRequest,
    ReauthorizationRequired,
    RefreshInDoubt,
    UnknownConnection,
)
from cloudbeds_auth.ports import Clock, Entropy, MaySend, Observer, TokenEndpoint, Vendor, Wakeups
from cloudbeds_auth.rules.api_errors import REVOKED
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.inputs import is_text
from cloudbeds_auth.rules.model import AccessToken, App, Connection, Grant
from cloudbeds_auth.rules.origins import Foreign, Source, foreign, foreign_secret
from cloudbeds_auth.rules.presentation import PASTE, remedy_of
from cloudbeds_auth.rules.rate_limit import Limit, Rate
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.rules.token_response import Answer, KeyAnswer
from cloudbeds_auth.transactions.apps import read_app, read_names
from cloudbeds_auth.transactions.authentic import altered
from cloudbeds_auth.transactions.connections import read_connection, read_current_grants, read_ids
from cloudbeds_auth.transactions.origins import read_issuer
from cloudbeds_auth.transactions.runner import Database, seals_checked

MARGIN = 4  # leases: upkeep reads a grant again after two and its pause, and one refresh takes up to one


class Streams:
    """Bodies being sent that cannot be sent again, by grant: a due refresh waits for them, up to its margin (rule-10).

    A refresh kills the access token at once. A call whose body is kept can then be sent again; one whose body streams
    through would fail, and a refresh that no caller waits for can just as well come a little later.
    `carrying` may be used from any thread. It takes no lock: the garbage collector may end a context at any moment,
    even while the same thread enters another.
    """

    def __init__(self) -> None:
        self._under_way: dict[object, str] = {}

    @contextmanager
    def carrying(self, token: AccessToken) -> Iterator[None]:
        """A context for as long as such a body is sent with this token, until its answer has come."""
        mark = object()
        self._under_way[mark] = token.grant_id
        try:
            yield
        finally:
            del self._under_way[mark]

    def put_off(self, row: Grant, timing: Timing) -> bool:
        """Whether a due refresh of this grant should wait: this process streams, and there is time for it later."""
        return row.id in list(self._under_way.values()) and row.valid_for > MARGIN * timing.lease


LONGEST_ID = 64  # characters of an id that are shown


def unknown(named: str) -> UnknownConnection:
    """The error for an id without a connection; it repeats only what may be shown of the id."""
    connection_id = named if named.startswith("con_") and named.isascii() and len(named) <= LONGEST_ID else None
    return UnknownConnection(f"nothing is connected under {named[:LONGEST_ID]!r}", connection_id=connection_id)


async def resolve(db: Database, connection_or_property: str) -> Sequence[str]:
    """The ids of the current connections that have this connection id, or cover this property id."""
    return await db.read_one(read_ids, connection_or_property) or []


async def current_grant(db: Database, connection_id: str) -> Grant | None:
    """The connection's active grant, else its newest candidate, else a disconnected grant; None: unknown."""
    found = await db.read_one(read_current_grants, connection_id)
    if found is None:
        return None
    with seals_checked():
        return found()


NAMES = "`cloudbeds-auth apps` lists the known ones"
REPORT_AGAIN = 60.0  # seconds until foreign credentials, or altered rows, are reported again


class OfApp(Protocol):
    """A record that names the app it came by."""

    @property
    def app(self) -> str: ...  # noqa: D102 - the name of the registration


SET_CLIENT = (
    "connect the hotel with an API key (`cloudbeds-auth connections add-key`); where hotels are to approve, the "
    "operator sets CLOUDBEDS_CLIENT_ID and CLOUDBEDS_CLIENT_SECRET, and restarts"
)


def refused_for_good(row: Grant, detail: str = "") -> ReauthorizationRequired:
    """The error for a grant whose stored credentials Cloudbeds refuses altogether, with the remedy."""
    if not row.pasted:
        return ReauthorizationRequired(detail, connection_id=row.connection_id)
    detail = f"Cloudbeds refuses this hotel's API key ({row.reauth or REVOKED})"
    return ReauthorizationRequired(detail, connection_id=row.connection_id, next_step=PASTE)


def of_key(app: App, name: str) -> App:
    """The registration whose rate a pasted API key counts against: the hotel's own, whose client id is unknown. `name`
    stands for it where calls are counted (cloudbeds-facts.md section 6: a rate for each, and no app states).
    """
    return replace(app, client_id=name, secrets=(), level="property")


@dataclass(frozen=True, slots=True)
class World:
    """Everything outside the rules.

    `owner` names this process in leases; `issuer` is the vendor's origin, to which everything is sent; `public_url` is
    the address of the service; `return_origins` are those that a `return_to` may name. `apps` are the registrations in
    the settings; `reread_apps` reloads them, as an operator may have corrected the settings meanwhile. Further apps
    are kept in the store and read whenever they are needed, so a change there applies at once in every process.
    `limit`: the vendor's rate for each client id, over all processes; None: not applied; `limits`: those of further
    apps, by level. `wakeups`: how commits of other processes are noticed; None: the row is polled. `streams`,
    `limiters` and `tasks` are this process's own; a process that ends waits for these tasks.
    """

    clock: Clock
    entropy: Entropy
    db: Database
    token_endpoint: TokenEndpoint
    vendor: Vendor
    observer: Observer
    timing: Timing
    apps: Mapping[str, App]
    owner: str
    issuer: str
    public_url: str = ""
    return_origins: Sequence[str] = ()
    reread_apps: Callable[[], None] = lambda: None
    limit: Limit | None = None
    limits: Mapping[str, Limit | None] = field(default_factory=dict)
    wakeups: Wakeups | None = None
    streams: Streams = field(default_factory=Streams)
    tasks: Tasks = field(default_factory=Tasks)
    limiters: Limiters = field(default_factory=Limiters, init=False)
    reported: dict[Foreign | str, float] = field(default_factory=dict, init=False)

    async def find(self, name: str) -> App | None:
        """The registration of this name, if there is one: the settings' own, else the store's."""
        own = self.apps.get(name)
        return await self.db.read(read_app(name)) if own is None and is_text(name) else own

    async def names_of(self, client_ids: Iterable[str]) -> Mapping[str, str]:
        """The names of the registrations with these client ids, by client id; unknown client ids are left out."""
        wanted, own = set(client_ids), {app.client_id: name for name, app in self.apps.items()}
        further = wanted - own.keys()
        found = await self.db.read(read_names(sorted(further))) if further else {}
        return {**found, **{one: own[one] for one in wanted & own.keys()}}

    async def app(self, name: str) -> App:
        """The registration of this name; raises InvalidRequest when there is none."""
        found = await self.find(name)
        if found is None:
            raise InvalidRequest(f"there is no app named {name[:64]!r}", next_step=NAMES)
        return found

    async def app_of(self, row: OfApp) -> App:
        """The registration that a grant or a connection came by, whose rate its calls count against. Raises
        ClientRefused when the registration is gone; for a grant, also as `must_match`.
        """
        found = await self._registered(row)
        if isinstance(row, Grant):
            self.must_match(row, found)
        match row:
            case Grant(pasted=True, connection_id=home) | Connection(pasted=True, id=home):
                return of_key(found, home)
        return found

    async def _registered(self, row: OfApp) -> App:
        found = await self.find(row.app)
        if found is None:
            raise ClientRefused(f"the app {row.app!r} is no longer registered here", next_step=remedy_of(row.app))
        return found

    def must_match(self, row: Grant, app: App | None) -> None:
        """To be called before anything of a grant is sent or lent: raises ClientRefused if the grant was issued by an
        origin other than this process's, or to a client id other than that of `app` (rule-11), and as
        `must_be_genuine`. Without an app the client id is not compared.
        """
        self.must_be_genuine(row)
        found = self.foreign(row.app, row.source, app)
        if found is not None:
            self._report(row.app, found)
            raise ClientRefused(
                f"this hotel's {found.what}: nothing of them is sent",
                connection_id=row.connection_id,
                next_step=found.next_step,
            )

    def must_be_genuine(self, row: Grant) -> None:
        """Raises ClientRefused where what links a connection to this grant was altered behind the service (A76)."""
        if not row.genuine:
            if self._is_news(row.connection_id):
                self.observer.happened(Happening.LINK_ALTERED, connection_id=row.connection_id)
            raise altered(row.connection_id)

    def foreign(self, name: str, source: Source, app: App | None) -> Foreign | None:
        """Why credentials that came from `source` by the app of this name may not be used here; None: they may."""
        here = Source(self.issuer, None if app is None else app.client_id)
        return foreign(source, here, name, own=name in self.apps)

    async def must_be_bound_here(self, app: App) -> None:
        """To be called before a client secret is sent or an approval begun: raises ClientRefused if there is no client
        id, or if the secret belongs to another origin than this process's.
        """
        if not app.client_id:
            raise ClientRefused("no client id is set: hotels connect with API keys alone here", next_step=SET_CLIENT)
        found = foreign_secret(await self.db.read(read_issuer(app.id)), self.issuer, app.id)
        if found is not None:
            self._report(app.id, found)
            raise ClientRefused(f"{found.what}: it is not sent", next_step=found.next_step)

    def _report(self, app: str, found: Foreign) -> None:
        """Report it to the observer, once a minute for a whole fleet."""
        if self._is_news(found):
            self.observer.happened(Happening.SOURCE_REFUSED, app=app, why=found.what)

    def _is_news(self, found: Foreign | str) -> bool:
        """Whether this was not reported within the last minute."""
        now = self.clock.steady()
        if self.reported.get(found, -REPORT_AGAIN) + REPORT_AGAIN > now:
            return False
        self.reported[found] = now
        return True

    def source(self, app: App) -> Source:
        """The source of what this process receives under this registration."""
        return Source(self.issuer, app.client_id)

    async def app_for(self, name: str | None, connection_id: str | None) -> App:
        """The registration that a hotel approves; a connection keeps its own, to whose client its tokens belong.

        Raises InvalidRequest, UnknownConnection, and ClientRefused if the registration is gone.
        """
        if connection_id is None:
            return await self.app(name or "default")
        known = await self.known(connection_id)
        if name not in {None, known.app}:
            raise InvalidRequest(f"this connection is one of the app {known.app!r}", connection_id=connection_id)
        return await self._registered(known)

    async def known(self, connection_id: str) -> Connection:
        """The connection; raises UnknownConnection."""
        found = await self.db.read(read_connection(connection_id))
        if found is None:
            raise unknown(connection_id)
        return found

    @property
    def limited(self) -> bool:
        """Whether a rate limit applies to any app."""
        return self.limit is not None or any(self.limits.values())

    def limiter(self, app: App) -> RateLimiter:
        """The limiter that gives turns in this process to requests of this app's client id."""
        return self._limiter(app.id, app.client_id, lambda: self.limit_of(app))

    def limit_of(self, app: App) -> Limit | None:
        """The vendor's rate for this app's client id; None: it is not applied."""
        own = self.apps.get(app.id)  # of the same level, unless it is for a pasted key
        same = own is not None and own.level == app.level
        return self.limit if same else self.limits.get(app.level, self.limit)

    def key_limiter(self, key_id: str, rate: Rate) -> RateLimiter:
        """The limiter in this process of a caller's key that has a rate of its own."""
        return self._limiter("", key_id, lambda: Limit(rate))  # no app has this name

    def _limiter(self, app: str, client_id: str, limit: Callable[[], Limit | None]) -> RateLimiter:
        def make(shared: Shared) -> RateLimiter:
            name = app or client_id
            return RateLimiter(self.db, self.clock, self.observer, shared, limit(), app=name, client_id=client_id)

        return self.limiters.of((app, client_id), make)

    def link_url(self, token: str) -> str:
        """The address of a connect link."""
        return f"{self.public_url.rstrip('/')}/connect/{token}"

    def key_url(self, token: str) -> str:
        """The address of the page where a hotel pastes its API key, by a connect link's token."""
        return f"{self.public_url.rstrip('/')}/paste-key/{token}"

    def app_url(self, token: str) -> str:
        """The address of the page where a hotel enters client id and secret of an app of its own."""
        return f"{self.public_url.rstrip('/')}/add-app/{token}"

    def sign_in_url(self, code: str) -> str:
        """The address of a sign-in link: browsers send no fragment, so no log on the way contains the code."""
        return f"{self.public_url.rstrip('/')}/sign-in#{code}"

    def claim_url(self, connection_id: str) -> str:
        """The address where an approval from the Marketplace is claimed."""
        return f"{self.public_url.rstrip('/')}/claim/{connection_id}"

    def in_time(self) -> MaySend:
        """Whether a request begun now may still be sent later (rule-7): if its first byte has not left within the
        `deadline` of a whole request, this process stood still. The steady clock runs while the machine sleeps.
        """
        began = self.clock.steady()
        return lambda: self.clock.steady() - began < self.timing.deadline

    def report_answer(
        self, grant_type: str, answer: Answer | KeyAnswer, begun: float, connection_id: str | None = None
    ) -> None:
        """Report to the observer how the token endpoint answered, and after how many seconds since `begun`. For an
        approval there is no connection yet.
        """
        seconds, kind = self.clock.steady() - begun, type(answer).__name__
        self.observer.happened(
            Happening.TOKEN_ANSWER, connection_id=connection_id, grant_type=grant_type, answer=kind, seconds=seconds
        )


def still_works(world: World, row: Grant) -> RefreshInDoubt:
    """The error where the token works and an earlier attempt may still arrive: nothing is sent beside it (rule-3)."""
    timing = world.timing
    return RefreshInDoubt(
        "the token works, and an earlier attempt to renew it is still open: nothing was sent",
        connection_id=row.connection_id,
        retry_after=max(timing.backoff_first, timing.unresolved - (row.unresolved_age or 0.0)),
    )
