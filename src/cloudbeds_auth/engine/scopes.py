"""Hotels whose approval lacks a scope that the app asks for by now: each is shown with the link that mends it."""

from __future__ import annotations

from dataclasses import replace

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.mend import Mender
from cloudbeds_auth.engine.views import MOST_LISTED, Look
from cloudbeds_auth.rules.inputs import checked_whole
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import App, Connection, CredentialKind
from cloudbeds_auth.transactions.connections import Page

MOST_PAGES = 25  # that one question reads; what comes after is the next page's


class Scopes:
    """Compares what hotels granted with what the settings want."""

    def __init__(self, world: World, look: Look, mender: Mender) -> None:
        self._world = world
        self._look = look
        self._mender = mender

    async def missing(self, connection: Connection) -> tuple[str, ...]:
        """What the app asks for and this hotel did not grant; of a connection that is not in use, nothing is missed."""
        return _missing(await self._world.find(connection.app), connection)

    async def lacking(
        self,
        *,
        state: str | None,
        reference: str | None,
        property_id: str | None,
        app: str | None,
        cursor: str | None,
        limit: int,
    ) -> Page:
        """One page of those that lack one, newest first; with fewer than `limit` there may be a next one all the same.

        Raises InvalidRequest as `Look.connections` does.
        """
        checked_whole("limit", limit, 1, MOST_LISTED)
        found: list[Connection] = []
        apps: dict[str, App | None] = {}
        for _ in range(MOST_PAGES):
            page = await self._look.connections(
                state=state, reference=reference, property_id=property_id, app=app, cursor=cursor, limit=MOST_LISTED
            )
            for one in page.connections:
                if one.app not in apps:
                    apps[one.app] = await self._world.find(one.app)
                missing = _missing(apps[one.app], one)
                if missing and len(found) == limit:
                    return Page(tuple(found), found[-1].id)
                if missing:
                    found.append(await self._told(one, missing))
            cursor = page.next
            if cursor is None:
                break
        return Page(tuple(found), cursor)

    async def _told(self, connection: Connection, missing: tuple[str, ...]) -> Connection:
        step = f"send the hotel its connect link: its approval lacks {' '.join(missing)}"
        return replace(await self._mender.with_link(connection), next_step=step)


def _missing(app: App | None, connection: Connection) -> tuple[str, ...]:
    over = connection.connected_at is None or connection.state is State.DISCONNECTED
    if app is None or over or connection.credential != CredentialKind.OAUTH:
        return ()
    return tuple(scope for scope in app.scopes if scope not in connection.scopes)
