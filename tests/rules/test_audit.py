"""The vocabulary of the audit: ids that sort by time and are made of what happened."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from cloudbeds_auth.rules.audit import Acting, actor_words, entry_id, first_id, ulid

AT = 1_764_000_000.123456


def test_a_ulid_as_its_specification_writes_it() -> None:
    """48 bits of milliseconds before 80 others, 26 letters in all."""
    assert ulid(1_469_918_176_385, 0)[:10] == "01ARYZ6S41"
    assert ulid((1 << 48) - 1, (1 << 80) - 1) == "7" + 25 * "Z"


@pytest.mark.parametrize(
    ("milliseconds", "first"), [(-1, "0000000000"), (-(1 << 48) - 1, "0000000000"), (1 << 48, "7ZZZZZZZZZ")]
)
def test_a_time_without_room(milliseconds: int, first: str) -> None:
    """It is the first or the last that there is, and sorts so."""
    assert ulid(milliseconds, 5) == first + 15 * "0" + "5"


def test_ids_sort_by_time() -> None:
    """And nothing from before a moment has an id behind its first."""
    moments = [AT + number / 1000 for number in range(50)]
    assert all(one < other for one, other in pairwise(entry_id(at, "x") for at in moments))
    assert entry_id(AT - 0.001, "x") < first_id(AT) <= entry_id(AT, "x")
    assert re.fullmatch(r"aud_[0-9A-HJKMNP-TV-Z]{26}", entry_id(AT, "x"))


def test_one_act_has_one_id() -> None:
    """Written again it is the same; another actor, subject or moment is another act, also within a millisecond."""
    parts = ("key_revoked", "admin", "key_1", None)
    assert entry_id(AT, *parts) == entry_id(AT, *parts)
    others = [("key_revoked", "admin", "key_2", None), ("key_revoked", "admin", None, "key_1"), ("a", "b")]
    assert len({entry_id(AT, *parts), entry_id(AT + 1e-6, *parts), *(entry_id(AT, *one) for one in others)}) == 5


@pytest.mark.parametrize(("name", "address"), [("admin", "192.0.2.7"), ("key_1", None)])
def test_the_address_is_of_who_acts(name: str, address: str | None) -> None:
    """What is done in the name of somebody else did not come from there."""
    assert Acting("admin", "192.0.2.7").of(name) == Acting(name, address)


@pytest.mark.parametrize(
    ("actor", "words"),
    [
        ("session:9G5FAV3KQ2", "the signed-in operator 9G5FAV3KQ2"), ("admin", "the admin token"), ("key_1", "key_1"),
        ("anyone", "an unknown caller"),
    ],
)  # fmt: skip
def test_who_did_it_for_people(actor: str, words: str) -> None:
    """A key is called by its id."""
    assert actor_words(actor) == words
