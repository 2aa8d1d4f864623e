"""What rests of the way in: links, states, candidates, and approvals that wait to be claimed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from cloudbeds_auth.rules.model import Grant, Pair, User

PROPERTY_UNKNOWN = "property_unknown"
"""What the history calls that a token works and Cloudbeds names no property of it; and the problem that is shown."""


HOTEL_SCOPE_MISSING = "hotel_scope_missing"
"""The problem where that is so because the approval lacks the scope for the list of properties."""


REFERENCE_CHANGED = "reference_changed"
"""What the history calls that a connection's reference became another one, by a trusted way."""


REFERENCE_NOT_TAKEN = "reference_not_taken"
"""… and that an anonymous approval asked for one, and the connection kept its own."""


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
    FULL = "as many approvals wait as may"


@dataclass(frozen=True, slots=True)
class NewAuthorization:
    """A state about to be issued; only hashes rest. `browser` is None for flows without one (Python, command line).

    `parked`: the hotel began in the Marketplace; what comes of it waits to be claimed. `trusted`: the reference came by
    a link or from a program of ours, not from an address that anybody may have made.
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
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class NewLink:
    """A one-time link about to be issued; only its hash rests."""

    hash: str
    app: str
    reference: str | None
    return_to: str | None
    connection_id: str | None
    lifetime: float


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

    async def add_authorization(self, new: NewAuthorization) -> Spending | None:
        """Remember a state; some that are over are swept out.

        FULL: as many as may wait to come back, of its link or of all that were begun without one by as trusted a way.
        """
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
