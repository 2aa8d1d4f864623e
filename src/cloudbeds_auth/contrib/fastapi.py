"""The whole flow in your own FastAPI application: connect, callback, pages, and clients that call Cloudbeds.

    cloudbeds = Cloudbeds()
    app = FastAPI()
    cloudbeds.install(app, prefix="/auth")

    @app.get("/hotels/{connection_id}/me")
    async def me(http: Annotated[httpx2.AsyncClient, Depends(cloudbeds.client())]) -> Any:
        return (await http.get("/api/v1.3/userinfo")).json()

Needs the `fastapi` extra.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import httpx2
from fastapi import APIRouter, Depends, FastAPI, Path, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import NoMatchFound

from cloudbeds_auth import runtime
from cloudbeds_auth.app import problems
from cloudbeds_auth.app.api import HOOK, note_hook
from cloudbeds_auth.app.browser import CONNECTED, PAGES
from cloudbeds_auth.app.gateway import APP, small_body
from cloudbeds_auth.contrib.web_flow import CALLBACK_ROUTE, MountedPages, OnConnected, OnProblem, mounted_settings, ours
from cloudbeds_auth.errors import ConfigurationError, Error
from cloudbeds_auth.rules.proxy_policy import property_of
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.vault import TokenVault

if TYPE_CHECKING:
    from cloudbeds_auth.wire.hotel_client import HotelClients
    from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth

__all__ = ["Cloudbeds", "connection_in_path", "problem"]

ERROR_PAGE = "cloudbeds_error"  # the name of its route

Which = Callable[..., Any]  # a dependency that returns a connection id or a property id


def connection_in_path(connection_id: Annotated[str, Path()]) -> str:
    """The path's `{connection_id}`: a connection id or a property id."""
    return connection_id


def problem(request: Request, error: Exception) -> Response:
    """The exception handler for `cloudbeds_auth.Error`: `application/problem+json` with its stable code.

    Never cached; in the header `X-Cloudbeds-Auth-Code`, too. Its `type` is the page about the code, where the router of
    the application serves one.
    """
    before = problems.TYPES.set(_pages_about_errors(request))
    try:
        response = problems.response(error if isinstance(error, Error) else problems.Unexpected())
    finally:
        problems.TYPES.reset(before)
    for name, value in problems.VENDOR:
        response.headers[name.decode()] = value.decode()
    return response


def _pages_about_errors(request: Request) -> str | None:
    """The path below which this application serves the pages about codes; None where it does not."""
    try:
        found = request.app.url_path_for(ERROR_PAGE, code="x")
    except NoMatchFound:
        return None
    return f"{request.scope.get('root_path', '')}{found}".removesuffix("x")


@dataclass(frozen=True, slots=True)
class _Open:
    """What lives as long as the application."""

    vault: TokenVault
    clients: HotelClients
    browser: MountedPages


class Cloudbeds:
    """The flow and the vault of one application; make it once, beside the application.

    `settings` come from the environment and `.env` when the application starts, unless given. `callback` is the path
    of the redirect URI below the prefix that the router is included with; further apps come back to one segment below
    it, which is where their redirect URIs lie by default. With `upkeep` grants are refreshed in the background, as
    `TokenVault.open` says.

    `on_connected(request, connection)` and `on_problem(request, error)` are asked before the browser is answered, and
    may be coroutine functions. A response that they return is sent; None means the usual: to `return_to` where the
    start named one, else our page. A browser that asks twice has `on_connected` asked twice. `on_parked` is asked where
    a hotel began in the Marketplace (`CLOUDBEDS_AUTH_MARKETPLACE=park`): claim it only for a user who says that it is
    theirs, never for the user who merely is signed in to this browser.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        callback: str = "/callback",
        upkeep: bool = False,
        on_connected: OnConnected | None = None,
        on_problem: OnProblem | None = None,
        on_parked: OnConnected | None = None,
    ) -> None:
        self._settings = settings
        self._callback = callback
        self._upkeep = upkeep
        self._on_connected = on_connected
        self._on_problem = on_problem
        self._on_parked = on_parked
        self._open: _Open | None = None
        self.router = self._routes()

    def install(self, app: FastAPI, *, prefix: str = "") -> None:
        """Include the router below `prefix`, and answer a `cloudbeds_auth.Error` of any endpoint as a problem."""
        app.include_router(self.router, prefix=prefix)
        app.add_exception_handler(Error, problem)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """The vault is open from the application's start to its end; the router brings this along.

        Give it to `FastAPI(lifespan=…)` yourself where the application with the router is mounted below another one,
        whose lifespan is the only one that runs. Raises ConfigurationError.
        """
        if self._open is not None:  # included twice, or given to the application besides
            yield
            return
        settings = mounted_settings(self._settings or Settings.load(), self._callback, app)
        reread = None if self._settings is not None else Settings.load
        async with AsyncExitStack() as stack:
            vault = await stack.enter_async_context(TokenVault.open(settings, reread=reread, upkeep=self._upkeep))
            clients = runtime.hotel_clients(settings)
            stack.push_async_callback(clients.aclose)
            self._open = _Open(
                vault, clients, MountedPages(vault, self._on_connected, self._on_problem, self._on_parked)
            )
            stack.callback(setattr, self, "_open", None)
            yield

    # --- for endpoints

    @property
    def vault(self) -> TokenVault:
        """The open vault. Raises ConfigurationError while the application does not run."""
        return self._opened().vault

    async def get_vault(self) -> TokenVault:
        """A dependency: the open vault."""
        return self.vault

    def auth(self, which: Which = connection_in_path) -> Callable[..., Awaitable[CloudbedsAuth]]:
        """A dependency: `auth=` for a client of your own, for the hotel whose id the dependency `which` returns."""

        async def lend(identifier: str = Depends(which)) -> Any:
            return self.vault.auth(identifier)

        return lend

    def client(self, which: Which = connection_in_path) -> Callable[..., Awaitable[httpx2.AsyncClient]]:
        """A dependency: a client of Cloudbeds' API for the hotel whose id the dependency `which` returns.

        A caller that may use the endpoint may use it for every hotel that `which` lets through. Connections are kept
        between requests. The client raises what `TokenVault.call` raises.
        """

        async def lend(identifier: str = Depends(which)) -> httpx2.AsyncClient:
            opened = self._opened()
            return opened.clients.client(opened.vault.auth(identifier), property_of(identifier))

        return lend

    # --- the browser's way, and Cloudbeds'

    def _routes(self) -> APIRouter:
        router = APIRouter(include_in_schema=False, lifespan=self.lifespan)
        add = router.add_api_route
        for path, name in PAGES.items():
            add(path, self._page(name), methods=["GET"])
        add(f"{CONNECTED}/{{name}}", self._page("static"), methods=["GET"])
        add(f"{CONNECTED}{problems.ERRORS}/{{code}}", self._page("error"), methods=["GET"], name=ERROR_PAGE)
        add(HOOK, self._hook, methods=["POST"])
        add(self._callback, self._page("callback"), methods=["GET"], name=CALLBACK_ROUTE)
        add(f"{self._callback}/{{segment}}", self._return_by_app, methods=["GET"])
        return router

    def _page(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        """The browser's handler of this name, which is there once the vault is open."""

        async def page(request: Request) -> Response:
            return ours(request, await getattr(self._opened().browser, name)(request))

        return page

    async def _hook(self, request: Request, secret: str) -> Response:
        try:
            small_body(request.scope)
            return ours(request, JSONResponse(await note_hook(self.vault, request, secret)))
        except Error as error:
            return ours(request, problem(request, error))

    async def _return_by_app(self, request: Request, segment: str) -> Response:
        """A further app's callback, one segment below the settings' own."""
        known = await self.vault.apps.redirect_uris()
        path = f"{self._callback}/{segment}"
        app = next((name for name, uri in known.items() if urlsplit(uri).path.endswith(path)), None)
        if app is None:
            return ours(request, problem(request, problems.NotFound()))
        setattr(request.state, APP, app)
        return await self._page("callback")(request)

    def _opened(self) -> _Open:
        if self._open is None:
            raise ConfigurationError(
                "the vault is not open: the lifespan of the application with the router does not run",
                next_step="give `lifespan=cloudbeds.lifespan` to the outermost FastAPI; in a test, enter its client",
            )
        return self._open
