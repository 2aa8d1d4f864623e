"""The real vault over a file of its own, with a scripted vendor, which remembers what the service asked of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from secrets import token_hex
from shutil import rmtree
from tempfile import gettempdir
from typing import Any

import apsw
from tests.support.template import begin_with_schema

from cloudbeds_auth.database.opening import host_clock
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.database.sqlite import SqliteDriver
from cloudbeds_auth.engine.apps import Apps
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.errors import (
    AuthorizationExpired,
    ClientRefused,
    Error,
    InvalidRequest,
    RefreshPending,
    StoreUnavailable,
    TokenEndpointUnavailable,
)
from cloudbeds_auth.ports import AppState, Fact, Listed, MaySend, Turn
from cloudbeds_auth.rules.api_errors import DeadToken, Proof, Refusal, Verdict
from cloudbeds_auth.rules.model import AccessToken, App, Connection, CredentialKind, Finished, Link, Pair, User
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Answer, Issued
from cloudbeds_auth.runtime import OpenEngine
from cloudbeds_auth.settings import Settings, further_app
from cloudbeds_auth.system import SystemClock, SystemEntropy
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.vault import TokenVault
from cloudbeds_auth.wire.cloudbeds_api import HttpVendor, at_once
from cloudbeds_auth.wire.token_endpoint import HttpTokenEndpoint

ADMIN_TOKEN = "an-admin-token-of-more-than-32-characters"
ADA = User("1000", "Ada Hotelier", "ada@example.com")
LIFETIME = 28800.0  # seconds
FAILURES: dict[str, type[Error]] = {
    "spent": AuthorizationExpired,
    "refused": ClientRefused,
    "lost": TokenEndpointUnavailable,
    "slow": RefreshPending,
    "other": InvalidRequest,
}


def given(**changes: Any) -> Settings:
    """Settings of a service on loopback."""
    usual: dict[str, Any] = {
        "client_id": "client-1",
        "client_secret": "secret-1",
        "scopes": "read:hotel",
        "base_url": "http://127.0.0.1:1",
        "port": 0,
        "return_origins": "https://app.example",
        "body_limit": 512 * 1024,
        "replay_limit": 64 * 1024,
        "rate_limit": 0,
    }
    return Settings(**(usual | changes))


class HandClock(SystemClock):
    """A clock that a test sets."""

    now = 1000.0

    def wall(self) -> float:
        return self.now

    def steady(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Observer:
    """Keeps what happened."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Fact]]] = []

    def happened(self, what: str, /, **facts: Fact) -> None:
        self.seen.append((what, facts))


class Entropy(SystemEntropy):
    """Real dice, but for the ids of the next connections."""

    def __init__(self) -> None:
        self.next_ids: list[str] = []

    def identifier(self, prefix: str) -> str:
        return self.next_ids.pop() if prefix == "con_" and self.next_ids else super().identifier(prefix)


class Endpoint(HttpTokenEndpoint):
    """Every code is good, and the token after token-1 is token-2. `gate`: no refresh is answered before."""

    kind = "token-"  # how its access tokens begin
    credential = CredentialKind.OAUTH
    property_ids: tuple[str, ...] = ()
    gate: asyncio.Event | None = None
    refreshes = 0

    async def exchange(self, app: App, secret: Secret, code: str) -> Answer:
        return self._issue(1)

    async def refresh(self, app: App, secret: Secret, token: Secret, may_send: MaySend) -> Answer:
        self.refreshes += 1
        if self.gate is not None:
            await self.gate.wait()
        return self._issue(int(token.reveal().rpartition("-")[2]) + 1)

    def _issue(self, number: int) -> Answer:
        access = Secret(f"{self.kind}{number}")
        if self.credential is CredentialKind.API_KEY:
            return Issued(Pair(access, None, float("inf"), self.property_ids, ("read:hotel",), self.credential))
        return Issued(Pair(access, Secret(f"R-{number}"), LIFETIME, self.property_ids, ("read:hotel",)))


class Vendor(HttpVendor):
    """Says of every token that it works, unless it is one of `dead`; its hotels are the endpoint's."""

    dead: set[str]
    states: list[str]  # that approvals were begun with
    endpoint: Endpoint

    def authorization_url(self, app: App, state: str) -> str:
        self.states.append(state)
        return super().authorization_url(app, state)

    async def app_state(self, access: Secret, property_id: str | None) -> AppState:
        return AppState("enabled")

    async def userinfo(self, access: Secret) -> Verdict:
        return DeadToken() if access.reveal() in self.dead else Proof(ADA)

    async def properties(self, access: Secret, turn: Turn = at_once) -> Listed:
        return Listed(self.endpoint.property_ids)

    async def disable_app(self, access: Secret, property_ids: tuple[str, ...]) -> bool:
        return True


class CountedApps(Apps):
    """Counts how often the redirect URIs were looked up."""

    looks = 0

    async def redirect_uris(self) -> Mapping[str, str]:
        self.looks += 1
        return await super().redirect_uris()


class RealVault(TokenVault):
    """One hotel, `con_1`, of property 1000, is connected with `token-1`; the next one is `con_new`, of property 2000.

    `proven`: a rejected token is proven good. `failing` is raised by every token, `no_turn` by every turn.
    `renewed_while_waiting`: a turn comes with the next token. The rest is what the service asked.
    """

    def __init__(self, settings: Settings | None = None, *, clock: SystemClock | None = None) -> None:
        self.folder = Path(gettempdir()) / f"cloudbeds-auth-{token_hex(8)}"
        self.path = self.folder / "vault.sqlite3"
        settings = settings or given()
        timing = Timing.of(settings.token_timeout)
        self.clock, self.entropy, self.observer = clock or SystemClock(), Entropy(), Observer()
        self.endpoint = Endpoint(settings.base_url, timing)
        self.vendor = Vendor(settings.base_url, settings.api_version, settings.authorize_url, timing)
        self.vendor.dead, self.vendor.states, self.vendor.endpoint = set(), [], self.endpoint
        self.driver = SqliteDriver(self.path, host_clock())
        self.store = Database(self.driver, AesGcmSealer([bytes(32)]), lambda *_: False)
        world = World(
            clock=self.clock,
            entropy=self.entropy,
            db=self.store,
            token_endpoint=self.endpoint,
            vendor=self.vendor,
            observer=self.observer,
            timing=timing,
            apps={"default": settings.app()},
            owner="the test's",
            issuer="https://vendor.example",  # whatever port this test's vendor has: the file is made once
            public_url=settings.public_url,
            return_origins=settings.return_origins,
        )
        engine = OpenEngine(world, settings, self.endpoint, Secret(ADMIN_TOKEN))
        self.counted = CountedApps(world, partial(further_app, settings))
        engine.apps = self.counted
        super().__init__(engine)
        self.started = False
        self.proven = False
        self.failing: Error | None = None
        self.no_turn: Error | None = None
        self.renewed_while_waiting = False
        self.ready = True
        self.check_gate: asyncio.Event | None = None
        self.links: dict[str, Link] = {}
        self.exchanges: list[str] = []
        self.calls: list[tuple[int, str, str, int]] = []
        self.heeded: list[tuple[str, str, str]] = []
        self.pauses: list[tuple[str, float]] = []
        self.streams: list[int] = []
        self.streams_ended = 0
        self.disconnected: list[tuple[str, bool]] = []
        self.rejections = 0
        self.turns = 0
        self.callers: list[str] = []
        self.checks = 0

    async def start(self) -> None:
        """Open the file."""
        self.started = True
        one_hotel = await _one_hotel()
        self.folder.mkdir(0o700)
        self.path.write_bytes(one_hotel)
        await self.driver.open()
        await self.store.open()

    async def aclose(self) -> None:
        await super().aclose()
        rmtree(self.folder)

    async def connect(self, connection_id: str, *property_ids: str, **parts: Any) -> Connection:
        """Another hotel."""
        self.entropy.next_ids, self.endpoint.property_ids = [connection_id], property_ids
        begun = await super().begin_authorization(**parts)
        return (await super().finish(code="code", state=begun.state)).connection

    def change(self, **changes: Any) -> None:
        """Other settings than it was opened with."""
        self._settings.__dict__.update(changes)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Look into the file, or alter it, behind the vault's back."""
        with closing(apsw.Connection(str(self.path))) as connection:
            return connection.execute(statement).fetchall()

    def pending(self) -> list[tuple[Any, ...]]:
        """App, reference, return_to, and hash of the browser, of each approval that was begun and waits."""
        return self.sql("SELECT app, reference, return_to, browser_hash FROM authorizations WHERE spent_at IS NULL")

    async def finish(
        self, *, code: str, state: str, browser: str | None = None, code_verifier: str | None = None
    ) -> Finished:
        if code in FAILURES:
            return_to = await self.deny(state=state, browser=browser)
            self.exchanges.append(code)
            raise FAILURES[code](return_to=return_to)
        self.entropy.next_ids, self.endpoint.property_ids = ["con_new"], ("2000",)
        finished = await super().finish(code=code, state=state, browser=browser, code_verifier=code_verifier)
        self.exchanges.append(code)
        return finished

    async def arrive(self, *, code: str, app: str = "default") -> Connection:
        self.exchanges.append(code)
        if code in FAILURES:
            raise FAILURES[code]
        self.entropy.next_ids = ["con_parked"] if len(self.exchanges) == 1 else []
        self.endpoint.property_ids = ("3000",)
        return await super().arrive(code=code, app=app)

    async def create_link(self, **wish: Any) -> Link:
        link = await super().create_link(**wish)
        self.links[link.token] = link
        return link

    async def access_token(
        self, connection_id: str, min_valid: float = 60.0, rejected: AccessToken | int | None = None
    ) -> AccessToken:
        if self.failing is not None:
            raise self.failing
        if rejected is not None:
            self.rejections += 1
            generation = rejected if isinstance(rejected, int) else rejected.generation
            self.vendor.dead = set() if self.proven else {f"{self.endpoint.kind}{generation}"}
        return await super().access_token(connection_id, min_valid, rejected)

    async def turn(self, connection_id: str, caller: str = "", patience: float = 5.0) -> None:
        self.turns += 1
        self.callers.append(caller)
        if self.no_turn is not None:
            raise self.no_turn
        if self.renewed_while_waiting:
            await self.refresh(connection_id)
            await super().access_token(connection_id)

    async def note_pause(self, connection_id: str, pause: float) -> None:
        self.pauses.append((connection_id, pause))

    def note_call(self, token: AccessToken, method: str, path: str, status: int) -> None:
        self.calls.append((token.generation, method, path, status))

    def note_refusal(self, token: AccessToken, refusal: Refusal, method: str, path: str) -> None:
        self.heeded.append((refusal.reason, method, path))

    @contextmanager
    def carrying(self, token: AccessToken) -> Iterator[None]:
        self.streams.append(token.generation)
        with super().carrying(token):
            yield
        self.streams_ended += 1

    async def disconnect(self, connection_id: str, forget: bool = False) -> Connection:
        self.disconnected.append((connection_id, forget))
        return await super().disconnect(connection_id, forget)

    async def check(self) -> None:
        self.checks += 1
        if self.check_gate is not None:
            await self.check_gate.wait()
        if not self.ready:
            raise StoreUnavailable("/var/lib/secret-place is full")
        await super().check()


_made: list[bytes] = []


async def _one_hotel() -> bytes:
    """A file with `con_1` in it, made once in a process."""
    if not _made:
        vault = RealVault()
        vault.folder.mkdir(0o700)
        begin_with_schema(vault.path)
        await vault.driver.open()
        await vault.store.open()
        await vault.connect("con_1", "1000")
        await vault.engine.drain()
        await vault.engine.close()
        _made.append(vault.path.read_bytes())
        rmtree(vault.folder)
    return _made[0]
