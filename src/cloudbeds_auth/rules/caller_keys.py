"""Keys for callers of the service: their format, and what is stored of them.

    cbauth_01J9Z3NDEKTSV4RRFFQ69G5FAV_9vHq2Yk0mT7c1XbLr4WpZs8aN0q1G2
    prefix  public id (a ULID)         128 random bits and a checksum

The prefix and the checksum are for secret scanners: they recognize a key in code and logs without asking the service.
Only a hash is stored; 128 random bits need no slow hash (NIST SP 800-63B section 5.1.1.2 concerns secrets that people
choose). The public id finds the row, and the hash is compared in constant time (A24).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from dataclasses import dataclass
from datetime import datetime

from cloudbeds_auth.errors import Forbidden, InvalidRequest
from cloudbeds_auth.rules.permissions import Bounds, Caller, Scope

PREFIX = "cbauth_"
ID_PREFIX = "key_"
MOST_CHILDREN = 1000
LONGEST_NAME = 100  # characters
MOST_NAMED = 1000  # ids of one kind that a key may name
MOST_OF_CHILD = 100  # ids in all that a child key may name: a key may have many children
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECK = 6  # characters of the checksum
_WRITTEN = re.compile(r"cbauth_([0-9A-Z]{1,32})_([0-9A-Za-z]{22})([0-9A-Za-z]{6})")
UNSHARED = frozenset({Scope.ADMIN})  # scopes that no child key has


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a new key is for. `life`: seconds until it expires; None: never. `rate`: requests to Cloudbeds per second,
    including those of its children; None: limited by the client id's rate alone.
    """

    name: str
    scopes: frozenset[Scope]
    reach: Bounds | None = None
    read_only: bool = False
    methods: frozenset[str] | None = None
    life: float | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class CallerKey:
    """A key as people see it: everything but its secret, which cannot be shown again.

    `used_at`: the minute of its last use; `used_from`: the address. `ended_at`: when it was revoked.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    reach: Bounds | None
    read_only: bool
    methods: frozenset[str] | None
    parent: str | None
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    ended_at: datetime | None
    used_at: datetime | None
    used_from: str | None
    rate: float | None = None


def write(key_id: str, random: str) -> str:
    """The text of a key, with 128 bits derived from `random`, which must have at least as many."""
    number = int.from_bytes(hashlib.sha256(random.encode()).digest()[:16])
    body = f"{PREFIX}{key_id.removeprefix(ID_PREFIX)}_{_digits(number, 22)}"
    return body + _checksum(body)


def id_of(text: str) -> str | None:
    """The public id of a key; None if the text is not a key, or was mistyped."""
    found = _WRITTEN.fullmatch(text)
    if found is None or not hmac.compare_digest(_checksum(text[:-_CHECK]), found[3]):
        return None
    return f"{ID_PREFIX}{found[1]}"


def hash_of_key(text: str) -> str:
    """The hash of a key's text, which is stored."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def reach_of(key: CallerKey) -> str:
    """Which hotels the key is for, for people."""
    if key.parent is not None and key.reach is None:
        return f"as {key.parent}"
    if key.reach is None:
        return "all hotels"
    return ", ".join(sorted((*key.reach.connections, *key.reach.properties, *key.reach.references))) or "none"


def limits_of(key: CallerKey) -> str:
    """The key's limits at Cloudbeds, for people; empty if it has none."""
    methods = () if key.methods is None else sorted(key.methods)
    rate = () if key.rate is None else (f"{key.rate:g} a second",)
    return ", ".join((*(("reads",) if key.read_only else ()), *rate, *methods))


def checked_key(new: NewKey, parent: Caller | None) -> NewKey:
    """The key as it was requested. Raises InvalidRequest for contradictions, Forbidden for what its parent lacks."""
    if not new.scopes:
        raise InvalidRequest("a key needs at least one scope", next_step=f"choose from {', '.join(Scope)}")
    if Scope.TOKEN in new.scopes and (new.read_only or new.methods is not None):
        raise InvalidRequest(
            "a key with the scope `token` cannot be limited to reads or to methods: a token allows every call",
            next_step="leave out `token`: the proxy enforces the limits",
        )
    if Scope.TOKEN in new.scopes and new.reach is not None and not (new.reach.connections or new.reach.references):
        raise InvalidRequest(
            "a key for properties cannot have the scope `token`: a token is valid for all properties of a connection",
            next_step="leave out `token`, or name connections or references",
        )
    if Scope.ADMIN in new.scopes and (new.read_only or new.methods is not None or new.reach is not None):
        raise InvalidRequest("a key with the scope `admin` cannot be limited", next_step="leave out `admin`")
    if parent is not None:
        if parent.within is not None:
            raise Forbidden("a child key cannot create keys")
        if new.rate is not None:
            raise InvalidRequest("a child key shares the rate of its parent", next_step="leave out `rate`")
        lacking = new.scopes - (parent.scopes - UNSHARED)
        if new.reach is not None and new.reach.size > MOST_OF_CHILD:
            raise InvalidRequest(f"a child key names at most {MOST_OF_CHILD} connections, properties and references")
        if lacking:
            raise Forbidden(f"a child key cannot have these scopes: {', '.join(sorted(lacking))}")
    return new


def _digits(number: int, length: int) -> str:
    letters = []
    for _ in range(length):
        number, digit = divmod(number, len(DIGITS))
        letters.append(DIGITS[digit])
    return "".join(reversed(letters))


def _checksum(body: str) -> str:
    return _digits(zlib.crc32(body.encode()), _CHECK)
