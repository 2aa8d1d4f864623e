"""The page behind a one-time link that a hotel enters the client id and secret of its own app into, without any script.

Then the same link is one to connect by: it leads on to the approval of that app. Loading the page changes nothing. What
is entered comes in the body of a POST, is never shown again, and is in no address and no log.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from cloudbeds_auth.app.exchanges import Failed, PageAnswer, PageRequest, redirect
from cloudbeds_auth.app.forms import fields
from cloudbeds_auth.app.pages.hotel_pages import HotelPages, PagesByLanguage
from cloudbeds_auth.errors import AuthorizationExpired, Error, InvalidRequest
from cloudbeds_auth.rules.links import AppRequest
from cloudbeds_auth.rules.secret import Secret

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

ADD_APP = "/add-app"  # below the public URL
CLIENT_ID, CLIENT_SECRET = "client_id", "client_secret"  # names of fields
ENTERED = "by this link client id and secret were entered already, and it takes no others"
GO_ON = "connect the hotel; if the wrong ones were entered, ask where the link came from"


class AppPage:
    """The handler of its path; `connect` is the address of the pages of connect links."""

    def __init__(self, vault: TokenVault, pages: PagesByLanguage, connect: str) -> None:
        self._apps, self._pages, self._connect = vault.apps, pages, connect

    async def answer(self, request: PageRequest) -> PageAnswer:
        """The empty form; for a filled one "saved", or the form again with what is wrong with it."""
        token, pages = request.parameters["one_time"], self._pages.of(request)
        try:
            asked = await self._apps.read_link(token)
            if request.method == "POST":
                return await self._entered(token, asked, request, pages)
        except Error as error:
            return replace(pages.problem(error, None), about=Failed(error))
        return redirect(self._after(token)) if asked is None else pages.add_app(asked, None)

    async def _entered(
        self, token: str, asked: AppRequest | None, request: PageRequest, pages: HotelPages
    ) -> PageAnswer:
        if asked is None:
            return pages.problem(InvalidRequest(ENTERED, next_step=GO_ON), self._after(token))
        try:
            given = fields(request, CLIENT_ID, CLIENT_SECRET)
            secret = Secret(given[CLIENT_SECRET])
            await self._apps.add_from_link(token, client_id=given[CLIENT_ID], client_secret=secret)
        except AuthorizationExpired:
            raise
        except Error as error:
            return pages.add_app(asked, error)
        return pages.app_added(self._after(token))

    def _after(self, token: str) -> str:
        """Where the hotel connects by the same link."""
        return f"{self._connect}/{quote(token, safe='')}"
