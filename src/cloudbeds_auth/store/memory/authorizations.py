"""Links, states, candidates, and the move of the pointer (rule 13)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cloudbeds_auth.core.hints import FIRST
from cloudbeds_auth.core.lifecycle import MOVED_TO_KEY, NEWER_APPROVAL, Event, State, move
from cloudbeds_auth.core.nouns import CredentialKind, Grant, Pair, Role, StoredToken, User
from cloudbeds_auth.core.upkeep import CANDIDATE, PARKED, REMEMBERED
from cloudbeds_auth.errors import StateMismatch
from cloudbeds_auth.ports.authorizations import PROPERTY_UNKNOWN, Authorization, NewAuthorization, NewLink, Spending
from cloudbeds_auth.store.memory.announcing import Announcing
from cloudbeds_auth.store.memory.groups import set_listing
from cloudbeds_auth.store.memory.rows import grant_of, lasting, set_due, set_due_in
from cloudbeds_auth.store.memory.tables import AuthorizationRow, ConnectionRow, GrantRow, LinkRow
from cloudbeds_auth.store.sql.arrivals import Leaving
from cloudbeds_auth.store.sql.authorizations import Ends
from cloudbeds_auth.store.sql.transactions import Instant


class Authorizations(Announcing):
    """`ports.authorizations.AuthorizationStore`."""

    async def add_link(self, link: NewLink) -> None:
        """See ports.authorizations."""
        now = self._write()
        links = self._tables.links
        for old in [name for name, row in links.items() if row.expires_at < now.wall - REMEMBERED]:
            del links[old]
        links[link.hash] = LinkRow(link, now.wall + link.lifetime)

    async def link(self, link_hash: str) -> NewLink | None:
        """See ports.authorizations."""
        row, now = self._tables.links.get(link_hash), self._instant()
        if row is None or row.used or row.expires_at <= now.wall:
            return None
        made, lifetime = row.made, row.expires_at - now.wall
        return NewLink(made.hash, made.app, made.reference, made.return_to, made.connection_id, lifetime)

    async def link_outcome(self, link_hash: str) -> str | None:
        """See ports.authorizations."""
        rows = self._tables.authorizations.values()
        return next((row.outcome for row in rows if row.made.link_hash == link_hash and row.outcome), None)

    async def add_authorization(self, new: NewAuthorization) -> None:
        """See ports.authorizations."""
        now = self._write()
        if self._by_state(new.state_hash) is not None:
            raise ValueError("UNIQUE: a state was issued twice")
        states = self._tables.authorizations
        for old in [name for name, row in states.items() if row.expires_at < now.wall - REMEMBERED]:
            del states[old]
        states[new.id] = AuthorizationRow(new, now.wall + new.lifetime)

    async def spend_state(self, state_hash: str, browser_hash: str | None, code_hash: str) -> Authorization | Spending:
        """See ports.authorizations."""
        now = self._write()
        row = self._by_state(state_hash)
        if row is None or row.made.browser_hash != browser_hash:
            return Spending.UNKNOWN
        if row.code_hash == code_hash:
            return _authorization(row) if row.outcome else Spending.UNFINISHED
        if row.code_hash is not None:
            return Spending.SPENT
        if self._link_is_used(row):
            return Spending.SPENT
        if row.expires_at <= now.wall:
            return Spending.EXPIRED
        row.code_hash = code_hash
        return _authorization(row)

    async def add_candidate(
        self, authorization_id: str, connection_id: str, grant_id: str, pair: Pair, *, stale_after: float
    ) -> str:
        """See ports.authorizations."""
        now = self._write()
        stored = self._tables.grants.get(grant_id)
        if stored is not None:  # a commit whose answer was lost: it is here
            return stored.connection_id
        begun = self._tables.authorizations[authorization_id]  # it was spent a moment ago, and is swept a day later
        if self._link_is_used(begun):
            raise StateMismatch("this connect link was used in another browser a moment ago")
        made = begun.made
        if made.parked:  # never where somebody else's tokens are
            home = connection_id
            self._tables.connections[home] = ConnectionRow(home, made.app, None)
        else:
            home = self._home(made, connection_id, pair)
        begun.outcome = home
        if made.link_hash in self._tables.links:
            self._tables.links[made.link_hash].used = True
        ends = Ends(now.wall + pair.lifetime, pair.lifetime, now.wall + stale_after)
        row = self._add_grant(now, home, grant_id, made.app, pair, ends)
        if made.parked:
            row.role, row.state, row.due_at = Role.PARKED, State.PARKED, now.wall + PARKED
        received = "parked" if made.parked else "candidate_received"
        self._tell(
            now, row, received, actor="hotel", expires_at=lasting(row.expires_at), property_ids=list(pair.property_ids)
        )  # fmt: skip
        return home

    async def begin_arrival(self, new: NewAuthorization, code_hash: str, *, most: int) -> Authorization | Spending:
        """See ports.authorizations."""
        wall = self._write().wall
        if self._by_state(new.state_hash) is None:
            for row in [row for row in self._tables.grants.values() if _is_over(row, wall)]:
                await self.discard_parked(row.id)
            if sum(row.state is State.PARKED for row in self._tables.grants.values()) >= most:
                return Spending.FULL
            await self.add_authorization(new)
        return await self.spend_state(new.state_hash, None, code_hash)

    async def claim(self, connection_id: str, reference: str | None, grant_id: str) -> str | None:
        """See ports.authorizations."""
        now = self._write()
        waiting = [row for row in self._of_connection(connection_id) if row.state is State.PARKED]
        parked = [row for row in waiting if not _is_over(row, now.wall)]
        if not parked:
            return None
        (row,) = parked
        home = self._covering(row.app, row.property_ids)
        if home is None:
            home = connection_id
            row.role, row.state = Role.CANDIDATE, move(row.state, Event.CLAIMED)
            set_due(row, now)
            self._tell(now, row, Event.CLAIMED, actor="operator")
        else:
            assert row.due_at is not None  # noqa: S101 - else it would be over
            self._move_tokens(
                now, row, row.property_ids, home, grant_id, Leaving(f"claimed for {home}", "operator", row.due_at)
            )
        if reference is not None:
            self._tables.connections[home].reference = reference
        return home

    async def discard_parked(self, grant_id: str) -> bool:
        """See ports.authorizations."""
        self._write()
        row = self._tables.grants.get(grant_id)
        if row is None or row.role is not Role.PARKED:
            return False
        for each in self._of_connection(row.connection_id):
            del self._tables.grants[each.id]
        del self._tables.connections[row.connection_id]
        self._tables.events.pop(row.connection_id, None)
        return True

    async def candidate(self, connection_id: str) -> Grant | None:
        """See ports.authorizations."""
        row = self._waiting(connection_id)
        return None if row is None else grant_of(row, self._instant())

    async def promote(
        self, connection_id: str, grant_id: str, user: User | None, property_ids: tuple[str, ...]
    ) -> bool:
        """See ports.authorizations."""
        now = self._write()
        connection, row = self._tables.connections.get(connection_id), self._locked(now, grant_id)
        if connection is None or row is None or row.role is not Role.CANDIDATE:
            return connection is not None and connection.active_grant == grant_id
        stood = self._standing(connection)
        for other in self._of_connection(connection_id):
            if other.ordinal < row.ordinal and other.role in {Role.ACTIVE, Role.CANDIDATE}:
                moved = other.migration is not None and row.kind is CredentialKind.API_KEY
                self._supersede(now, other, MOVED_TO_KEY if moved else NEWER_APPROVAL)
        row.state = move(row.state, Event.PROMOTED)
        row.role, row.user, row.problem, row.said_of, row.reauth = Role.ACTIVE, user, None, None, None
        row.property_ids = tuple(dict.fromkeys((*row.property_ids, *property_ids)))
        set_due(row, now)
        row.poll_at = now.wall + FIRST
        set_listing(row, now, learnt=bool(property_ids))
        connection.active_grant = grant_id
        if connection.connected_at is None:
            connection.connected_at = now.wall
        self._tell(now, row, Event.PROMOTED)
        self._announce(now, connection_id, stood)
        return True

    async def note_unnamed(
        self, grant_id: str, generation: int, problem: str, said: Mapping[str, str], *, again_in: float | None
    ) -> bool:
        """See ports.authorizations."""
        now = self._write()
        row = self._locked(now, grant_id)
        if row is None or row.role is not Role.CANDIDATE or row.generation != generation:
            return False
        if again_in is not None:
            set_due_in(row, now, again_in)
        if row.problem == problem:
            return False
        row.problem = problem
        self._tell(now, row, PROPERTY_UNKNOWN, generation=generation, actor="vault", **said)
        return True

    async def drop_candidate(self, grant_id: str, reason: str) -> None:
        """See ports.authorizations."""
        now = self._write()
        row = self._locked(now, grant_id)
        if row is not None and row.role is Role.CANDIDATE:
            self._supersede(now, row, reason)

    def _supersede(self, now: Instant, row: GrantRow, reason: str) -> None:
        row.state = move(row.state, Event.SUPERSEDED)
        row.role, row.due_at, row.ended_at = Role.SUPERSEDED, None, now.wall
        self._tell(now, row, Event.SUPERSEDED, reason=reason)

    def _add_grant(self, now: Instant, home: str, grant_id: str, app: str, pair: Pair, ends: Ends) -> GrantRow:
        """A candidate of this connection, newer than everything that it has."""
        former = self._of_connection(home)
        row = GrantRow(
            id=grant_id,
            connection_id=home,
            app=app,
            ordinal=max((one.ordinal for one in former), default=0) + 1,
            kind=pair.kind,
            # They grow over the whole connection: a program that names a rejected one never means another grant's.
            generation=max((one.generation for one in former), default=0) + 1,
            access=pair.access,
            expires_at=ends.expires_at,
            lifetime=ends.lifetime,
            stale_at=ends.stale_at,
            clock_id=now.clock_id,
            tokens=(StoredToken(1, pair.refresh),) if pair.refresh is not None else (),
            property_ids=pair.property_ids,
            scopes=pair.scopes or (),
            due_at=now.wall + CANDIDATE,
        )
        self._tables.grants[grant_id] = row
        return row

    def _move_tokens(
        self, now: Instant, row: GrantRow, property_ids: tuple[str, ...], home: str, grant_id: str, leaving: Leaving
    ) -> None:
        """The newest tokens of a grant become a candidate of another connection."""
        assert row.access is not None  # noqa: S101 - nobody used it up
        refresh = row.tokens[-1].value if row.tokens else None
        pair = Pair(row.access, refresh, row.lifetime, property_ids, row.scopes, row.kind)
        ends = Ends(row.expires_at, row.lifetime, row.stale_at)
        candidate = self._add_grant(now, home, grant_id, row.app, pair, ends)
        row.leave_sign(leaving.why, leaving.until)
        self._tell(now, row, Event.SUPERSEDED, reason=leaving.why)
        self._tell(
            now, candidate, "candidate_received", actor=leaving.actor, expires_at=lasting(ends.expires_at),
            property_ids=list(pair.property_ids),
        )  # fmt: skip

    def _by_state(self, state_hash: str) -> AuthorizationRow | None:
        rows = self._tables.authorizations.values()
        return next((row for row in rows if row.made.state_hash == state_hash), None)

    def _link_is_used(self, begun: AuthorizationRow) -> bool:
        """Whether the link that this was begun with has led to a connection already: it is good for one."""
        link = self._tables.links.get(begun.made.link_hash or "")
        return link is not None and link.used

    def _home(self, begun: NewAuthorization, connection_id: str, pair: Pair) -> str:
        """The connection of a new grant: the one asked for, the one that covers a property of it, or a new one."""
        connections = self._tables.connections
        home = connections.get(begun.connection_id or "")
        if home is not None and any(row.role is Role.PARKED for row in self._of_connection(home.id)):
            home = None  # what waits to be claimed, or is another connection's now, is nobody's to come back to
        if home is None:
            home = connections.get(self._covering(begun.app, pair.property_ids) or "")
        if home is None:
            home = connections[connection_id] = ConnectionRow(connection_id, begun.app, begun.reference)
        elif begun.reference is not None:
            home.reference = begun.reference
        return home.id

    def _covering(self, app: str, property_ids: Iterable[str]) -> str | None:
        """The one connection of this app that covers one of these properties."""
        wanted = set(property_ids)
        found = [
            one.id
            for one in self._tables.connections.values()
            if one.app == app and set(self._spoken_for(one)) & wanted
        ]
        return found[0] if len(found) == 1 else None


def _authorization(row: AuthorizationRow) -> Authorization:
    made = row.made
    return Authorization(made.id, made.app, made.reference, made.return_to, made.connection_id, row.outcome)


def _is_over(row: GrantRow, wall: float) -> bool:
    """Whether it is parked, and its day has passed."""
    return row.role is Role.PARKED and row.due_at is not None and row.due_at <= wall
