"""Chooses the drivers and wires the vault: the only module that knows both the rules and the world."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from cloudbeds_auth import system
from cloudbeds_auth.database import key_files
from cloudbeds_auth.database.opening import open_database
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.wiring import Engine
from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.observe import FanOut, LogObserver
from cloudbeds_auth.ports import Observer
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import App
from cloudbeds_auth.rules.origins import same_service
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Settings, further_app
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.wire import http_client as outgoing
from cloudbeds_auth.wire.cloudbeds_api import HttpVendor
from cloudbeds_auth.wire.token_endpoint import HttpTokenEndpoint
from cloudbeds_auth.wire.webhook_sender import HttpDeliverer

if TYPE_CHECKING:
    from cloudbeds_auth.observe.traces import Asgi
    from cloudbeds_auth.wire.upstream import AiohttpUpstream


METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's name for it


class OpenEngine(Engine):
    """The engine over its drivers, as configured; `admin_token_file` is None if the settings contain the token.

    Without a webhook URL, messages wait in the outbox.
    """

    def __init__(
        self,
        world: World,
        settings: Settings,
        token_endpoint: HttpTokenEndpoint,
        admin_token: Secret,
        admin_token_file: Path | None = None,
    ) -> None:
        deliverer = None
        if settings.webhook_url is not None:
            deliverer = HttpDeliverer(settings.webhook_url, settings.webhook_secrets, world.clock)
        super().__init__(
            world, partial(further_app, settings), retention_days=settings.retention_days, wanted=settings.wanted,
            decided=settings.subscriptions is not None, deliverer=deliverer,
        )  # fmt: skip
        self.loop: Final = asyncio.get_running_loop()
        self.settings = settings
        self.token_endpoint: Final = token_endpoint
        self.admin_token: Final = admin_token
        self.admin_token_file: Final = admin_token_file

    async def settled(self, seconds: float) -> None:
        """Return `seconds` after the token endpoint has answered, which leaves time to commit what it issued."""
        while True:
            await self.token_endpoint.answered()
            await self.world.clock.sleep(seconds)
            if not self.token_endpoint.asking:
                return

    async def close(self) -> None:
        """Close the database; `drain` first."""
        for limiter in self.world.limiters.values():
            await limiter.stop()
        await self.world.db.close()


async def build(
    settings: Settings | None, observers: Sequence[Observer] = (), reread: Callable[[], Settings] | None = None
) -> OpenEngine:
    """Open the database, check the keys, and wire the engine. Raises ConfigurationError; nothing is sent.

    If `settings` is None, they are read from the environment and `.env`, and again from there unless `reread` is given.
    `reread` returns the current settings: when the app's id and secrets are refused, they are taken from it.
    """
    if settings is None:
        settings, reread = Settings.load(), reread or Settings.load
    observer = FanOut(LogObserver(), *observers, *_spans())
    db = await open_database(settings, observer)
    try:
        return _wired(settings, observer, db, reread)
    except BaseException:  # no vault is there that would close it
        await db.close()
        raise


def _wired(settings: Settings, observer: Observer, db: Database, reread: Callable[[], Settings] | None) -> OpenEngine:
    """The engine over this open database. Raises ConfigurationError."""
    admin_token, admin_token_file = key_files.ensure_admin_token(settings)
    timing = Timing.of(settings.token_timeout)
    api = f"{settings.base_url}/api/{settings.api_version}"
    token_endpoint = HttpTokenEndpoint(f"{api}/access_token", timing)
    vendor = HttpVendor(
        settings.base_url, settings.api_version, settings.authorize_url, timing, keys=settings.credential_header
    )
    entropy = system.SystemEntropy()
    apps = {"default": settings.app()}
    world = World(
        clock=system.SystemClock(),
        entropy=entropy,
        db=db,
        token_endpoint=token_endpoint,
        vendor=vendor,
        observer=observer,
        timing=timing,
        apps=apps,
        owner=system.lease_owner(entropy),
        issuer=settings.base_url,
        public_url=settings.public_url,
        return_origins=settings.return_origins,
        reread_apps=_rereader(settings.base_url, apps, reread),
        limit=settings.limit,
        limits=settings.limits,
        wakeups=db.wakeups,
    )
    for warning in settings.warnings:
        observer.happened(Happening.SETTINGS_WARNING, warning=warning)
    if db.read_only:
        observer.happened(Happening.READ_ONLY)
    return OpenEngine(world, settings, token_endpoint, admin_token, admin_token_file)


def _rereader(base_url: str, apps: dict[str, App], reread: Callable[[], Settings] | None) -> Callable[[], None]:
    """A function that reads the settings again and updates the apps. Settings change nothing if they are invalid at the
    moment, lack a client id, or name another origin than the one this process sends to.
    """

    def update() -> None:
        if reread is not None:
            with suppress(ConfigurationError):
                found = reread()
                if found.client_id and same_service(found.base_url, base_url):
                    app = found.app()
                    apps[app.id] = app

    return update


def _tracing() -> bool:
    """Whether this program has a tracer provider; one that has not imported OpenTelemetry has none."""
    if "opentelemetry.trace" not in sys.modules:
        return False
    from cloudbeds_auth.observe import traces

    return traces.provided()


def _spans() -> list[Observer]:
    """The observer that makes spans, if there is a tracer provider to receive them."""
    if not _tracing():
        return []
    from cloudbeds_auth.observe.traces import Traces

    return [Traces(system.SystemClock())]


def within_callers_trace(app: Asgi) -> Asgi:
    """The application, with its spans in the traces of its callers; unchanged if there are no spans."""
    if not _tracing():
        return app
    from cloudbeds_auth.observe import traces

    return traces.within_callers_trace(app)


@contextmanager
def shared_metrics() -> Iterator[None]:
    """Set up a folder in which the workers of one service add up their metrics, before any of them starts to count."""
    with TemporaryDirectory(prefix="cloudbeds-auth-metrics-") as folder:
        os.environ[METRICS_FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[METRICS_FOLDER]


def upstream(settings: Settings) -> AiohttpUpstream:
    """The proxy's pooled client. Needs the `server` extra."""
    from cloudbeds_auth.wire.upstream import AiohttpUpstream

    timing = Timing.of(settings.token_timeout)
    return AiohttpUpstream(settings.base_url, connect=timing.connect, context=outgoing.tls())
