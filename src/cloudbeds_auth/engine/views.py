"""What people see: a connection as it looks now, the one thing to do next, and the link that does it.

A hotel whose tokens are refused has a connect link of its own, one for each connection and process: made when it is
first asked for, and again when it was used or is about to end, so that a program that asks every second is always shown
the same. Hotels whose approval lacks a scope that the app asks for by now are each shown with theirs.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from cloudbeds_auth.engine.authorize import Authorizer, hashed
from cloudbeds_auth.engine.client_secrets import ClientSecrets
from cloudbeds_auth.engine.context import PASTE, World, current_grant, mend
from cloudbeds_auth.errors import Error, InvalidRequest, ReauthorizationRequired
from cloudbeds_auth.rules.api_errors import NEXT_STEP
from cloudbeds_auth.rules.history import HistoryPlace
from cloudbeds_auth.rules.inputs import Search, checked_cursor, checked_text, checked_whole
from cloudbeds_auth.rules.lifecycle import (
    HOTEL_SCOPE_MISSING,
    MIGRATION_UNDER_WAY,
    PROPERTY_MISMATCH,
    PROPERTY_UNKNOWN,
    UNAUTHORIZED_CLIENT,
    UNRECOGNIZED,
    State,
    seen,
)
from cloudbeds_auth.rules.model import App, Connection, CredentialKind, Event, Page
from cloudbeds_auth.rules.risks import NEXT_STEP as OF_RISK
from cloudbeds_auth.rules.risks import OF_PASTED_KEYS as RISKS_OF_PASTED_KEYS
from cloudbeds_auth.rules.risks import unapproved_scopes
from cloudbeds_auth.rules.subscriptions import SUBSCRIPTION_REFUSED
from cloudbeds_auth.transactions.authorizations import read_link
from cloudbeds_auth.transactions.connections import count_states, list_connections
from cloudbeds_auth.transactions.history import read_history

NEXT_STEPS = {
    State.IN_DOUBT: "nothing to do: the next attempt settles it",
    State.BACKING_OFF: "nothing to do: it is tried again by itself",
    State.REAUTHORIZATION_REQUIRED: "send the hotel its connect link; what is stored is tried again by itself, too",
    State.CLIENT_REFUSED: "the operator checks CLOUDBEDS_CLIENT_ID and CLOUDBEDS_CLIENT_SECRET; no hotel is at fault",
    State.PARKED: "claim it, from the Marketplace within a day: `cloudbeds-auth connections claim`, or POST "
    "/api/v1/connections/{id}/claim",
    State.DISCONNECTED: "connect the hotel again if it wants to be",
    State.READ_ONLY: "`cloudbeds-auth database adopt` when the other installation is gone for good",
}
# The same, of a key that the hotel made by itself: neither an approval nor a call of ours has to do with it.
OF_PASTED_KEYS: dict[str, str] = {
    **RISKS_OF_PASTED_KEYS,
    State.REAUTHORIZATION_REQUIRED: PASTE,
    State.DISCONNECTED: "the hotel also deletes its API key at Cloudbeds: that cannot be done from here",
}
# What is never stored: why a connection looks like this while nothing is wrong with the hotel.
PROBLEMS = {State.CLIENT_REFUSED: "client_refused", State.READ_ONLY: "read_only"}
# What a healthy hotel's calls run into, or what is done with it, and what mends it.
SERVING = {
    **OF_RISK,
    **NEXT_STEP,
    "property_disconnected": "a property of this approval disconnected the app at Cloudbeds: stop calling for it",
    SUBSCRIPTION_REFUSED: "the history has Cloudbeds' words: correct CLOUDBEDS_AUTH_SUBSCRIPTIONS, or ask its support",
    MIGRATION_UNDER_WAY: "upkeep resumes it under the client id that began it; or "
    "`cloudbeds-auth connections migrate-to-api-key`, with that client id",
}
# What a connection that serves, recovers or is not claimed waits for, where the problem says more than the state.
WAITING = {
    **OF_RISK,
    UNRECOGNIZED: "Cloudbeds refuses the refresh in words that nobody has documented: ask its support, with the "
    "history; the connect link mends it if the hotel did disconnect",
    UNAUTHORIZED_CLIENT: "this hotel's tokens may be of another registration: check the client id; it is tried again",
    PROPERTY_MISMATCH: "no hurry, it is kept alive: `cloudbeds-auth connections claim` where that hotel is yours, else "
    "`cloudbeds-auth connections forget`",
    # Why a candidate waits although its token works: it is not known yet which property it belongs to.
    PROPERTY_UNKNOWN: "nothing to do: Cloudbeds did not say yet which property it is of, and is asked again by itself",
    HOTEL_SCOPE_MISSING: "ask for the scope read:hotel (in CLOUDBEDS_SCOPES, and of the app), then send the hotel a "
    "connect link to approve again: without it Cloudbeds does not say which property this is",
}
# The same, of a key that the hotel made by itself.
NO_APP_STATE = "the hotel also disconnects the app in Cloudbeds: a property-level client cannot do it from here"
MOST_LISTED = 200
MOST_PAGES = 25  # that one question reads; what comes after is the next page's
GOOD_FOR = 7 * 86400.0  # seconds that a link is good for
MADE_AGAIN = 86400.0  # seconds before its end
MENDED_BY_LINK = (HOTEL_SCOPE_MISSING, UNRECOGNIZED, *OF_RISK)  # problems of a connection that is not marked
LIVING = (State.FRESH, State.STALE, State.REFRESHING, State.IN_DOUBT, State.BACKING_OFF)


T = TypeVar("T")


class Views:
    """Reads connections and their histories, and makes the links that connections need."""

    def __init__(self, world: World, client_secrets: ClientSecrets, authorizer: Authorizer) -> None:
        self._world = world
        self._client_secrets = client_secrets
        self._authorizer = authorizer
        self._links: dict[str, str] = {}  # tokens of links, by connection

    async def connection(self, connection_id: str) -> Connection:
        """One connection; raises UnknownConnection."""
        return (await self._shown([await self._world.known(connection_id)]))[0]

    async def lifetime(self, connection_id: str) -> float:
        """Seconds from issue to end of its stored access token; infinite where there is none, or none that ends."""
        row = await current_grant(self._world.db, connection_id)
        return math.inf if row is None else row.lifetime

    async def connections(self, search: Search) -> Page:
        """One page, newest first. Raises InvalidRequest for a state that there is not, a limit out of 1 to 200, and
        what is no text or no cursor.
        """
        page = await self._world.db.browse(
            list_connections(
                states=_stored_states(search.state),
                reference=checked_text("reference", search.reference),
                property_id=checked_text("property", search.property_id),
                app=checked_text("app", search.app),
                cursor=checked_cursor(search.cursor),
                limit=checked_whole("limit", search.limit, 1, MOST_LISTED),
            )
        )
        shown = await self._shown(page.connections)
        # An open circuit changes the state that is shown; a row that is no longer in the state asked for is left out.
        return Page(tuple(one for one in shown if search.state in {None, one.state}), page.next)

    async def lacking_scopes(self, search: Search) -> Page:
        """One page of those whose approval lacks a scope that the app asks for now, newest first, each with its link;
        with fewer than `limit` there may be a next one all the same.

        Raises InvalidRequest as `connections` does.
        """
        limit, cursor = checked_whole("limit", search.limit, 1, MOST_LISTED), search.cursor
        found: list[Connection] = []
        apps: dict[str, App | None] = {}
        for _ in range(MOST_PAGES):
            page = await self.connections(replace(search, cursor=cursor, limit=MOST_LISTED))
            for one in page:
                if one.app not in apps:
                    apps[one.app] = await self._world.find(one.app)
                missing = unapproved_scopes(apps[one.app], one)
                if missing and len(found) == limit:
                    return Page(tuple(found), found[-1].id)
                if missing:
                    step = f"send the hotel its connect link: its approval lacks {' '.join(missing)}"
                    found.append(replace(await self.with_link(one), next_step=step))
            cursor = page.next
            if cursor is None:
                break
        return Page(tuple(found), cursor)

    async def missing_scopes(self, connection_id: str) -> tuple[str, ...]:
        """What the app asks for and this hotel did not grant; of a connection that is not in use, nothing is missed.

        Raises UnknownConnection.
        """
        connection = await self.connection(connection_id)
        return unapproved_scopes(await self._world.find(connection.app), connection)

    async def events(self, connection_id: str, *, cursor: str | None = None, limit: int = 100) -> Sequence[Event]:
        """History, newest first, from `cursor` on; raises UnknownConnection, or InvalidRequest."""
        place = HistoryPlace.parse(cursor)
        checked_whole("limit", limit, 1, MOST_LISTED)
        await self._world.known(connection_id)
        return await self._world.db.browse(read_history(connection_id, place=place, limit=limit))

    async def count_states(self) -> Mapping[State, int]:
        """Connections by stored state, for a gauge."""
        return await self._world.db.browse(count_states())

    async def _shown(self, connections: Sequence[Connection]) -> list[Connection]:
        apps = {name: await self._world.find(name) for name in {found.app for found in connections}}
        refused = {name for name, app in apps.items() if app is None or await self._client_secrets.is_open(app)}
        return [self._looks(found, apps[found.app], found.app in refused) for found in connections]

    def _looks(self, found: Connection, app: App | None, client_refused: bool) -> Connection:
        foreign = self._world.foreign(found.app, found.source, app)
        refused = client_refused and found.credential != CredentialKind.API_KEY  # a key needs no client secret
        refused = refused or foreign is not None
        state = seen(found.state, stale=False, circuit_open=refused, read_only=self._world.db.read_only)
        problem = found.problem or ""
        step = NEXT_STEPS.get(state) or SERVING.get(problem)
        if state in (*LIVING, State.PARKED):
            step = WAITING.get(problem, step)
        if found.pasted:
            step = OF_PASTED_KEYS.get(state if state not in LIVING else problem, step)
        if state is State.CLIENT_REFUSED and foreign is not None:
            return replace(found, state=state, problem=foreign.what, next_step=foreign.next_step, foreign=True)
        if state is State.CLIENT_REFUSED and found.app not in self._world.apps:
            step = mend(found.app, app)
        elif state is State.DISCONNECTED and not found.pasted and app is not None and app.level == "property":
            step = NO_APP_STATE
        return replace(found, state=state, problem=PROBLEMS.get(state, found.problem), next_step=step)

    # --- connect links

    async def shown(self, connection_id: str) -> Connection:
        """One connection, with its link where the hotel has to approve again; raises UnknownConnection."""
        return await self.linked(await self.connection(connection_id))

    async def linked(self, connection: Connection) -> Connection:
        """The connection with its link, if the hotel has to approve again, or may have to, or it is to be claimed."""
        if connection.state is State.PARKED:
            return replace(connection, connect_url=self._world.claim_url(connection.id))
        by_link = connection.problem in MENDED_BY_LINK and not connection.pasted
        if connection.state is not State.REAUTHORIZATION_REQUIRED and not by_link:
            return connection
        return await self.with_link(connection)

    async def with_link(self, connection: Connection) -> Connection:
        """The connection with its link, in any state."""
        with suppress(Error):  # the link is a help; without it the connection is still shown
            return replace(connection, connect_url=await self._url(connection))
        return connection

    async def explain(self, error: ReauthorizationRequired) -> None:
        """Put the link into the error that asks for the hotel's new approval."""
        if error.connection_id is not None:
            with suppress(Error):
                error.connect_url = await self._url(await self.connection(error.connection_id))

    async def explained(self, work: Awaitable[T]) -> T:
        """The result of `work`; where the hotel has to approve again, the error carries the link."""
        try:
            return await work
        except ReauthorizationRequired as error:
            await self.explain(error)
            raise

    async def _url(self, connection: Connection) -> str:
        token = self._links.get(connection.id)
        link = None if token is None else await self._world.db.read(read_link(hashed(token)))
        if token is None or link is None or link.lifetime < MADE_AGAIN:
            made = await self._authorizer.create_link(
                app=connection.app,
                reference=None,  # the connection keeps its own, also one that is set after this
                return_to=None,
                connection_id=connection.id,
                expires_in=GOOD_FOR,
            )
            token = self._links[connection.id] = made.token
        return self._world.link_url(token)


def _stored_states(state: str | None) -> tuple[State, ...] | None:
    """The stored states that may be shown as this one."""
    if state is None:
        return None
    try:
        wanted = State(state)
    except ValueError:
        raise InvalidRequest(f"there is no state {state[:64]!r}; there are {', '.join(State)}") from None
    if wanted in {State.CLIENT_REFUSED, State.READ_ONLY}:
        return LIVING
    return (wanted,)
