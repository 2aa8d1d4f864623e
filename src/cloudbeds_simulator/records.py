"""The vendor's records: client registrations, hotels and their users, authorization codes, grants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cloudbeds_simulator.rotation import Rotation, TokenPair


@dataclass(frozen=True, slots=True)
class HotelUser:
    """The hotel user who approves; ``user_id`` is a string of digits, so that it can be shown as a number as well."""

    user_id: str
    first_name: str
    last_name: str
    email: str
    role: str = "Owner"


@dataclass(frozen=True, slots=True)
class Hotel:
    """One property. Hotels with the same ``group`` belong to one group account (an *association* in token answers).

    A ``closed`` hotel is no longer the vendor's customer: calls about it fail, but its grants stay.
    """

    property_id: str
    name: str
    user: HotelUser
    group: str | None = None
    closed: bool = False


@dataclass(frozen=True, slots=True)
class VendorApp:
    """One client registration; ``scopes`` are those that it may ask for at most, in the order in which the vendor lists
    them.

    A client of level ``property``, which a hotel registers for itself, may neither get nor post an app state.
    """

    client_id: str
    client_secret: str
    name: str
    redirect_uris: frozenset[str]
    scopes: tuple[str, ...]
    level: str = "partner"

    def granted(self, asked: Iterable[str]) -> tuple[str, ...]:
        """The scopes that an approval grants: those asked for that the app has, or all that it has if none is asked
        for.
        """
        wanted = {*asked}
        return tuple(scope for scope in self.scopes if not wanted or scope in wanted)


LEVELS = ("partner", "property")


@dataclass(frozen=True, slots=True)
class HotelApproval:
    """What a hotel user approved: who, for which app, for which properties and scopes."""

    client_id: str
    property_ids: tuple[str, ...]
    user: HotelUser
    scopes: tuple[str, ...]


@dataclass(slots=True)
class VendorCode:
    """An authorization code, bound to one redirect URI, spent once. Times are Unix seconds."""

    value: str
    redirect_uri: str
    approval: HotelApproval
    issued_at: float
    spent: bool = False


@dataclass(slots=True)
class VendorKey:
    """An API key. Times are Unix seconds; ``ended`` says why it is no longer accepted."""

    value: str
    issued_at: float
    last_used_at: float
    ended: str | None = None


@dataclass(slots=True)
class VendorGrant:
    """One approval with its tokens, its keys, or both. ``number`` counts from 1.

    ``face``: how a resource answers once the grant has ended. A grant whose code was exchanged for a key has a rotation
    without pairs.
    """

    number: int
    approval: HotelApproval
    rotation: Rotation
    created_at: float
    last_used_at: float
    face: str = "denied"
    ended: str | None = None
    keys: list[VendorKey] = field(default_factory=list)

    def end_keys(self, reason: str) -> None:
        """End all of its keys that have not ended yet."""
        for key in self.keys:
            key.ended = key.ended or reason


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A token request that was answered with an API key; ``repeated`` if the key had been given before."""

    grant: VendorGrant
    key: VendorKey
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """A token request that was answered with a pair."""

    grant: VendorGrant
    pair: TokenPair
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Rejection:
    """A rejected request. ``reason`` is ours; ``answers`` turns it into the vendor's words.

    ``detail`` says more for the glass box, never for the client.
    """

    reason: str
    detail: str = ""
    grant: VendorGrant | None = None


ALL_SCOPES = (
    "read:hotel", "read:reservation", "write:reservation", "read:guest", "write:guest", "read:rate", "write:rate",
    "read:room", "read:payment",
)  # fmt: skip
"""The scopes of a registration that names none: some of those in the published PMS v1.3 specification."""
