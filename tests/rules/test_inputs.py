"""What callers may write into a request."""

from __future__ import annotations

import math

import pytest

from cloudbeds_auth.errors import InvalidRequest
from cloudbeds_auth.rules.inputs import (
    LARGEST,
    checked_cursor,
    checked_reference,
    checked_seconds,
    checked_text,
    checked_whole,
    count_of,
    harmless,
    is_text,
)


@pytest.mark.parametrize(
    "given",
    ["\x00", "a\x00", "\n", "\x7f", "\x85", "\ud800"],
    ids=["NUL", "NUL at the end", "line feed", "delete", "C1 control", "half a character"],
)
def test_what_is_no_text(given: str) -> None:
    """Control characters, and half a character: no database and no page takes them."""
    assert not is_text(given)
    for check in (checked_reference, lambda text: checked_text("it", text)):
        with pytest.raises(InvalidRequest, match="control character"):
            check(given)


def test_what_is_text() -> None:
    """Any alphabet, spaces, and what only looks odd."""
    for given in ("tenant-7", "Hôtel München", "日本", "a b", "🏨", "'; DROP TABLE x"):
        assert checked_reference(given) == checked_text("it", given) == given


@pytest.mark.row("A74")
def test_a_reference() -> None:
    """Up to 256 characters; an empty one is none."""
    assert checked_reference(None) is checked_reference("") is None
    assert checked_reference("ß" * 256) == "ß" * 256
    with pytest.raises(InvalidRequest, match="256"):
        checked_reference("x" * 257)


def test_a_cursor() -> None:
    """The id of a connection, or none."""
    assert checked_cursor(None) is None
    assert checked_cursor("con_01J") == "con_01J"
    for given in ("", "con_", "9" * 30, "con_1\n", "con_" + "a" * 65, "\x00"):
        with pytest.raises(InvalidRequest, match="cursor"):
            checked_cursor(given)


@pytest.mark.row("A78")
@pytest.mark.parametrize("given", [math.nan, math.inf, -math.inf, -1.0, 1e300, 10**30])
def test_what_is_no_number_of_seconds(given: float) -> None:
    """Refused by its name, with what would do."""
    with pytest.raises(InvalidRequest, match="min_valid is a number of seconds from 0 to"):
        checked_seconds("min_valid", given)


@pytest.mark.row("A78")
@pytest.mark.parametrize(
    "given", [-1, LARGEST + 1, 10**30, 10**5000, -(10**30)], ids=["-1", "more", "30", "5000", "-30"]
)
def test_what_is_no_whole_number(given: int) -> None:
    """More than a database keeps, or less than none."""
    with pytest.raises(InvalidRequest, match="cursor is a whole number from 0 to"):
        checked_whole("cursor", given)


def test_numbers_within_their_bounds() -> None:
    """As they are, the bounds included."""
    assert checked_seconds("it", 0.5, 0.5, 1.0) == 0.5
    assert checked_seconds("it", math.inf, most=math.inf) == math.inf
    assert checked_whole("it", LARGEST) == LARGEST
    assert checked_whole("it", 200, 1, 200) == 200


@pytest.mark.row("A78")
def test_what_a_header_counts() -> None:
    """Digits only; more of them than any length has are more than any limit, and what is no number is beside it."""
    assert count_of("0123") == 123
    assert count_of("9" * 30) == count_of("9" * 5000) == math.inf
    for given in ("", "-1", "1e3", "²", "\u0661", "12 "):
        assert math.isnan(count_of(given))


def test_what_steers_no_terminal() -> None:
    """Line breaks and tabs stay; escapes, controls, marks of direction and half characters become one mark each."""
    mark = "\N{REPLACEMENT CHARACTER}"
    assert harmless("Hôtel\n\t日本\x1b[2J\x00\u202e\ud800") == f"Hôtel\n\t日本{mark}[2J{mark}{mark}{mark}"
