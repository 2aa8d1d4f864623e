"""What rests, and the fences around it. Every method is one transaction: committed and synced when it returns.

Production: `store.sql`. A method raises `errors.StoreUnavailable` when the database cannot do it now; then nothing, or
(for a commit whose answer was lost) everything, was written. Methods with a `Fence` write only where the grant's
generation and lease epoch are still the fence's; they say so in what they return and change nothing otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from cloudbeds_auth.core.lifecycle import Event as Happening
from cloudbeds_auth.core.lifecycle import State
from cloudbeds_auth.core.nouns import Connection, Event, Fence, Grant, Pair, StoredToken, User
from cloudbeds_auth.ports.apps import AppStore
from cloudbeds_auth.ports.groups import GroupStore
from cloudbeds_auth.ports.importing import ImportStore
from cloudbeds_auth.ports.migration import MigrationStore
from cloudbeds_auth.ports.outbox import OutboxStore
from cloudbeds_auth.ports.retention import RetentionStore
from cloudbeds_auth.ports.returning import ReturnStore
from cloudbeds_auth.ports.upkeep import UpkeepStore


@dataclass(frozen=True, slots=True)
class Leased:
    """The refresh lease is ours under `epoch`."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Busy:
    """Somebody else holds the lease for another `left` seconds."""

    left: float


class Written(Enum):
    """What became of a fenced write."""

    DONE = "written"
    GENERATION_MOVED = "somebody committed since"
    EPOCH_MOVED = "only the lease was taken by somebody else"
    GONE = "the grant was disconnected or superseded"


class Attempt(Enum):
    """How one sending ended without a pair; see `settle`."""

    REFUSED = "the token was refused"
    CLIENT_REFUSED = "the client was refused"
    UNSENT = "nothing was sent"
    LOST = "no usable answer"


ENDINGS = {
    Attempt.REFUSED: Happening.TOKEN_REFUSED,
    Attempt.CLIENT_REFUSED: Happening.CLIENT_REFUSED,
    Attempt.UNSENT: Happening.NOTHING_SENT,
    Attempt.LOST: Happening.ANSWER_LOST,
}
"""What the history calls each, and where it leads in the table of states."""


CALL_REFUSED = "call_refused"
"""What the history calls a call that Cloudbeds refused although the token works; it leads nowhere in that table."""


PROPERTY_UNKNOWN = "property_unknown"
"""What the history calls that a token works and Cloudbeds names no property of it; and the problem that is shown."""


HOTEL_SCOPE_MISSING = "hotel_scope_missing"
"""The problem where that is so because the approval lacks the scope for the list of properties."""


FORGOTTEN = "forgotten"
"""What the history calls that its personal data was deleted; it leads nowhere in that table either."""


class Counted(Enum):
    """What a refused pass meant."""

    FIRST = "counted; asked again later"
    EARLY = "too soon after the first to count"
    MARKED = "reauthorization required"
    CANDIDATE = "a newer grant waits to be proven"
    MOVED = "the fence moved"


@dataclass(frozen=True, slots=True)
class Authorization:
    """A spent state: what was begun with it. `earlier` is the connection it already led to."""

    id: str
    app: str
    reference: str | None
    return_to: str | None
    connection_id: str | None
    earlier: str | None = None


class Spending(Enum):
    """Why a state was not spent."""

    UNKNOWN = "never issued, or another browser's"
    EXPIRED = "older than its lifetime"
    SPENT = "used before, with another code"
    UNFINISHED = "used before, with this code, and no connection came of it so far"
    FULL = "as many approvals wait to be claimed as may"


@dataclass(frozen=True, slots=True)
class NewAuthorization:
    """A state about to be issued; only hashes rest. `browser` is None for flows without one (Python, command line).

    `parked`: the hotel began in the Marketplace; what comes of it waits to be claimed.
    """

    id: str
    app: str
    state_hash: str
    browser_hash: str | None
    reference: str | None
    return_to: str | None
    connection_id: str | None
    link_hash: str | None
    lifetime: float
    parked: bool = False


@dataclass(frozen=True, slots=True)
class NewLink:
    """A one-time link about to be issued; only its hash rests."""

    hash: str
    app: str
    reference: str | None
    return_to: str | None
    connection_id: str | None
    lifetime: float


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls that one generation carried within one stretch of time; written behind, never one row a call.

    `first` and `last` are unix seconds; `refused` counts answers 401; `methods` counts by method and path.
    """

    grant_id: str
    generation: int
    first: float
    last: float
    count: int
    refused: int
    methods: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of connections and the cursor of the next one: the id of the last connection before it."""

    connections: tuple[Connection, ...]
    next: str | None


class GrantStore(Protocol):
    """What `vault.refresh` needs: leases, intents, commits, proofs (ROTATION section 3)."""

    async def grant(self, grant_id: str) -> Grant | None:
        """The row, with durations measured by the store's clock; None when it is gone."""
        ...

    async def take_lease(self, grant_id: str, owner: str, seconds: float) -> Leased | Busy | None:
        """Take the lease if it is free, ended, or its owner is known dead; the epoch grows. None: no such grant."""
        ...

    async def renew_lease(self, grant_id: str, epoch: int, seconds: float) -> bool:
        """Hold the lease for another `seconds`; False when somebody else took it."""
        ...

    async def release_lease(self, grant_id: str, epoch: int) -> None:
        """Give the lease back; nothing happens when it is not ours any more."""
        ...

    async def write_intent(
        self, fence: Fence, position: int, *, lease: float, hold: float, exchange: bool = False
    ) -> bool:
        """Before a refresh token is sent: which one, and lease enough for the answer. False: the fence moved.

        The latch is part of the fence (rule 15): a latched grant's token is sent for an `exchange` and for nothing
        else. An attempt of a migration that is pending still puts it in doubt.
        """
        ...

    async def settle(self, fence: Fence, attempt: Attempt, *, hold: float = 0.0, detail: str = "") -> bool:
        """Record how a sending ended. REFUSED clears intent and hold; LOST keeps the intent; False: the fence moved."""
        ...

    async def commit_pair(self, fence: Fence, sent: StoredToken, pair: Pair, *, stale_after: float) -> Written:
        """Make `pair` the next generation: tokens up to `sent`, then the new one. Repeating it is harmless.

        Generations grow within a grant and are unique within a connection.
        """
        ...

    async def confirm(self, grant_id: str, generation: int) -> bool:
        """The generation was seen to work: forget its kept tokens, clear marks. Needs no lease."""
        ...

    async def count_refusal(self, fence: Fence, reason: str, *, interval: float) -> Counted:
        """A whole pass was refused: count it; the second, `interval` later, marks the grant (rule 12)."""
        ...

    async def note_problem(self, grant_id: str, generation: int, problem: str, said: Mapping[str, str]) -> bool:
        """The hotel is connected and its calls run into something: `problem` is shown, and the history has a line.

        False, and nothing changes: it is shown already, or the grant is not in use, not healthy, or of a newer
        generation. The next pair clears it.
        """
        ...

    async def record_calls(self, calls: Sequence[Calls]) -> None:
        """Add aggregated calls to the history."""
        ...


class CircuitStore(Protocol):
    """Which client secrets the vendor refuses, by app and fingerprint of the secret (F35, F36)."""

    async def open_circuits(self, app: str) -> Mapping[str, float]:
        """Fingerprint to seconds until one trial is allowed again (0: now)."""
        ...

    async def open_circuit(self, app: str, fingerprint: str, *, trial_after: float) -> None:
        """The vendor refused this secret; also claims a trial: nobody else tries before `trial_after` seconds."""
        ...

    async def close_circuit(self, app: str, fingerprint: str) -> None:
        """The vendor accepted this secret."""
        ...


class AuthorizationStore(Protocol):
    """States, links and candidates: how a grant comes in (rule 13)."""

    async def add_link(self, link: NewLink) -> None:
        """Remember a one-time link."""
        ...

    async def link(self, link_hash: str) -> NewLink | None:
        """The link if it is known, unexpired and has not led to a connection yet."""
        ...

    async def link_outcome(self, link_hash: str) -> str | None:
        """The connection that the link led to; None when it led to none, or longer ago than states are kept."""
        ...

    async def add_authorization(self, new: NewAuthorization) -> None:
        """Remember a state; old ones are swept out."""
        ...

    async def spend_state(self, state_hash: str, browser_hash: str | None, code_hash: str) -> Authorization | Spending:
        """Spend a state once, atomically. Spent with the same code from the same browser: the earlier authorization."""
        ...

    async def add_candidate(
        self, authorization_id: str, connection_id: str, grant_id: str, pair: Pair, *, stale_after: float
    ) -> str:
        """Store a new grant as a candidate; the id of its connection: the authorization's own, else the one connection
        of this app that covers one of its properties, as its grant in use says, or its newest where none was ever
        proven; else `connection_id`, made now.
        """
        ...

    async def begin_arrival(self, new: NewAuthorization, code_hash: str, *, most: int) -> Authorization | Spending:
        """Begin and spend at once what the hotel began itself; one code once. FULL while `most` wait to be claimed."""
        ...

    async def claim(self, connection_id: str, reference: str | None, grant_id: str) -> str | None:
        """What waits there becomes a candidate: of the one connection of its app that covers one of its properties, as
        a new grant named `grant_id`, else where it is. The id of that connection; None when nothing waits.
        """
        ...

    async def discard_parked(self, grant_id: str) -> bool:
        """Nobody claimed it in time: everything of it is deleted, its connection too. False when it waits no more."""
        ...

    async def candidate(self, connection_id: str) -> Grant | None:
        """The newest grant that waits to be proven."""
        ...

    async def promote(
        self, connection_id: str, grant_id: str, user: User | None, property_ids: tuple[str, ...]
    ) -> bool:
        """The candidate worked: make it the connection's grant, the old one superseded. False: a newer one came first.
        `property_ids` are those learnt besides the grant's own.
        """
        ...

    async def note_unnamed(
        self, grant_id: str, generation: int, problem: str, said: Mapping[str, str], *, again_in: float | None
    ) -> bool:
        """Nobody knows which property a candidate is of: `problem` is shown, and the history has a line. It is due
        again in `again_in` seconds, None: as it was.

        False: it is shown already, or the grant is no candidate, or of a newer generation.
        """
        ...

    async def drop_candidate(self, grant_id: str, reason: str) -> None:
        """The candidate is of no use: superseded; the connection keeps what it had."""
        ...


class ConnectionStore(Protocol):
    """What people see."""

    async def resolve(self, connection_or_property: str) -> Sequence[str]:
        """The ids of current connections under a connection id or covering a property id."""
        ...

    async def current_grant(self, connection_id: str) -> Grant | None:
        """The connection's active grant, else its newest candidate, else a disconnected one; None: unknown."""
        ...

    async def connection(self, connection_id: str) -> Connection | None:
        """One connection."""
        ...

    async def connections(
        self,
        *,
        states: Sequence[State] | None = None,
        reference: str | None = None,
        property_id: str | None = None,
        app: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page:
        """Connections, newest first, filtered."""
        ...

    async def count_states(self) -> Mapping[State, int]:
        """Connections by how they look now."""
        ...

    async def events(self, connection_id: str, *, cursor: int | None = None, limit: int = 100) -> Sequence[Event]:
        """History, newest first, before `cursor`."""
        ...

    async def disconnect(self, connection_id: str, *, actor: str, detail: str = "", only: str | None = None) -> bool:
        """Forget every token of the connection and mark it. False: unknown.

        `only`: not when another grant than this one is in use or waits to be proven (False, and nothing changes).
        """
        ...


class Store(
    GrantStore, MigrationStore, CircuitStore, AuthorizationStore, ImportStore, ConnectionStore, AppStore, UpkeepStore,
    GroupStore,
    ReturnStore,
    OutboxStore,
    RetentionStore, Protocol,
):  # fmt: skip
    """All of it, and its life."""

    @property
    def read_only(self) -> bool:
        """Whether this is a copy of another installation's database."""
        ...

    async def check(self) -> None:
        """Whether the database can be written and the keys open the canary; raises StoreUnavailable."""
        ...

    async def report(self) -> Mapping[str, str]:
        """What the database says about itself, and under which key it seals; no secrets.

        `key_id`, and of SQLite `sqlite` (its version), `file`, `journal_mode`, `synchronous` as in effect on this
        connection; of PostgreSQL `postgresql` (its version), `database`, `fsync`, `full_page_writes`,
        `synchronous_commit`, `role` (primary or standby), `asynchronous_standbys` (how many).
        """
        ...

    async def close(self) -> None:
        """Finish what runs and close."""
        ...
