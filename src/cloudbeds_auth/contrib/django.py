"""The whole flow in your own Django project: connect, callback, pages, and sessions that call Cloudbeds.

    cloudbeds = Cloudbeds()
    urlpatterns = [path("cloudbeds/", cloudbeds.urls), path("hotels/<str:connection_id>/me", me)]

    def me(request: HttpRequest, connection_id: str) -> HttpResponse:
        with cloudbeds.client(connection_id) as session:
            return JsonResponse(session.get("/api/v1.3/userinfo").json())

Needs the `django` extra. Django has no type annotations: its objects are `Any` here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cloudbeds_auth.contrib import missing
from cloudbeds_auth.errors import Error, InvalidRequest
from cloudbeds_auth.rules.model import Connection
from cloudbeds_auth.sync import TokenVault

try:
    from django.conf import settings as project
    from django.http import HttpResponse, UnreadablePostError
    from django.urls import NoReverseMatch, path, reverse
    from django.views.decorators.csrf import csrf_exempt

    from cloudbeds_auth.app.exchanges import PageAnswer, PageRequest, put_beside
    from cloudbeds_auth.app.forms import may_be_read
    from cloudbeds_auth.app.vendor_hook import HOOK
    from cloudbeds_auth.contrib.blocking_pages import BlockingPages, page_request
    from cloudbeds_auth.contrib.hotel_session import HotelSession
    from cloudbeds_auth.contrib.web_flow import Hooks, beside, page_or_problem, routes
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(missing(__name__, "django"), name=_error.name) from None

__all__ = ["Cloudbeds", "ProblemMiddleware", "problem"]

NAME = "cloudbeds"  # of the namespace
View = Callable[..., Any]


def problem(request: Any, error: Error) -> Any:
    """A response to a `cloudbeds_auth.Error`: a page for a browser, else `application/problem+json`.

    The request's `Accept` header decides which. Both have the stable code in `X-Cloudbeds-Auth-Code`, and a connect
    link if one solves the problem; neither is cached.
    """
    connected = _path_of("connected")
    prefix = None if connected is None else connected.removesuffix("/connected")
    return _response(page_or_problem(error, prefix, request.headers))


class ProblemMiddleware:
    """For `MIDDLEWARE`: answers a `cloudbeds_auth.Error` that a view does not catch with `problem`."""

    def __init__(self, get_response: View) -> None:
        self._get_response = get_response

    def __call__(self, request: Any) -> Any:
        """Django calls it for every request."""
        return self._get_response(request)

    def process_exception(self, request: Any, exception: Exception) -> Any:
        """Django calls it for an exception that a view raises; None leaves it to others."""
        return problem(request, exception) if isinstance(exception, Error) else None


class Cloudbeds:
    """The flow and the vault of a project; create it once, and include its `urls`.

    `vault` is one that you opened yourself. Without it, each process opens one at its first use, with the settings of
    the project's `settings.py`, the environment and `.env`. `callback` is the path of the redirect URI below the
    prefix; further apps have their callbacks one segment below it. With `upkeep`, grants are refreshed in the
    background once the vault is open.

    `on_connected(request, connection)` and `on_problem(request, error)` are called before the browser is answered. A
    response that they return is sent; None means the default: a redirect to `return_to` if the start named one, else
    our page. If a browser repeats its request, `on_connected` is called again. `on_parked(request, connection)` is
    called for a hotel that began in the Marketplace (`CLOUDBEDS_AUTH_MARKETPLACE=park`): claim the hotel only for a
    user who confirms that it is theirs.
    """

    def __init__(
        self,
        vault: TokenVault | None = None,
        *,
        callback: str = "/callback",
        upkeep: bool = False,
        on_connected: Callable[[Any, Connection], Any] | None = None,
        on_problem: Callable[[Any, Error], Any] | None = None,
        on_parked: Callable[[Any, Connection], Any] | None = None,
    ) -> None:
        self._given = vault
        self._callback = callback
        self._upkeep = upkeep
        self._hooks = Hooks(on_connected, on_problem, on_parked)
        self._made: list[BlockingPages] = []

    @property
    def urls(self) -> tuple[list[Any], str, str]:
        """For `path("cloudbeds/", cloudbeds.urls)`, as `admin.site.urls` is; the namespace is `cloudbeds`."""
        served = routes(self._callback).items()
        # Our form has no CSRF token of Django: the page that it is posted to has a check of its own.
        pages = [path(_route(one), csrf_exempt(self._page(name)), name=name) for one, name in served]
        return [*pages, path(_route(HOOK), csrf_exempt(self._hook), name="hook")], NAME, NAME

    @property
    def vault(self) -> TokenVault:
        """The vault, opened if it is not open yet. Raises ConfigurationError, StoreUnavailable."""
        return self._pages.vault

    def client(self, identifier: str) -> HotelSession:
        """A `requests.Session` for the hotel with this connection id or property id, for one `with` block.

        Check in your view which ids its user may access: this method does not. TCP connections are kept between
        requests. The session raises what `HotelSession` documents.
        """
        return self._pages.hotels.session(identifier)

    @property
    def _pages(self) -> BlockingPages:
        """Created at its first use: only then does Django know its URLs."""
        if not self._made:
            served = _path_of("callback") or self._callback
            made = BlockingPages(_configured, self._callback, served, vault=self._given, upkeep=self._upkeep)
            self._made.append(made)  # if several threads made one, all use the first; the others have opened nothing
        return self._made[0]

    # --- requests of browsers, and of Cloudbeds

    def _page(self, name: str) -> View:
        """A view answered by the handler with this name, unless a hook of the application has its own response."""

        def page(request: Any, **parameters: str) -> Any:
            asked = _page_request(request, parameters)
            try:
                asked = replace(asked, body=_body_of(request)) if may_be_read(asked) else asked
            except Error as error:  # a project may be without `ProblemMiddleware`
                return problem(request, error)
            usual, theirs = self._pages.page(name, asked, self._hooks, lambda hook, about: hook(request, about))
            return _response(usual) if theirs is None else put_beside(theirs, beside(usual))

        return page

    def _hook(self, request: Any, **parameters: str) -> Any:
        return _response(self._pages.note_hook(_page_request(request, parameters), lambda: _body_of(request)))


def _configured(name: str) -> Any:
    return getattr(project, name, None)


def _path_of(name: str) -> str | None:
    """The path at which the project serves this page; None if it does not."""
    try:
        return str(reverse(f"{NAME}:{name}"))
    except NoReverseMatch:
        return None


def _route(path: str) -> str:
    return path.removeprefix("/").replace("{", "<").replace("}", ">")


def _page_request(request: Any, parameters: dict[str, str]) -> PageRequest:
    """The request without its body."""
    headers = {**request.headers, "Host": request.get_host()}  # as the project sees it, also behind a proxy
    query, address = request.META.get("QUERY_STRING", ""), request.META.get("REMOTE_ADDR")
    return page_request(request.method, query, headers.items(), address, parameters)


def _body_of(request: Any) -> bytes:
    """The whole body; raises InvalidRequest if the caller hung up before its end: anyone may, and it is no failure."""
    try:
        return bytes(request.body)
    except UnreadablePostError:
        raise InvalidRequest("the body broke off") from None


def _response(answer: PageAnswer) -> Any:
    return put_beside(HttpResponse(answer.body, status=answer.status), answer)
