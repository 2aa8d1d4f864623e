"""What people see: a connection as it looks now, and the one thing to do next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cloudbeds_auth.engine.client_secrets import Circuits
from cloudbeds_auth.engine.context import World, mend
from cloudbeds_auth.engine.lookup import current_grant, resolve
from cloudbeds_auth.errors import AmbiguousProperty, InvalidRequest, UnknownConnection
from cloudbeds_auth.rules.api_errors import NEXT_STEP
from cloudbeds_auth.rules.history import HistoryPlace
from cloudbeds_auth.rules.inputs import checked_cursor, checked_text, checked_whole, is_text
from cloudbeds_auth.rules.lifecycle import (
    HOTEL_SCOPE_MISSING,
    MIGRATION_UNDER_WAY,
    PROPERTY_UNKNOWN,
    UNAUTHORIZED_CLIENT,
    UNRECOGNIZED,
    State,
    seen,
)
from cloudbeds_auth.rules.model import App, Connection, CredentialKind, Event
from cloudbeds_auth.transactions.connections import Page, count_states, list_connections, read_connection
from cloudbeds_auth.transactions.history import read_history

NEXT_STEPS = {
    State.IN_DOUBT: "nothing to do: the next attempt settles it",
    State.BACKING_OFF: "nothing to do: it is tried again by itself",
    State.REAUTHORIZATION_REQUIRED: "send the hotel its connect link; what is stored is tried again by itself, too",
    State.CLIENT_REFUSED: "the operator checks CLOUDBEDS_CLIENT_ID and CLOUDBEDS_CLIENT_SECRET; no hotel is at fault",
    State.PARKED: "claim it within a day: `cloudbeds-auth connections claim`, or POST /api/v1/connections/{id}/claim",
    State.DISCONNECTED: "connect the hotel again if it wants to be",
    State.READ_ONLY: "`cloudbeds-auth database adopt` when the other installation is gone for good",
}
# What is never stored: why a connection looks like this while nothing is wrong with the hotel.
PROBLEMS = {State.CLIENT_REFUSED: "client_refused", State.READ_ONLY: "read_only"}
# What a healthy hotel's calls run into, or what is done with it, and what mends it.
SERVING = {
    **NEXT_STEP,
    "property_disconnected": "a property of this approval disconnected the app at Cloudbeds: stop calling for it",
    MIGRATION_UNDER_WAY: "upkeep goes on with it under the client id that began it; or "
    "`cloudbeds-auth connections migrate-to-api-key`, with that client id",
}
# What a connection that serves or recovers waits for, where the problem says more than the state.
WAITING = {
    UNRECOGNIZED: "Cloudbeds refuses the refresh in words that nobody has documented: ask its support, with the "
    "history; the connect link mends it if the hotel did disconnect",
    UNAUTHORIZED_CLIENT: "this hotel's tokens may be of another registration: check the client id; it is tried again",
    # Why a candidate waits although its token works: nobody knows yet which property it is of.
    PROPERTY_UNKNOWN: "nothing to do: Cloudbeds did not say yet which property it is of, and is asked again by itself",
    HOTEL_SCOPE_MISSING: "ask for the scope read:hotel (in CLOUDBEDS_SCOPES, and of the app), then send the hotel a "
    "connect link to approve again: without it Cloudbeds does not say which property this is",
}
NO_APP_STATE = "the hotel also disconnects the app in Cloudbeds: a property-level client cannot do it from here"
MOST_LISTED = 200
LIVING = (State.FRESH, State.STALE, State.REFRESHING, State.IN_DOUBT, State.BACKING_OFF)


class Look:
    """Reads connections and their histories."""

    def __init__(self, world: World, circuits: Circuits) -> None:
        self._world = world
        self._circuits = circuits

    async def resolve(self, connection_or_property: str) -> str:
        """The connection id; raises UnknownConnection, or AmbiguousProperty when several cover the property."""
        found = await resolve(self._world.db, connection_or_property) if is_text(connection_or_property) else ()
        if not found:
            raise UnknownConnection(f"nothing is connected under {connection_or_property[:64]!r}")
        if len(found) > 1:
            raise AmbiguousProperty(f"{len(found)} connections cover property {connection_or_property[:64]!r}")
        return found[0]

    async def connection(self, connection_id: str) -> Connection:
        """One connection; raises UnknownConnection."""
        found = await self._world.db.read(read_connection(connection_id))
        if found is None:
            raise UnknownConnection(f"nothing is connected under {connection_id[:64]!r}")
        return (await self._shown([found]))[0]

    async def lifetime(self, connection_id: str) -> float:
        """Seconds from issue to end of its stored access token; infinite where there is none, or none that ends."""
        row = await current_grant(self._world.db, connection_id)
        return math.inf if row is None else row.lifetime

    async def connections(
        self,
        *,
        state: str | None = None,
        reference: str | None = None,
        property_id: str | None = None,
        app: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page:
        """One page, newest first. Raises InvalidRequest for a state that there is not, a limit out of 1 to 200, and
        what is no text or no cursor.
        """
        page = await self._world.db.read(
            list_connections(
                states=_stored_states(state),
                reference=checked_text("reference", reference),
                property_id=checked_text("property", property_id),
                app=checked_text("app", app),
                cursor=checked_cursor(cursor),
                limit=checked_whole("limit", limit, 1, MOST_LISTED),
            )
        )
        shown = await self._shown(page.connections)
        # An open circuit changes how a row looks; what no longer looks as asked for is left out.
        return Page(tuple(found for found in shown if state is None or found.state == state), page.next)

    async def events(self, connection_id: str, *, cursor: str | None = None, limit: int = 100) -> Sequence[Event]:
        """History, newest first, from `cursor` on; raises UnknownConnection, or InvalidRequest."""
        place = HistoryPlace.parse(cursor)
        checked_whole("limit", limit, 1, MOST_LISTED)
        if await self._world.db.read(read_connection(connection_id)) is None:
            raise UnknownConnection(f"nothing is connected under {connection_id[:64]!r}")
        return await self._world.db.read(read_history(connection_id, place=place, limit=limit))

    async def count_states(self) -> Mapping[State, int]:
        """Connections by stored state, for a gauge."""
        return await self._world.db.read(count_states())

    async def _shown(self, connections: Sequence[Connection]) -> list[Connection]:
        apps = {name: await self._world.find(name) for name in {found.app for found in connections}}
        refused = {name for name, app in apps.items() if app is None or await self._circuits.is_open(app)}
        return [self._looks(found, apps[found.app], found.app in refused) for found in connections]

    def _looks(self, found: Connection, app: App | None, client_refused: bool) -> Connection:
        foreign = self._world.foreign(found.app, found.source, app)
        refused = client_refused and found.credential != CredentialKind.API_KEY  # a key needs no client secret
        refused = refused or foreign is not None
        state = seen(found.state, stale=False, circuit_open=refused, read_only=self._world.db.read_only)
        problem = found.problem or ""
        step = NEXT_STEPS.get(state) or SERVING.get(problem)
        if state in LIVING:
            step = WAITING.get(problem, step)
        if state is State.CLIENT_REFUSED and foreign is not None:
            return replace(found, state=state, problem=foreign.what, next_step=foreign.next_step, foreign=True)
        if state is State.CLIENT_REFUSED and found.app not in self._world.apps:
            step = mend(found.app, app)
        elif state is State.DISCONNECTED and app is not None and app.level == "property":
            step = NO_APP_STATE
        return replace(found, state=state, problem=PROBLEMS.get(state, found.problem), next_step=step)


def _stored_states(state: str | None) -> tuple[State, ...] | None:
    """The stored states that may look like this one."""
    if state is None:
        return None
    try:
        wanted = State(state)
    except ValueError:
        raise InvalidRequest(f"there is no state {state[:64]!r}; there are {', '.join(State)}") from None
    if wanted in {State.CLIENT_REFUSED, State.READ_ONLY}:
        return LIVING
    return (wanted,)
