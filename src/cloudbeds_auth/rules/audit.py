"""Who did what, to which connection, from which address: the vocabulary of the audit.

What a person or a program does is written down in the transaction that does it. What the vault and Cloudbeds do by
themselves, and what a hotel approves, is in the history of its connection alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

ENTRY = "aud_"  # how an id begins
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # base 32 without I, L, O, U: https://github.com/ulid/spec
TAIL = 80  # bits of a ULID that are not its time
LATEST = (1 << 48) - 1  # unix milliseconds that a ULID has room for


class Acting(NamedTuple):
    """Who acts: `admin` for the admin token, the id of a key, `session:…`, `command`, `program`; and the address that
    it came from, where it came over HTTP.
    """

    name: str
    address: str | None = None

    def of(self, name: str) -> Acting:
        """Somebody of this name: of another one than acts the address is not known."""
        return self if name == self.name else Acting(name)


PROGRAM = Acting("program")  # one that uses the library, and says no more of itself
COMMAND = Acting("command")
VAULT = Acting("vault")
UNKNOWN_MAKER = "operator"  # of what an earlier version wrote, which did not note who
STRANGERS = "anyone"  # who failed to sign in is not known
OTHERS = "others"  # the addresses that have no entry of their own
UNASKED = frozenset({"vault", "cloudbeds", "hotel"})
"""Actors whose lines of a history are no entries of the audit: nobody of ours did it."""


_PEOPLE = {
    "admin": "the admin token", "command": "the command line", "program": "a program that uses the library",
    "vault": "the service itself", "hotel": "the hotel", "cloudbeds": "Cloudbeds", "caller": "programs",
    UNKNOWN_MAKER: "an operator",
    STRANGERS: "somebody unknown",
}  # fmt: skip


def actor_words(actor: str) -> str:
    """Who did something, for people; a key by its id."""
    kind, _, name = actor.partition(":")
    return f"the signed-in operator {name}" if kind == "session" else _PEOPLE.get(actor, actor)


class AuditAction(StrEnum):
    """What is not about one connection. Of connections, the words are those of their histories."""

    LINK_CREATED = "link_created"  # to connect a hotel, or to register an app
    KEY_CREATED = "key_created"
    KEY_REVOKED = "key_revoked"
    APP_ADDED = "app_added"
    APP_SECRET_ROTATED = "app_secret_rotated"
    APP_SECRET_DROPPED = "app_secret_dropped"  # the previous one
    APP_REMOVED = "app_removed"
    DATABASE_ADOPTED = "database_adopted"
    ROWS_ACCEPTED = "rows_accepted"  # all, as they are
    DATABASE_REKEYED = "database_rekeyed"
    SIGNED_IN = "signed_in"
    SIGN_IN_FAILED = "sign_in_failed"
    SIGNED_OUT = "signed_out"
    SESSIONS_ENDED = "sessions_ended"  # all of them


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act. `subject`: the id of a connection or a key, or the name of an app; None: of none of them."""

    id: str
    at: datetime
    action: str
    actor: str
    subject: str | None
    address: str | None
    data: Mapping[str, object] = field(default_factory=dict)


def ulid(milliseconds: int, tail: int) -> str:
    """A ULID of this time in unix milliseconds and these 80 bits: ids sort by the time, which is taken as 1970 if it is
    earlier, and as the latest that there is room for if it is later.
    """
    number = min(max(milliseconds, 0), LATEST) << TAIL | tail
    return "".join(CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def entry_id(at: float, *parts: str | None) -> str:
    """The id of what happened at `at`, in unix seconds, and is told apart by these parts: a transaction that is run
    again writes the same one.
    """
    told = hashlib.sha256("\0".join([repr(at), *(part or "" for part in parts)]).encode()).digest()
    return ENTRY + ulid(int(at * 1000), int.from_bytes(told[: TAIL // 8]))


def first_id(at: float) -> str:
    """No entry from before that moment has this id, or one behind it."""
    return ENTRY + ulid(int(at * 1000), 0)
