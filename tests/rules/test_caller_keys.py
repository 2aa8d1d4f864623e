"""How a key is written, and which keys there may be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloudbeds_auth.errors import Error, Forbidden, InvalidRequest
from cloudbeds_auth.rules.caller_keys import (
    DIGITS,
    MOST_OF_CHILD,
    CallerKey,
    NewKey,
    checked_key,
    hash_of_key,
    id_of,
    limits_of,
    reach_of,
    write,
)
from cloudbeds_auth.rules.model import moment
from cloudbeds_auth.rules.permissions import ADMIN, Bounds, Caller, Scope

ID = "key_01J9Z3NDEKTSV4RRFFQ69G5FAV"
TEXT = write(ID, "random")
MANY = frozenset(str(number) for number in range(MOST_OF_CHILD))
READS = frozenset({Scope.READ, Scope.PROXY})


def test_a_key_names_its_row() -> None:
    """The text has a prefix of its own, the id, and 128 bits; it is as long for any of them."""
    assert TEXT.startswith("cbauth_01J9Z3NDEKTSV4RRFFQ69G5FAV_")
    assert id_of(TEXT) == id_of(write(ID, "0")) == ID
    assert len(write(ID, "0")) == len(TEXT) == 7 + 26 + 1 + 22 + 6
    assert len({write(ID, str(number)) for number in range(100)}) == 100


@pytest.mark.parametrize("at", range(len(TEXT)))
def test_each_letter_counts(at: int) -> None:
    """What was mistyped is no key, and no row is looked for."""
    for other in {DIGITS[(DIGITS.find(TEXT[at]) + 1) % len(DIGITS)], "-", ""}:
        assert id_of(TEXT[:at] + other + TEXT[at + 1 :]) is None


@pytest.mark.parametrize("text", ["", "cbat_0123", "cbauth_", f"{TEXT} ", f"{TEXT}\n", TEXT.replace("A", "\u0410")])
def test_what_is_no_key(text: str) -> None:
    """Nor is anything longer, shorter, or in letters that look alike."""
    assert id_of(text) is None


def test_what_is_stored() -> None:
    """A hash, of any text that may arrive."""
    assert hash_of_key(TEXT) != hash_of_key(write(ID, "5"))
    assert len(hash_of_key("\udc80")) == 64


@pytest.mark.parametrize(
    ("new", "parent", "error"),
    [
        (NewKey("a", frozenset()), None, InvalidRequest),
        (NewKey("a", frozenset({Scope.TOKEN}), read_only=True), None, InvalidRequest),
        (NewKey("a", frozenset({Scope.TOKEN}), methods=frozenset({"gethotels"})), None, InvalidRequest),
        (NewKey("a", frozenset({Scope.TOKEN}), Bounds(properties=frozenset({"1000"}))), None, InvalidRequest),
        (NewKey("a", READS, rate=2.0), Caller("key_1", READS), InvalidRequest),
        (NewKey("a", frozenset({Scope.ADMIN}), read_only=True), None, InvalidRequest),
        (NewKey("a", frozenset({Scope.ADMIN}), methods=frozenset()), None, InvalidRequest),
        (NewKey("a", frozenset({Scope.ADMIN}), Bounds()), None, InvalidRequest),
        (NewKey("a", frozenset({Scope.TOKEN})), Caller("key_1", READS), Forbidden),
        (NewKey("a", frozenset({Scope.ADMIN})), ADMIN, Forbidden),
        (NewKey("a", READS, Bounds(properties=MANY | {"1000"})), Caller("key_1", READS), InvalidRequest),
        (NewKey("a", READS), Caller("key_2", READS, within=Caller("key_1", READS)), Forbidden),
    ],
)
def test_a_key_that_cannot_be(new: NewKey, parent: Caller | None, error: type[Error]) -> None:
    """It contradicts itself, or its parent does not hold it."""
    with pytest.raises(error):
        checked_key(new, parent)


@pytest.mark.parametrize(
    ("new", "parent"),
    [
        (NewKey("a", frozenset({Scope.ADMIN})), None),
        (NewKey("a", frozenset({Scope.TOKEN}), Bounds(frozenset({"con_1"}), frozenset({"1000"}))), None),
        (NewKey("a", READS, rate=2.0), None),
        (NewKey("a", READS, Bounds(), read_only=True, methods=frozenset()), None),
        (NewKey("a", READS), Caller("key_1", READS)),
        (NewKey("a", READS, Bounds(properties=MANY)), Caller("key_1", READS)),
        (NewKey("a", READS, Bounds(properties=MANY | {"1000"})), None),
    ],
)
def test_a_key_that_can_be(new: NewKey, parent: Caller | None) -> None:
    """It is as it was."""
    assert checked_key(new, parent) is new


def test_a_key_for_people() -> None:
    """For which hotels it is, and what it is limited to; a child that names none is for those of its parent."""
    key = CallerKey(ID, "a job", READS, None, False, None, None, "admin", moment(0.0), None, None, None, None)
    assert (reach_of(key), limits_of(key)) == ("all hotels", "")
    assert reach_of(replace(key, parent="key_1")) == "as key_1"
    bounds = Bounds(frozenset({"con_1"}), frozenset({"1000"}), frozenset({"tenant 7"}))
    assert reach_of(replace(key, reach=bounds)) == "1000, con_1, tenant 7"
    assert reach_of(replace(key, reach=Bounds())) == "none"
    limited = replace(key, read_only=True, rate=2.5, methods=frozenset({"getguest", "gethotels"}))
    assert limits_of(limited) == "reads, 2.5 a second, getguest, gethotels"
