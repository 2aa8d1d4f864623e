"""The page behind a one-time link that a hotel pastes its API key into; it works without any script.

The link is the one that a hotel is sent to connect by: it leads to one connection, by an approval or by a key. Loading
the page changes nothing. The key comes in the body of a POST, is never shown again, and is in no address and no log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from cloudbeds_auth.app.exchanges import PageAnswer, PageRequest
from cloudbeds_auth.app.gateway import path_prefix
from cloudbeds_auth.app.pages import Pages
from cloudbeds_auth.engine.pasted_keys import link_for_key
from cloudbeds_auth.errors import AuthorizationExpired, Error, InvalidRequest, InvalidReturnTo
from cloudbeds_auth.rules.redirects import allowed_return, with_query
from cloudbeds_auth.rules.secret import Secret

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

PASTE_KEY = "/paste-key"  # below the public URL
FIELD = "api_key"
FORM = "application/x-www-form-urlencoded"


class KeyPage:
    """The two handlers of its path."""

    def __init__(self, vault: TokenVault) -> None:
        self._vault = vault
        self._world, self._keys = vault.engine.world, vault.engine.pasted_keys
        self._pages = Pages(path_prefix(vault.settings.public_url), "/static")

    async def show(self, request: PageRequest) -> PageAnswer:
        """The empty form."""
        return await self._answered(request, self._form)

    async def take(self, request: PageRequest, read: Callable[[], Awaitable[bytes]]) -> PageAnswer:
        """The filled one, `read` from the body: "connected", or the form again with what is wrong with the key."""

        async def taken(token: str) -> PageAnswer:
            link = await link_for_key(self._world, token)
            try:
                home = await self._keys.add_from_link(token, _pasted(request, await read()))
            except AuthorizationExpired:
                raise
            except Error as error:
                return await self._form(token, error)
            return self._pages.connected(home, self._back(link.return_to, home, link.reference))

        return await self._answered(request, taken)

    async def _answered(self, request: PageRequest, work: Callable[[str], Awaitable[PageAnswer]]) -> PageAnswer:
        try:
            return await work(request.parameters["one_time"])
        except Error as error:
            return self._pages.problem(error, None)

    async def _form(self, token: str, error: Error | None = None) -> PageAnswer:
        link = await link_for_key(self._world, token)
        app = await self._world.app_of(link)
        scopes = " ".join(dict.fromkeys(("read:hotel", *app.scopes)))
        return self._pages.paste_key(scopes, error)

    def _back(self, return_to: str | None, home: str, reference: str | None) -> str | None:
        """Where the hotel came from. A link and no redirect: a browser follows none to elsewhere after a form."""
        if return_to is None:
            return None
        try:
            back = allowed_return(return_to, self._vault.settings.return_origins)
        except InvalidReturnTo:
            return None
        return with_query(back, connection_id=home, reference=reference)


def _pasted(request: PageRequest, body: bytes) -> Secret:
    """The one field of the form; raises InvalidRequest where it is missing or came twice."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=2) if media == FORM else []
    except ValueError:
        fields = []
    if [name for name, _ in fields] != [FIELD]:
        raise InvalidRequest("the form holds one field, the API key")
    return Secret(fields[0][1].strip())
