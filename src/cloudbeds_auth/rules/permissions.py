"""Who may do what: a caller, its scopes, the hotels that it is for, and the one check that everything uses, `may`.

A caller is limited by its parent (`within`): both must allow the request. So a child can never do more than its
parent, whatever is stored of either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from cloudbeds_auth.errors import Forbidden
from cloudbeds_auth.rules.auth_flow import is_safe
from cloudbeds_auth.rules.model import Connection


class Scope(StrEnum):
    """What a credential of this service may be good for."""

    READ = "read"
    PROXY = "proxy"
    TOKEN = "token"
    CONNECT = "connect"
    METRICS = "metrics"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class OfConnection:
    """What `may` has to know about a connection that a caller asks for."""

    id: str
    reference: str | None = None
    property_ids: frozenset[str] = frozenset()


def of_connection(connection: Connection) -> OfConnection:
    """What `may` has to know about `connection`. A reference that a stranger could have chosen, in a hotel's browser,
    gives access to nothing; nor does anything that was altered behind the service.
    """
    if not connection.genuine:
        return OfConnection(connection.id)
    reference = connection.reference if connection.reference_trusted else None
    return OfConnection(connection.id, reference, frozenset(connection.property_ids))


@dataclass(frozen=True, slots=True)
class Bounds:
    """The hotels that a credential is for: those with any of these ids or references, and no others."""

    connections: frozenset[str] = frozenset()
    properties: frozenset[str] = frozenset()
    references: frozenset[str] = frozenset()

    @property
    def size(self) -> int:
        """How many ids and references it names."""
        return len(self.connections) + len(self.properties) + len(self.references)

    def holds(self, hotel: OfConnection) -> bool:
        """Whether the credential is for this hotel, or for some of its properties."""
        return self.holds_all(hotel) or not self.properties.isdisjoint(hotel.property_ids)

    def holds_all(self, hotel: OfConnection) -> bool:
        """Whether the credential is for the whole connection, whatever its properties are."""
        return hotel.id in self.connections or hotel.reference in self.references


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a valid credential. `name`: its id, `admin` for the admin token. `reach` None: all hotels.

    `read_only`: may only send requests to Cloudbeds that ask for no change; `methods`: may only call these methods of
    Cloudbeds, in lower case (None: all). `within`: the key that made this one. `rate`: requests per second to
    Cloudbeds, over all processes, for this key and the keys that it made; None: as the client id allows.
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
        """The caller whose rate and share this one uses: the first in its line, which no other key made."""
        return self if self.within is None else self.within.root

    @property
    def for_all(self) -> bool:
        """Whether it is for all hotels, so that no hotel has to be looked up."""
        return all(one.reach is None for one in line(self))


ADMIN = Caller("admin", frozenset(Scope))
METRICS = Caller("metrics", frozenset({Scope.METRICS}))


def may(caller: Caller, scope: Scope, hotel: OfConnection | None = None) -> bool:
    """Whether the caller holds the scope, and is for this hotel if one is concerned.

    `token` is never allowed for a hotel that the caller is for by its properties: a token opens all of them.
    """
    for one in line(caller):
        if scope not in one.scopes or not (hotel is None or one.reach is None or one.reach.holds(hotel)):
            return False
    return scope is not Scope.TOKEN or hotel is None or pinned(caller, hotel) is None


def may_call(caller: Caller, http_method: str, name: str | None) -> bool:
    """Whether the caller may call the method of this name, in lower case, at Cloudbeds; None: the path does not name
    exactly one method, and a caller with a list of methods may not call it.
    """
    return all(
        (is_safe(http_method) or not one.read_only) and (one.methods is None or name in one.methods)
        for one in line(caller)
    )


def pinned(caller: Caller, hotel: OfConnection) -> frozenset[str] | None:
    """The properties of this hotel's connection to which the caller is limited, even if these are all properties known
    today; None: the caller is for the whole connection.
    """
    left: frozenset[str] | None = None
    for one in line(caller):
        if one.reach is not None and not one.reach.holds_all(hotel):
            mine = one.reach.properties & hotel.property_ids
            left = mine if left is None else left & mine
    return left


def may_name(caller: Caller, reference: str | None, hotel: OfConnection | None = None) -> bool:
    """Whether the caller may give a hotel this reference: one that the caller is for, or that the hotel has already."""
    return reference in (None, "") or all(
        one.reach is None or reference in one.reach.references or (hotel is not None and reference == hotel.reference)
        for one in line(caller)
    )


def may_change(caller: Caller, scope: Scope, hotel: OfConnection, reference: str | None) -> bool:
    """Whether the caller may change this hotel's connection as a whole, and give it this reference."""
    return may(caller, scope, hotel) and pinned(caller, hotel) is None and may_name(caller, reference, hotel)


def may_connect(caller: Caller, scope: Scope, reference: str | None, expected_properties: Collection[str]) -> bool:
    """Whether the caller may have a hotel connected: because of the reference that the hotel gets, or because the
    caller is for every expected property.
    """
    hotel = OfConnection("", reference or None, frozenset(expected_properties))
    if not may_name(caller, reference) or not may(caller, scope, hotel):
        return False
    return pinned(caller, hotel) in (None, hotel.property_ids)


def not_for_connection() -> Forbidden:
    """The error for what `may` does not allow, and for a connection that does not exist: a limited caller must not be
    able to tell the two apart.
    """
    return Forbidden("this credential is not for this connection", next_step="use a key that is for it, or for all")


def not_for_whole() -> Forbidden:
    """The error for what `may_change` does not allow."""
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
