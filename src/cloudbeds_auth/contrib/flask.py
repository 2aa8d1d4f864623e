"""The whole flow in your own Flask application: connect, callback, pages, and sessions that call Cloudbeds.

    app = Flask(__name__)
    cloudbeds = Cloudbeds()
    cloudbeds.init_app(app, url_prefix="/cloudbeds")

    @app.get("/hotels/<connection_id>/me")
    def me(connection_id: str) -> Any:
        with cloudbeds.client(connection_id) as session:
            return session.get("/api/v1.3/userinfo").json()

Needs the `flask` extra.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode

from cloudbeds_auth.contrib import missing
from cloudbeds_auth.errors import Error
from cloudbeds_auth.rules.model import Connection
from cloudbeds_auth.sync import TokenVault

try:
    from flask import Blueprint, Flask, Response, current_app, request, url_for
    from werkzeug.routing import BuildError

    from cloudbeds_auth.app.browser import methods
    from cloudbeds_auth.app.exchanges import PageAnswer, PageRequest, put_beside
    from cloudbeds_auth.app.forms import may_be_read
    from cloudbeds_auth.app.vendor_hook import HOOK
    from cloudbeds_auth.contrib.blocking_pages import BlockingPages, page_request
    from cloudbeds_auth.contrib.hotel_session import HotelSession
    from cloudbeds_auth.contrib.web_flow import Hooks, beside, page_or_problem, routes
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(missing(__name__, "flask"), name=_error.name) from None

__all__ = ["Cloudbeds", "problem"]

NAME = "cloudbeds"  # of the blueprint
EXTENSION = "cloudbeds_auth"  # the key in `app.extensions`


def problem(error: Error) -> Response:
    """The error handler for `cloudbeds_auth.Error`: a page for a browser, else `application/problem+json`.

    The request's `Accept` header decides which. Both have the stable code in `X-Cloudbeds-Auth-Code`, and a connect
    link if one solves the problem; neither is cached.
    """
    try:
        prefix = url_for(f"{NAME}.connected").removesuffix("/connected")
    except BuildError:
        prefix = None
    return _response(page_or_problem(error, prefix, dict(request.headers)))


class Cloudbeds:
    """The flow and the vault; create it once, beside the application, and call `init_app` for each application.

    `vault` is one that you opened yourself. Without it, each process opens one at its first use, with the settings of
    `app.config`, the environment and `.env`. `callback` is the path of the redirect URI below the prefix; further apps
    have their callbacks one segment below it. With `upkeep`, grants are refreshed in the background once the vault is
    open.

    `on_connected(connection)` and `on_problem(error)` are called before the browser is answered, in its request. What
    they return is sent, as from any view; None means the default: a redirect to `return_to` if the start named one,
    else our page. If a browser repeats its request, `on_connected` is called again. `on_parked(connection)` is called
    for a hotel that began in the Marketplace (`CLOUDBEDS_AUTH_MARKETPLACE=park`): claim the hotel only for a user who
    confirms that it is theirs.
    """

    def __init__(
        self,
        vault: TokenVault | None = None,
        *,
        callback: str = "/callback",
        upkeep: bool = False,
        on_connected: Callable[[Connection], Any] | None = None,
        on_problem: Callable[[Error], Any] | None = None,
        on_parked: Callable[[Connection], Any] | None = None,
    ) -> None:
        self._given = vault
        self._callback = callback
        self._upkeep = upkeep
        self._hooks = Hooks(on_connected, on_problem, on_parked)
        self.blueprint: Final = self._routes()

    def init_app(self, app: Flask, *, url_prefix: str = "") -> None:
        """Serve the pages below `url_prefix`, and answer a `cloudbeds_auth.Error` of any view with `problem`.

        Raises ConfigurationError if a setting is missing, or names another callback than the one served.
        """
        served = f"{url_prefix}{self._callback}"
        app.extensions[EXTENSION] = BlockingPages(
            app.config.get, self._callback, served, vault=self._given, upkeep=self._upkeep
        )
        app.register_blueprint(self.blueprint, url_prefix=url_prefix or None)
        app.register_error_handler(Error, problem)

    @property
    def vault(self) -> TokenVault:
        """The vault of the current application, opened if need be. Raises ConfigurationError, StoreUnavailable."""
        return _pages().vault

    def client(self, identifier: str) -> HotelSession:
        """A `requests.Session` for the hotel with this connection id or property id, for one `with` block.

        Check in your view which ids its user may access: this method does not. TCP connections are kept between
        requests. The session raises what `HotelSession` documents.
        """
        return _pages().hotels.session(identifier)

    # --- requests of browsers, and of Cloudbeds

    def _routes(self) -> Blueprint:
        blueprint = Blueprint(NAME, __name__)
        for path, name in routes(self._callback).items():
            blueprint.add_url_rule(_rule(path), name, self._page(name), methods=methods(name))
        blueprint.add_url_rule(_rule(HOOK), "hook", _hook, methods=["POST"])
        return blueprint

    def _page(self, name: str) -> Callable[..., Response]:
        """A view answered by the handler with this name, unless a hook of the application has its own response."""

        def page(**parameters: str) -> Response:
            asked = _page_request(parameters)
            usual, theirs = _pages().page(name, asked, self._hooks, lambda hook, about: hook(about))
            if theirs is None:
                return _response(usual)
            return put_beside(current_app.make_response(theirs), beside(usual))

        return page


def _pages() -> BlockingPages:
    found: BlockingPages = current_app.extensions[EXTENSION]
    return found


def _hook(**parameters: str) -> Response:
    return _response(_pages().note_hook(_page_request(parameters), request.get_data))


def _rule(path: str) -> str:
    return path.replace("{", "<").replace("}", ">")


def _page_request(parameters: dict[str, str]) -> PageRequest:
    query = request.environ.get("QUERY_STRING", "")
    asked = page_request(request.method, query, request.headers.items(), request.remote_addr, parameters)
    if not may_be_read(asked):
        return asked
    # Not `get_data()`: it is empty if the application has already read `request.form`.
    return replace(asked, body=urlencode([*request.form.items(multi=True)]).encode())


def _response(answer: PageAnswer) -> Response:
    return put_beside(Response(answer.body, answer.status), answer)
