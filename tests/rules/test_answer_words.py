"""What an answer of Cloudbeds means to the person who made the call."""

from __future__ import annotations

import pytest

from cloudbeds_auth.rules import answer_words as words
from cloudbeds_auth.rules.answer_words import answer_words
from cloudbeds_auth.rules.api_errors import NEXT_STEP, TABLE, Act, Refusal


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (200, words.FINE), (204, words.FINE), (302, words.REDIRECTED), (400, words.OF_STATUS[400]),
        (401, words.OF_STATUS[401]), (404, words.OF_STATUS[404]), (429, words.OF_STATUS[429]), (500, words.OUTAGE),
        (502, words.OUTAGE), (418, words.OTHERWISE),
    ],
)  # fmt: skip
def test_a_status(status: int, said: str) -> None:
    """Alone."""
    assert answer_words(status, None) == said


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.reason)
def test_a_refusal(row: object) -> None:
    """Of every documented body: what people can do about it, else what is done by itself."""
    found = next(one for one in TABLE if one is row)
    said = answer_words(200, Refusal(found.reason, found.act))
    if found.act is Act.REPORT:
        assert said == NEXT_STEP[found.reason]
    else:
        assert said == words.OF_ACT.get(found.act, words.OTHERWISE)
