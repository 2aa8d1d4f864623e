"""Tokens that come from another program: stored as a candidate, found again, put right."""

from __future__ import annotations

from cloudbeds_auth.core.nouns import CredentialKind, Role, StoredToken
from cloudbeds_auth.core.secret import Secret
from cloudbeds_auth.core.upkeep import CANDIDATE
from cloudbeds_auth.ports.importing import NewImport, Placed
from cloudbeds_auth.store.memory.shelf import Shelf
from cloudbeds_auth.store.memory.tables import ConnectionRow, GrantRow
from cloudbeds_auth.store.sql.transactions import Instant


class Imports(Shelf):
    """`ports.importing.ImportStore`."""

    async def add_import(self, new: NewImport, connection_id: str, grant_id: str) -> Placed:
        """See ports.importing."""
        now = self._write()
        grants = self._tables.grants.values()
        known = next((row for row in grants if row.imported_hash == new.token_hash), None)
        if known is not None and not _of_another_property(known, new.property_id):
            return Placed(known.connection_id, known.id)
        home = self._home_of(new, connection_id)
        if isinstance(home, Placed):
            return home
        tokens, access, expires_at, lifetime, refreshed_at = (
            _received(now, new) if known is None else _taken_back(known)
        )
        former = self._of_connection(home.id)
        row = GrantRow(
            id=grant_id,
            connection_id=home.id,
            app=new.app,
            ordinal=max((one.ordinal for one in former), default=0) + 1,
            kind=CredentialKind.OAUTH,
            generation=max((one.generation for one in former), default=0) + 1,
            access=access,
            expires_at=expires_at,
            lifetime=lifetime,
            refreshed_at=refreshed_at,
            stale_at=expires_at,
            clock_id=now.clock_id,
            tokens=tokens,
            property_ids=(new.property_id,),
            scopes=new.pair.scopes or (),
            due_at=now.wall + CANDIDATE,
            imported_hash=new.token_hash,
            said_of=new.property_id,
        )
        self._tables.grants[grant_id] = row
        self._tell(
            now, row, "candidate_received", actor="operator", expires_at=expires_at, property_ids=[new.property_id],
            imported=True,
        )  # fmt: skip
        return Placed(home.id, grant_id)

    def _home_of(self, new: NewImport, connection_id: str) -> ConnectionRow | Placed:
        """The connection that is to be mended, or a new one; Placed where one works already."""
        covering = [one for one in self._of_app(new.app) if new.property_id in self._spoken_for(one)]
        for one in sorted(covering, key=lambda one: one.id):
            current = self._current(one)
            if current is not None and current.role is Role.ACTIVE and current.reauth is None:
                return Placed(one.id, None)
        if len(covering) == 1:
            if new.reference is not None:
                covering[0].reference = new.reference
            return covering[0]
        made = self._tables.connections[connection_id] = ConnectionRow(connection_id, new.app, new.reference)
        return made

    def _of_app(self, app: str) -> list[ConnectionRow]:
        return [one for one in self._tables.connections.values() if one.app == app]


def settle_property(row: GrantRow, property_ids: tuple[str, ...]) -> None:
    """The vendor named its properties; where the one that it is said to be of is among them, that is settled."""
    if row.said_of is not None and row.said_of in property_ids:
        row.said_of, row.property_ids = None, tuple(dict.fromkeys((*row.property_ids, *property_ids)))


Hand = tuple[tuple[StoredToken, ...], Secret | None, float, float, float | None]
"""Tokens, access token, when it ends, its lifetime, when we refreshed it; as in `store.sql.importing`."""


def _of_another_property(known: GrantRow, property_id: str) -> bool:
    """Whether it was dropped because the vendor names another property than the one it was imported for."""
    dropped = known.role is Role.SUPERSEDED and known.reauth is None
    return dropped and known.said_of not in {None, property_id}


def _received(now: Instant, new: NewImport) -> Hand:
    pair = new.pair
    assert pair.refresh is not None  # noqa: S101 - it is what is imported
    tokens = (StoredToken(1, pair.refresh),)
    if pair.lifetime <= 0:
        return tokens, None, now.wall, 0.0, None
    return tokens, pair.access, now.wall + pair.lifetime, pair.lifetime, None


def _taken_back(known: GrantRow) -> Hand:
    """Everything that the dropped grant holds; its row keeps nothing and takes no late pair: no token rests twice."""
    tokens = tuple(StoredToken(place, token.value) for place, token in enumerate(known.tokens, 1))
    hand = tokens, known.access, known.expires_at, known.lifetime, known.refreshed_at
    known.end()
    known.imported_hash = None
    return hand
