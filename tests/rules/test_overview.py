"""What an overview of hotels shows: counts in people's words, names, the button beside each; and registrations."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.fakes import APP

from cloudbeds_auth.errors import ClientRefused
from cloudbeds_auth.rules.lifecycle import HOTEL_SCOPE_MISSING, State
from cloudbeds_auth.rules.model import Connection, StateCounts, User
from cloudbeds_auth.rules.origins import Foreign
from cloudbeds_auth.rules.overview import (
    BY_WORDS,
    Bound,
    Offer,
    app_presentation,
    name_of,
    offer_of,
    properties_of,
    word_counts,
)
from cloudbeds_auth.rules.presentation import STATES, Badge, Responsible

ADA = User("1", "Ada Hotelier", "ada@example.com")
HOTEL = Connection(
    "con_1", "default", None, State.FRESH, "oauth", (), None, (), 1, None, None, None, None,
)  # fmt: skip


def test_every_state_has_words() -> None:
    """Each is found by them, once."""
    assert sorted(state for states in BY_WORDS.values() for state in states) == sorted(State)
    assert all(STATES[state].words == words for words, states in BY_WORDS.items() for state in states)


def test_counts_in_words() -> None:
    """States with the same words together, in their order; of what is rare only where there is any."""
    found = word_counts(StateCounts({State.FRESH: 3, State.STALE: 2, State.PARKED: 1, State.SUPERSEDED: 0}, 0.0))
    assert [(one.words, one.connections, one.badge) for one in found] == [
        ("healthy", 5, Badge.HEALTHY), ("healthy, recovering", 0, Badge.RECOVERING),
        ("reconnect needed", 0, Badge.ATTENTION), ("waiting to be claimed", 1, Badge.ATTENTION),
    ]  # fmt: skip
    assert {one.bound for one in found} == {Bound.EXACTLY}


def test_counts_that_were_cut() -> None:
    """There are at least so many refused ones, and at most so many of the others that live."""
    counted = {State.FRESH: 9, State.CLIENT_REFUSED: 5, State.DISCONNECTED: 2}
    found = {one.words: one.bound for one in word_counts(StateCounts(counted, 0.0, capped=True))}
    assert found == {
        "healthy": Bound.AT_MOST, "healthy, recovering": Bound.AT_MOST, "reconnect needed": Bound.EXACTLY,
        "our credentials are refused": Bound.AT_LEAST, "disconnected": Bound.EXACTLY,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("hotel", "name"),
    [
        (replace(HOTEL, reference="tenant 7", property_ids=("1000",), authorizing_user=ADA), "tenant 7"),
        (replace(HOTEL, property_ids=("1000",), authorizing_user=ADA), "Property 1000"),
        (replace(HOTEL, authorizing_user=ADA), "Ada Hotelier"),
        (replace(HOTEL, authorizing_user=User("1", "", "")), "con_1"),
        (HOTEL, "con_1"),
    ],
)
def test_a_name(hotel: Connection, name: str) -> None:
    """What people call it; its id only where nothing else is known."""
    assert name_of(hotel) == name


def test_properties() -> None:
    """One, a few, very many."""
    found = [properties_of(replace(HOTEL, property_ids=tuple("12345"[:count]))) for count in range(6)]
    assert found == [
        "", "Property 1", "Properties 1 and 2", "Properties 1, 2 and 3", "Properties 1, 2, 3 and 1 more",
        "Properties 1, 2, 3 and 2 more",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("hotel", "offer"),
    [
        (HOTEL, None),
        (replace(HOTEL, state=State.BACKING_OFF), Offer.REFRESH),
        (replace(HOTEL, state=State.IN_DOUBT), None),
        (replace(HOTEL, state=State.IN_DOUBT, problem=HOTEL_SCOPE_MISSING), Offer.RECONNECT_LINK),
        (replace(HOTEL, state=State.IN_DOUBT, problem=HOTEL_SCOPE_MISSING, pasted=True), None),
        (replace(HOTEL, state=State.REAUTHORIZATION_REQUIRED), Offer.RECONNECT_LINK),
        (replace(HOTEL, state=State.DISCONNECTED), None),
    ],
)
def test_the_button(hotel: Connection, offer: Offer | None) -> None:
    """Where there is something to press."""
    assert offer_of(hotel) is offer


def test_registrations() -> None:
    """In order, or what is wrong and who mends it."""
    foreign = Foreign("what", "set CLOUDBEDS_BASE_URL")
    fine = app_presentation(APP, None, refused=False, own=True)
    assert (fine.words, fine.badge, fine.next_step, fine.by) == ("in order", Badge.HEALTHY, None, Responsible.NOBODY)
    keys_alone = app_presentation(replace(APP, client_id="", secrets=()), None, refused=False, own=True)
    assert (keys_alone.badge, keys_alone.next_step) == (Badge.HEALTHY, None)
    for shown, words, step in (
        (app_presentation(APP, foreign, refused=False, own=True), "its secret is for another server",
         foreign.next_step),
        (app_presentation(APP, None, refused=True, own=True), "Cloudbeds refuses its secret",
         ClientRefused.next_step_default),
        (app_presentation(replace(APP, id="aurora"), None, refused=True, own=False), "Cloudbeds refuses its secret",
         "`cloudbeds-auth apps rotate-secret aurora` with the secret that Cloudbeds shows; no hotel is at fault"),
        (app_presentation(replace(APP, secrets=()), None, refused=False, own=True), "its secret does not open",
         ClientRefused.next_step_default),
    ):  # fmt: skip
        assert (shown.words, shown.next_step, shown.badge) == (words, step, Badge.ATTENTION)
        assert shown.by is Responsible.OPERATOR
