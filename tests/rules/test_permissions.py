"""Who may do what: scopes, hotels, properties, methods, and children that never do more than their parent."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection
from cloudbeds_auth.rules.permissions import (
    ADMIN,
    Bounds,
    Caller,
    OfConnection,
    Scope,
    may,
    may_call,
    may_name,
    of_connection,
    pinned,
)

GROUP = OfConnection("con_1", "tenant-7", frozenset({"1000", "1001"}))


def bound(**reach: set[str]) -> Caller:
    """A caller with every scope for these hotels."""
    return Caller("key_1", frozenset(Scope), Bounds(**{kind: frozenset(ids) for kind, ids in reach.items()}))


@pytest.mark.parametrize(("held", "asked"), list(product(Scope, Scope)))
def test_a_scope(held: Scope, asked: Scope) -> None:
    """A caller may what it holds, and nothing else: no scope holds another one."""
    assert may(Caller("c", frozenset({held})), asked) is (held is asked)


def test_the_admin() -> None:
    """Holds all scopes, for every connection."""
    assert all(may(ADMIN, scope, GROUP) for scope in Scope)
    assert {scope.value for scope in Scope} == {"read", "proxy", "token", "connect", "metrics", "admin"}
    assert ADMIN.for_all
    assert ADMIN.root is ADMIN


@pytest.mark.parametrize(
    ("reach", "holds"),
    [
        ({"connections": {"con_1"}}, True),
        ({"connections": {"con_2"}}, False),
        ({"properties": {"1000"}}, True),
        ({"properties": {"1002"}}, False),
        ({"references": {"tenant-7"}}, True),
        ({"references": {"tenant-8"}}, False),
        ({"connections": {"con_2"}, "properties": {"1001"}}, True),
        ({}, False),
    ],
)
def test_a_bound_caller(reach: dict[str, set[str]], holds: bool) -> None:
    """It is for what any of its lists names, and for no other; with nothing in them it is for no hotel."""
    caller = bound(**reach)
    assert may(caller, Scope.PROXY, GROUP) is holds
    assert may(caller, Scope.PROXY)
    assert not caller.for_all


def test_a_hotel_without_a_reference() -> None:
    """Is in no list of references."""
    assert not may(bound(references={"tenant-7"}), Scope.READ, OfConnection("con_1"))


@pytest.mark.row("A27")
@pytest.mark.parametrize(
    ("caller", "properties"),
    [
        (ADMIN, None),
        (bound(connections={"con_1"}), None),
        (bound(references={"tenant-7"}, properties={"1000"}), None),
        (bound(properties={"1000", "1001"}), {"1000", "1001"}),
        (bound(properties={"1000", "5"}), {"1000"}),
    ],
)
def test_a_caller_for_a_part_of_a_group(caller: Caller, properties: set[str] | None) -> None:
    """It may name those properties alone, and has no token: a token opens all of them."""
    assert pinned(caller, GROUP) == properties
    assert may(caller, Scope.TOKEN, GROUP) is (properties is None)


def test_a_child_is_narrowed_by_its_parent() -> None:
    """Whatever it says of itself, what its parent may not it may not."""
    parent = Caller(
        "key_1", frozenset({Scope.PROXY, Scope.READ}), Bounds(properties=frozenset({"1000"})), read_only=True
    )
    child = Caller("key_2", frozenset(Scope), None, within=parent)
    assert may(child, Scope.PROXY, GROUP)
    assert not may(child, Scope.TOKEN)
    assert not may(child, Scope.PROXY, OfConnection("con_2", None, frozenset({"7"})))
    assert pinned(child, GROUP) == frozenset({"1000"})
    assert not may_call(child, "POST", "putreservation")
    assert child.root is parent
    assert not child.for_all
    apart = Caller("key_3", frozenset({Scope.PROXY}), Bounds(properties=frozenset({"1001"})), within=parent)
    assert pinned(apart, GROUP) == frozenset()


@pytest.mark.row("A28")
@pytest.mark.parametrize(
    ("caller", "method", "name", "allowed"),
    [
        (Caller("c", frozenset()), "DELETE", "x", True),
        (Caller("c", frozenset()), "DELETE", None, True),
        (Caller("c", frozenset(), read_only=True), "GET", "gethotels", True),
        (Caller("c", frozenset(), read_only=True), "PUT", "putguest", False),
        (Caller("c", frozenset(), methods=frozenset({"gethotels"})), "GET", "gethotels", True),
        (Caller("c", frozenset(), methods=frozenset({"gethotels"})), "GET", "getguest", False),
        (Caller("c", frozenset(), methods=frozenset({"gethotels"})), "GET", None, False),
        (Caller("c", frozenset(), methods=frozenset()), "GET", "gethotels", False),
    ],
)
def test_what_may_be_asked_of_cloudbeds(caller: Caller, method: str, name: str | None, allowed: bool) -> None:
    """With `read_only` what asks for no change; with methods those alone."""
    assert may_call(caller, method, name) is allowed


@pytest.mark.parametrize(
    ("caller", "reference", "hotel", "allowed"),
    [
        (ADMIN, "tenant-8", None, True),
        (bound(references={"tenant-7"}), "tenant-7", None, True),
        (bound(references={"tenant-7"}), "tenant-8", None, False),
        (bound(properties={"1000"}), None, None, True),
        (bound(properties={"1000"}), "tenant-7", None, False),
        (bound(connections={"con_1"}), "tenant-7", GROUP, True),
        (bound(connections={"con_1"}), "tenant-8", GROUP, False),
        (Caller("key_2", frozenset(Scope), within=bound(references={"tenant-7"})), "tenant-8", None, False),
    ],
)
def test_which_reference_a_caller_may_give(
    caller: Caller, reference: str | None, hotel: OfConnection | None, allowed: bool
) -> None:
    """One that it is for, or the one that the hotel has."""
    assert may_name(caller, reference, hotel) is allowed


def test_a_reference_that_a_stranger_could_choose() -> None:
    """Opens nothing: a hotel is not of a caller because somebody said so in a browser."""
    known = Connection(
        "con_1", "default", "tenant-7", State.FRESH, "oauth", ("1000",), None, (), None, None, None, None, None
    )
    assert of_connection(known) == OfConnection("con_1", None, frozenset({"1000"}))
    trusted = replace(known, reference_trusted=True)
    assert of_connection(trusted) == OfConnection("con_1", "tenant-7", frozenset({"1000"}))
