"""Links, states, candidates, and the move of the pointer (rule 13)."""

from __future__ import annotations

from cloudbeds_auth.core.lifecycle import Event, move
from cloudbeds_auth.core.nouns import Grant, Pair, Role, StoredToken, User
from cloudbeds_auth.core.upkeep import CANDIDATE, REMEMBERED
from cloudbeds_auth.errors import StateMismatch
from cloudbeds_auth.ports.store import Authorization, NewAuthorization, NewLink, Spending
from cloudbeds_auth.store.memory.rows import (
    AuthorizationRow,
    ConnectionRow,
    GrantRow,
    LinkRow,
    Shelf,
    grant_of,
    set_due,
)
from cloudbeds_auth.store.sql.transactions import Instant


class Authorizations(Shelf):
    """`ports.store.AuthorizationStore`."""

    async def add_link(self, link: NewLink) -> None:
        """See ports.store."""
        now = self._write()
        links = self._tables.links
        for old in [name for name, row in links.items() if row.expires_at < now.wall - REMEMBERED]:
            del links[old]
        links[link.hash] = LinkRow(link, now.wall + link.lifetime)

    async def link(self, link_hash: str) -> NewLink | None:
        """See ports.store."""
        row, now = self._tables.links.get(link_hash), self._instant()
        if row is None or row.used or row.expires_at <= now.wall:
            return None
        made, lifetime = row.made, row.expires_at - now.wall
        return NewLink(made.hash, made.app, made.reference, made.return_to, made.connection_id, lifetime)

    async def link_outcome(self, link_hash: str) -> str | None:
        """See ports.store."""
        rows = self._tables.authorizations.values()
        return next((row.outcome for row in rows if row.made.link_hash == link_hash and row.outcome), None)

    async def add_authorization(self, new: NewAuthorization) -> None:
        """See ports.store."""
        now = self._write()
        if self._by_state(new.state_hash) is not None:
            raise ValueError("UNIQUE: a state was issued twice")
        states = self._tables.authorizations
        for old in [name for name, row in states.items() if row.expires_at < now.wall - REMEMBERED]:
            del states[old]
        states[new.id] = AuthorizationRow(new, now.wall + new.lifetime)

    async def spend_state(self, state_hash: str, browser_hash: str | None, code_hash: str) -> Authorization | Spending:
        """See ports.store."""
        now = self._write()
        row = self._by_state(state_hash)
        if row is None or row.made.browser_hash != browser_hash:
            return Spending.UNKNOWN
        if row.code_hash is not None:
            return _authorization(row) if row.code_hash == code_hash and row.outcome else Spending.SPENT
        if self._link_is_used(row):
            return Spending.SPENT
        if row.expires_at <= now.wall:
            return Spending.EXPIRED
        row.code_hash = code_hash
        return _authorization(row)

    async def add_candidate(
        self, authorization_id: str, connection_id: str, grant_id: str, pair: Pair, *, stale_after: float
    ) -> str:
        """See ports.store."""
        now = self._write()
        stored = self._tables.grants.get(grant_id)
        if stored is not None:  # a commit whose answer was lost: it is here
            return stored.connection_id
        begun = self._tables.authorizations[authorization_id]  # it was spent a moment ago, and is swept a day later
        if self._link_is_used(begun):
            raise StateMismatch("this connect link was used in another browser a moment ago")
        home = self._home(begun.made, connection_id, pair)
        begun.outcome = home
        if begun.made.link_hash in self._tables.links:
            self._tables.links[begun.made.link_hash].used = True
        former = self._of_connection(home)
        row = GrantRow(
            id=grant_id,
            connection_id=home,
            app=begun.made.app,
            ordinal=max((one.ordinal for one in former), default=0) + 1,
            kind=pair.kind,
            # They grow over the whole connection: a program that names a rejected one never means another grant's.
            generation=max((one.generation for one in former), default=0) + 1,
            access=pair.access,
            expires_at=now.wall + pair.lifetime,
            lifetime=pair.lifetime,
            stale_at=now.wall + stale_after,
            clock_id=now.clock_id,
            tokens=(StoredToken(1, pair.refresh),) if pair.refresh is not None else (),
            property_ids=pair.property_ids,
            scopes=pair.scopes or (),
            due_at=now.wall + CANDIDATE,
        )
        self._tables.grants[grant_id] = row
        self._tell(
            now, row, "candidate_received", actor="hotel", expires_at=row.expires_at,
            property_ids=list(pair.property_ids),
        )  # fmt: skip
        return home

    async def candidate(self, connection_id: str) -> Grant | None:
        """See ports.store."""
        row = self._waiting(connection_id)
        return None if row is None else grant_of(row, self._instant())

    async def promote(
        self, connection_id: str, grant_id: str, user: User | None, property_ids: tuple[str, ...]
    ) -> bool:
        """See ports.store."""
        now = self._write()
        connection, row = self._tables.connections.get(connection_id), self._locked(now, grant_id)
        if connection is None or row is None or row.role is not Role.CANDIDATE:
            return connection is not None and connection.active_grant == grant_id
        for other in self._of_connection(connection_id):
            if other.ordinal < row.ordinal and other.role in {Role.ACTIVE, Role.CANDIDATE}:
                self._supersede(now, other, "a newer approval")
        row.state = move(row.state, Event.PROMOTED)
        row.role, row.user, row.problem = Role.ACTIVE, user, None
        row.property_ids = tuple(dict.fromkeys((*row.property_ids, *property_ids)))
        set_due(row, now)
        connection.active_grant = grant_id
        if connection.connected_at is None:
            connection.connected_at = now.wall
        self._tell(now, row, Event.PROMOTED)
        return True

    async def drop_candidate(self, grant_id: str, reason: str) -> None:
        """See ports.store."""
        now = self._write()
        row = self._locked(now, grant_id)
        if row is not None and row.role is Role.CANDIDATE:
            self._supersede(now, row, reason)

    def _supersede(self, now: Instant, row: GrantRow, reason: str) -> None:
        row.state = move(row.state, Event.SUPERSEDED)
        row.role, row.due_at = Role.SUPERSEDED, None
        self._tell(now, row, Event.SUPERSEDED, reason=reason)

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
        if home is None:
            covering = [
                one
                for one in connections.values()
                if one.app == begun.app and set(self._spoken_for(one)) & set(pair.property_ids)
            ]
            home = covering[0] if len(covering) == 1 else None
        if home is None:
            home = connections[connection_id] = ConnectionRow(connection_id, begun.app, begun.reference)
        elif begun.reference is not None:
            home.reference = begun.reference
        return home.id

    def _spoken_for(self, connection: ConnectionRow) -> tuple[str, ...]:
        """The properties it covers: the grant in use says so; where none was ever proven, the newest."""
        if connection.active_grant is not None:
            return self._tables.grants[connection.active_grant].property_ids
        return self._of_connection(connection.id)[-1].property_ids


def _authorization(row: AuthorizationRow) -> Authorization:
    made = row.made
    return Authorization(made.id, made.app, made.reference, made.return_to, made.connection_id, row.outcome)
