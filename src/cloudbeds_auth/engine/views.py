"""What people see: a connection as it looks now, the next thing to do, and the link for it.

A hotel whose tokens are refused has a connect link of its own, one for each connection and process: made when it is
first asked for, and again after it was used or before it ends, so that a program that asks every second always gets the
same link. Hotels whose approval lacks a scope that the app asks for by now are also shown with a link each.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from cloudbeds_auth.engine.authorize import Authorizer, hashed
from cloudbeds_auth.engine.client_secrets import ClientSecrets
from cloudbeds_auth.engine.context import World, current_grant
from cloudbeds_auth.engine.refused_cohorts import BY_REFUSAL, LIVING, NEVER_STORED, Cohorts, KnownApps
from cloudbeds_auth.errors import Error, InvalidRequest, ReauthorizationRequired
from cloudbeds_auth.rules.history import HistoryPlace
from cloudbeds_auth.rules.inputs import Search, checked_cursor, checked_text, checked_whole
from cloudbeds_auth.rules.lifecycle import MIGRATION_CLIENT_UNKNOWN, State, seen
from cloudbeds_auth.rules.model import App, Connection, Event, Page, StateCounts, moment
from cloudbeds_auth.rules.origins import Foreign, foreign_secret
from cloudbeds_auth.rules.overview import BY_WORDS, AppLook, app_presentation
from cloudbeds_auth.rules.pair_drawing import Timeline
from cloudbeds_auth.rules.presentation import lacking, mended_by_link, presentation, remedy_of
from cloudbeds_auth.rules.risks import unapproved_scopes
from cloudbeds_auth.rules.timeline import pairs
from cloudbeds_auth.transactions.apps import read_apps
from cloudbeds_auth.transactions.authorizations import read_link
from cloudbeds_auth.transactions.connections import (
    COUNTED_AT_ONCE,
    NOTHING,
    Trouble,
    count_cohorts,
    count_of_apps,
    count_states,
    list_connections,
    list_troubled,
    read_connections,
)
from cloudbeds_auth.transactions.history import read_history, read_pair_history
from cloudbeds_auth.transactions.statements import Call
from cloudbeds_auth.transactions.verification import (
    AlteredRows,
    VerifiedHistory,
    verify_connections,
    verify_history,
    verify_keys,
)

# Problems that are never stored: why a connection looks like this although nothing is wrong with the hotel.
PROBLEMS = {State.CLIENT_REFUSED: "client_refused", State.READ_ONLY: "read_only"}
MOST_LISTED = 200
MOST_OF_APP = 1_000  # connections of one app that are counted
MOST_PAGES = 25  # that are read for one question; the rest belongs to the next page
GOOD_FOR = 7 * 86400.0  # seconds that a link is good for
MADE_AGAIN = 86400.0  # seconds before its end
COUNTED_AGAIN = 60.0  # seconds after which very many connections are counted again
COUNTED_GOOD_FOR = 600.0  # seconds after which a count is too old to show
NEVER_COUNTED: tuple[Mapping[State, int], float] = ({}, -math.inf)  # the last whole count, and its steady second


T = TypeVar("T")


class Views:
    """Reads connections and their histories, and makes the links that connections need."""

    def __init__(self, world: World, client_secrets: ClientSecrets, authorizer: Authorizer) -> None:
        self._world = world
        self._cohorts = Cohorts(world, client_secrets)
        self._authorizer = authorizer
        self._links: dict[str, str] = {}  # tokens of links, by connection
        self._counted = NEVER_COUNTED

    async def connection(self, connection_id: str) -> Connection:
        """One connection; raises UnknownConnection."""
        return (await self._shown([await self._world.known(connection_id)]))[0]

    async def current(self, connection_ids: Sequence[str]) -> list[Connection]:
        """These connections as they look now, in this order; unknown ids are left out."""
        found = await self._world.db.browse(read_connections(connection_ids))
        return await self._shown([found[one] for one in connection_ids if one in found])

    async def lifetime(self, connection_id: str) -> float:
        """Seconds from issue to expiry of the stored access token; infinite if there is none, or it never expires."""
        row = await current_grant(self._world.db, connection_id)
        return math.inf if row is None else row.lifetime

    async def connections(self, search: Search) -> Page:
        """One page, newest first; even a page that is not full may have a next one. Raises InvalidRequest for an
        unknown state or words, a limit outside 1 to 200, and what is not text or not a cursor.
        """
        states, limit = _states(search), checked_whole("limit", search.limit, 1, MOST_LISTED)
        wanted = states[0] if states else None  # states with the same words are all stored and living, or none is
        by_name = (search.reference, search.property_id, search.either) != (None, None, None)
        asked = partial(
            list_connections,
            states=LIVING if wanted in NEVER_STORED else states,
            reference=checked_text("reference", search.reference),
            property_id=checked_text("property", search.property_id),
            either=checked_text("the search", search.either),
            app=checked_text("app", search.app),
            oldest=search.oldest and not by_name and search.app is None,
            limit=limit,
        )
        cursor = checked_cursor(search.cursor)
        if wanted in BY_REFUSAL and self._world.db.read_only is not (wanted is State.READ_ONLY):
            return Page((), None)
        if not by_name:  # a search by name reads few rows anyhow
            asked = partial(asked, cohorts=await self._cohorts.looking_like(wanted))
        return await self._filled(asked, cursor, limit, lambda one: not states or one.state in states)

    async def refused_by_secret(self, limit: int) -> Page:
        """The newest connections whose client secret is refused, without those that came from elsewhere."""
        cohorts = await self._cohorts.refused_by_secret()
        asked = partial(list_connections, states=LIVING, limit=limit, cohorts=cohorts)
        return await self._filled(asked, None, limit, lambda one: one.state is State.CLIENT_REFUSED and not one.foreign)

    async def _filled(
        self, asked: Callable[..., Call[Page]], cursor: str | None, limit: int, fits: Callable[[Connection], bool]
    ) -> Page:
        """A page of those that fit, from as many pages as it takes, up to MOST_PAGES."""
        page = Page((), cursor)
        found: list[Connection] = []
        for _ in range(MOST_PAGES):
            page = await self._world.db.browse(asked(cursor=page.next))
            found += [one for one in await self._shown(page.connections) if fits(one)]
            if page.next is None or len(found) >= limit:
                break
        return Page(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else page.next)

    async def troubled(self, trouble: Trouble, cursor: str | None = None) -> Page:
        """One page, as long as a page may be, of connections that may have this trouble, as they look now."""
        page = await self._world.db.browse(list_troubled(trouble, cursor=cursor, limit=MOST_LISTED))
        return Page(tuple(await self._shown(page.connections)), page.next)

    async def lacking_scopes(self, search: Search) -> Page:
        """One page of connections whose approval lacks a scope that the app asks for now, newest first, each with its
        link; even with fewer than `limit` there may be a next page.

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
                    found.append(replace(await self.with_link(one), next_step=lacking(missing)))
            cursor = page.next
            if cursor is None:
                break
        return Page(tuple(found), cursor)

    async def missing_scopes(self, connection_id: str) -> tuple[str, ...]:
        """The scopes that the app asks for and this hotel did not grant; none for a connection that is not in use.

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

    async def timeline(self, connection_id: str, *, cursor: str | None = None) -> Timeline:
        """The token pairs of a connection, from the newest events from `cursor` on; raises as `events`."""
        place, world = HistoryPlace.parse(cursor), self._world
        await world.known(connection_id)
        events, planned = await world.db.browse(read_pair_history(connection_id, place=place, limit=MOST_LISTED))
        if cursor is None:
            return Timeline(pairs(events), moment(world.clock.wall()), None if planned is None else moment(planned))
        told = max((event.at for event in events), default=moment(world.clock.wall()))
        return Timeline(pairs(events), told, newest=False)

    async def verified_history(self, connection_id: str) -> VerifiedHistory:
        """All events, oldest first, each with whether it is unaltered; raises UnknownConnection."""
        await self._world.known(connection_id)
        return await self._world.db.browse(verify_history(connection_id))

    async def altered(self, before: str | None, limit: int, *, histories: bool) -> AlteredRows:
        """Rows altered behind the service, of the next connections before this id, newest first."""
        return await self._world.db.browse(verify_connections(before, limit=limit, histories=histories))

    async def altered_keys(self, before: str | None, limit: int) -> AlteredRows:
        """As `altered`, for callers' keys."""
        return await self._world.db.browse(verify_keys(before, limit=limit))

    async def count_states(self) -> StateCounts | None:
        """The number of connections in each shown state, for a gauge. If they are many, they are counted in the
        background, at most once a minute, and the last whole count is returned; None: there is no recent one.
        """
        part = await self._world.db.browse(count_states())
        if part.whole:
            return StateCounts(part.connections, age=0.0)
        last, at = self._counted
        age = self._world.clock.steady() - at
        if age >= COUNTED_AGAIN:
            self.begin_counting()
        return StateCounts(last, age) if age <= COUNTED_GOOD_FOR else None

    async def count_looks(self) -> StateCounts | None:
        """As `count_states`, for people: connections whose client secret is refused are counted as such, and those with
        a stale access token as fresh.
        """
        stored = await self.count_states()
        cohorts = await self._cohorts.looking_like(State.CLIENT_REFUSED)
        if stored is None or not cohorts:
            return stored
        refused = await self._world.db.browse(count_cohorts(cohorts, COUNTED_AT_ONCE))
        counts = Counter(stored.connections)
        counts[State.FRESH] += counts.pop(State.STALE, 0)
        counts.subtract(refused)
        counts[State.CLIENT_REFUSED] = sum(refused.values())
        return StateCounts(+counts, stored.age, counts[State.CLIENT_REFUSED] >= COUNTED_AT_ONCE)

    async def app_looks(self, after: str | None, limit: int) -> tuple[Sequence[AppLook], str | None]:
        """Registrations as people see them: the settings' own first, then at most `limit` further ones, after the one
        named `after`; and the name after which there may be more. Raises InvalidRequest.
        """
        world, behind = self._world, checked_text("the cursor", after)
        further = await world.db.browse(read_apps(behind or "", limit))
        apps = [*(() if behind else world.apps.values()), *(app for app in further if app.id not in world.apps)]
        known = await self._cohorts.registrations({app.id for app in apps})
        hotels = await world.db.browse(count_of_apps([app.id for app in apps], MOST_OF_APP))
        looks = []
        for app in apps:
            foreign = foreign_secret(known.issuers.get(app.id), world.issuer, app.id)
            own, refused = app.id in world.apps, app.id in known.shut
            seen_as = app_presentation(app, foreign, refused=refused, own=own)
            looks.append(AppLook(app, seen_as, hotels[app.id], hotels[app.id] >= MOST_OF_APP))
        return looks, further[-1].id if len(further) == limit else None

    def begin_counting(self) -> None:
        """Count very many connections in the background, so that the first request for the numbers gets some."""
        self._world.tasks.begin("count states", partial(self._count, self._world.clock.steady()))

    async def _count(self, begun: float) -> None:
        """A short transaction at a time: a long one would keep others waiting."""
        part = NOTHING
        try:
            while not part.whole:
                part = await self._world.db.browse(count_states(part))
        except Error:
            self._counted = NEVER_COUNTED
        else:
            self._counted = part.connections, begun

    async def _shown(self, connections: Sequence[Connection]) -> list[Connection]:
        known = await self._cohorts.registrations({found.registration for found in connections})
        movers = await self._world.names_of({one.moving_under for one in connections if one.moving_under is not None})
        return [self._looks(found, known, movers) for found in connections]

    def _looks(self, found: Connection, known: KnownApps, movers: Collection[str]) -> Connection:
        if found.state in LIVING and found.genuine and found.moving_under not in {None, *movers}:
            found = replace(found, problem=MIGRATION_CLIENT_UNKNOWN)
        app = known.apps.get(found.registration)
        refusal = known.refusal(found.registration, found.credential, found.source)
        state = seen(found.state, stale=False, circuit_open=refusal is not None, read_only=self._world.db.read_only)
        problem, remedy = PROBLEMS.get(state, found.problem), None
        foreign = refusal if state is State.CLIENT_REFUSED and isinstance(refusal, Foreign) else None
        if not found.genuine:
            problem, foreign = found.problem, None
        elif foreign is not None:
            problem, remedy = foreign.what, foreign.next_step
        elif found.registration not in self._world.apps:
            remedy = remedy_of(found.registration, app)
        found = replace(found, state=state, problem=problem, foreign=foreign is not None)
        return replace(found, next_step=presentation(found, app=app, remedy=remedy).next_step)

    # --- connect links

    async def shown(self, connection_id: str) -> Connection:
        """One connection, with its link where the hotel has to approve again; raises UnknownConnection."""
        return await self.linked(await self.connection(connection_id))

    async def linked(self, connection: Connection) -> Connection:
        """The connection, with its link if the hotel has to approve again, or may have to, or it is to be claimed."""
        if connection.state is State.PARKED:
            return replace(connection, connect_url=self._world.claim_url(connection.id))
        return await self.with_link(connection) if mended_by_link(connection) else connection

    async def with_link(self, connection: Connection) -> Connection:
        """The connection with its link, in any state."""
        with suppress(Error):  # the link is optional; without it the connection is still shown
            return replace(connection, connect_url=await self._url(connection))
        return connection

    async def explain(self, error: ReauthorizationRequired) -> None:
        """Put the link into the error that asks for a new approval."""
        if error.connection_id is not None:
            with suppress(Error):
                error.connect_url = await self._url(await self.connection(error.connection_id))

    async def explained(self, work: Awaitable[T]) -> T:
        """The result of `work`; if the hotel has to approve again, the error carries the link."""
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
                reference=None,  # the connection keeps its own, even one that is set later
                return_to=None,
                connection_id=connection.id,
                expires_in=GOOD_FOR,
                asked=False,
            )
            token = self._links[connection.id] = made.token
        return self._world.link_url(token)


def _states(search: Search) -> tuple[State, ...]:
    """The states of this name or with these words; none: all. Raises InvalidRequest."""
    if search.words is not None:
        if search.words not in BY_WORDS:
            raise InvalidRequest(f"no hotel is shown as {search.words[:64]!r}; there are: {'; '.join(BY_WORDS)}")
        return BY_WORDS[search.words]
    try:
        return () if search.state is None else (State(search.state),)
    except ValueError:
        raise InvalidRequest(f"there is no state {str(search.state)[:64]!r}; there are {', '.join(State)}") from None
