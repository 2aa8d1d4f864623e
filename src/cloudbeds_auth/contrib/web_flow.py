"""What every application that mounts the pages shares, whatever framework it is of: where they lie, which answers are
the application's own, and how an error of an endpoint is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cloudbeds_auth.app.browser import CONNECTED, PAGES, Browser, methods
from cloudbeds_auth.app.exchanges import Connected, Failed, PageAnswer, PageRequest, Parked
from cloudbeds_auth.app.gateway import path_prefix
from cloudbeds_auth.app.pages.hotel_pages import PagesByLanguage
from cloudbeds_auth.app.problems import (
    CODE,
    ERRORS,
    POLICY,
    PROBLEM,
    SECURITY,
    TYPES,
    VENDOR,
    MethodNotAllowed,
    NotFound,
    Unexpected,
    answer_for,
)
from cloudbeds_auth.errors import ConfigurationError, Error
from cloudbeds_auth.ports import ACTING
from cloudbeds_auth.rules.audit import Acting
from cloudbeds_auth.rules.model import Connection
from cloudbeds_auth.settings import Settings

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

ABOUT_CODES = f"{CONNECTED}{ERRORS}/"  # below the public URL: the page about each code
# An answer of the application's own at an address with a code in it is not cached, and sends no referrer on (A14).
AT_THE_CALLBACK = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
_OURS = {name.decode(): value.decode() for name, value in SECURITY}
_KEPT_NOWHERE = {name.decode(): value.decode() for name, value in VENDOR}

Hook = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Hooks:
    """The application's functions that are asked before a browser is answered; None: the usual is sent."""

    on_connected: Hook | None = None
    on_problem: Hook | None = None
    on_parked: Hook | None = None

    def ask(self, usual: PageAnswer, call: Callable[[Hook, Any], Any]) -> Any:
        """What `call` returns, given the one that is asked before this answer is sent, and what it is asked about."""
        hook: Hook | None
        about: Connection | Error
        match usual.about:
            case Connected(connection):
                hook, about = self.on_connected, connection
            case Parked(connection):
                hook, about = self.on_parked, connection
            case Failed(error):
                hook, about = self.on_problem, error
            case _:
                return None
        return None if hook is None else call(hook, about)


def beside(usual: PageAnswer) -> PageAnswer:
    """The headers and the cookies that an application's own answer gets, which is sent in the place of the usual."""
    cookies = usual.cookies if isinstance(usual.about, Connected) else ()  # the start is forgotten
    return PageAnswer(usual.status, AT_THE_CALLBACK, cookies=cookies)


def routes(callback: str) -> dict[str, str]:
    """Path below the prefix, and the handler's name; `methods` says how it is asked."""
    return {
        **PAGES,
        f"{CONNECTED}/{{name}}": "static",
        f"{ABOUT_CODES}{{code}}": "error",
        callback: "callback",
        f"{callback}/{{segment}}": "callback_of_app",
    }


class MountedPages(Browser):
    """The pages as another application serves them, which has no gateway of ours before it."""

    def __init__(self, vault: TokenVault, callback: str) -> None:
        super().__init__(vault, assets=CONNECTED)
        self._callback = callback

    async def answer(self, name: str, request: PageRequest) -> PageAnswer:
        """The answer of the handler of this name."""
        allowed = methods(name)
        if request.method not in allowed:
            page = self._pages.of(request).problem(MethodNotAllowed(), None)
            return ours(page.with_headers({"allow": ", ".join(allowed)}))
        before = ACTING.set(Acting("hotel", request.address))  # not beyond the page: hooks are the application's
        try:
            return ours(await getattr(self, name)(request))
        finally:
            ACTING.reset(before)

    async def callback_of_app(self, request: PageRequest) -> PageAnswer:
        """A further app's callback, one segment below the settings' own."""
        path = f"{self._callback}/{request.parameters['segment']}"
        known = await self._vault.apps.redirect_uris()
        app = next((name for name, uri in known.items() if urlsplit(uri).path.endswith(path)), None)
        if app is None:
            return problem_document(NotFound(), self._prefix)
        return await self.callback(replace(request, app=app))


def ours(answer: PageAnswer) -> PageAnswer:
    """With the headers that an answer of ours has, as the service's gateway gives them to it."""
    own = {name: value for name, value in answer.headers.items() if name == POLICY}  # of a page with a form
    return answer.with_headers({CODE: "ok", **answer.headers, **_OURS, **own})


def problem_document(error: Exception, prefix: str | None) -> PageAnswer:
    """The error as `application/problem+json` with its stable code, never cached.

    `prefix`: the path below which the application serves our pages, which is where its `type` points to; None: nowhere.
    """
    before = TYPES.set(None if prefix is None else prefix + ABOUT_CODES)
    try:
        return answer_for(error if isinstance(error, Error) else Unexpected()).with_headers(_KEPT_NOWHERE)
    finally:
        TYPES.reset(before)


def page_or_problem(error: Error, prefix: str | None, headers: Mapping[str, str]) -> PageAnswer:
    """An endpoint's error: a page where the request's `Accept` asks for one, in the language that `Accept-Language`
    asks for; else the document. `prefix` as above.
    """
    if prefix is None or not wants_page(headers.get("Accept", "")):
        return problem_document(error, prefix)
    return ours(_pages(prefix).in_language(headers.get("Accept-Language", "")).problem(error, error.connect_url))


@lru_cache(maxsize=4)
def _pages(prefix: str) -> PagesByLanguage:
    return PagesByLanguage(prefix, CONNECTED)


def wants_page(accept: str) -> bool:
    """Whether HTML is named, and preferred to JSON (RFC 9110 section 12.5.1). Who takes anything is a program."""
    weights: dict[str, float] = {}
    for part in accept.lower().split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        try:
            weights[media] = float(weight)
        except ValueError:
            continue
    return weights.get("text/html", 0.0) > max(weights.get(PROBLEM, 0.0), weights.get("application/json", 0.0))


def mounted_settings(settings: Settings, callback: str, served: str) -> Settings:
    """The settings, with the public URL that follows from the redirect URI where none is set.

    Raises ConfigurationError as `must_lie_there` does.
    """
    mounted = settings
    if "public_url" not in settings.model_fields_set:
        mounted = settings.model_copy(update={"public_url": settings.redirect_uri.removesuffix(callback)})
    must_lie_there(mounted, callback, served)
    return mounted


def must_lie_there(settings: Settings, callback: str, served: str) -> None:
    """`served` is the callback's whole path in the application.

    Raises ConfigurationError where a browser would come back to, or a link would lead to, an address that the
    application does not serve.
    """
    path = urlsplit(settings.redirect_uri).path
    if not path.endswith(served):
        if "redirect_uri" not in settings.model_fields_set:
            raise ConfigurationError(
                f"CLOUDBEDS_REDIRECT_URI is not set, and the callback is served at {served}",
                next_step=f"set it to that address as it is registered at Cloudbeds, like http://localhost:8000{served}",
            )
        raise ConfigurationError(
            f"CLOUDBEDS_REDIRECT_URI has the path {path}, and the callback is served at {served}",
            next_step="set the redirect URI, the prefix or `Cloudbeds(callback=…)` so that they agree",
        )
    if path_prefix(settings.public_url) + callback != path:
        raise ConfigurationError(
            f"CLOUDBEDS_AUTH_PUBLIC_URL has not the path {path.removesuffix(callback) or '/'}, where the pages are",
            next_step="unset it, or set it to the redirect URI without the callback's path",
        )
