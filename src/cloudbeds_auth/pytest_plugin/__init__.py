"""For your tests: a running simulator of Cloudbeds, a vault connected to it, and ways to make things go wrong.

pytest loads it by itself; `-p no:cloudbeds_auth` disables it. Unused, it imports and starts nothing: everything heavy
is imported where it is used. Needs the `pytest` extra. `pytest --fixtures` lists the fixtures.

Reading order: this file (the fixtures), `process` (the simulator as a test sees it, in a process of its own),
`on_asyncio` (the vault's fixture under pytest-asyncio).
"""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cloudbeds_auth.pytest_plugin.process import Approval, Simulator, ran_out, running

if TYPE_CHECKING:
    from cloudbeds_auth import Connection, Settings, TokenVault, sync
    from cloudbeds_auth.engine.commit import Committer
    from cloudbeds_auth.rules.model import Grant

__all__ = [
    "Approval", "Simulator", "_cloudbeds_process", "_cloudbeds_vault_on_anyio", "cloudbeds_connection",
    "cloudbeds_environment", "cloudbeds_redirect_uri", "cloudbeds_settings", "cloudbeds_simulator",
    "cloudbeds_sync_vault", "cloudbeds_vault",
]  # fmt: skip

MARKER = (
    "cloudbeds(*, quick_refusals=False, **switches): the simulator's switches for this test, like `variant='V0/n'` or "
    "`expires_in=60`; with quick_refusals a hotel's revocation is detected without a minute's wait"
)
TOKEN_TIMEOUT = 2.0  # seconds instead of 20: every wait of the protocol is a tenth of the default
QUICK = 0.2  # seconds between two refusals, instead of a minute
MARK = "cloudbeds"
ON_ASYNCIO = "cloudbeds_auth_on_asyncio"  # the name of the plugin that is registered beside pytest-asyncio
ASYNCIO_NAMES = {"asyncio", "pytest_asyncio.plugin"}  # by its entry point; by its module's name, as `-p` takes it too
PREFIX = "CLOUDBEDS_"
ENV_FILE = "CLOUDBEDS_AUTH_ENV_FILE"  # names the file that is read instead of `.env`


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and, if pytest-asyncio is loaded, the plugin for it."""
    config.addinivalue_line("markers", MARKER)
    if any(map(config.pluginmanager.hasplugin, ASYNCIO_NAMES)):
        with suppress(ImportError, TypeError):  # older than 0.24: then only tests with our vault fail
            from cloudbeds_auth.pytest_plugin import on_asyncio

            config.pluginmanager.register(on_asyncio, ON_ASYNCIO)


@pytest.fixture(scope="session")
def _cloudbeds_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """The simulator's process: one per session, or per worker of pytest-xdist."""
    with running(tmp_path_factory.mktemp("cloudbeds-simulator")) as simulator:
        yield simulator


@pytest.fixture
def cloudbeds_redirect_uri() -> str:
    """The redirect URI of the simulated app: `http://localhost:7000/callback`. Override it with your application's."""
    return "http://localhost:7000/callback"


@pytest.fixture
def cloudbeds_simulator(
    _cloudbeds_process: Simulator, cloudbeds_redirect_uri: str, request: pytest.FixtureRequest
) -> Simulator:
    """A simulated Cloudbeds on a free port of this machine: `.url`, `.approve(url)`, `.expire()`, `.fault(…)`, …

    It runs in its own process and is reset for each test: three hotels (100001 to 100003), no grant, no fault, an empty
    log, and the switches in the test's `@pytest.mark.cloudbeds(variant="V0/n", …)`.
    """
    switches = _switches(request)
    switches.pop("quick_refusals", None)
    _cloudbeds_process.reset(redirect_uri=cloudbeds_redirect_uri, **switches)
    return _cloudbeds_process


@pytest.fixture
def cloudbeds_settings(
    cloudbeds_simulator: Simulator,
    cloudbeds_redirect_uri: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Settings:
    """Settings of a vault that uses the simulator, with an empty database for this test alone.

    Nothing is read from the environment or a `.env`. To change a setting, override this fixture and return
    `cloudbeds_settings.model_copy(update={…})`.
    """
    from cloudbeds_auth import Secret, Settings

    if _switches(request).get("quick_refusals"):
        _hurry(monkeypatch)
    _forgive(cloudbeds_simulator, monkeypatch)
    return Settings(
        client_id=cloudbeds_simulator.client_id,
        client_secret=Secret(cloudbeds_simulator.client_secret),
        base_url=cloudbeds_simulator.url,
        redirect_uri=cloudbeds_redirect_uri,
        database_url=f"sqlite:///{tmp_path_factory.mktemp('cloudbeds') / 'vault.sqlite3'}",
        token_timeout=TOKEN_TIMEOUT,
        rate_limit=0,
    )


@pytest.fixture
def cloudbeds_environment(
    cloudbeds_settings: Settings, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The settings as environment variables, set for this test, for code or a child process that reads them itself.

    Every other variable of the library is set to an empty value, and an empty file takes the place of a `.env`, so that
    neither your environment nor that file counts.
    """
    from cloudbeds_auth.settings import as_variable, known, rows

    said = cloudbeds_settings.model_fields_set
    table = rows(type(cloudbeds_settings)).items()
    given = {
        row.name: as_variable(getattr(cloudbeds_settings, attribute)) for attribute, row in table if attribute in said
    }
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)
    nothing = tmp_path_factory.mktemp("cloudbeds") / "empty.env"
    nothing.touch(mode=0o600)
    found = {**dict.fromkeys(sorted(known()), ""), **given, ENV_FILE: str(nothing)}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def cloudbeds_connection(cloudbeds_simulator: Simulator, cloudbeds_settings: Settings) -> Connection:
    """A connected hotel: property 100001, approved by Ada Lindqvist, in the database of `cloudbeds_settings`."""
    from cloudbeds_auth.sync import TokenVault

    with TokenVault.open(cloudbeds_settings) as vault:
        begun = vault.begin_authorization()
        approval = cloudbeds_simulator.approve(begun.url)
        return vault.finish_authorization(code=approval.code, state=approval.state)


@pytest.fixture
def cloudbeds_sync_vault(cloudbeds_settings: Settings, cloudbeds_connection: Connection) -> Iterator[sync.TokenVault]:
    """An open `cloudbeds_auth.sync.TokenVault` with one connected hotel, `cloudbeds_connection`."""
    from cloudbeds_auth.sync import TokenVault

    with TokenVault.open(cloudbeds_settings) as vault:
        yield vault


@pytest.fixture
def cloudbeds_vault(request: pytest.FixtureRequest) -> TokenVault:
    """An open `cloudbeds_auth.TokenVault` with one connected hotel, `cloudbeds_connection`, in the test's event loop.

    For tests run by pytest-asyncio, in either mode and any loop scope, or by anyio on asyncio.
    """
    on_anyio, on_asyncio = "anyio_backend" in request.fixturenames, request.config.pluginmanager.hasplugin(ON_ASYNCIO)
    if not (on_anyio or on_asyncio) or (_takes_it(request.function) and not _is_asynchronous(request.function)):
        pytest.fail(
            "cloudbeds_vault needs a test run by pytest-asyncio (0.24 or newer) or anyio; in blocking tests use "
            "cloudbeds_sync_vault"
        )
    name = "_cloudbeds_vault_on_anyio"
    if not on_anyio:
        from cloudbeds_auth.pytest_plugin.on_asyncio import fixture_for

        name = fixture_for(request)
    vault: TokenVault = request.getfixturevalue(name)
    return vault


@pytest.fixture
async def _cloudbeds_vault_on_anyio(
    anyio_backend_name: str, cloudbeds_settings: Settings, cloudbeds_connection: Connection
) -> AsyncIterator[TokenVault]:
    """For a test that anyio runs."""
    from cloudbeds_auth import TokenVault

    if anyio_backend_name != "asyncio":
        pytest.fail(f"the vault runs on asyncio, not on {anyio_backend_name}: override anyio_backend")
    async with TokenVault.open(cloudbeds_settings) as vault:
        yield vault


def _switches(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The switches in the test's markers; the closest marker wins."""
    found: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers(MARK))):
        if mark.args:
            raise pytest.UsageError(f"{request.node.nodeid}: the marker {MARK} takes keywords only")
        found |= mark.kwargs
    return found


def _takes_it(test: Any) -> bool:
    """Whether the test itself has the vault, and not only an asynchronous fixture, which runs in a loop."""
    return "cloudbeds_vault" in inspect.signature(test).parameters


def _is_asynchronous(test: Any) -> bool:
    """Whether a loop runs while the test does: a blocking client would wait for a loop that stands still, for ever."""
    hypothesis = getattr(test, "hypothesis", None)  # the function that `@given` wraps is what is run
    return inspect.iscoroutinefunction(inspect.unwrap(getattr(hypothesis, "inner_test", test)))


def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the wait: rule-12 requires two refusals a minute apart before a hotel has to approve again."""
    from cloudbeds_auth.rules.refresh import Timing

    usual = Timing.of
    monkeypatch.setattr(Timing, "of", lambda deadline: replace(usual(deadline), refusal_interval=QUICK))


def _forgive(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no proof start rule-11's brake, a minute or more, because the test ended the token before it was proven.

    A vault proves each new token in the background, which a test cannot wait for: the log does not say whose `userinfo`
    a call is, and a test that blocks its vault's own loop would wait in vain. A 401 to a living token brakes as usual.
    """
    from cloudbeds_auth.engine.commit import Committer

    usual = Committer.denied

    async def denied(self: Committer, grant: Grant) -> float:
        return 0.0 if ran_out(simulator.state(), grant.access.reveal()) else await usual(self, grant)

    monkeypatch.setattr(Committer, "denied", denied)
