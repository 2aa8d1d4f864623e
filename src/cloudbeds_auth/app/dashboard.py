"""What an operator sees and does in a browser: hotels by state, a list of them, callers' keys; apps, the audit, work,
settings. One hotel's page is in `connection_page`.

Who did what is in histories and in the audit, as `session:` and the id of the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudbeds_auth.app.browser import CONNECT
from cloudbeds_auth.app.exchanges import PageAnswer, PageRequest, redirect
from cloudbeds_auth.app.forms import parameters
from cloudbeds_auth.app.gateway import path_prefix
from cloudbeds_auth.app.pages.service_pages import ServicePages
from cloudbeds_auth.rules.inputs import Search
from cloudbeds_auth.rules.sessions import Session

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

ROWS = 50  # of a page
SEARCHED = ("search", "show", "app", "order")
OLDEST = "oldest"  # first; any other order is newest first


class Dashboard:
    """The handlers of its pages, each for a session."""

    def __init__(self, vault: TokenVault, pages: ServicePages) -> None:
        self._vault = vault
        self._pages = pages
        self._prefix = path_prefix(vault.settings.public_url)
        self._first = f"{self._prefix}{CONNECT}" if vault.settings.open_connect else None  # where a first hotel begins

    async def hotels(self, request: PageRequest, session: Session) -> PageAnswer:
        """All hotels at a glance: how many look how, and a page of those that are searched for."""
        asked = {name: text.strip() for name, text in parameters(request, *SEARCHED, "cursor").items()}
        views = self._vault.engine.views
        search = Search(
            words=asked.get("show") or None, either=asked.get("search") or None, app=asked.get("app") or None,
            oldest=asked.get("order") == OLDEST, cursor=asked.get("cursor") or None, limit=ROWS,
        )  # fmt: skip
        page = await views.connections(search)
        return self._pages.hotels(session, search, page, await views.count_looks(), self._first)

    async def keys(self, request: PageRequest, session: Session) -> PageAnswer:
        """Callers' keys, newest first; or the children of one."""
        asked = parameters(request, "cursor", "parent")
        parent = asked.get("parent")
        page = await self._vault.keys.list(parent=parent, cursor=asked.get("cursor"), limit=ROWS)
        return self._pages.keys(session, page, page[-1].id if len(page) == ROWS else None, parent)

    async def revoke(self, request: PageRequest, session: Session) -> PageAnswer:
        """End a key and its children."""
        await self._vault.keys.revoke(request.parameters["key_id"])
        return redirect(f"{self._prefix}/keys")

    async def apps(self, request: PageRequest, session: Session) -> PageAnswer:
        """Registrations at Cloudbeds, the settings' own first."""
        cursor = parameters(request, "cursor").get("cursor")
        return self._pages.apps(session, *await self._vault.engine.views.app_looks(cursor, ROWS))

    async def audit(self, request: PageRequest, session: Session) -> PageAnswer:
        """Who did what, newest first."""
        cursor = parameters(request, "cursor").get("cursor")
        page = await self._vault.engine.audit.entries(cursor=cursor, limit=ROWS)
        following = page[-1].id if len(page) == ROWS else None
        return self._pages.audit(session, page, following, later=cursor is not None)

    async def work(self, request: PageRequest, session: Session) -> PageAnswer:
        """What there is to do, and how it goes."""
        engine, settings = self._vault.engine, self._vault.settings
        found, now = await engine.workloads.read(), engine.world.clock.wall()
        return self._pages.work(session, found, now, sends=settings.webhook_url is not None)

    async def values(self, request: PageRequest, session: Session) -> PageAnswer:
        """As they were read."""
        return self._pages.settings(session, self._vault.settings)
