"""What the vendor keeps: client registrations, hotels and their users, authorization codes, grants."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from cloudbeds_simulator.rotation import Pair, Rotation


@dataclass(frozen=True, slots=True)
class User:
    """The hotel user who approves; ``user_id`` is a string of digits so that it can be answered as a number too."""

    user_id: str
    first_name: str
    last_name: str
    email: str


@dataclass(frozen=True, slots=True)
class Hotel:
    """One property. Hotels with the same ``group`` belong to one group account (an *association* in token answers).

    A ``closed`` one is no customer of the vendor any more: calls about it fail, its grants stay.
    """

    property_id: str
    name: str
    user: User
    group: str | None = None
    closed: bool = False


@dataclass(frozen=True, slots=True)
class App:
    """One client registration; ``scopes`` is the ceiling of what it may ask for, in the order the vendor lists them.

    A ``property`` level client, which a hotel registers for itself, may neither get nor post an app state.
    """

    client_id: str
    client_secret: str
    name: str
    redirect_uris: frozenset[str]
    scopes: tuple[str, ...]
    level: str = "partner"


LEVELS = ("partner", "property")


@dataclass(frozen=True, slots=True)
class Approval:
    """What a hotel user approved: who, for which app, for which properties and scopes."""

    client_id: str
    property_ids: tuple[str, ...]
    user: User
    scopes: tuple[str, ...]


@dataclass(slots=True)
class Code:
    """An authorization code, bound to one redirect URI, spent once. Times are Unix seconds."""

    value: str
    redirect_uri: str
    approval: Approval
    issued_at: float
    spent: bool = False


@dataclass(slots=True)
class Key:
    """An API key. Times are Unix seconds; ``ended`` says why it is not accepted any more."""

    value: str
    issued_at: float
    last_used_at: float
    ended: str | None = None


@dataclass(slots=True)
class Grant:
    """One approval with its tokens, its keys, or both. ``number`` counts from 1.

    ``face`` is how a resource answers once it is dead. One whose code was exchanged for a key has a rotation without a
    pair.
    """

    number: int
    approval: Approval
    rotation: Rotation
    created_at: float
    last_used_at: float
    face: str = "denied"
    ended: str | None = None
    keys: list[Key] = field(default_factory=list)

    def cover(self, property_ids: tuple[str, ...]) -> None:
        """The group grew or shrank: these are the properties that it is for now."""
        self.approval = replace(self.approval, property_ids=property_ids)


@dataclass(frozen=True, slots=True)
class Keyed:
    """A token request that was answered with an API key; ``repeated`` when it was given before."""

    grant: Grant
    key: Key
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Tokens:
    """A token request that was answered with a pair."""

    grant: Grant
    pair: Pair
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """A request that was turned down. ``reason`` is ours; ``answers`` turns it into the vendor's words.

    ``detail`` says more for the glass box, never for the client.
    """

    reason: str
    detail: str = ""
    grant: Grant | None = None


ALL_SCOPES: tuple[str, ...] = (
    "read:hotel",
    "read:reservation",
    "write:reservation",
    "read:guest",
    "write:guest",
    "read:rate",
    "write:rate",
    "read:room",
    "read:payment",
)
"""The ceiling of a registration unless it names its own: some of the scopes of the published PMS v1.3 specification."""
