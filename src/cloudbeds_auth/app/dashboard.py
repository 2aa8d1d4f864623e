"""What an operator sees and does in a browser: hotels by state, a list of them, callers' keys. One hotel's page is in
`connection_page`.

Who did what is in histories and in the audit, as `session:` and the id of the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudbeds_auth.app.browser import parameters
from cloudbeds_auth.app.exchanges import PageAnswer, PageRequest, redirect
from cloudbeds_auth.app.gateway import path_prefix
from cloudbeds_auth.app.pages.dashboard_pages import OperatorPages
from cloudbeds_auth.rules.sessions import Session

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

ROWS = 50  # of a page
SEARCHED = ("state", "property", "reference")


class Dashboard:
    """The handlers of its pages, each for a session."""

    def __init__(self, vault: TokenVault, pages: OperatorPages) -> None:
        self._vault = vault
        self._pages = pages
        self._prefix = path_prefix(vault.settings.public_url)

    async def home(self, request: PageRequest, session: Session) -> PageAnswer:
        """How many hotels are in which state."""
        return self._pages.overview(session, await self._vault.engine.views.count_states())

    async def connections(self, request: PageRequest, session: Session) -> PageAnswer:
        """A page of hotels, newest first, as they are searched for."""
        asked = parameters(request, *SEARCHED, "cursor")
        state, known, reference = (asked.get(name, "").strip() for name in SEARCHED)
        page = await self._vault.connections(
            state=state or None, property_id=known or None, reference=reference or None, cursor=asked.get("cursor"),
            limit=ROWS,
        )  # fmt: skip
        return self._pages.connections(session, page, dict(zip(SEARCHED, (state, known, reference), strict=True)))

    async def keys(self, request: PageRequest, session: Session) -> PageAnswer:
        """Callers' keys, newest first."""
        page = await self._vault.keys.list(cursor=parameters(request, "cursor").get("cursor"), limit=ROWS)
        return self._pages.keys(session, page, page[-1].id if len(page) == ROWS else None)

    async def revoke(self, request: PageRequest, session: Session) -> PageAnswer:
        """End a key and its children."""
        await self._vault.keys.revoke(request.parameters["key_id"])
        return redirect(f"{self._prefix}/keys")
