"""The composition of the service and its lifecycle: opened with the server, drained when it stops.

In production `open_parts` opens its parts: the vault, the upstream client, the metrics. They are named only there.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cloudbeds_auth.app import api, api_of_keys
from cloudbeds_auth.app.asgi import PageEndpoint, answered, on_error, on_http_exception, on_invalid, page_request, route
from cloudbeds_auth.app.browser import PAGES, Browser, methods
from cloudbeds_auth.app.checks import CredentialChecks
from cloudbeds_auth.app.draining import Draining
from cloudbeds_auth.app.exchanges import PageAnswer, PageRequest
from cloudbeds_auth.app.gateway import CALLBACK, Gateway, path_prefix
from cloudbeds_auth.app.http_connections import CONNECTION, CONNECTIONS, Connections
from cloudbeds_auth.app.limits import Limits, Tally
from cloudbeds_auth.app.problems import ERRORS, TYPES, Unexpected, send_problem
from cloudbeds_auth.app.proxy import Proxy
from cloudbeds_auth.app.relaying import Relay
from cloudbeds_auth.app.remembered import Remembered
from cloudbeds_auth.app.session_routes import SessionRoutes
from cloudbeds_auth.errors import Error
from cloudbeds_auth.ports import Upstream
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import StateCounts
from cloudbeds_auth.transactions.outbox import Outbox

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Settings
    from cloudbeds_auth.vault import TokenVault

# The text and its media type.
Rendering = Callable[[StateCounts | None, Outbox | None, float | None, Mapping[str, float] | None], tuple[bytes, str]]

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the service, opened; the opener closes them.

    `metrics` renders the Prometheus text. `traced` puts spans into the traces of callers.
    """

    vault: TokenVault
    metrics: Rendering
    upstream: Upstream
    limits: Limits = field(default_factory=Limits)
    traced: Callable[[ASGIApp], ASGIApp] = lambda app: app


def build(parts: Parts, tally: Tally, draining: Draining) -> ASGIApp:
    """The whole service as one ASGI application, without a lifespan; `tally` reports what is refused."""
    vault, relay = parts.vault, Relay(parts.vault, parts.upstream, parts.limits)
    checks = CredentialChecks(parts.limits, vault.engine.world.clock)
    gateway: ASGIApp = Gateway(
        vault,
        framework(vault, relay, parts.metrics, draining, SessionRoutes(vault, checks, tally, relay)),
        Proxy(vault, relay),
        limits=parts.limits,
        tally=tally,
        checks=checks,
    )
    gateway = parts.traced(gateway)
    prefix = path_prefix(vault.settings.public_url)
    if not prefix:
        return gateway

    async def below(scope: Scope, receive: Receive, send: Send) -> None:
        TYPES.set(f"{prefix}{ERRORS}/")  # each problem names its page with the public URL's prefix
        await gateway(scope, receive, send)

    return below


def framework(
    vault: TokenVault, relay: Relay, metrics: Rendering, draining: Draining, of_sessions: SessionRoutes
) -> FastAPI:
    """Serves every path except the proxy's. FastAPI's own API pages are off, because they load from another host; so is
    its own telemetry, because its spans would contain one-time links and ids of hotels.
    """
    app = FastAPI(
        title="cloudbeds-auth",
        summary="Keeps hotels connected to Cloudbeds",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.vault, app.state.relay, app.state.metrics, app.state.draining = vault, relay, metrics, draining
    app.state.unready = Remembered(partial(api.unready, vault), vault.engine.world.clock)
    app.add_exception_handler(Error, on_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(Exception, on_error)
    # As they are: `include_router` would derive everything of every route anew, and do so while the first caller waits.
    for router in (api.machines, api.router, api_of_keys.router):
        app.router.routes.extend(router.routes)
    app.router.routes.extend([*_pages(Browser(vault)), *of_sessions.routes()])
    return app


def _pages(browser: Browser) -> list[Route]:
    """The service's routes to the handlers; the gateway rewrites the path of every callback to `CALLBACK`."""
    return [
        *(route(path, _endpoint(getattr(browser, name)), methods(name)) for path, name in PAGES.items()),
        route(ERRORS, _endpoint(browser.errors)),
        route(f"{ERRORS}/{{code}}", _endpoint(browser.error)),
        route("/static/{name}", _endpoint(browser.static)),
        route("/favicon.ico", _endpoint(browser.static)),
        route(CALLBACK, _endpoint(browser.callback)),
    ]


def _endpoint(handler: Callable[[PageRequest], Awaitable[PageAnswer]]) -> PageEndpoint:
    async def endpoint(request: Request) -> Response:
        return answered(request, await handler(await page_request(request)))

    return endpoint


Opener = Callable[[AsyncExitStack], Awaitable[Parts]]


class Service:
    """An ASGI application with a lifespan: `opener` opens the parts at the start, and pushes their ends onto the stack.

    An error at the start is kept in `failure`. `report`: the server logs it; False if the caller, which started the
    server, raises `failure` itself. `opened` is called once it is open.
    """

    def __init__(self, opener: Opener, *, report: bool = True, opened: Callable[[], object] = lambda: None) -> None:
        self._opener = opener
        self._report = report
        self._opened = opened
        self._app: ASGIApp | None = None
        self.failure: BaseException | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Requests go to the application once it is open."""
        if scope["type"] == "lifespan":
            with suppress(asyncio.CancelledError):  # the loop ends, by a signal: all is closed, and it is no failure
                await self._live(scope, receive, send)
        elif self._app is None:
            await send_problem(send, Unexpected("the service is not open"))
        elif CONNECTION not in scope["state"]:
            await send_problem(send, Unexpected("it is served by `cloudbeds-auth serve` alone, which bounds callers"))
        else:
            await self._app(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        async with AsyncExitStack() as stack:
            try:
                parts = await self._opener(stack)
                world, trusted = parts.vault.engine.world, parts.vault.settings.trusted_proxies
                tally = Tally(world.observer, every=parts.limits.report_every)
                stack.callback(tally.close)
                connections = scope["state"][CONNECTIONS] = Connections(parts.limits, trusted, tally)
                draining = Draining(connections, world.clock, world.observer)
                stack.enter_context(draining.put_off(signal.SIGTERM))
                self._app = build(parts, tally, draining)
            except Exception as error:
                self.failure = error
                what = str(error.diagnosis()) if isinstance(error, Error) else type(error).__name__
                await send({"type": "lifespan.startup.failed", "message": what if self._report else ""})
                if not isinstance(error, Error):
                    log.exception("the service could not be opened")
                return
            self._opened()
            await send({"type": "lifespan.startup.complete"})
            await receive()  # lifespan.shutdown: requests in flight are done
            self._app = None
        await send({"type": "lifespan.shutdown.complete"})


def open_parts(settings: Settings | None) -> Opener:
    """An opener for `Service`; if `settings` is None, they are read from the environment when it opens.

    The vault and its drivers are imported only then: they take longer to import than the rest of the service.
    """

    async def opener(stack: AsyncExitStack) -> Parts:
        from cloudbeds_auth import observe, runtime
        from cloudbeds_auth.observe.metrics import Metrics
        from cloudbeds_auth.settings import load_from_environment
        from cloudbeds_auth.vault import TokenVault

        metrics, given = Metrics(), settings or load_from_environment()
        observe.configure(given.log_format, given.log_level)
        vault = await stack.enter_async_context(
            TokenVault.open(given, observers=[metrics], reread=load_from_environment, upkeep=True)
        )
        engine = vault.engine
        observer = engine.world.observer
        if vault.settings.env_file is not None:
            names = ", ".join(vault.settings.from_env_file)
            observer.happened(Happening.SETTINGS_FROM_FILE, file=str(vault.settings.env_file), variables=names)
        if engine.admin_token_file is not None:
            observer.happened(Happening.ADMIN_TOKEN, file=str(engine.admin_token_file))  # where it is, never what it is
        engine.views.begin_counting()
        upstream = runtime.upstream(vault.settings)
        stack.push_async_callback(upstream.aclose)
        return Parts(vault, metrics.render, upstream, traced=runtime.within_callers_trace)

    return opener
