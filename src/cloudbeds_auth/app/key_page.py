"""The page behind a one-time link that a hotel pastes its API key into; it works without any script.

The link is the one that a hotel is sent to connect by: it leads to one connection, by an approval or by a key. Loading
the page changes nothing. The key comes in the body of a POST, is never shown again, and is in no address and no log.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cloudbeds_auth.app.cookies import ConnectedCookie
from cloudbeds_auth.app.exchanges import Connected, Failed, PageAnswer, PageRequest
from cloudbeds_auth.app.forms import fields
from cloudbeds_auth.app.pages.hotel_pages import HotelPages, PagesByLanguage
from cloudbeds_auth.engine.pasted_keys import link_for_key
from cloudbeds_auth.errors import AuthorizationExpired, Error, InvalidReturnTo
from cloudbeds_auth.rules.redirects import allowed_return, with_query
from cloudbeds_auth.rules.secret import Secret

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Settings
    from cloudbeds_auth.vault import TokenVault

PASTE_KEY = "/paste-key"  # below the public URL
FIELD = "api_key"


class KeyPage:
    """The handler of its path."""

    def __init__(self, vault: TokenVault, pages: PagesByLanguage) -> None:
        self._vault, self._pages = vault, pages
        self._world, self._keys = vault.engine.world, vault.engine.pasted_keys

    async def answer(self, request: PageRequest) -> PageAnswer:
        """The empty form; for a filled one "connected", or the form again with what is wrong with the key."""
        token, pages = request.parameters["one_time"], self._pages.of(request)
        try:
            return await (self._taken(token, request, pages) if request.method == "POST" else self._form(token, pages))
        except Error as error:
            return replace(pages.problem(error, None), about=Failed(error))

    async def _taken(self, token: str, request: PageRequest, pages: HotelPages) -> PageAnswer:
        link = await link_for_key(self._world, token)
        try:
            home = await self._keys.add_from_link(token, Secret(fields(request, FIELD)[FIELD]))
        except AuthorizationExpired:
            raise
        except Error as error:
            return await self._form(token, pages, error)
        connection, back = await self._vault.connection(home), self._back(link.return_to, home, link.reference)
        page = pages.connected(ConnectedCookie.of(connection), key=True, back=back)
        return replace(page, about=Connected(connection))

    async def _form(self, token: str, pages: HotelPages, error: Error | None = None) -> PageAnswer:
        link = await link_for_key(self._world, token)
        app = await self._world.app_of(link)
        return pages.paste_key([*dict.fromkeys(("read:hotel", *app.scopes))], error)

    def _back(self, return_to: str | None, home: str, reference: str | None) -> str | None:
        """Where the hotel came from. A link and no redirect: a browser follows none to elsewhere after a form."""
        back = still_allowed(return_to, self._vault.settings)
        return None if back is None else with_query(back, connection_id=home, reference=reference)


def still_allowed(return_to: str | None, settings: Settings) -> str | None:
    """Checked when it was given and checked again now: the list of origins may have changed since."""
    if return_to is None:
        return None
    try:
        return allowed_return(return_to, settings.return_origins)
    except InvalidReturnTo:
        return None
