"""A vault that remembers what it was asked, and a way to run one command line inside the test's process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple

import httpx2
import pytest
from click.testing import CliRunner
from tests.support.keys import KEY_TEXT
from tests.support.watch import printed

from cloudbeds_auth import Page, errors
from cloudbeds_auth.cli import commands
from cloudbeds_auth.cli.main import run
from cloudbeds_auth.engine.apps import Apps
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import AccessToken, App, AuthorizationRequest, Connection, Event, Link, User
from cloudbeds_auth.rules.origins import Foreign
from cloudbeds_auth.rules.overview import AppLook, app_presentation
from cloudbeds_auth.rules.pair_drawing import Timeline
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.timeline import pairs
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.transactions.outbox import Outbox
from cloudbeds_auth.vault import TokenVault

AT = datetime(2026, 11, 24, 8, tzinfo=UTC)

ADA = Connection(
    id="con_ADA",
    app="default",
    reference="tenant-7",
    state=State.FRESH,
    credential="oauth",
    property_ids=("100001",),
    authorizing_user=User("9001", "Ada Lindqvist", "ada@example.com"),
    scopes=("read:hotel",),
    generation=3,
    connected_at=AT,
    expires_at=AT,
    refreshed_at=AT,
    used_at=None,
)


class Result(NamedTuple):
    """Exit status, standard output, standard error."""

    status: int
    out: str
    err: str


def invoke(*args: str, typed: str | bytes = "", env: Mapping[str, str] | None = None) -> Result:
    """Run one command line here, with nothing but pipes around it."""
    with CliRunner().isolation(input=typed, env=env) as streams:
        status = run(args)
        result = Result(status, streams[0].getvalue().decode(), streams[1].getvalue().decode())
    printed(args, result.out + result.err)
    return result


def settings_over(url: str, keys: str = KEY_TEXT) -> dict[str, str]:
    """What opens the database there, which was made with these keys."""
    return {
        "CLOUDBEDS_AUTH_DATABASE_URL": url,
        "CLOUDBEDS_AUTH_ENCRYPTION_KEYS": keys,
        "CLOUDBEDS_AUTH_ADMIN_TOKEN": "an-admin-token-of-more-than-32-characters",
    }


def with_database(settings: dict[str, str]) -> dict[str, str]:
    """The settings, when the database that they name was made."""
    assert invoke("database", "migrate", env=settings).status == 0
    return settings


class FakeApps(Apps):
    """The registrations: the settings' own, and what a test puts in behind it."""

    def __init__(self, own: App) -> None:  # and no engine
        self.found = [own]
        self.strange: list[Foreign] = []

    async def list(self) -> Sequence[App]:
        return self.found

    async def get(self, name: str) -> App:
        return next(app for app in self.found if app.id == name)

    async def foreign(self) -> Sequence[Foreign]:
        return self.strange


class FakeVault(TokenVault):
    """Answers from what the test put in; `asked` has every call. It is the vault's class, for mypy to compare the two,
    without an engine but for what `doctor` reads of it: what is not answered here fails.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings(client_id="client-1")
        self._open = None
        self._apps = FakeApps(self.settings.app())
        self.asked: list[tuple[Any, ...]] = []
        self.status, self.body = 200, b'{"email": "ada@example.com"}'
        self.pages: list[Page] = [Page((ADA,), None)]
        self.history: Sequence[Event] = (Event(1, AT, "promoted", "system", "g1", 1, {}),)
        self.failure: errors.Error | None = None
        self.failures: dict[str, errors.Error] = {}
        self.problems: dict[str, str] = {}
        self.shown = ADA
        self.finished = ADA
        self.refreshed = replace(ADA, generation=4)
        self.led_to: list[str | None] = [None]
        self.rests = Outbox(0, 0.0, 0, None)
        self.overdue = 0.0
        self.secret_refused = False
        self.report = {
            "sqlite": "3.54.1", "file": "/db", "journal_mode": "wal", "synchronous": "full", "key_id": "ab12",
            "longest_token_list": "1", "longest_token_list_of": ADA.id,
        }  # fmt: skip

    @property
    def apps(self) -> FakeApps:
        return self._apps

    async def _app_looks(self, after: str | None, limit: int) -> tuple[Sequence[AppLook], str | None]:
        own = self._apps.found[0]
        return [AppLook(own, app_presentation(own, None, refused=self.secret_refused, own=True), 0, False)], None

    @property
    def engine(self) -> Any:
        return SimpleNamespace(
            world=SimpleNamespace(db=SimpleNamespace(read_only=False)),
            views=SimpleNamespace(
                troubled=lambda trouble, cursor: self.connections(trouble=trouble),
                refused_by_secret=lambda limit: self.connections(state="client_refused", limit=limit),
                timeline=self.timeline,
                app_looks=self._app_looks,
            ),
            upkeep=SimpleNamespace(overdue=self._overdue),
        )

    async def _overdue(self) -> float:
        return self.overdue

    def _note(self, *what: Any) -> None:
        self.asked.append(what)
        if self.failure is not None:
            raise self.failure

    def _found(self, named: str) -> str:
        """As the vault does: an id of a connection, or a property's."""
        if not named.startswith("con_") and named not in ADA.property_ids:
            raise errors.UnknownConnection(f"nothing is connected under {named}")
        return named if named.startswith("con_") else ADA.id

    async def access_token(
        self, connection_id: str, min_valid: float = 60.0, rejected: AccessToken | int | None = None
    ) -> AccessToken:
        self._note("access_token", self._found(connection_id), min_valid, rejected)
        return AccessToken(Secret("the-token"), AT, 3)

    async def call(self, connection_id: str, method: str, path: str, **parts: Any) -> httpx2.Response:
        self._note("call", self._found(connection_id), method, path, parts)
        return httpx2.Response(self.status, content=self.body)

    async def connection(self, connection_id: str) -> Connection:
        return replace(self.shown, id=self._found(connection_id), problem=self.problems.get(connection_id))

    async def connections(self, **filters: Any) -> Page:
        self._note("connections", filters)
        return self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]

    async def events(self, connection_id: str, cursor: str | None = None, limit: int = 100) -> Sequence[Event]:
        return self.history[:limit]

    async def timeline(self, connection_id: str) -> Timeline:
        return Timeline(pairs(self.history), AT + timedelta(hours=1), AT + timedelta(hours=7))

    async def refresh(self, connection_id: str) -> Connection:
        self._note("refresh", self._found(connection_id))
        error = self.failures.get(connection_id)
        if error is not None:
            raise error
        return replace(self.refreshed, id=self._found(connection_id))

    async def migrate_to_api_key(self, connection_id: str, *, app: str | None = None) -> Connection:
        self._note("migrate", self._found(connection_id), app)
        error = self.failures.get(connection_id)
        if error is not None:
            raise error
        return replace(ADA, id=self._found(connection_id), credential="api_key", expires_at=None)

    async def disconnect(self, connection_id: str, forget: bool = False) -> Connection:
        self._note("disconnect", self._found(connection_id), forget)
        return replace(ADA, state=State.DISCONNECTED)

    async def claim(
        self, connection_id: str, reference: str | None = None, *, code_verifier: str | None = None
    ) -> Connection:
        self._note("claim", self._found(connection_id), reference, *([code_verifier] if code_verifier else []))
        return replace(ADA, reference=reference)

    async def forget(self, connection_id: str) -> Connection:
        self._note("forget", self._found(connection_id))
        return replace(ADA, state=State.DISCONNECTED, authorizing_user=None)

    async def begin_authorization(self, **wish: Any) -> AuthorizationRequest:
        self._note("begin", wish)
        return AuthorizationRequest("https://cloudbeds.example/approve", "the-state", AT, self.settings.redirect_uri)

    async def finish_authorization(
        self, *, code: str, state: str, browser: str | None = None, code_verifier: str | None = None
    ) -> Connection:
        self._note("finish", code, state)
        return self.finished

    async def deny(self, *, state: str, browser: str | None = None) -> str | None:
        self._note("deny", state)
        return None

    async def create_link(self, **wish: Any) -> Link:
        self._note("link", wish)
        return Link("one-time", f"{self.settings.public_url}/connect/one-time", AT)

    async def link_outcome(self, token: str) -> str | None:
        assert token == "one-time"
        return self.led_to.pop(0) if len(self.led_to) > 1 else self.led_to[0]

    async def check(self) -> None:
        self._note("check")

    async def outbox(self) -> Outbox:
        return self.rests

    async def store_report(self) -> Mapping[str, str]:
        return self.report


Use = Callable[[FakeVault], FakeVault]


def put(monkeypatch: pytest.MonkeyPatch, vault: FakeVault) -> FakeVault:
    """Let every command open this vault."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[FakeVault]:
        yield vault

    monkeypatch.setattr(commands, "opened", opened)
    monkeypatch.setattr(commands, "database_exists", lambda: True)
    return vault
