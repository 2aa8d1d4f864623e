"""One hotel's page, and what an operator does there: refresh, a link to reconnect, disconnect, try a call.

Who did what is in the hotel's history and in the audit, as `session:` and the id of the session; of a call to try,
which changes nothing, in the log.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from cloudbeds_auth.app.exchanges import PageAnswer, PageRequest, redirect
from cloudbeds_auth.app.forms import fields, parameters
from cloudbeds_auth.app.gateway import path_prefix
from cloudbeds_auth.app.pages.connection_pages import ConnectionPages, HotelStory
from cloudbeds_auth.app.relaying import Relay
from cloudbeds_auth.app.trying import TryIt
from cloudbeds_auth.rules.model import moment
from cloudbeds_auth.rules.sessions import Session

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

LINES = 50  # of a history, in one page
ASKED = "path"  # the field of the form to try a call


class ConnectionPage:
    """The handlers, each for a session."""

    def __init__(self, vault: TokenVault, pages: ConnectionPages, relay: Relay) -> None:
        self._vault = vault
        self._pages = pages
        self._prefix = path_prefix(vault.settings.public_url)
        self._try_it = TryIt(vault, relay)

    async def show(self, request: PageRequest, session: Session) -> PageAnswer:
        """What is known of it, the picture of its tokens, and a page of its history; by a property's id, too."""
        one = await self._vault.connection(request.parameters["identifier"])
        cursor = parameters(request, "cursor").get("cursor")
        events = await self._vault.events(one.id, cursor=cursor, limit=LINES)
        timeline = await self._vault.engine.views.timeline(one.id, cursor=cursor)
        following = events[-1].cursor if len(events) == LINES else None
        story = HotelStory(one, events, following, timeline, self._now(), first=cursor is None)
        return self._pages.connection(session, story, self._try_it.examples)

    async def renew(self, request: PageRequest, session: Session) -> PageAnswer:
        """Refresh it now."""
        return self._shown((await self._vault.refresh(request.parameters["identifier"])).id)

    async def link(self, request: PageRequest, session: Session) -> PageAnswer:
        """Make a link by which the hotel approves again, and show it: it is sent to the hotel by the operator."""
        one = await self._vault.connection(request.parameters["identifier"])
        link = await self._vault.create_link(connection_id=one.id)
        return self._pages.link_made(session, one, link, self._now())

    async def disconnect(self, request: PageRequest, session: Session) -> PageAnswer:
        """Tell Cloudbeds, and forget its tokens."""
        engine = self._vault.engine
        found = await engine.ids.find(request.parameters["identifier"])
        await engine.disconnecter.disconnect(found, forget=False)
        return self._shown(found)

    async def attempt(self, request: PageRequest, session: Session) -> PageAnswer:
        """Make a call to Cloudbeds, and show what came back."""
        one = await self._vault.connection(request.parameters["identifier"])
        asked = fields(request, "form_token", ASKED)[ASKED] or self._try_it.examples[0]
        tried = await self._try_it.call(one.id, asked, session.actor, request.address)
        return self._pages.tried(session, one, tried, self._try_it.examples)

    def _now(self) -> datetime:
        return moment(self._vault.engine.world.clock.wall())

    def _shown(self, connection_id: str) -> PageAnswer:
        return redirect(f"{self._prefix}/connections/{connection_id}")
