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

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from inspect import isawaitable
from typing import TYPE_CHECKING, Annotated, Any, Final

import httpx2

from cloudbeds_auth.contrib import missing
from cloudbeds_auth.errors import ConfigurationError, Error
from cloudbeds_auth.rules.model import Connection
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.vault import TokenVault
from cloudbeds_auth.wire.hotel_client import HotelClients

try:
    from fastapi import APIRouter, Depends, FastAPI, Path, Request
    from starlette.responses import Response
    from starlette.routing import NoMatchFound

    from cloudbeds_auth.app import asgi
    from cloudbeds_auth.app.api import note_hook
    from cloudbeds_auth.app.browser import methods
    from cloudbeds_auth.app.exchanges import PageAnswer, Parked, put_beside
    from cloudbeds_auth.app.gateway import small_body
    from cloudbeds_auth.app.vendor_hook import HOOK, NOTED
    from cloudbeds_auth.contrib.web_flow import (
        ABOUT_CODES,
        Hooks,
        MountedPages,
        beside,
        mounted_settings,
        ours,
        problem_document,
        routes,
    )
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(missing(__name__, "fastapi"), name=_error.name) from None

if TYPE_CHECKING:
    from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth

__all__ = ["Cloudbeds", "connection_in_path", "problem"]

ROUTE = "cloudbeds_{}"  # the name of the route to the handler of a name

Which = Callable[..., Any]  # a dependency that returns a connection id or a property id
OnConnected = Callable[[Request, Connection], Awaitable[Response | None] | Response | None]
OnProblem = Callable[[Request, Error], Awaitable[Response | None] | Response | None]


def connection_in_path(connection_id: Annotated[str, Path()]) -> str:
    """The path's `{connection_id}`: a connection id or a property id."""
    return connection_id


def problem(request: Request, error: Exception) -> Response:
    """The exception handler for `cloudbeds_auth.Error`: `application/problem+json` with its stable code.

    The code is also in the header `X-Cloudbeds-Auth-Code`; the response is never cached. `type` is the page about the
    code, if the application's router serves one.
    """
    return asgi.response(problem_document(error, _prefix_of(request)))


def _prefix_of(request: Request) -> str | None:
    """The path below which this application serves our pages; None if it does not."""
    try:
        found = request.app.url_path_for(ROUTE.format("error"), code="x")
    except NoMatchFound:
        return None
    return f"{request.scope.get('root_path', '')}{found}".removesuffix(f"{ABOUT_CODES}x")


@dataclass(frozen=True, slots=True)
class _Open:
    """What lives as long as the application."""

    vault: TokenVault
    clients: HotelClients
    pages: MountedPages


class Cloudbeds:
    """The flow and the vault of one application; create it once, beside the application.

    Without `settings`, they are read from the environment and `.env` when the application starts. `callback` is the
    path of the redirect URI below the router's prefix; further apps have their callbacks one segment below it, which is
    the default of their redirect URIs. With `upkeep`, grants are refreshed in the background (see `TokenVault.open`).

    `on_connected(request, connection)` and `on_problem(request, error)` are called before the browser is answered, and
    may be coroutine functions. A response that they return is sent; None means the default: a redirect to `return_to`
    if the start named one, else our page. If a browser repeats its request, `on_connected` is called again.
    `on_parked(request, connection)` is called for a hotel that began in the Marketplace
    (`CLOUDBEDS_AUTH_MARKETPLACE=park`): claim the hotel only for a user who confirms that it is theirs, never just
    because that user is signed in to this browser.
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
        self._hooks = Hooks(on_connected, on_problem, on_parked)
        self._stack = AsyncExitStack()
        self._changing = asyncio.Lock()
        self._lives = 0  # running lifespans: the router's, one for each application, and any that was passed besides
        self._open: _Open | None = None
        self.router: Final = self._routes()

    def install(self, app: FastAPI, *, prefix: str = "") -> None:
        """Include the router below `prefix`, and answer a `cloudbeds_auth.Error` of any endpoint as a problem."""
        app.include_router(self.router, prefix=prefix)
        app.add_exception_handler(Error, problem)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Keeps the vault open from the application's start to its end; the router includes this lifespan.

        If the application with the router is mounted below another one, only the outer lifespan runs: pass this to the
        outer `FastAPI(lifespan=…)` yourself. Raises ConfigurationError.
        """
        async with self._changing:
            if not self._lives:
                await self._begin(app)
            self._lives += 1
        try:
            yield
        finally:
            async with self._changing:
                self._lives -= 1
                if not self._lives:
                    await self._stack.aclose()

    async def _begin(self, app: FastAPI) -> None:
        served = _served(app) or self._callback
        settings = mounted_settings(self._settings or Settings.load(), self._callback, served)
        reread = None if self._settings is not None else Settings.load
        vault = await self._stack.enter_async_context(TokenVault.open(settings, reread=reread, upkeep=self._upkeep))
        clients = HotelClients(vault.base_url, vault.engine.world.timing)
        self._stack.push_async_callback(clients.aclose)
        self._open = _Open(vault, clients, MountedPages(vault, self._callback))
        self._stack.callback(setattr, self, "_open", None)

    # --- for endpoints

    @property
    def vault(self) -> TokenVault:
        """The open vault. Raises ConfigurationError while the application is not running."""
        return self._opened().vault

    async def get_vault(self) -> TokenVault:
        """A dependency: the open vault."""
        return self.vault

    def auth(self, which: Which = connection_in_path) -> Callable[..., Awaitable[CloudbedsAuth]]:
        """A dependency: `auth=` for your own client, for the hotel whose id the dependency `which` returns."""

        async def lend(identifier: str = Depends(which)) -> Any:
            return self.vault.auth(identifier)

        return lend

    def client(self, which: Which = connection_in_path) -> Callable[..., Awaitable[httpx2.AsyncClient]]:
        """A dependency: a client of Cloudbeds' API for the hotel whose id the dependency `which` returns.

        `which` has to check which hotels a caller may access: nothing else does. TCP connections are kept between
        requests. The client raises what `TokenVault.call` raises.
        """

        async def lend(identifier: str = Depends(which)) -> httpx2.AsyncClient:
            opened = self._opened()
            return opened.clients.client(opened.vault.auth(identifier))

        return lend

    # --- requests of browsers, and of Cloudbeds

    def _routes(self) -> APIRouter:
        router = APIRouter(include_in_schema=False, lifespan=self.lifespan)
        for path, name in routes(self._callback).items():
            router.add_api_route(path, self._page(name), methods=methods(name), name=ROUTE.format(name))
        router.add_api_route(HOOK, self._hook, methods=["POST"])
        return router

    def _page(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint answered by the handler with this name, unless a hook of the application has its own response."""

        async def page(request: Request) -> Response:
            pages = self._opened().pages
            try:
                asked = await asgi.page_request(request)
            except Error as error:  # its body broke off; only `install` adds a handler of errors
                return problem(request, error)
            usual = await pages.answer(name, asked)
            try:
                return await self._answered(request, usual)
            except Error as error:
                if not isinstance(usual.about, Parked):
                    raise
                return await self._answered(request, ours(pages.failed(error)))  # it could not be claimed

        page.__name__ = f"cloudbeds_{name}"  # FastAPI names the route after it: `page` may be the application's own
        return page

    async def _answered(self, request: Request, usual: PageAnswer) -> Response:
        """The application's own response if it has one, else the default."""
        answer = self._hooks.ask(usual, lambda hook, about: hook(request, about))
        response: Response | None = await answer if isawaitable(answer) else answer
        if response is None:
            return asgi.response(usual)
        return put_beside(response, beside(usual))

    async def _hook(self, request: Request, secret: str) -> Response:
        try:
            small_body(request.scope["headers"])
            await note_hook(self.vault, request, secret)
        except Error as error:
            return asgi.response(ours(problem_document(error, _prefix_of(request))))
        return asgi.response(ours(NOTED))

    def _opened(self) -> _Open:
        if self._open is None:
            raise ConfigurationError(
                "the vault is not open: the lifespan of the application with the router is not running",
                next_step="pass `lifespan=cloudbeds.lifespan` to the outermost FastAPI; in a test, enter its client",
            )
        return self._open


def _served(app: FastAPI) -> str | None:
    """The path at which the application serves the callback; None if an application mounted below it does."""
    try:
        return str(app.url_path_for(ROUTE.format("callback")))
    except NoMatchFound:
        return None
