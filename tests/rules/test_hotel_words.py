"""What hotels read: whole sentences about every error, in words that need nothing of ours to be known."""

from __future__ import annotations

import re

import pytest

from cloudbeds_auth.app.problems import NotFound
from cloudbeds_auth.errors import (
    AuthorizationDenied,
    Error,
    InvalidRequest,
    KeyRefused,
    OutcomeUnknown,
    PropertyMismatch,
    by_code,
)
from cloudbeds_auth.rules.hotel_words import (
    DENIED_BY_CLOUDBEDS,
    NO_SUCH_PAGE,
    UNFORESEEN,
    WORDS,
    HotelWords,
    Permission,
    permissions_in,
    words_beside_a_form,
    words_of,
)

OURS = re.compile(r"cloudbeds-auth|CLOUDBEDS_|/api/|`|token|credential|operator|the hotel\b|\bstate\b", re.IGNORECASE)


@pytest.mark.parametrize("words", [*WORDS.values(), UNFORESEEN, NO_SUCH_PAGE, DENIED_BY_CLOUDBEDS])
def test_whole_sentences_to_the_person_who_reads_them(words: HotelWords) -> None:
    """They begin with a capital and end with a stop, the title without one; none names what is an operator's."""
    for said in (words.text, words.next_step, words.lost):
        assert re.match(r"[A-Z].*\.\Z", said)
    assert re.match(r"[A-Z].*[a-z]\Z", words.title)
    assert not OURS.search(" ".join((words.title, words.text, words.next_step, words.lost)))


@pytest.mark.parametrize("kind", by_code().values())
def test_every_error_has_words(kind: type[Error]) -> None:
    """Those of its code, or those about what was not foreseen."""
    assert words_of(kind()) == WORDS.get(kind.code, UNFORESEEN)
    assert WORDS.keys() <= by_code().keys()


def test_who_denied() -> None:
    """The hotel, unless Cloudbeds answered something else."""
    assert words_of(AuthorizationDenied("The hotel did not approve: closed")).title == "You did not approve"
    assert words_of(AuthorizationDenied("Cloudbeds answered: server_error")) is DENIED_BY_CLOUDBEDS


def test_a_page_that_there_is_not() -> None:
    """Has the code of a request that cannot be served, and words of its own."""
    assert words_of(NotFound()) is NO_SUCH_PAGE
    assert words_of(InvalidRequest()) is WORDS["invalid_request"]
    assert words_of(OutcomeUnknown()) is UNFORESEEN


def test_above_a_form() -> None:
    """What is wrong with what was entered there, and not with an approval."""
    assert words_beside_a_form(PropertyMismatch()).startswith("This key is for another property")
    assert words_beside_a_form(InvalidRequest()) == "What was entered cannot be used."
    assert words_beside_a_form(KeyRefused()) == WORDS["key_refused"].text


def test_permissions() -> None:
    """Each subject once, with what may be done to it, in the order of the scopes; what has no words stays as it is."""
    scopes = ["read:reservation", "read:roomBlock", "write:reservation", "read:reservation", "read:moon", "hotel:read"]
    assert permissions_in(scopes) == [
        Permission("Reservations", ("see", "change")),
        Permission("Room blocks", ("see",)),
        Permission("read:moon"),
        Permission("hotel:read"),
    ]
