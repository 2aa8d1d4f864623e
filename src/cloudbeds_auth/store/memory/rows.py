"""What the memory store keeps, and how its rows look as nouns. Every store over the same `Tables` is one more process.

Columns are those of the SQL store: moments that people see are unix seconds; `lease_until`, `not_before`, `intent_at`
and `first_refused` are seconds of the steady clock named `clock_id`, and mean nothing on another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from cloudbeds_auth.core.lifecycle import Event as Happening
from cloudbeds_auth.core.lifecycle import State, move, seen
from cloudbeds_auth.core.nouns import (
    App,
    Connection,
    CredentialKind,
    Event,
    Grant,
    Migration,
    Role,
    StoredToken,
    User,
    end_moment,
    moment,
)
from cloudbeds_auth.core.secret import Secret
from cloudbeds_auth.core.upkeep import FURTHEST, SKEW, Life, due
from cloudbeds_auth.errors import StoreReadOnly
from cloudbeds_auth.ports.authorizations import NewAuthorization, NewLink
from cloudbeds_auth.ports.migration import MIGRATION_UNDER_WAY
from cloudbeds_auth.store.sql.transactions import Instant


@dataclass(slots=True)
class GrantRow:
    """One approval. `tokens`: oldest first; the last is the child, the others are kept."""

    id: str
    connection_id: str
    app: str
    ordinal: int
    kind: CredentialKind
    generation: int
    access: Secret | None
    expires_at: float
    lifetime: float
    stale_at: float
    clock_id: str
    tokens: tuple[StoredToken, ...]
    property_ids: tuple[str, ...]
    scopes: tuple[str, ...]
    role: Role = Role.CANDIDATE
    state: State = State.IN_DOUBT
    proven: bool = False
    lease_owner: str | None = None
    lease_epoch: int = 0
    lease_until: float | None = None
    intent: int | None = None
    intent_at: float | None = None
    committed_epoch: int | None = None
    not_before: float | None = None
    attempts: int = 0
    refusals: int = 0
    first_refused: float | None = None
    first_reason: str | None = None
    reauth: str | None = None
    latched: bool = False
    migration: Migration | None = None
    migration_client: str | None = None
    problem: str | None = None
    user: User | None = None
    refreshed_at: float | None = None
    used_at: float | None = None
    due_at: float | None = None
    imported_hash: str | None = None
    said_of: str | None = None
    ended_at: float | None = None
    poll_at: float | None = None
    list_at: float | None = None
    named_elsewhere: tuple[str, ...] = ()

    def no_intent(self) -> None:
        """Nothing is under way."""
        self.intent = self.intent_at = None

    def end(self) -> None:
        """It keeps nothing, and an attempt that still runs finds its fence moved."""
        self.state = move(self.state, Happening.DISCONNECTED)
        self.role, self.access, self.tokens = Role.DISCONNECTED, None, ()
        self.lease_owner = self.lease_until = self.not_before = self.due_at = None
        self.lease_epoch += 1
        self.problem = self.reauth = None
        self.no_intent()

    def leave_sign(self, why: str, until: float) -> None:
        """Its tokens are another grant's now; until then it says so."""
        self.state = move(self.state, Happening.SUPERSEDED)
        self.role, self.access, self.tokens, self.problem, self.reauth = Role.PARKED, None, (), why, None
        self.lease_owner = self.lease_until = None
        self.lease_epoch += 1
        self.due_at = until

    def no_refusals(self) -> None:
        """Whatever was counted against it is forgotten."""
        self.refusals, self.first_refused, self.first_reason, self.reauth, self.problem = 0, None, None, None, None
        self.attempts = 0


@dataclass(slots=True)
class ConnectionRow:
    """What people see; `active_grant` is the pointer that `promote` moves."""

    id: str
    app: str
    reference: str | None
    active_grant: str | None = None
    connected_at: float | None = None


@dataclass(slots=True)
class LinkRow:
    """A one-time link."""

    made: NewLink
    expires_at: float
    used: bool = False


@dataclass(slots=True)
class AuthorizationRow:
    """A state: `code_hash` once it was spent, `outcome` once that led to a connection."""

    made: NewAuthorization
    expires_at: float
    code_hash: str | None = None
    outcome: str | None = None


@dataclass(slots=True)
class MessageRow:
    """A message that was not delivered yet; `due_at` is None when it was given up."""

    id: str
    connection_id: str
    sequence: int
    kind: str
    at: float
    body: str
    due_at: float | None
    attempts: int = 0
    problem: str | None = None


@dataclass(slots=True)
class Tables:
    """Everything that rests. `circuits` and `budgets` hold a steady moment and the name of its clock."""

    grants: dict[str, GrantRow] = field(default_factory=dict)
    connections: dict[str, ConnectionRow] = field(default_factory=dict)
    links: dict[str, LinkRow] = field(default_factory=dict)
    authorizations: dict[str, AuthorizationRow] = field(default_factory=dict)
    circuits: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)
    budgets: dict[str, tuple[float, str]] = field(default_factory=dict)
    events: dict[str, list[Event]] = field(default_factory=dict)
    apps: dict[str, App] = field(default_factory=dict)
    outbox: dict[str, MessageRow] = field(default_factory=dict)


class Shelf:
    """What every part of the store stands on.

    `is_dead(owner, clock_id)` says whether the process behind a lease is certainly gone.
    """

    def __init__(
        self,
        instant: Callable[[], Instant],
        is_dead: Callable[[str, str], bool] = lambda owner, clock_id: False,
        *,
        tables: Tables | None = None,
        read_only: bool = False,
    ) -> None:
        self._tables = Tables() if tables is None else tables
        self._instant = instant
        self._is_dead = is_dead
        self._read_only = read_only

    @property
    def read_only(self) -> bool:
        """Whether every write raises StoreReadOnly, as for a copy of another installation's database."""
        return self._read_only

    def _write(self) -> Instant:
        """The moment of a transaction that writes. What can raise comes before the first change: nothing is undone."""
        if self._read_only:
            raise StoreReadOnly
        return self._instant()

    def _locked(self, now: Instant, grant_id: str) -> GrantRow | None:
        """The row for writing, its steady moments brought to this clock; a pending intent stays pending."""
        row = self._tables.grants.get(grant_id)
        if row is not None and _of_another_clock(row, now):
            row.clock_id = now.clock_id
            row.lease_owner = row.lease_until = row.not_before = None
            row.refusals, row.first_refused, row.first_reason = 0, None, None
            row.intent_at = None if row.intent is None else now.steady
        return row

    def _of_connection(self, connection_id: str) -> list[GrantRow]:
        """Its grants, oldest first."""
        return [row for row in self._tables.grants.values() if row.connection_id == connection_id]

    def _waiting(self, connection_id: str) -> GrantRow | None:
        """Its newest candidate."""
        candidates = [row for row in self._of_connection(connection_id) if row.role is Role.CANDIDATE]
        return candidates[-1] if candidates else None

    def _current(self, connection: ConnectionRow) -> GrantRow | None:
        """The grant that speaks for a connection now: the active one, else the newest candidate (or what waits to be
        claimed), else a former one.
        """
        pointed = self._tables.grants.get(connection.active_grant or "")
        if pointed is not None and pointed.role is not Role.DISCONNECTED:
            return pointed
        waiting = [row for row in self._of_connection(connection.id) if row.role in {Role.CANDIDATE, Role.PARKED}]
        return waiting[-1] if waiting else pointed

    def _covering_now(self, property_id: str) -> list[str]:
        """The connections that cover a property now."""
        homes: dict[str, None] = {}
        for row in self._tables.grants.values():
            pointed = self._tables.grants.get(self._tables.connections[row.connection_id].active_grant or "")
            lasts = pointed is not None and pointed.role is not Role.DISCONNECTED
            speaks = row.role is Role.ACTIVE or (row.role is Role.CANDIDATE and not lasts)
            if speaks and property_id in row.property_ids:
                homes[row.connection_id] = None
        return list(homes)

    def _spoken_for(self, connection: ConnectionRow) -> tuple[str, ...]:
        """The properties it covers: the grant in use says so; where none was ever proven, the newest. What waits to be
        claimed covers nothing.
        """
        if connection.active_grant is not None:
            return self._tables.grants[connection.active_grant].property_ids
        newest = self._of_connection(connection.id)[-1]
        return () if newest.role is Role.PARKED else newest.property_ids

    def _end(self, now: Instant, row: GrantRow, actor: str, detail: str) -> None:
        """Forget the tokens of one grant."""
        row.end()
        row.ended_at = now.wall
        self._tell(now, row, Happening.DISCONNECTED, actor=actor, detail=detail)

    def _tell(
        self,
        now: Instant,
        row: GrantRow,
        kind: Happening | str,
        *,
        generation: int | None = None,
        actor: str = "vault",
        **data: object,
    ) -> None:
        """One line of history, of the row's generation unless another is named."""
        lines = self._tables.events.setdefault(row.connection_id, [])
        of = row.generation if generation is None else generation
        sequence = lines[-1].sequence + 1 if lines else 1
        lines.append(Event(sequence, moment(now.wall), str(kind), actor, row.id, of, data))


def lasting(until: float) -> float | None:
    """The end of a token as the history tells it; JSON has no infinity."""
    return None if math.isinf(until) else until


def left(until: float | None, clock_id: str, now: Instant) -> float:
    """Seconds until a steady moment; 0 when it is over or was measured by another clock."""
    seconds = 0.0 if until is None or clock_id != now.clock_id else until - now.steady
    return seconds if 0.0 < seconds <= FURTHEST else 0.0


def ago(since: float | None, clock_id: str, now: Instant) -> float | None:
    """Seconds since a steady moment; None when there is none, 0 when another clock measured it."""
    if since is None:
        return None
    return max(0.0, now.steady - since) if clock_id == now.clock_id else 0.0


def _of_another_clock(row: GrantRow, now: Instant) -> bool:
    """Whether this row's steady moments mean nothing: another host's or boot's, or a clock that was set back since."""
    ahead = [one for one in (row.lease_until, row.not_before) if one is not None]
    begun = [one for one in (row.intent_at, row.first_refused) if one is not None]
    return (
        row.clock_id != now.clock_id
        or any(until - now.steady > FURTHEST for until in ahead)
        or any(since - now.steady > SKEW for since in begun)
    )


def set_due(row: GrantRow, now: Instant, *, after: float = 0.0) -> None:
    """Decide anew when the grant is due; not within `after` seconds."""
    migrating = row.migration is not None
    decided = due(Life(row.id, row.kind, row.role, row.stale_at, row.lifetime, row.used_at, migrating), now.wall)
    row.due_at = decided if decided is None or not after else max(decided, now.wall + after)


def set_due_in(row: GrantRow, now: Instant, seconds: float) -> None:
    """Due in so many seconds, unless the grant is no longer looked after."""
    if row.role in {Role.ACTIVE, Role.CANDIDATE}:
        row.due_at = now.wall + seconds


def grant_of(row: GrantRow, now: Instant) -> Grant:
    """The grant as a coordinator reads it."""
    clock, same_clock = row.clock_id, row.clock_id == now.clock_id
    return Grant(
        id=row.id,
        connection_id=row.connection_id,
        app=row.app,
        kind=row.kind,
        role=row.role,
        state=row.state,
        generation=row.generation,
        access=row.access or Secret(""),
        expires_at=row.expires_at,
        lifetime=row.lifetime,
        # A wall clock that was set back must not stretch a token's life.
        valid_for=min(row.expires_at - now.wall, row.lifetime) if row.access is not None else 0.0,
        stale_in=row.stale_at - now.wall,
        tokens=row.tokens,
        property_ids=row.property_ids,
        proven=row.proven,
        intent=row.intent,
        intent_age=ago(row.intent_at, clock, now),
        held_back=left(row.not_before, clock, now),
        lease_left=left(row.lease_until, clock, now),
        attempts=row.attempts,
        refusals=row.refusals if same_clock else 0,
        refused_ago=ago(row.first_refused, clock, now) if same_clock else None,
        refused_as=row.first_reason if same_clock else None,
        reauth=row.reauth,
        latched=row.latched,
        said_of=row.said_of,
        migration=row.migration,
        migration_client=row.migration_client,
    )


def connection_of(connection: ConnectionRow, row: GrantRow | None, now: Instant) -> Connection:
    """The connection as people see it; without a grant, its only candidate was dropped."""
    if row is None:
        return Connection(
            connection.id, connection.app, connection.reference, State.DISCONNECTED, "oauth", (), None, (), None, None,
            None, None, None, problem="never_connected",
        )  # fmt: skip
    return Connection(
        id=connection.id,
        app=connection.app,
        reference=connection.reference,
        state=seen(row.state, stale=row.stale_at <= now.wall, circuit_open=False, read_only=False),
        credential=row.kind,
        property_ids=row.property_ids,
        authorizing_user=row.user,
        scopes=row.scopes,
        generation=row.generation,
        connected_at=_moment(connection.connected_at),
        expires_at=None if row.role is Role.DISCONNECTED else end_moment(row.expires_at),
        refreshed_at=_moment(row.refreshed_at),
        used_at=_moment(row.used_at),
        problem=row.problem or (MIGRATION_UNDER_WAY if row.migration and row.role is not Role.DISCONNECTED else None),
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)
