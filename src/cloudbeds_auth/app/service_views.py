"""What an operator sees of the service itself in a browser: apps, the audit, work, settings. Nothing is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudbeds_auth.app.dashboard import ROWS
from cloudbeds_auth.app.exchanges import PageAnswer, PageRequest
from cloudbeds_auth.app.forms import parameters
from cloudbeds_auth.app.pages.service_pages import ServicePages
from cloudbeds_auth.rules.sessions import Session

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault


class ServiceViews:
    """The handlers of its pages, each for a session."""

    def __init__(self, vault: TokenVault, pages: ServicePages) -> None:
        self._vault = vault
        self._pages = pages

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
