"""What the memory store keeps. Every store over the same `Tables` is one more process.

Columns are those of the SQL store: moments that people see are unix seconds; `lease_until`, `not_before`, `intent_at`
and `first_refused` are seconds of the steady clock named `clock_id`, and mean nothing on another.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cloudbeds_auth.core.lifecycle import Event as Happening
from cloudbeds_auth.core.lifecycle import State, move
from cloudbeds_auth.core.nouns import App, CredentialKind, Event, Migration, Role, StoredToken, User
from cloudbeds_auth.core.secret import Secret
from cloudbeds_auth.ports.authorizations import NewAuthorization, NewLink


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
