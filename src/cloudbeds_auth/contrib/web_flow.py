"""The hotel's way mounted in another application: where its paths are, and which answers are the application's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.routing import NoMatchFound

from cloudbeds_auth.app.browser import CONNECTED, Browser
from cloudbeds_auth.app.gateway import path_prefix
from cloudbeds_auth.app.problems import CODE, SECURITY
from cloudbeds_auth.errors import ConfigurationError, Error
from cloudbeds_auth.rules.model import Connection, Finished
from cloudbeds_auth.settings import Settings, is_loopback

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

CALLBACK_ROUTE = "cloudbeds_callback"  # the name of the callback's route
THEIRS = "cloudbeds_theirs"  # marks a request whose answer is the application's own
# An answer of the application's own at an address with a code in it is not cached, and sends no referrer on (A14).
AT_THE_CALLBACK = {"cache-control": "no-store", "referrer-policy": "no-referrer"}

Answer = Response | None
OnConnected = Callable[[Request, Connection], Awaitable[Answer] | Answer]
OnProblem = Callable[[Request, Error], Awaitable[Answer] | Answer]


class MountedPages(Browser):
    """The handlers, with the application asked before the browser is answered."""

    def __init__(
        self,
        vault: TokenVault,
        on_connected: OnConnected | None,
        on_problem: OnProblem | None,
        on_parked: OnConnected | None,
    ) -> None:
        super().__init__(vault, assets=CONNECTED)
        self._on_connected = on_connected
        self._on_problem = on_problem
        self._on_parked = on_parked

    async def done(self, request: Request, finished: Finished) -> Response:
        """The application's answer to a connected hotel, else the usual."""
        return await _theirs(request, self._on_connected, finished.connection) or await super().done(request, finished)

    async def parked(self, request: Request, connection: Connection) -> Response:
        """The application's answer to an approval that waits to be claimed, else the usual."""
        return await _theirs(request, self._on_parked, connection) or await super().parked(request, connection)

    async def failed(self, request: Request, error: Error) -> Response:
        """The application's answer to a callback that led to no connection, else the usual."""
        return await _theirs(request, self._on_problem, error) or await super().failed(request, error)

    async def not_begun(self, request: Request, error: Error, start: str) -> Response:
        """The application's answer to a start that is refused, else the usual."""
        return await _theirs(request, self._on_problem, error) or await super().not_begun(request, error, start)


async def _theirs(request: Request, asked: Callable[[Request, Any], Any] | None, about: object) -> Response | None:
    answer = None if asked is None else asked(request, about)
    response: Response | None = await answer if isawaitable(answer) else answer
    if response is not None:
        response.headers.update(AT_THE_CALLBACK)
        setattr(request.state, THEIRS, True)
    return response


def ours(request: Request, response: Response) -> Response:
    """The headers that an answer of ours has, as the service's gateway gives them to it."""
    if not getattr(request.state, THEIRS, False):
        for name, value in SECURITY:
            response.headers[name.decode()] = value.decode()
        response.headers.setdefault(CODE, "ok")
    return response


def mounted_settings(settings: Settings, callback: str, app: FastAPI) -> Settings:
    """The settings, with what follows from the redirect URI where it is not set: the public URL, and an open start.

    A bare `/connect` is open on loopback only; who listens where is the application's, not ours to know.
    Raises ConfigurationError where the browser would come back to an address that the application does not serve.
    """
    path = urlsplit(settings.redirect_uri).path
    served = _served(app) or callback
    if not path.endswith(served):
        raise ConfigurationError(
            f"CLOUDBEDS_REDIRECT_URI has the path {path}, and the callback is served at {served}",
            next_step="set the redirect URI, the router's prefix or `Cloudbeds(callback=…)` so that they agree",
        )
    given = settings.model_fields_set
    found: dict[str, object] = {}
    if "public_url" not in given:
        found["public_url"] = settings.redirect_uri.removesuffix(callback)
    elif path_prefix(settings.public_url) + callback != path:
        raise ConfigurationError(
            f"CLOUDBEDS_AUTH_PUBLIC_URL has not the path {path.removesuffix(callback) or '/'}, where the router is",
            next_step="unset it, or set it to the redirect URI without the callback's path",
        )
    if "open_connect" not in given:
        found["open_connect"] = is_loopback(urlsplit(settings.redirect_uri).hostname or "")
    return settings.model_copy(update=found)


def _served(app: FastAPI) -> str | None:
    """Where the application serves the callback; None where one that is mounted below it does."""
    try:
        return str(app.url_path_for(CALLBACK_ROUTE))
    except NoMatchFound:
        return None
