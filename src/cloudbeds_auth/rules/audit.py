"""The vocabulary of the audit: who did what, to which connection, from which address.

An act of a person or a program is recorded in the transaction that performs it. What the vault and Cloudbeds do on
their own, and what a hotel approves, is recorded only in the history of the connection.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

ENTRY = "aud_"  # prefix of an entry's id
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # base 32 without I, L, O, U: https://github.com/ulid/spec
TAIL = 80  # bits of a ULID after its time
LATEST = (1 << 48) - 1  # unix milliseconds: the latest time that a ULID can hold


class Acting(NamedTuple):
    """Who acts: `admin` (the admin token), the id of a key, `session:…`, `command`, `program` or `vault`; and the
    client's address, if the request came over HTTP.
    """

    name: str
    address: str | None = None

    def of(self, name: str) -> Acting:
        """The actor of this name; the address is known only if it is this one."""
        return self if name == self.name else Acting(name)


PROGRAM = Acting("program")  # one that uses the library and gives no other name
COMMAND = Acting("command")
VAULT = Acting("vault")
UNKNOWN_MAKER = "operator"  # for rows of an earlier version, which did not record the actor
STRANGERS = "anyone"  # the actor of a failed sign-in
OTHERS = "others"  # all addresses that are not counted on their own
UNASKED = frozenset({"vault", "cloudbeds", "hotel"})
"""Actors whose events are recorded in a history only: neither a caller nor an operator acted."""


_PEOPLE = {
    "admin": "the admin token", "command": "the command line", "program": "a program that uses the library",
    "vault": "the service itself", "hotel": "the hotel", "cloudbeds": "Cloudbeds", "caller": "programs",
    UNKNOWN_MAKER: "an operator",
    STRANGERS: "an unknown caller",
}  # fmt: skip


def actor_words(actor: str) -> str:
    """The actor in words for people; a key by its id."""
    kind, _, name = actor.partition(":")
    return f"the signed-in operator {name}" if kind == "session" else _PEOPLE.get(actor, actor)


class AuditAction(StrEnum):
    """Actions that concern no single connection; those of a connection are named as in its history."""

    LINK_CREATED = "link_created"  # for connecting a hotel, or for registering an app
    KEY_CREATED = "key_created"
    KEY_REVOKED = "key_revoked"
    APP_ADDED = "app_added"
    APP_SECRET_ROTATED = "app_secret_rotated"
    APP_SECRET_DROPPED = "app_secret_dropped"  # the previous one
    APP_REMOVED = "app_removed"
    DATABASE_ADOPTED = "database_adopted"
    ROWS_ACCEPTED = "rows_accepted"  # every row, as it is
    DATABASE_REKEYED = "database_rekeyed"
    SIGNED_IN = "signed_in"
    SIGN_IN_FAILED = "sign_in_failed"
    SIGNED_OUT = "signed_out"
    SESSIONS_ENDED = "sessions_ended"  # all of them


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act. `subject`: the id of a connection or a key, or the name of an app; None if it concerns none of these."""

    id: str
    at: datetime
    action: str
    actor: str
    subject: str | None
    address: str | None
    data: Mapping[str, object] = field(default_factory=dict)


def ulid(milliseconds: int, tail: int) -> str:
    """A ULID of this time in unix milliseconds and these 80 bits. ULIDs sort by time; a time before 1970 counts as
    1970, one after `LATEST` as `LATEST`.
    """
    number = min(max(milliseconds, 0), LATEST) << TAIL | tail
    return "".join(CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def entry_id(at: float, *parts: str | None) -> str:
    """The id of an act at `at`, in unix seconds, identified by these parts: a transaction that is run again writes the
    same id.
    """
    told = hashlib.sha256("\0".join([repr(at), *(part or "" for part in parts)]).encode()).digest()
    return ENTRY + ulid(int(at * 1000), int.from_bytes(told[: TAIL // 8]))


def first_id(at: float) -> str:
    """The lowest id of an entry at `at`, in unix seconds: entries of earlier milliseconds sort before it."""
    return ENTRY + ulid(int(at * 1000), 0)
