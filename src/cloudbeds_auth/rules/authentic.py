"""MACs of rows, which prove that this installation wrote them, and where; and of histories, that nothing is missing.

Each event of a connection has a MAC over itself and the MAC of the event before it. The connection stores the two ends
of this chain: `base`, after which it begins (earlier events were deleted, or written before there were MACs), and
`last`. A MAC under another label binds both, so no event's own MAC makes an earlier event the newest one.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field, replace
from typing import Any

MOST_EVENTS = 1 << 62  # the next number is one that a database can hold
DIGITS = 32  # of the 64 that HMAC-SHA256 has in hex: 128 bits (RFC 2104 section 5)


class MacKey:
    """The key of an installation's MACs. It stays the same when the encryption keys change."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "MacKey()"

    def mac(self, label: str, values: Iterable[object]) -> str:
        """The MAC, in hex, of these values in this order, under a label for each kind of row."""
        parts = [label.encode(), *map(_encoded, values)]
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._key, text, "sha256").hex()[:DIGITS]

    def fits(self, mac: object, label: str, values: Iterable[object]) -> bool:
        """Whether `mac`, as it is stored, is the MAC of these values. None never is."""
        return hmac.compare_digest(str(mac).encode(), self.mac(label, values).encode())


def _encoded(value: object) -> bytes:
    """Values that differ, or are of different kinds, have different bytes; numbers as both databases give them back."""
    if value is None:
        return b""
    if isinstance(value, int | float):
        return b"n" + repr(float(value)).encode()
    return b"t" + str(value).encode()


EVENT = ("sequence", "at", "kind", "actor", "grant_id", "generation", "data")


def event_mac(key: MacKey, connection_id: str, before: str, event: Mapping[str, Any]) -> str:
    """The MAC of an event's row that follows the event with the MAC `before`, empty for the first event."""
    return key.mac("event", (connection_id, before, *(event[column] for column in EVENT)))


@dataclass(frozen=True, slots=True)
class Chain:
    """The ends of a connection's history: number and MAC of the event before the first, and of the newest one.

    `mac` covers both, and the connection's id.
    """

    base: int = 0
    base_mac: str = ""
    last: int = 0
    last_mac: str = ""
    mac: str = ""

    @classmethod
    def parse(cls, text: object) -> Chain:
        """The chain in a stored text; for a text that is none, a chain that does not verify."""
        try:
            base, base_mac, last, last_mac, mac = json.loads(str(text))
            found = cls(int(base), str(base_mac), int(last), str(last_mac), str(mac))
        except (ValueError, TypeError, OverflowError, RecursionError):
            return cls()
        return found if 0 <= found.base <= found.last <= MOST_EVENTS else cls()

    @classmethod
    def begun(cls, key: MacKey, connection_id: str, base: int = 0) -> Chain:
        """The chain of a history that is empty after the event with the number `base`."""
        return cls(base, "", base, "").signed(key, connection_id)

    @property
    def text(self) -> str:
        """The text in which the chain is stored."""
        return json.dumps(astuple(self), separators=(",", ":"))

    def is_of(self, key: MacKey, connection_id: str) -> bool:
        """Whether this is the genuine chain of this connection."""
        return key.fits(self.mac, "chain", self._bound(connection_id))

    def changed(self, key: MacKey, connection_id: str, **ends: Any) -> Chain:
        """The chain with other ends; one that did not verify before does not verify afterwards."""
        new = replace(self, **ends)
        return new.signed(key, connection_id) if self.is_of(key, connection_id) else new

    def signed(self, key: MacKey, connection_id: str) -> Chain:
        """The chain with the MAC of its ends."""
        return replace(self, mac=key.mac("chain", self._bound(connection_id)))

    def _bound(self, connection_id: str) -> tuple[object, ...]:
        return connection_id, self.base, self.base_mac, self.last, self.last_mac


@dataclass(slots=True)
class Verification:
    """Verifies a history, oldest event first; `problems` are sentences for people."""

    key: MacKey
    connection_id: str
    chain: Chain
    problems: list[str] = field(default_factory=list)
    _next: int = field(init=False)
    _before: str = field(init=False)

    def __post_init__(self) -> None:
        self._next, self._before = self.chain.base + 1, self.chain.base_mac
        if not self.chain.is_of(self.key, self.connection_id):
            self.problems.append("where its history begins and ends was altered")

    def verify(self, event: Mapping[str, Any]) -> bool | None:
        """Whether this event is as it was written, and follows the one before it. None: it is older than the chain."""
        number = event["sequence"]
        if number <= self.chain.base:
            return None
        behind_a_gap = number != self._next
        if behind_a_gap:
            self._missing(number - 1)
        good = number <= self.chain.last and self.key.fits(
            event["mac"], "event", (self.connection_id, self._before, *(event[column] for column in EVENT))
        )
        if not good and not behind_a_gap:
            self.problems.append(f"event {number} was altered, or written by something else")
        self._next, self._before = number + 1, str(event["mac"])
        return good

    def end(self) -> None:
        """Call after the last event: reports events missing at the end."""
        if self._next <= self.chain.last:
            self._missing(self.chain.last)
        elif self._before != self.chain.last_mac and not self.problems:
            self.problems.append("its newest event is not the last one that was written")

    def begin_here(self) -> Chain:
        """The chain after everything up to the event that was verified last has been deleted."""
        if self._next == self.chain.base + 1:
            return self.chain
        return self.chain.changed(self.key, self.connection_id, base=self._next - 1, base_mac=self._before)

    def _missing(self, to: int) -> None:
        first = self._next
        self.problems.append(f"event {first} is missing" if first == to else f"events {first} to {to} are missing")
