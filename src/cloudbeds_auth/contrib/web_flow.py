"""What all applications that mount the pages share, in any framework: the paths of the pages, which answers are the
application's own, and how an endpoint's error is answered.
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
# An application's own answer at a URL that contains a code is not cached, and passes on no referrer (A14).
AT_THE_CALLBACK = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
_OURS = {name.decode(): value.decode() for name, value in SECURITY}
_KEPT_NOWHERE = {name.decode(): value.decode() for name, value in VENDOR}

Hook = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Hooks:
    """The application's functions that are called before a browser is answered; None: the default answer is sent."""

    on_connected: Hook | None = None
    on_problem: Hook | None = None
    on_parked: Hook | None = None

    def ask(self, usual: PageAnswer, call: Callable[[Hook, Any], Any]) -> Any:
        """What `call` returns for the hook of this answer, given that hook and its argument; None without a hook."""
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
    """The headers and cookies for an application's own answer, which is sent in place of the default one."""
    cookies = usual.cookies if isinstance(usual.about, Connected) else ()  # the start is forgotten
    return PageAnswer(usual.status, AT_THE_CALLBACK, cookies=cookies)


def routes(callback: str) -> dict[str, str]:
    """Paths below the prefix, each with its handler's name; `methods` has the HTTP methods of each."""
    return {
        **PAGES,
        f"{CONNECTED}/{{name}}": "static",
        f"{ABOUT_CODES}{{code}}": "error",
        callback: "callback",
        f"{callback}/{{segment}}": "callback_of_app",
    }


class MountedPages(Browser):
    """The pages as another application serves them, without our gateway in front."""

    def __init__(self, vault: TokenVault, callback: str) -> None:
        super().__init__(vault, assets=CONNECTED)
        self._callback = callback

    async def answer(self, name: str, request: PageRequest) -> PageAnswer:
        """The answer of the handler of this name."""
        allowed = methods(name)
        if request.method not in allowed:
            page = self._pages.of(request).problem(MethodNotAllowed(), None)
            return ours(page.with_headers({"allow": ", ".join(allowed)}))
        before = ACTING.set(Acting("hotel", request.address))  # only for the page: hooks belong to the application
        try:
            return ours(await getattr(self, name)(request))
        finally:
            ACTING.reset(before)

    async def callback_of_app(self, request: PageRequest) -> PageAnswer:
        """A further app's callback, one segment below the settings' own."""
        path = f"{self._callback}/{request.parameters['segment']}"
        try:
            known = await self._vault.apps.redirect_uris()
        except Error as error:  # as `callback` answers its own
            return self.failed(error)
        app = next((name for name, uri in known.items() if urlsplit(uri).path.endswith(path)), None)
        if app is None:
            return problem_document(NotFound(), self._prefix)
        return await self.callback(replace(request, app=app))


def ours(answer: PageAnswer) -> PageAnswer:
    """The answer with the headers that the service's gateway adds to its own answers."""
    own = {name: value for name, value in answer.headers.items() if name == POLICY}  # of a page with a form
    return answer.with_headers({CODE: "ok", **answer.headers, **_OURS, **own})


def problem_document(error: Exception, prefix: str | None) -> PageAnswer:
    """The error as `application/problem+json` with its stable code, never cached.

    `prefix`: the path below which the application serves our pages, where its `type` points; None if it does not.
    """
    before = TYPES.set(None if prefix is None else prefix + ABOUT_CODES)
    try:
        return answer_for(error if isinstance(error, Error) else Unexpected()).with_headers(_KEPT_NOWHERE)
    finally:
        TYPES.reset(before)


def page_or_problem(error: Error, prefix: str | None, headers: Mapping[str, str]) -> PageAnswer:
    """An endpoint's error: a page in the language of `Accept-Language` if the request's `Accept` asks for one, else the
    document. `prefix`: as in `problem_document`.
    """
    if prefix is None or not wants_page(headers.get("Accept", "")):
        return problem_document(error, prefix)
    return ours(_pages(prefix).in_language(headers.get("Accept-Language", "")).problem(error, error.connect_url))


@lru_cache(maxsize=4)
def _pages(prefix: str) -> PagesByLanguage:
    return PagesByLanguage(prefix, CONNECTED)


def wants_page(accept: str) -> bool:
    """Whether HTML is named, and preferred to JSON (RFC 9110 section 12.5.1); `*/*` alone does not name it."""
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
    """The settings, with a public URL derived from the redirect URI if none is set.

    Raises ConfigurationError as `must_lie_there` does.
    """
    mounted = settings
    if "public_url" not in settings.model_fields_set:
        mounted = settings.model_copy(update={"public_url": settings.redirect_uri.removesuffix(callback)})
    must_lie_there(mounted, callback, served)
    return mounted


def must_lie_there(settings: Settings, callback: str, served: str) -> None:
    """Raises ConfigurationError if a browser would come back to, or a link would lead to, an address that the
    application does not serve. `served` is the callback's full path in the application.
    """
    path = urlsplit(settings.redirect_uri).path
    if not path.endswith(served):
        if "redirect_uri" not in settings.model_fields_set:
            raise ConfigurationError(
                f"CLOUDBEDS_REDIRECT_URI is not set, but the callback is served at {served}",
                next_step=f"set it to that address as registered at Cloudbeds, like http://localhost:8000{served}",
            )
        raise ConfigurationError(
            f"CLOUDBEDS_REDIRECT_URI has the path {path}, but the callback is served at {served}",
            next_step="change the redirect URI, the prefix or `Cloudbeds(callback=…)` so that they match",
        )
    if path_prefix(settings.public_url) + callback != path:
        raise ConfigurationError(
            f"the path of CLOUDBEDS_AUTH_PUBLIC_URL is not {path.removesuffix(callback) or '/'}, where the pages are",
            next_step="unset it, or set it to the redirect URI without the callback's path",
        )
