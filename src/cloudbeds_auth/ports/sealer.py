"""How secrets are stored: sealed, and bound to the place that they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cloudbeds_auth.rules.secret import Secret


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed value belongs; it opens nowhere else (a moved, swapped or rolled-back row fails)."""

    table: str
    row: str
    position: int
    generation: int


class SealBroken(Exception):
    """A sealed value does not open: wrong key, altered bytes, or another row's value."""


class Sealer(Protocol):
    """Production: `database.sealing.AesGcmSealer`."""

    @property
    def key_id(self) -> str:
        """Names the key that seals; not a secret."""
        ...

    def seal(self, secret: Secret, place: Place) -> bytes:
        """The sealed bytes, different on every call."""
        ...

    def open(self, sealed: bytes, place: Place) -> Secret:
        """The value; raises SealBroken."""
        ...
