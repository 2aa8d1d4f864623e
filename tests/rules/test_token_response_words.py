"""What a classified answer says about itself, word by word, and where exactly each limit lies.

The reasons are written into the hotel's history and shown to people.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from cloudbeds_auth.rules.token_response import (
    DEFAULT_LIFETIME,
    LONGEST_LIFETIME,
    Ambiguous,
    Answer,
    Issued,
    Refused,
    RefusedClient,
    Sent,
    UnauthorizedClient,
    classify,
)

REFRESH, CODE = Sent.TOKEN, Sent.CODE
GOOD: dict[str, Any] = {"access_token": "A", "expires_in": 28800, "refresh_token": "R"}


def answer(status: int, body: object, sent: Sent = REFRESH) -> Answer:
    """Classify this object as the vendor would send it."""
    return classify(status, "application/json", json.dumps(body).encode(), sent=sent)


@pytest.mark.parametrize(
    ("status", "body", "sent", "said"),
    [
        (400, {"error": "invalid_grant"}, REFRESH, Refused("HTTP 400: the refresh token is refused")),
        (401, {"error": "invalid_grant"}, CODE, Refused("HTTP 401: the authorization code is refused")),
        (401, {"error": "invalid_client"}, CODE, RefusedClient("HTTP 401: the client id or secret is refused")),
        (
            403, {}, REFRESH,
            Ambiguous(
                "HTTP 403, another error: it refuses in words that are in no table",
                unrecognized="HTTP 403, another error",
            ),
        ),
        (
            400, {"error": "unauthorized_client"}, REFRESH,
            UnauthorizedClient("HTTP 400: this client may not use the refresh token"),
        ),
        (
            400, {"hint": "Token is not linked to client"}, REFRESH,
            UnauthorizedClient("HTTP 400: this client may not use the refresh token", agrees=False),
        ),
        (429, {}, REFRESH, Ambiguous("HTTP 429")),
        (503, {"error": "invalid_grant"}, REFRESH, Ambiguous("HTTP 503")),
        (200, [], REFRESH, Ambiguous("HTTP 200: the answer is JSON but not an object")),
        (
            200, {}, REFRESH,
            Ambiguous("a token in the answer is missing, of a wrong type, or no printable ASCII"),
        ),
        (200, GOOD | {"token_type": "mac"}, REFRESH, Ambiguous("the answer's token type is not Bearer")),
        (200, GOOD | {"expires_in": []}, REFRESH, Ambiguous("the answer's expires_in is no number")),
    ],
)  # fmt: skip
def test_what_an_answer_says(status: int, body: object, sent: Sent, said: Answer) -> None:
    """The status, and one sentence without a word of the answer's own."""
    assert answer(status, body, sent) == said


@pytest.mark.parametrize(("status", "kind"), [(199, Ambiguous), (200, Issued), (299, Issued), (300, Ambiguous)])
def test_which_statuses_carry_a_pair(status: int, kind: type) -> None:
    """2xx and no other: a pair in a redirect or an informational answer is none."""
    assert type(answer(status, GOOD)) is kind


@pytest.mark.parametrize(("status", "kind"), [(399, Ambiguous), (400, Refused), (401, Refused), (402, Ambiguous)])
def test_which_statuses_refuse(status: int, kind: type) -> None:
    """400 and 401, and no other."""
    assert type(answer(status, {"error": "invalid_grant"})) is kind


@pytest.mark.parametrize(
    "message", ["Entity not found: CloudBeds\\MyFrontDesk\\API\\Models\\Hotel", "The client is busy", "not a client"]
)
def test_half_of_the_vendors_words_for_an_unknown_client(message: str) -> None:
    """Another entity that is not found, or a client that is only mentioned, is no refusal of ours."""
    assert isinstance(answer(401, {"error": "server_error", "message": message}), Ambiguous)


def test_the_first_and_the_last_printable_letter() -> None:
    """`!` and `~` may be in a token; the letters beside them, a space and DEL, may not."""
    found = answer(200, GOOD | {"access_token": "!~", "refresh_token": "~!"})
    assert isinstance(found, Issued)
    for unfit in (" ", "\x7f"):
        assert isinstance(answer(200, GOOD | {"access_token": unfit}), Ambiguous)


@pytest.mark.parametrize(
    ("digits", "lifetime"), [("9" * 19, LONGEST_LIFETIME), ("9" * 20, DEFAULT_LIFETIME), ("9" * 5000, DEFAULT_LIFETIME)]
)
def test_a_lifetime_of_very_many_digits(digits: str, lifetime: float) -> None:
    """Nineteen digits are a long time; more are no time at all, and are never computed with."""
    found = answer(200, GOOD | {"expires_in": digits})
    assert isinstance(found, Issued)
    assert found.pair.lifetime == lifetime


def test_what_is_stored_of_an_answer_has_a_length() -> None:
    """64 characters of a property id, 4,000 of the scopes."""
    body = GOOD | {"resources": [{"type": "property", "id": "1" * 65}], "scope": "s" * 4001}
    found = answer(200, body)
    assert isinstance(found, Issued)
    assert [len(one) for one in found.pair.property_ids] == [64]
    assert [len(one) for one in found.pair.scopes or ()] == [4000]
