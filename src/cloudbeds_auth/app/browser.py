"""The hotel's way: `/connect`, the approval page, the callback, "connected". Everything here is for a browser.

A `state` is bound to the browser it was issued to, by a random id in a cookie; the callback of another browser, or of
none, never exchanges a code (A01, A06). The redirect URI comes from the settings and never from a request (A13).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from cloudbeds_auth.app.app_page import ADD_APP, AppPage
from cloudbeds_auth.app.cookies import ConnectedCookie, Cookies, OutcomeCookie
from cloudbeds_auth.app.exchanges import Connected, Failed, PageAnswer, PageRequest, Parked, redirect
from cloudbeds_auth.app.forms import parameters
from cloudbeds_auth.app.gateway import host_name, path_prefix
from cloudbeds_auth.app.key_page import PASTE_KEY, KeyPage, still_allowed
from cloudbeds_auth.app.limits import OF_ALL, OF_ONE, STARTS_OF_ALL, STARTS_OF_ONE, Arrivals
from cloudbeds_auth.app.pages import Pages, static_files
from cloudbeds_auth.app.pages.hotel_pages import PagesByLanguage
from cloudbeds_auth.app.problems import CODE, MethodNotAllowed, NotFound, answer_for
from cloudbeds_auth.errors import (
    AuthorizationDenied,
    Error,
    Forbidden,
    InvalidRequest,
    StateMismatch,
    by_code,
)
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import AuthorizationRequest, Finished
from cloudbeds_auth.rules.redirects import begun_here, origin_of, with_query

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

CONNECT, CONNECTED, NOT_CONNECTED, CLAIM = "/connect", "/connected", "/not-connected", "/claim"  # below the public URL
PAGES = {
    CONNECT: "connect",
    f"{CONNECT}/{{one_time}}": "connect_once",
    f"{PASTE_KEY}/{{one_time}}": "paste_key",
    f"{ADD_APP}/{{one_time}}": "add_app",
    CONNECTED: "connected",
    f"{NOT_CONNECTED}/{{code}}": "not_connected",
    f"{CLAIM}/{{connection_id}}": "claim",
}
"""Paths below the public URL, with the handler of each, wherever the pages are served; other paths are the server's."""
FORMS = frozenset({"connect_once", "paste_key", "add_app"})  # handlers of pages whose form is posted to the same path
DENIED = "access_denied"  # the error where the hotel said no
MOVED = "moved=1"  # in the query of a browser that was sent to the redirect URI's host
_CONNECTION_ID = re.compile(r"con_[A-Za-z0-9]{1,64}\Z")


class Browser:
    """The handlers, one for each path that a browser requests; every framework adapter keeps these paths.

    They know their own paths below the public URL and never read the path of a request, which a reverse proxy or a
    mount may have changed. `assets` is where the pages' style sheet and icon are served, below the public URL.
    """

    def __init__(self, vault: TokenVault, *, assets: str = "/static") -> None:
        settings = vault.settings
        self._vault = vault
        self._world = vault.engine.world
        self._settings = settings
        self._prefix = path_prefix(settings.public_url)
        self._pages = PagesByLanguage(self._prefix, assets, urlsplit(settings.public_url).hostname or "")
        self._codes = Pages(self._prefix, assets)
        self.paste_key: Final = KeyPage(vault, self._pages).answer
        self.add_app: Final = AppPage(vault, self._pages, self._prefix + CONNECT).answer
        self._cookies = Cookies(secure=urlsplit(settings.redirect_uri).scheme == "https")
        self._static = static_files()
        clock = self._world.clock
        self._starts = Arrivals(clock, "were begun", of_one=STARTS_OF_ONE, of_all=STARTS_OF_ALL)
        self._arrivals = Arrivals(clock, "came from the Marketplace", of_one=OF_ONE, of_all=OF_ALL)

    async def connect(self, request: PageRequest) -> PageAnswer:
        """Start an approval in this browser, if the operator lets any browser start one."""

        async def begin(browser: str) -> AuthorizationRequest:
            if not self._settings.open_connect:
                raise Forbidden("a connection starts with a one-time link here", next_step="ask for a link")
            asked = parameters(request, "app", "return_to", "reference")
            app, return_to = asked.get("app") or "default", asked.get("return_to") or None
            self._starts.admit(request.address)
            return await self._vault.begin_authorization(
                app=app, return_to=return_to, reference=asked.get("reference"), browser=browser, trusted=False
            )

        return await self._begun(request, CONNECT, begin)

    async def connect_once(self, request: PageRequest) -> PageAnswer:
        """What a one-time link asks for; its button, a POST, begins the approval. Only that writes anything: mail
        scanners, previews and browsers open links before people do.

        It is not counted by address: a link bounds what is begun with it, and a made-up one begins nothing.
        """
        one_time = request.parameters["one_time"]
        path = f"{CONNECT}/{quote(one_time, safe='')}"
        if request.method != "POST":
            return await self._asked(request, one_time, path)

        async def begin(browser: str) -> AuthorizationRequest:
            _must_be_pressed(request, self._cookies.browser(request))
            return await self._vault.begin_from_link(one_time, browser=browser)

        return await self._begun(replace(request, query=""), path, begin)

    async def _asked(self, request: PageRequest, one_time: str, path: str) -> PageAnswer:
        """The page with the button, and the browser's id in a cookie; on the host that the hotel comes back to."""
        try:
            asked = await self._vault.read_link(one_time)
        except Error as error:
            return self._not_begun(request, error, path)
        instead = f"{self._prefix}{PASTE_KEY}/{quote(one_time, safe='')}" if asked.takes_key else None
        if instead is not None and not asked.takes_approval:
            return redirect(instead)
        elsewhere = self._elsewhere(request, asked.redirect_uri, path)
        if elsewhere is not None:
            return redirect(elsewhere)
        vendor = origin_of(self._settings.authorize_url) or self._vault.base_url
        page = self._pages.of(request).link(asked, self._prefix + path, vendor, instead)
        browser = self._cookies.browser(request) or self._world.entropy.token()
        return self._cookies.remember_browser(page, browser)

    async def callback(self, request: PageRequest) -> PageAnswer:
        """Where the vendor sends the browser back to (RFC 6749 section 4.1.2): one exchange, or none.

        An application that mounts the pages is asked first, where they say so (`PageAnswer.about`): about a hotel that
        connected, an approval that waits to be claimed, and an approval that failed.
        """
        try:
            asked = self._answer(request)
            if self._settings.marketplace == "park" and not begun_here(asked.get("state")):
                return await self._arrived(request, asked)
            finished = await self._finished(request, asked)
        except MethodNotAllowed as error:
            return self._pages.of(request).problem(error, None)  # no callback at all
        except Error as error:
            return self.failed(error)
        return self._cookies.forget_start(self._done(finished))

    def failed(self, error: Error) -> PageAnswer:
        """Redirect to the start's `return_to` with the error's code, else to the page that says what happened (A81)."""
        back = still_allowed(error.return_to, self._settings)
        if back is not None:
            answer = self._cookies.forget_start(redirect(with_query(back, error=error.code)))
        else:
            answer = redirect(f"{self._prefix}{NOT_CONNECTED}/{error.code}")
            answer = self._cookies.remember_outcome(answer, OutcomeCookie.of(error))
        return replace(answer.with_headers({CODE: error.code}), about=Failed(error))

    async def not_connected(self, request: PageRequest) -> PageAnswer:
        """The page about a failed approval: what it was, in the browser where it failed, else what its code means."""
        return self._about(request, request.parameters["code"])

    def _about(self, request: PageRequest, code: str) -> PageAnswer:
        kind, pages = by_code().get(code), self._pages.of(request)
        if kind is None:
            return pages.problem(NotFound(), None)
        outcome = self._cookies.outcome(request, code)
        return pages.problem(kind() if outcome is None else outcome.error(kind), self._start_again(request))

    async def error(self, request: PageRequest) -> PageAnswer:
        """What a code means, what is lost, what to do: where the `type` of a problem leads."""
        kind = by_code().get(request.parameters["code"])
        return self._pages.of(request).problem(NotFound(), None) if kind is None else self._codes.meaning(kind)

    async def errors(self, request: PageRequest) -> PageAnswer:
        """Every code that a problem may have."""
        found = by_code()
        return self._codes.meanings([found[code] for code in sorted(found)])

    async def connected(self, request: PageRequest) -> PageAnswer:
        """The page after the approval; it is open to anyone: what it was, it shows in the browser that approved."""
        pages = self._pages.of(request)
        try:
            asked = parameters(request, "connection_id", "error")
        except InvalidRequest as error:
            return pages.problem(error, None)
        if "error" in asked:  # a `return_to` may lead here
            return self._about(request, asked["error"])
        shown = asked.get("connection_id", "")
        if not _CONNECTION_ID.match(shown):
            return pages.connected(ConnectedCookie())
        return pages.connected(self._cookies.connected(request, shown) or ConnectedCookie(shown))

    async def claim(self, request: PageRequest) -> PageAnswer:
        """Where an approval from the Marketplace waits; the page says what happens next."""
        connection_id = request.parameters["connection_id"]
        shown = connection_id if _CONNECTION_ID.match(connection_id) else None
        return self._pages.of(request).waiting(shown)

    async def static(self, request: PageRequest) -> PageAnswer:
        """One of our few files; the icon, for browsers that ask without a link to it."""
        name = request.parameters.get("name", "favicon.svg")
        if name not in self._static:
            return answer_for(NotFound())
        body, media = self._static[name]
        return PageAnswer(200, {"content-type": media}, body)

    async def _arrived(self, request: PageRequest, asked: dict[str, str]) -> PageAnswer:
        """The hotel began in the Marketplace: exchange and park. No cookie of this browser is read or changed."""
        code = _code(asked)
        if code is None:
            raise AuthorizationDenied(_reason(asked))
        self._arrivals.admit(request.address)
        # There is no state of ours that names the app: its path does.
        connection = await self._vault.arrive(code=code, app=request.app)
        return replace(redirect(f"{self._prefix}{CLAIM}/{connection.id}"), about=Parked(connection))

    def _answer(self, request: PageRequest) -> dict[str, str]:
        """What the vendor answers through the browser (RFC 6749 section 4.1.2)."""
        if request.method != "GET" or request.has_body:
            raise MethodNotAllowed("a callback is a GET without a body")
        asked = parameters(request, "code", "state", "error", "error_description", "error_uri", "iss")
        issuer = asked.get("iss")
        if issuer is not None and issuer != self._vault.base_url:
            raise StateMismatch("the answer names another server than the one that was asked (RFC 9207)")
        return asked

    async def _finished(self, request: PageRequest, asked: dict[str, str]) -> Finished:
        """The connection; if the hotel or the vendor refused, the state is used up and nothing else changes."""
        browser, state, code = self._cookies.browser(request), asked.get("state"), _code(asked)
        if not state:
            raise StateMismatch("the callback came without a `state`")
        if browser is None:
            raise StateMismatch("this browser started no approval here")
        if code is None:
            raise AuthorizationDenied(_reason(asked), return_to=await self._vault.deny(state=state, browser=browser))
        return await self._vault.finish(code=code, state=state, browser=browser)

    def _done(self, finished: Finished) -> PageAnswer:
        """Redirect to an address without the code, so that no history entry and no referrer contains it (A14)."""
        connection, back = finished.connection, still_allowed(finished.return_to, self._settings)
        waits = connection.state is State.PARKED  # for the secret that it was begun for
        if back is not None:
            answer = redirect(with_query(back, connection_id=connection.id, reference=connection.reference))
        elif waits:
            answer = redirect(f"{self._prefix}{CLAIM}/{connection.id}")
        else:
            answer = redirect(with_query(self._prefix + CONNECTED, connection_id=connection.id))
            answer = self._cookies.remember_connected(answer, ConnectedCookie.of(connection))
        return replace(answer, about=Parked(connection) if waits else Connected(connection))

    async def _begun(
        self, request: PageRequest, path: str, begin: Callable[[str], Awaitable[AuthorizationRequest]]
    ) -> PageAnswer:
        """Begin, and redirect to the approval page, with the browser's id and the path of the start in its cookies.

        Or first to the same path on the host that the hotel comes back to, where another approval is begun: a cookie
        set on another name would not come back with the code.
        """
        start = f"{path}?{request.query}" if request.query else path
        browser = self._cookies.browser(request) or self._world.entropy.token()  # several tabs share the one there is
        try:
            begun = await begin(browser)
            elsewhere = self._elsewhere(request, begun.redirect_uri, start)
            if elsewhere is not None:
                return redirect(elsewhere)
            return self._cookies.remember(redirect(begun.url), browser, start)
        except Error as error:
            return self._not_begun(request, error, start)

    def _not_begun(self, request: PageRequest, error: Error, start: str) -> PageAnswer:
        """The page about it; where a later try may succeed, it links to the start."""
        again = error.status >= 500 or isinstance(error, StateMismatch)
        page = self._pages.of(request).problem(error, self._prefix + start if again else None)
        return replace(page, about=Failed(error))

    def _elsewhere(self, request: PageRequest, redirect_uri: str, start: str) -> str | None:
        """The same path on the redirect URI's host, unless the browser is there already: it asks for that host; or it
        was sent there, and a reverse proxy passes on another name; or it posts a form from a page shown there.
        """
        home = urlsplit(redirect_uri)
        asked = host_name(request.headers.get("host", "").lower())
        if asked == (home.hostname or "").lower() or MOVED in request.query.split("&") or request.method == "POST":
            return None
        prefix = self._prefix if self._prefix and home.path.startswith(self._prefix + "/") else ""
        return with_query(f"{origin_of(redirect_uri)}{prefix}{start}", moved="1")

    def _start_again(self, request: PageRequest) -> str | None:
        """Where this browser began, else the bare start where it is open."""
        start = self._cookies.start(request) or (CONNECT if self._settings.open_connect else None)
        return None if start is None else self._prefix + start


def methods(name: str) -> list[str]:
    """The HTTP methods that the handler of this name accepts."""
    return ["GET", "HEAD", "POST"] if name in FORMS else ["GET"]


def _must_be_pressed(request: PageRequest, browser: str | None) -> None:
    """Raises StateMismatch unless the button was pressed on our page: another site's form brings no SameSite cookie
    (RFC 6265bis section 5.6.7), and browsers say where a request comes from (Fetch Metadata, `Sec-Fetch-Site`).
    """
    if browser is None or request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise StateMismatch(
            "the button of the link's page was not pressed in this browser, or it keeps no cookies",
            next_step="open the link, allow cookies for this site, and press the button there",
        )


def _code(asked: dict[str, str]) -> str | None:
    """The code to exchange; None where the approval was refused."""
    return None if "error" in asked else asked.get("code") or None


def _reason(asked: dict[str, str]) -> str:
    """The refusal of the hotel or of Cloudbeds (RFC 6749 section 4.1.2.1) in the vendor's own words, shortened; the
    page escapes them (A11).
    """
    error = asked.get("error") or DENIED
    words = asked.get("error_description") or ("" if error == DENIED else error)
    line = "".join(letter if letter.isprintable() else " " for letter in words)[:200].strip()
    who = AuthorizationDenied.title() if error == DENIED else "Cloudbeds answered"
    return f"{who}: {line}" if line else who
