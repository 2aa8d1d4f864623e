"""The page behind a one-time link that a hotel enters the client id and secret of its own app into, without any script.

Then the same link is one to connect by: it leads on to the approval of that app. Loading the page changes nothing. What
is entered comes in the body of a POST, is never shown again, and is in no address and no log.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from cloudbeds_auth.app.exchanges import Failed, PageAnswer, PageRequest, redirect
from cloudbeds_auth.app.forms import fields
from cloudbeds_auth.app.pages import Pages
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

    def __init__(self, vault: TokenVault, pages: Pages, connect: str) -> None:
        self._apps, self._pages, self._connect = vault.apps, pages, connect
        self._asks = urlsplit(vault.settings.public_url).hostname or ""

    async def answer(self, request: PageRequest) -> PageAnswer:
        """The empty form; for a filled one "saved", or the form again with what is wrong with it."""
        token = request.parameters["one_time"]
        connect = f"{self._connect}/{quote(token, safe='')}"
        try:
            asked = await self._apps.read_link(token)
            if request.method == "POST":
                return await self._entered(token, asked, request, connect)
        except Error as error:
            return replace(self._pages.problem(error, None), about=Failed(error))
        return redirect(connect) if asked is None else self._pages.add_app(asked, self._asks, None)

    async def _entered(self, token: str, asked: AppRequest | None, request: PageRequest, connect: str) -> PageAnswer:
        if asked is None:
            return self._pages.problem(InvalidRequest(ENTERED, next_step=GO_ON), connect)
        try:
            given = fields(request, CLIENT_ID, CLIENT_SECRET)
            secret = Secret(given[CLIENT_SECRET])
            await self._apps.add_from_link(token, client_id=given[CLIENT_ID], client_secret=secret)
        except AuthorizationExpired:
            raise
        except Error as error:
            return self._pages.add_app(asked, self._asks, error)
        return self._pages.app_added(connect)
