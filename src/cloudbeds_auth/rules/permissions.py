"""Who may do what: a caller, the scopes it holds, what it is for, and the one question everything asks, `may`.

A caller is narrowed by its parent (`within`): both must allow what is asked. So a child can never do more than its
parent, whatever either of them says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from cloudbeds_auth.errors import Forbidden
from cloudbeds_auth.rules.auth_flow import is_safe
from cloudbeds_auth.rules.model import Connection


class Scope(StrEnum):
    """What a credential of ours may be good for."""

    READ = "read"
    PROXY = "proxy"
    TOKEN = "token"
    CONNECT = "connect"
    METRICS = "metrics"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class OfConnection:
    """What `may` has to know of a connection that a caller asks for."""

    id: str
    reference: str | None = None
    property_ids: frozenset[str] = frozenset()


def of_connection(connection: Connection) -> OfConnection:
    """That of a connection. A reference that a stranger could choose, in a hotel's browser, opens nothing; nor does
    what was altered behind the service.
    """
    if not connection.genuine:
        return OfConnection(connection.id)
    reference = connection.reference if connection.reference_trusted else None
    return OfConnection(connection.id, reference, frozenset(connection.property_ids))


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which hotels a credential is for: those of any of these ids and references, and no other."""

    connections: frozenset[str] = frozenset()
    properties: frozenset[str] = frozenset()
    references: frozenset[str] = frozenset()

    @property
    def size(self) -> int:
        """How many it names."""
        return len(self.connections) + len(self.properties) + len(self.references)

    def holds(self, hotel: OfConnection) -> bool:
        """Whether it is for this hotel, or for some of its properties."""
        return self.holds_all(hotel) or not self.properties.isdisjoint(hotel.property_ids)

    def holds_all(self, hotel: OfConnection) -> bool:
        """Whether it is for the whole connection, whatever its properties are."""
        return hotel.id in self.connections or hotel.reference in self.references


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a valid credential. `name` is its id, `admin` for the admin token. `reach` None: all hotels.

    `read_only`: at Cloudbeds only what asks for no change; `methods`: there only these methods, in lower case (None:
    all). `within`: the key that made this one. `rate`: requests a second to Cloudbeds, over all processes, for it and
    those that it made; None: as the client id allows.
    """

    name: str
    scopes: frozenset[Scope]
    reach: Bounds | None = None
    read_only: bool = False
    methods: frozenset[str] | None = None
    within: Caller | None = None
    rate: float | None = None

    @property
    def root(self) -> Caller:
        """Whose rate and share it takes from: the one that was not made by another key."""
        return self if self.within is None else self.within.root

    @property
    def for_all(self) -> bool:
        """Whether it is for all hotels, so that nothing need be known of one."""
        return all(one.reach is None for one in line(self))


ADMIN = Caller("admin", frozenset(Scope))
METRICS = Caller("metrics", frozenset({Scope.METRICS}))


def may(caller: Caller, scope: Scope, hotel: OfConnection | None = None) -> bool:
    """Whether the caller holds the scope, and is for this hotel where one is concerned.

    `token` is never held for a hotel that the caller is for by its properties: a token opens all that there are.
    """
    for one in line(caller):
        if scope not in one.scopes or not (hotel is None or one.reach is None or one.reach.holds(hotel)):
            return False
    return scope is not Scope.TOKEN or hotel is None or pinned(caller, hotel) is None


def may_call(caller: Caller, http_method: str, name: str | None) -> bool:
    """Whether the caller may ask Cloudbeds for the method of this name, in lower case; None: the path names no one
    method, which a caller with a list of methods may not ask for.
    """
    return all(
        (is_safe(http_method) or not one.read_only) and (one.methods is None or name in one.methods)
        for one in line(caller)
    )


def pinned(caller: Caller, hotel: OfConnection) -> frozenset[str] | None:
    """The properties of this hotel's connection that the caller may name, also where these are all that are known, of
    which there may be more tomorrow; None: it is for the connection.
    """
    left: frozenset[str] | None = None
    for one in line(caller):
        if one.reach is not None and not one.reach.holds_all(hotel):
            mine = one.reach.properties & hotel.property_ids
            left = mine if left is None else left & mine
    return left


def may_name(caller: Caller, reference: str | None, hotel: OfConnection | None = None) -> bool:
    """Whether the caller may give a hotel this reference: one that it is for, or that this hotel has."""
    return reference in (None, "") or all(
        one.reach is None or reference in one.reach.references or (hotel is not None and reference == hotel.reference)
        for one in line(caller)
    )


def may_change(caller: Caller, scope: Scope, hotel: OfConnection, reference: str | None) -> bool:
    """Whether the caller may change this hotel's connection as a whole, and give it this reference."""
    return may(caller, scope, hotel) and pinned(caller, hotel) is None and may_name(caller, reference, hotel)


def may_connect(caller: Caller, scope: Scope, reference: str | None, expected_properties: Collection[str]) -> bool:
    """Whether the caller may have a hotel connected: by the reference that it gets, or because nothing but properties
    is expected that the caller is for.
    """
    hotel = OfConnection("", reference or None, frozenset(expected_properties))
    if not may_name(caller, reference) or not may(caller, scope, hotel):
        return False
    return pinned(caller, hotel) in (None, hotel.property_ids)


def not_for_connection() -> Forbidden:
    """About what `may` does not allow, and about a connection that is not there: a bound caller does not learn it."""
    return Forbidden("this credential is not for this connection", next_step="use a key that is for it, or for all")


def not_for_whole() -> Forbidden:
    """About what `may_change` does not allow."""
    return Forbidden(
        "this credential is not for the whole connection, or not for this reference",
        next_step="use a key that is for the connection, or for the reference",
    )


def line(caller: Caller) -> Iterator[Caller]:
    """A caller, its parent, and so on."""
    one: Caller | None = caller
    while one is not None:
        yield one
        one = one.within
