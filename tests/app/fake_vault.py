"""A vault in memory, for tests of the service: what the contract says, and nothing behind it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cloudbeds_auth.errors import (
    AmbiguousProperty,
    AuthorizationExpired,
    ClientRefused,
    Error,
    InvalidRequest,
    RefreshPending,
    StateMismatch,
    StoreUnavailable,
    TokenEndpointUnavailable,
    UnknownConnection,
)
from cloudbeds_auth.ports.observer import Fact
from cloudbeds_auth.rules.api_errors import Refusal
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.history import HistoryPlace
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import AccessToken, Begun, Connection, Event, Finished, Link
from cloudbeds_auth.rules.redirects import STATE_PREFIX
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.connections import Page
from cloudbeds_auth.transactions.outbox import Outbox

ADMIN_TOKEN = "an-admin-token-of-more-than-32-characters"
FAILURES: dict[str, type[Error]] = {
    "spent": AuthorizationExpired,
    "refused": ClientRefused,
    "lost": TokenEndpointUnavailable,
    "slow": RefreshPending,
    "other": InvalidRequest,
}
EPOCH = datetime(2026, 11, 24, 7, tzinfo=UTC)


@dataclass
class FakeSettings:
    """Settings of a service on loopback."""

    redirect_uri: str = "http://localhost:7000/callback"
    base_url: str = "http://127.0.0.1:1"
    api_version: str = "v1.3"
    host: str = "127.0.0.1"
    port: int = 0
    workers: int = 1
    public_url: str = "http://localhost:7000"
    allowed_hosts: Sequence[str] = ("127.0.0.1", "localhost", "::1")
    derived_hosts: bool = True
    trusted_proxies: Sequence[str] = ()
    return_origins: Sequence[str] = ("https://app.example",)
    open_connect: bool = True
    marketplace: str = "refuse"
    hook_secret: Secret | None = None
    hook_header: Secret | None = None
    body_limit: int = 512 * 1024
    replay_limit: int = 64 * 1024
    credential_header: str = "bearer"


class FakeClock:
    """The real clock."""

    def wall(self) -> float:
        return time.time()

    def steady(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class HandClock(FakeClock):
    """A clock that a test sets."""

    now = 1000.0

    def wall(self) -> float:
        return self.now

    def steady(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakeEntropy:
    """Real dice."""

    def token(self) -> str:
        return secrets.token_urlsafe(32)

    def identifier(self, prefix: str) -> str:
        return f"{prefix}_{secrets.token_hex(8)}"

    def unit(self) -> float:
        return 0.5


@dataclass
class FakeObserver:
    """Keeps what happened."""

    seen: list[tuple[Happening, dict[str, Fact]]] = field(default_factory=list)

    def happened(self, what: Happening, /, **facts: Fact) -> None:
        self.seen.append((what, facts))


@dataclass
class _Pending:
    browser: str | None
    app: str
    reference: str | None
    return_to: str | None
    spent: bool = False


def a_connection(identifier: str = "con_1", **changes: object) -> Connection:
    """A healthy connection of property 1000."""
    healthy = Connection(
        id=identifier,
        app="default",
        reference=None,
        state=State.FRESH,
        credential="oauth",
        property_ids=("1000",),
        authorizing_user=None,
        scopes=("read:hotel",),
        generation=1,
        connected_at=EPOCH,
        expires_at=EPOCH + timedelta(hours=8),
        refreshed_at=EPOCH,
        used_at=None,
    )
    return replace(healthy, **changes)  # type: ignore[arg-type]


@dataclass
class FakeApps:
    """`app.contracts.Apps`. `found`: redirect URIs of further apps by name; `looks`: how often they were asked for."""

    found: dict[str, str] = field(default_factory=dict)
    looks: int = 0

    async def redirect_uris(self) -> Mapping[str, str]:
        self.looks += 1
        return dict(self.found)


class FakeVault:
    """`app.contracts.Vault` in memory. `proven`: a rejected token is proven good; `failing`: raised by every token.

    `no_turn`: raised by every turn.
    """

    def __init__(self, settings: FakeSettings | None = None) -> None:
        self.settings = settings or FakeSettings()
        self.base_url = self.settings.base_url
        self.kind = "token-"  # how its access tokens begin
        self.admin_token = Secret(ADMIN_TOKEN)
        self.clock = FakeClock()
        self.entropy = FakeEntropy()
        self.observer = FakeObserver()
        self.apps = FakeApps()
        self.hotels = {"con_1": a_connection()}
        self.generation = 1
        self.proven = False
        self.failing: Error | None = None
        self.calls: list[tuple[int, str, str, int]] = []
        self.heeded: list[tuple[str, str, str]] = []
        self.pending: dict[str, _Pending] = {}
        self.links: dict[str, _Pending] = {}
        self.exchanges: list[str] = []
        self.refreshes = 0
        self.rejections = 0
        self.turns = 0
        self.no_turn: Error | None = None
        self.renewed_while_waiting = False
        self.pauses: list[tuple[str, float]] = []
        self.streams: list[int] = []
        self.streams_ended = 0
        self.refresh_gate: asyncio.Event | None = None
        self.drained = False
        self.hints: list[bytes] = []
        self.disconnected: list[tuple[str, bool]] = []
        self.ready = True
        self.checks = 0
        self.check_gate: asyncio.Event | None = None

    async def resolve(self, id_or_property: str, /) -> str:
        if id_or_property in self.hotels:
            return id_or_property
        found = [one.id for one in self.hotels.values() if id_or_property in one.property_ids]
        if len(found) > 1:
            raise AmbiguousProperty
        if not found:
            raise UnknownConnection
        return found[0]

    async def access_token(
        self, connection_id: str, /, min_valid: float = 60.0, rejected: AccessToken | int | None = None
    ) -> AccessToken:
        if self.failing is not None:
            raise self.failing
        self.rejections += rejected is not None
        named = rejected.generation if isinstance(rejected, AccessToken) else rejected
        if named == self.generation and not self.proven:
            await asyncio.shield(asyncio.ensure_future(self._refresh()))
        return self._token()

    async def lifetime(self, connection_id: str, /) -> float:
        return self._token().lifetime

    def _token(self) -> AccessToken:
        return AccessToken(
            Secret(f"{self.kind}{self.generation}"), EPOCH + timedelta(hours=8), self.generation, lifetime=28800.0
        )

    async def _refresh(self) -> None:
        if self.refresh_gate is not None:
            await self.refresh_gate.wait()
        self.generation += 1
        self.refreshes += 1

    async def turn(self, connection_id: str, /) -> None:
        self.turns += 1
        if self.no_turn is not None:
            raise self.no_turn
        if self.renewed_while_waiting:
            await self._refresh()

    def newest(self, connection_id: str, token: AccessToken, /) -> AccessToken:
        return self._token() if self.renewed_while_waiting else token

    async def heed_pause(self, connection_id: str, pause: float, /) -> None:
        self.pauses.append((connection_id, pause))

    def note_call(self, token: AccessToken, method: str, path: str, status: int, /) -> None:
        self.calls.append((token.generation, method, path, status))

    def heed(self, token: AccessToken, refusal: Refusal, method: str, path: str, /) -> None:
        self.heeded.append((refusal.reason, method, path))

    @contextmanager
    def carrying(self, token: AccessToken, /) -> Iterator[None]:
        self.streams.append(token.generation)
        yield
        self.streams_ended += 1

    async def create_link(
        self,
        *,
        app: str = "default",
        reference: str | None = None,
        return_to: str | None = None,
        connection_id: str | None = None,
        expires_in: float,
    ) -> Link:
        token = self.entropy.token()
        self.links[token] = _Pending(None, app, reference, return_to)
        return Link(token, f"{self.settings.public_url}/connect/{token}", EPOCH + timedelta(seconds=expires_in))

    async def begin_authorization(
        self,
        *,
        reference: str | None = None,
        return_to: str | None = None,
        app: str = "default",
        connection_id: str | None = None,
        browser: str | None = None,
        trusted: bool = True,
    ) -> Begun:
        if app not in {"default", *self.apps.found}:
            raise InvalidRequest(f"there is no app {app!r}")
        state = STATE_PREFIX + self.entropy.token()
        self.pending[state] = _Pending(browser, app, reference, return_to)
        url = f"{self.base_url}/api/v1.3/oauth?state={state}"
        return Begun(url, state, EPOCH + timedelta(minutes=10), self.apps.found.get(app, self.settings.redirect_uri))

    async def begin_from_link(self, token: str, browser: str, /) -> Begun:
        link = self.links.get(token)
        if link is None:
            raise AuthorizationExpired("this link is spent or too old")
        return await self.begin_authorization(
            app=link.app, reference=link.reference, return_to=link.return_to, browser=browser
        )

    def _spend(self, state: str, browser: str | None) -> _Pending:
        begun = self.pending.get(state)
        if begun is None or begun.browser != browser or begun.spent:
            raise StateMismatch
        begun.spent = True
        return begun

    async def finish(self, *, code: str, state: str, browser: str | None = None) -> Finished:
        begun = self._spend(state, browser)
        self.exchanges.append(code)
        if code in FAILURES:
            raise FAILURES[code](return_to=begun.return_to)
        self.hotels["con_new"] = a_connection("con_new", reference=begun.reference, property_ids=("2000",))
        return Finished(self.hotels["con_new"], begun.return_to)

    async def arrive(self, *, code: str, app: str = "default") -> Connection:
        self.exchanges.append(code)
        if code in FAILURES:
            raise FAILURES[code]
        self.hotels["con_parked"] = a_connection("con_parked", app=app, state=State.PARKED, property_ids=("3000",))
        return self.hotels["con_parked"]

    async def claim(self, connection_id: str, /, reference: str | None = None) -> Connection:
        self.hotels[connection_id] = replace(self.hotels[connection_id], state=State.FRESH, reference=reference)
        return self.hotels[connection_id]

    async def deny(self, *, state: str, browser: str | None = None) -> str | None:
        return self._spend(state, browser).return_to

    async def connection(self, connection_id: str, /) -> Connection:
        return self.hotels[connection_id]

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
        found = [
            one
            for one in self.hotels.values()
            if not (lacking_scopes and not await self.missing_scopes(one.id))
            and (state is None or one.state.value == state)
            and (reference is None or one.reference == reference)
            and (app is None or one.app == app)
            and (property_id is None or property_id in one.property_ids)
        ]
        return Page(tuple(found), "more" if cursor == "first" else None)

    async def missing_scopes(self, connection_id: str, /) -> tuple[str, ...]:
        return tuple({"read:hotel"} - {*self.hotels[connection_id].scopes})

    async def events(self, connection_id: str, /, cursor: str | None = None, limit: int = 100) -> Sequence[Event]:
        top = 250 if cursor is None else HistoryPlace.parse(cursor).sequence - 1
        return [
            Event(n, EPOCH, "proved", "service", "gra_1", 1, {"n": n}, HistoryPlace(n).cursor)
            for n in range(top, max(0, top - limit), -1)
        ]

    def hint(self, body: bytes, /) -> None:
        self.hints.append(body)

    async def outbox(self) -> Outbox:
        return Outbox(0, 0.0, 0, None)

    async def refresh(self, connection_id: str, /) -> Connection:
        await self._refresh()
        return replace(self.hotels[connection_id], generation=self.generation)

    async def disconnect(self, connection_id: str, /, forget: bool = False) -> Connection:
        self.disconnected.append((connection_id, forget))
        return replace(self.hotels[connection_id], state=State.DISCONNECTED)

    async def count_states(self) -> dict[State, int]:
        return {State.FRESH: len(self.hotels)}

    async def check(self) -> None:
        self.checks += 1
        if self.check_gate is not None:
            await self.check_gate.wait()
        if not self.ready:
            raise StoreUnavailable("/var/lib/secret-place is full")

    async def aclose(self) -> None:
        self.drained = True
