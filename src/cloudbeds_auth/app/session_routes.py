"""The routes of operators' pages, and what each form that comes back is asked before anything is done (A17).

A session opens these pages and the description of the API, and nothing else: never `/api`, never `/proxy`. A GET
changes nothing; the page of a hotel that has to approve again makes the link that it shows (`engine.views`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import Request
from starlette.responses import Response
from starlette.routing import Route

from cloudbeds_auth.app.api_description import describe_api
from cloudbeds_auth.app.api_reference import api_reference
from cloudbeds_auth.app.asgi import PageEndpoint, answered, page_request, route
from cloudbeds_auth.app.checks import CredentialChecks
from cloudbeds_auth.app.connection_page import ASKED, ConnectionPage
from cloudbeds_auth.app.dashboard import Dashboard
from cloudbeds_auth.app.exchanges import Failed, PageAnswer, PageRequest
from cloudbeds_auth.app.forms import FORM_TOKEN, fields, may_be_read
from cloudbeds_auth.app.gateway import METHODS, REFERENCE, SESSION, SIGN_IN_FIRST, path_prefix
from cloudbeds_auth.app.limits import Tally
from cloudbeds_auth.app.live import LiveStream
from cloudbeds_auth.app.pages.operator_pages import OperatorPages
from cloudbeds_auth.app.permits import Permit, need
from cloudbeds_auth.app.relaying import Relay
from cloudbeds_auth.app.service_pages import ServicePages
from cloudbeds_auth.app.sign_in import SignIn
from cloudbeds_auth.errors import Error, Forbidden, InvalidRequest, Unauthenticated
from cloudbeds_auth.rules.permissions import Scope
from cloudbeds_auth.rules.sessions import Session

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

OVERRIDES = frozenset({"x-http-method", "x-http-method-override", "x-method-override"})
AGAIN = "open the page again in this service, and send its form from there"
may_read: Callable[[Request], Awaitable[Permit]] = need(Scope.ADMIN)  # the description of the API, without a session
PageHandler = Callable[[PageRequest, Session | None], Awaitable[PageAnswer]]


def must_be_sent_from_here(request: PageRequest, public_url: str) -> None:
    """Raises Forbidden unless the browser says that a page of ours sent this form: by `Sec-Fetch-Site`, which no script
    can set (Fetch Metadata Request Headers, section 2.4), or by `Origin` (RFC 6454 section 7), which our referrer
    policy makes `null` in forms. A body of another media type is no form of ours, and no header makes a POST anything
    else.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin", "null")
    public, host = urlsplit(public_url), request.headers.get("host", "").lower()
    # A proxy that ends TLS may not tell us of it: what came by the public URL's name came by its scheme.
    scheme = public.scheme if host == public.netloc.lower() else request.scheme
    ours = origin.lower() in {f"{public.scheme}://{public.netloc}".lower(), f"{scheme}://{host}"}
    if site not in (None, "same-origin") or not (ours or (origin == "null" and site is not None)):
        raise Forbidden("no page of this service sent this form, or the browser does not say so", next_step=AGAIN)
    if not may_be_read(request) or not OVERRIDES.isdisjoint(request.headers):
        raise Forbidden("nothing but the form of a page is taken here", next_step=AGAIN)


def must_hold_form_token(request: PageRequest, session: Session, names: Sequence[str]) -> None:
    """Raises Forbidden unless the form is one of this session's pages; `names`: its other fields."""
    try:
        given = fields(request, FORM_TOKEN, *names)[FORM_TOKEN]
    except InvalidRequest:
        given = ""
    if not session.is_form_token(given):
        raise Forbidden("this form is not of a page of this session", next_step=AGAIN)


class SessionRoutes:
    """Answers each of these pages."""

    def __init__(self, vault: TokenVault, checks: CredentialChecks, tally: Tally, relay: Relay) -> None:
        self._vault = vault
        self._public_url = vault.settings.public_url
        self._engine = vault.engine
        self._pages = OperatorPages(path_prefix(self._public_url), "/static")
        self._sign_in = SignIn(vault, self._pages, checks, tally)
        self._dashboard = Dashboard(vault, self._pages)
        self._of_one = ConnectionPage(vault, self._pages, relay)
        self._of_service = ServicePages(vault, self._pages)

    def routes(self) -> list[Route]:
        """All of them; the gateway lets in where a session is needed those alone that have one."""
        made: list[Route] = []

        def shows(path: str, page: PageHandler, methods: Collection[str] = ("GET",)) -> None:
            made.append(route(path, self._endpoint(page), methods))

        def takes(path: str, handler: PageHandler, *names: str) -> None:
            shows(path, self._form(handler, names), ("POST",))

        sign_in, dashboard, of_one, of_service = self._sign_in, self._dashboard, self._of_one, self._of_service
        shows("/sign-in", sign_in.page)
        shows(SIGN_IN_FIRST, sign_in.first, METHODS)
        made.append(route("/session", self._begin, ["POST"]))
        takes("/session/end", sign_in.end)
        shows("/", self._home)
        shows("/connections", _seen(dashboard.hotels))
        shows("/live/hotels", _seen(dashboard.hotels))
        made.append(route("/live", self._live))
        shows("/connections/{identifier}", _seen(of_one.show))
        takes("/connections/{identifier}/refresh", _seen(of_one.renew))
        takes("/connections/{identifier}/link", _seen(of_one.link))
        takes("/connections/{identifier}/disconnect", _seen(of_one.disconnect))
        takes("/connections/{identifier}/try", _seen(of_one.attempt), ASKED)
        made.append(route(REFERENCE, self._reference))
        shows("/keys", _seen(dashboard.keys))
        takes("/keys/{key_id}/revoke", _seen(dashboard.revoke))
        shows("/apps", _seen(of_service.apps))
        shows("/audit", _seen(of_service.audit))
        shows("/work", _seen(of_service.work))
        shows("/settings", _seen(of_service.values))
        return made

    async def _home(self, request: PageRequest, session: Session | None) -> PageAnswer:
        return self._pages.welcome() if session is None else await self._dashboard.hotels(request, session)

    async def _reference(self, request: Request) -> Response:
        """The API described, for a session, and for a caller with the scope `admin`."""

        async def shown(asked: PageRequest, session: Session | None) -> PageAnswer:
            if session is None:
                await may_read(request)
            settings, url = self._vault.settings, self._public_url.rstrip("/")
            return self._pages.show(
                session, "api.html", groups=api_reference(describe_api(request.app), url), url=url,
                vendor=settings.base_url, example=f"/api/{settings.api_version}/getHotels",
            )  # fmt: skip

        return await self._endpoint(shown)(request)

    def _form(self, handler: PageHandler, names: Sequence[str]) -> PageHandler:
        """The handler of a form that a page of the session sends, with fields of these names."""

        async def asked(request: PageRequest, session: Session | None) -> PageAnswer:
            must_be_sent_from_here(request, self._public_url)
            if session is not None:
                must_hold_form_token(request, session, names)
            return await handler(request, await self._still_good(session))

        return asked

    async def _still_good(self, session: Session | None) -> Session | None:
        """The session that the gateway recognized by the head; None where it ended while the form came."""
        return session and await self._engine.sessions.recognize(session.text.reveal(), used=False)

    async def _begin(self, request: Request) -> Response:
        async def begun(asked: PageRequest, session: Session | None) -> PageAnswer:
            must_be_sent_from_here(asked, self._public_url)
            return await self._sign_in.begin(asked, session, request.scope)

        return await self._endpoint(begun)(request)

    async def _live(self, request: Request) -> Response:
        """A stream for a page of a session."""
        session: Session | None = getattr(request.state, SESSION, None)
        if session is None:  # the gateway lets none in, but at a path that is written in another way
            raise Unauthenticated

        async def is_good() -> bool:
            return await self._still_good(session) is not None

        return LiveStream(self._engine.watcher, self._engine.world.clock, is_good)

    def _endpoint(self, page: PageHandler) -> PageEndpoint:
        async def endpoint(request: Request) -> Response:
            try:
                answer = await page(await page_request(request), getattr(request.state, SESSION, None))
            except Error as error:
                answer = replace(self._pages.trouble(error), about=Failed(error))
            return answered(request, answer)

        return endpoint


def _seen(handler: Callable[[PageRequest, Session], Awaitable[PageAnswer]]) -> PageHandler:
    """The handler of what only a session sees."""

    async def page(request: PageRequest, session: Session | None) -> PageAnswer:
        if session is None:
            raise Unauthenticated
        return await handler(request, session)

    return page
