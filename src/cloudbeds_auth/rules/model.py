"""The data classes that every layer shares, all frozen.

Durations are seconds. Wherever two machines or two boots could disagree about a moment, a row read from the store
holds *durations* ("held back for 3 s more"), measured by the store's own clock. Moments (`…_at`) are unix seconds, for
people and for the history.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import urlsplit

from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.origins import UNKNOWN, Source
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.subscriptions import Subscription


class CredentialKind(StrEnum):
    """What the vendor issued: an OAuth pair, or an API key, which is never refreshed."""

    OAUTH = "oauth"
    API_KEY = "api_key"


class Migration(StrEnum):
    """How far the move of an OAuth grant to an API key has come; the grant is latched from the beginning (rule-15)."""

    BEGUN = "begun"  # no exchange can have been accepted yet, except the one whose intent is pending
    IN_DOUBT = "in_doubt"  # the answer of an exchange was lost


class Role(StrEnum):
    """What a grant is to its connection: in use, newer and not yet proven, replaced, ended, or waiting to be claimed.
    A parked grant waits for a day; one set aside, because it belongs to another hotel than expected, has no limit.
    """

    ACTIVE = "active"
    CANDIDATE = "candidate"
    PARKED = "parked"
    SET_ASIDE = "set_aside"
    SUPERSEDED = "superseded"
    DISCONNECTED = "disconnected"


KEPT_ALIVE = frozenset({Role.ACTIVE, Role.CANDIDATE, Role.SET_ASIDE})
"""The roles of grants whose tokens are refreshed; the new pair is stored in the same grant."""


def moment(seconds: float) -> datetime:
    """Unix seconds as an aware UTC datetime."""
    return datetime.fromtimestamp(seconds, UTC)


def end_moment(seconds: float) -> datetime | None:
    """An end as `moment` gives it; None for infinity, the end of what never expires."""
    return None if math.isinf(seconds) else moment(seconds)


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token that has been committed to the store and may therefore be used (rule-1).

    `expires_at` is the end that the vendor announced, None for an API key; `generation` identifies the token in
    `access_token(rejected=…)` after an endpoint answered 401.
    """

    value: Secret
    expires_at: datetime | None
    generation: int
    token_type: str = "Bearer"
    grant_id: str = field(default="", repr=False)
    lifetime: float = field(default=0.0, repr=False)

    def is_same(self, other: AccessToken) -> bool:
        """Whether both are the same generation of the same grant."""
        return self.generation == other.generation and self.grant_id == other.grant_id

    def reveal(self) -> str:
        """The token itself, for an `Authorization` header."""
        return self.value.reveal()


@dataclass(frozen=True, slots=True)
class Pair:
    """The content of one token answer (RFC 6749 section 5.1); `refresh` is None when the answer held none.

    `lifetime` is `expires_in` in seconds, defaulted and clamped by `rules.token_response`; infinite for an API key.
    `source`: the issuer, and the client id that the pair was issued to.
    """

    access: Secret
    refresh: Secret | None
    lifetime: float
    property_ids: tuple[str, ...] = ()
    scopes: tuple[str, ...] | None = None
    kind: CredentialKind = CredentialKind.OAUTH
    source: Source = UNKNOWN


@dataclass(frozen=True, slots=True)
class StoredToken:
    """One refresh token of a grant at its place in the list; the last one is the child, the others are kept."""

    position: int
    value: Secret


@dataclass(frozen=True, slots=True)
class Fence:
    """What must still hold at a write: no commit since (`generation`), no other holder of the lease (`epoch`)."""

    grant_id: str
    generation: int
    epoch: int


@dataclass(frozen=True, slots=True)
class User:
    """The person who approved, as `/userinfo` names them."""

    id: str
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Grant:
    """One approval by one hotel user, as a coordinator reads it; see docs/rotation.md#algorithm.

    `valid_for`: seconds until the access token expires; `held_back`: seconds until the next attempt is allowed;
    `intent`: the position of the token that a process is sending, or was when it ended; `sent_ago`: seconds since the
    newest sending began whose answer nobody has seen (None: there is none); `unresolved_age`: the same, of those after
    which no later pair was seen to work;
    `refused_ago`: seconds since a whole pass was first refused, or `/userinfo` first named a dead grant; `refused_as`:
    the reason of that refusal; `reprieves`: how often the access token has nevertheless worked since. `reauth`: the
    reason of the mark, if the hotel has to approve again. `denied`: successive pairs whose proof was answered 401;
    `braked`: seconds until a 401 may cause another refresh. `said_of`: the property that an imported grant is said to
    belong to, until the vendor names it too. `authorization`: the approval that the grant came by, until its expected
    properties have been compared. `migration_client`: the client id of the move to an API key. `source`: the issuer
    and client id. `pasted`: the hotel created this API key itself. `genuine`: the row, and its connection's if read
    with it, are as this installation wrote them; nothing of a grant that is not genuine is handed out or sent.
    """

    id: str
    connection_id: str
    app: str
    kind: CredentialKind
    role: Role
    state: State
    generation: int
    access: Secret
    expires_at: float
    lifetime: float
    valid_for: float
    stale_in: float
    tokens: tuple[StoredToken, ...]
    property_ids: tuple[str, ...] = ()
    proven: bool = False
    intent: int | None = None
    sent_ago: float | None = None
    unresolved_age: float | None = None
    held_back: float = 0.0
    lease_left: float = 0.0
    attempts: int = 0
    refusals: int = 0
    refused_ago: float | None = None
    refused_as: str | None = None
    reprieves: int = 0
    denied: int = 0
    braked: float = 0.0
    problem: str | None = None
    reauth: str | None = None
    latched: bool = False
    said_of: str | None = None
    migration: Migration | None = None
    migration_client: str | None = None
    source: Source = UNKNOWN
    pasted: bool = False
    authorization: str | None = None
    genuine: bool = True

    @property
    def kept(self) -> tuple[StoredToken, ...]:
        """The older refresh tokens that may still be the only living ones, oldest first."""
        return self.tokens[:-1]

    def aged(self, seconds: float) -> Grant:
        """The row with its access token older by so many seconds."""
        return replace(self, valid_for=self.valid_for - seconds, stale_in=self.stale_in - seconds)

    def token(self) -> AccessToken:
        """The stored access token as callers get it."""
        return AccessToken(
            self.access, end_moment(self.expires_at), self.generation, grant_id=self.id, lifetime=self.lifetime
        )


@dataclass(frozen=True, slots=True)
class App:
    """One registration at Cloudbeds, known here by its name, `id`.

    `secrets`: the current one first, then one still valid during a reset. `level`: `partner`, or `property` for an app
    that a hotel registered for itself (cloudbeds-facts.md section 6: half the rate, no app states). `created_at`, and
    `rotated_at`, the last reset of its secret, are None for the app of the settings.
    `credential`: the kind that its approvals ask for. `issuer`: the listed origin of the vendor that its secret is for;
    None: not bound to an origin yet.
    """

    id: str
    client_id: str
    secrets: tuple[Secret, ...]
    redirect_uri: str
    scopes: tuple[str, ...] = ()
    level: str = "partner"
    credential: CredentialKind = CredentialKind.OAUTH
    created_at: datetime | None = None
    rotated_at: datetime | None = None
    issuer: str | None = None

    @property
    def redirect_path(self) -> str:
        """The path that Cloudbeds sends browsers back to; no two apps share one."""
        return urlsplit(self.redirect_uri).path


@dataclass(frozen=True, slots=True)
class Connection:
    """One hotel's connection as people and programs see it; its id survives every reconnect. `source`: where its
    credential came from; `registration`: the app that it came by, not its own after a move to a key under another app;
    `foreign`: `source` or `registration` is why it is `client_refused`; `pasted`, `genuine`: as of its grant;
    `reference_trusted`: the reference came with a credential; `moving_under`: the client id of a move to an API key
    that is under way.
    """

    id: str
    app: str
    reference: str | None
    state: State
    credential: str
    property_ids: tuple[str, ...]
    authorizing_user: User | None
    scopes: tuple[str, ...]
    generation: int | None
    connected_at: datetime | None
    expires_at: datetime | None
    refreshed_at: datetime | None
    used_at: datetime | None
    problem: str | None = None
    next_step: str | None = None
    connect_url: str | None = field(default=None, repr=False)
    source: Source = field(default=UNKNOWN, repr=False)
    registration: str = field(default="", repr=False)
    foreign: bool = field(default=False, repr=False)
    subscriptions: tuple[Subscription, ...] = ()
    risks: Mapping[str, str] = field(default_factory=dict)  # and why (`rules.risks`)
    pasted: bool = field(default=False, repr=False)
    reference_trusted: bool = field(default=False, repr=False)
    genuine: bool = field(default=True, repr=False)
    moving_under: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """An authorization that was begun: send the hotel to `url`; `state` comes back with the code, to `redirect_uri`."""

    url: str = field(repr=False)
    state: str = field(repr=False)
    expires_at: datetime
    redirect_uri: str


@dataclass(frozen=True, slots=True)
class StateCounts:
    """Connections by the state that they are shown in, counted `age` seconds ago. `capped`: more connections than were
    counted have our credentials refused, and so many fewer of the living ones are in another state.
    """

    connections: Mapping[State, int]
    age: float
    capped: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of connections, to be iterated; `next` is the cursor of the next page, None on the last one."""

    connections: tuple[Connection, ...]
    next: str | None

    def __iter__(self) -> Iterator[Connection]:
        return iter(self.connections)

    def __len__(self) -> int:
        return len(self.connections)


@dataclass(frozen=True, slots=True)
class Finished:
    """The connection that an authorization led to, and where the browser is to be sent afterwards."""

    connection: Connection
    return_to: str | None


@dataclass(frozen=True, slots=True)
class Link:
    """A link to give to a hotel, good for one connection; the hotel opens `url`."""

    token: str = field(repr=False)
    url: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a connection's history.

    Events are numbered, and never change. A line of counted calls (kind `calls`) has the number of the event before it,
    and is merged with others as it ages. `cursor`: the position after this line, if it was read from a history.
    """

    sequence: int
    at: datetime
    kind: str
    actor: str
    grant_id: str | None
    generation: int | None
    data: Mapping[str, object] = field(default_factory=dict)
    cursor: str = field(default="", compare=False)
