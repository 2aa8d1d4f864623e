"""A caller's token: from memory while it is fresh, else from the store, and by a refresh when there is no other way.

FRESH → use; STALE → use, and refresh in the background; EXPIRED or rejected → wait for the refresh (rule-10). Finding a
fresh token takes a dictionary and a clock, and awaits nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from cloudbeds_auth.engine.candidates import Candidates, why_unnamed
from cloudbeds_auth.engine.context import World, current_grant, refused_for_good, still_works
from cloudbeds_auth.engine.counted_apps import CountedApps
from cloudbeds_auth.engine.memory import Cached, Recent
from cloudbeds_auth.engine.outage import Outage
from cloudbeds_auth.engine.rate_limiter import CALL
from cloudbeds_auth.engine.refresh import Refresher
from cloudbeds_auth.engine.single_flight import GrantSuperseded
from cloudbeds_auth.errors import (
    ConnectionDisconnected,
    Error,
    ReauthorizationRequired,
    RefreshPending,
    StoreUnavailable,
    Unclaimed,
)
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.inputs import checked_seconds, checked_whole
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import AccessToken, CredentialKind, Grant, Role
from cloudbeds_auth.rules.rate_limit import TurnLine
from cloudbeds_auth.rules.refresh import Ask, servable
from cloudbeds_auth.transactions.connections import read_connection

LOOK_AGAIN = 60.0  # seconds after which the row is read again: another process may have disconnected the hotel
MOST_LOOKS = 5  # times a connection is read again because its grant was replaced meanwhile


class Access:
    """Lends connections' access tokens, and gives turns to call with them."""

    def __init__(self, world: World, outage: Outage, recent: Callable[[str], str | None]) -> None:
        self._world = world
        self._outage = outage
        self._recent = recent  # the connection that a property id meant a moment ago: `ConnectionIds.recent`
        self._cache: Recent[str, Cached] = Recent()
        self._not_before: Recent[str, float] = Recent()
        self.apps: Final = CountedApps(world)
        self._refresher: Refresher
        self._candidates: Candidates

    def attach(self, refresher: Refresher, candidates: Candidates) -> None:
        """Connect both ways: a refresh reports that a token is about to die, and `Access` asks for refreshes."""
        self._refresher = refresher
        self._candidates = candidates

    def cached(self, named: str, min_valid: float) -> AccessToken | None:
        """The token in memory, if its row was read within a minute, and it is not stale and has `min_valid` seconds (at
        most half its lifetime) left. A property id finds it if the connection, too, was read within a minute.
        """
        try:
            entry = self._entry(named)
        except TypeError:  # unhashable, such as a list: refused below, like everything that is no text
            entry = None
        if entry is None and (found := self._recent(named)) is not None:
            entry = self._entry(found)
        if entry is None:
            return None
        now = self._world.clock.steady()
        if now >= entry.look_again or not min_valid >= 0.0:
            return None  # where the row is read, what is not a number of seconds is refused
        return entry.token if now + min_valid < entry.ends or now + entry.half_life < entry.ends else None

    def _entry(self, connection_id: str) -> Cached | None:
        """The entry in memory, unless the settings were reread since and name another client id (rule-11)."""
        entry = self._cache.get(connection_id)
        if entry is None or entry.client_id is None:
            return entry
        own = self._world.apps.get(entry.app)
        return entry if own is None or own.client_id == entry.client_id else None

    def forget(self, connection_id: str) -> None:
        """The stored token is about to die, or is gone: the next caller reads the row again."""
        self._cache.pop(connection_id, None)

    async def turn(self, connection_id: str, caller: str = "", patience: float = CALL) -> None:
        """Wait, at most `patience` seconds, for the next turn of a hotel whose token was lent here; then exactly one
        request may be sent. Callers take turns, each for one of its hotels. Raises as `RateLimiter.spend`.
        """
        app = await self.apps.of(connection_id) if self._world.limited else None
        if app is not None:
            await self._world.limiter(app).spend(patience, TurnLine(caller, connection_id))

    async def note_pause(self, connection_id: str, pause: float) -> None:
        """A call was answered 429: no request of its client id gets a turn for `pause` seconds, in any process."""
        app = await self.apps.of(connection_id)
        if app is not None:
            await self._world.limiter(app).pause(pause)

    async def access_token(
        self, connection_id: str, min_valid: float = 60.0, rejected: AccessToken | int | None = None
    ) -> AccessToken:
        """A token to call with. `rejected` names the token that an endpoint answered 401; if the same generation comes
        back, it was proven good, and the endpoint itself refuses. Raises InvalidRequest for what is not a number.
        """
        if rejected is None:
            token = self.cached(connection_id, min_valid)
            if token is not None:
                return token
        checked_seconds("min_valid", min_valid, most=math.inf)
        if isinstance(rejected, int):
            checked_whole("the rejected generation", rejected)
        dead = (rejected.grant_id, rejected.generation) if isinstance(rejected, AccessToken) else rejected
        name = f"look up {connection_id}, {min_valid}, {dead}"
        look = partial(self._looked_up, connection_id, min_valid, rejected)
        for _ in range(MOST_LOOKS):
            try:
                return await self._world.tasks.share(name, look)  # many callers at once cost one look-up
            except GrantSuperseded:
                await self._candidates.go_on(connection_id)
        raise RefreshPending(connection_id=connection_id)

    async def refresh_now(self, connection_id: str) -> None:
        """An operator's refresh: also of a grant that needs reauthorization or was set aside, and of newer approvals
        that wait to be proven. Raises if nothing was refreshed.

        For a hotel marked for reauthorization it waits for the proof of the new pair, which alone ends the mark.
        """
        for _ in range(MOST_LOOKS):
            await self._candidates.resume(connection_id)
            row = await current_grant(self._world.db, connection_id)
            if row is None:
                raise await self._nothing(connection_id)
            self._world.must_be_genuine(row)
            if row.role is not Role.SET_ASIDE:
                _must_be_claimed(row)
            try:
                served = await self._refresher.refresh(
                    Ask(row.id, row.generation, operator=True, connection_id=connection_id)
                )
            except GrantSuperseded:
                await self._candidates.go_on(connection_id)
                continue
            if row.role is not Role.SET_ASIDE:  # whose token is not lent
                self._remember(served.grant)
            if served.grant.generation == row.generation and row.reauth is None:
                raise still_works(self._world, served.grant)
            if row.reauth is not None:
                await self._refresher.flights.over(row.id, at_most=self._world.timing.wait)
            await self._candidates.renew(connection_id, behind=row.id)
            return
        raise RefreshPending(connection_id=connection_id)

    async def _looked_up(self, connection_id: str, min_valid: float, rejected: AccessToken | int | None) -> AccessToken:
        lendable = self._unexpired(connection_id, rejected)
        try:
            row = await self._current(connection_id, briefly=lendable is not None)
        except StoreUnavailable as error:
            self._world.observer.happened(Happening.STORE_UNAVAILABLE, connection_id=connection_id)
            lendable = self._unexpired(connection_id, rejected)
            if lendable is None:
                error.connection_id = connection_id
                raise
            return lendable
        self.apps.note(row)
        refused = self._generation(row, rejected)
        if refused is None or row.generation != refused:
            token = await self._good_enough(row, min_valid if rejected is None else 0.0)
            if token is not None:
                return token
        ask = Ask(row.id, row.generation, rejected=refused, connection_id=row.connection_id)
        asked = self._world.clock.steady()
        try:
            served = await self._refresher.refresh(ask)
        except ReauthorizationRequired:
            self.forget(connection_id)
            raise
        except StoreUnavailable:
            if not servable(row.aged(self._world.clock.steady() - asked), ask):
                raise
            return row.token()
        return self._remember(served.grant)

    async def _current(self, connection_id: str, *, briefly: bool) -> Grant:
        """The row of the grant that the connection uses; many callers at once cost the store one read. `briefly`: wait
        for the store only as long as `Outage` does.
        """
        look, asked = partial(self._look, connection_id, briefly=briefly), self._world.clock.steady()
        row = await self._world.tasks.share(f"look at {connection_id}, {briefly=}", look)
        return row.aged(self._world.clock.steady() - asked)  # what the look resumes may take long

    async def _look(self, connection_id: str, *, briefly: bool) -> Grant:
        """Read the row now. Resumes a candidate."""
        read = partial(current_grant, self._world.db, connection_id)
        row = await (self._outage.read_briefly(f"read {connection_id}", read) if briefly else read())
        if row is None:
            raise await self._nothing(connection_id)
        self._world.must_be_genuine(row)
        if (row.role in {Role.DISCONNECTED, Role.CANDIDATE} or row.reauth) and not self._asked_lately(row):
            promoted = await self._candidates.resume(connection_id)
            row = promoted if promoted is not None else row
        if row.role is Role.DISCONNECTED:
            raise ConnectionDisconnected(connection_id=connection_id)
        _must_be_claimed(row)
        # A further app cannot change its client id while it has grants, so none is read here.
        self._world.must_match(row, self._world.apps.get(row.app))
        await self._must_be_named(row)
        failed_move = row.kind is CredentialKind.OAUTH and row.latched and row.valid_for > 0
        if row.reauth and not failed_move:  # after a failed move, the token serves until it expires
            self.forget(connection_id)
            await self._candidates.must_not_wait(connection_id)  # the hotel did what the mark asks for
            if row.state is State.DISCONNECTED:
                raise ConnectionDisconnected(
                    "Cloudbeds says that the hotel disconnected the app, and refuses every stored token",
                    connection_id=connection_id,
                )
            raise refused_for_good(row, f"Cloudbeds refuses every stored token ({row.reauth})")
        return row

    def _asked_lately(self, row: Grant) -> bool:
        """Whether the vendor was asked a moment ago which property this candidate belongs to: a caller that asks for
        its token every second must not use up every second's turns.
        """
        return self._unnamed(row) and self._not_before.get(row.id, 0.0) > self._world.clock.steady()

    def _unnamed(self, row: Grant) -> bool:
        """Whether this is a candidate whose property is not known: it may be another hotel's."""
        known = (
            row.said_of is None
            and row.authorization is None
            and (row.property_ids or not self._world.vendor.lists_properties)
        )
        return row.role is Role.CANDIDATE and not row.reauth and not known

    async def _must_be_named(self, row: Grant) -> None:
        """Raises for a candidate that waits until its property is named; its token is not lent."""
        if not self._unnamed(row):
            return
        if not self._asked_lately(row):
            self._not_before[row.id] = self._world.clock.steady() + self._world.timing.lease
        shown = await self._world.db.read(read_connection(row.connection_id))
        problem = None if shown is None else shown.problem
        raise why_unnamed(row.connection_id, problem, self._not_before[row.id] - self._world.clock.steady())

    async def _nothing(self, connection_id: str) -> ConnectionDisconnected:
        """The error for a connection whose only candidate was dropped; raises UnknownConnection."""
        await self._world.known(connection_id)
        return ConnectionDisconnected(connection_id=connection_id)

    def _generation(self, row: Grant, rejected: AccessToken | int | None) -> int | None:
        if isinstance(rejected, AccessToken):
            # Another grant's token: any generation of this one is newer.
            return rejected.generation if rejected.grant_id in {row.id, ""} else 0
        return rejected

    async def _good_enough(self, row: Grant, min_valid: float) -> AccessToken | None:
        if row.valid_for <= min(min_valid, row.lifetime / 2):
            return None
        flight = self._refresher.flights.running(row.id)
        if flight is not None and flight.killing:
            # A refresh in this process is about to kill this token: better to wait for the next one.
            asked = self._world.clock.steady()
            ask = Ask(row.id, row.generation, connection_id=row.connection_id)
            try:
                return self._remember((await self._refresher.refresh(ask)).grant)
            except Error:
                row = row.aged(self._world.clock.steady() - asked)
                if row.valid_for <= 0:
                    raise
        if row.stale_in <= 0:
            self._refresh_behind(row)
        return self._remember(row)

    def _remember(self, row: Grant) -> AccessToken:
        """Keep the newest generation in memory, unless a refresh that is sending is about to replace it."""
        self.apps.note(row)
        token, now = row.token(), self._world.clock.steady()
        flight = self._refresher.flights.running(row.id)
        known = self._cache.get(row.connection_id)
        older = known is not None and known.token.grant_id == row.id and known.token.generation > row.generation
        if not older and (flight is None or not flight.killing):
            again = now + min(row.stale_in, LOOK_AGAIN)
            ends, client_id = now + row.valid_for, row.source.client_id
            self._cache[row.connection_id] = Cached(row.app, client_id, token, again, ends, row.lifetime / 2)
        return token

    def _unexpired(self, connection_id: str, rejected: AccessToken | int | None) -> AccessToken | None:
        """The token in memory, if unexpired and not the rejected one: it is lent while the store is away (F62)."""
        entry = self._entry(connection_id)
        refused = rejected.generation if isinstance(rejected, AccessToken) else rejected
        if entry is None or entry.ends <= self._world.clock.steady() or entry.token.generation == refused:
            return None
        return entry.token

    def _refresh_behind(self, row: Grant) -> None:
        """Start a refresh that no caller waits for, unless the last one was started less than a lease's time ago."""
        now, tasks, name = self._world.clock.steady(), self._world.tasks, f"refresh behind {row.id}"
        waits = name in tasks or self._not_before.get(row.id, now) > now
        if waits or self._world.streams.put_off(row, self._world.timing):
            return
        self._not_before[row.id] = now + self._world.timing.lease
        tasks.begin(name, partial(self._behind_callers, row))

    async def _behind_callers(self, row: Grant) -> None:
        with suppress(Error, GrantSuperseded):  # reported to the observer by the flight; callers use what they have
            served = await self._refresher.refresh(
                Ask(row.id, row.generation, patient=False, connection_id=row.connection_id)
            )
            self._remember(served.grant)
            if served.grant.generation > row.generation:
                return
        with suppress(Error):  # it brought nothing newer: resume a newer approval, if one waits
            promoted = await self._candidates.resume(row.connection_id)
            if promoted is not None:
                self._remember(promoted)


def _must_be_claimed(row: Grant) -> None:
    """Raises Unclaimed for a grant that waits, and ConnectionDisconnected if it was claimed for another connection."""
    if row.state is State.PARKED or row.role is Role.SET_ASIDE:
        raise Unclaimed(connection_id=row.connection_id)
    if row.role is Role.PARKED:
        raise ConnectionDisconnected(connection_id=row.connection_id)
