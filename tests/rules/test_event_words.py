"""What a line of a history says to people: every kind that is written."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

import cloudbeds_auth
from cloudbeds_auth.rules import lifecycle
from cloudbeds_auth.rules.event_words import KINDS, event_words
from cloudbeds_auth.rules.lifecycle import LifecycleEvent
from cloudbeds_auth.rules.model import Event

AT = datetime(2026, 11, 24, tzinfo=UTC)
TRANSACTIONS = Path(cloudbeds_auth.__file__).parent / "transactions"
WRITTEN = re.compile(r"add_event\(\s*tx, \w+, (?:\"(\w+)\"|([A-Z_]+)\b(?!\.))")


def said(kind: str, **data: object) -> str:
    return event_words(Event(1, AT, kind, "vault", "g1", 1, data))


def test_every_kind_that_is_written_has_words() -> None:
    """Those of the table of states, and each that a transaction writes."""
    assert {event.value for event in LifecycleEvent} <= {str(kind) for kind in KINDS}
    found = [one for path in TRANSACTIONS.glob("*.py") for one in WRITTEN.findall(path.read_text("utf-8"))]
    assert len(found) > 15
    assert {literal or getattr(lifecycle, name) for literal, name in found} <= {str(kind) for kind in KINDS}


def test_words_are_sentences() -> None:
    """With a capital, without a full stop, and without the words of programs."""
    for words in KINDS.values():
        assert words[0].isupper()
        assert words[-1] not in ".!"
        assert "_" not in words


@pytest.mark.parametrize(
    ("words", "kind", "data"),
    [
        ("The hotel approved", "candidate_received", {"property_ids": ["1"]}),
        ("An API key that the hotel made was taken in", "candidate_received", {"pasted": True}),
        ("An API key came in exchange for the refresh token", "candidate_received", {"exchanged": True}),
        ("Its tokens were taken over from another program", "candidate_received", {"imported": True}),
        ("A refresh began", "intent_written", {"exchange": False}),
        ("The exchange for an API key began", "intent_written", {"exchange": True}),
        ("1 call", "calls", {"count": 1, "refused": 0}),
        ("12 calls, 2 of them answered 401", "calls", {"count": 12, "refused": 2}),
        ("The hotel has to approve again (user inactive)", "reauthorization_required", {"reason": "user_inactive"}),
        ("A refresh brought no answer that can be used (ReadTimeout)", "answer_lost", {"detail": "ReadTimeout\n"}),
        ("The approval was claimed (tenant_7)", "claimed", {"reference": "tenant_7"}),
        ("The approval was claimed", "claimed", {"reference": None}),
        ("Something new", "something_new", {}),
    ],
)
def test_what_a_line_says(words: str, kind: str, data: dict[str, object]) -> None:
    """With what it adds in brackets; a kind that a later version writes is shown by its name."""
    assert said(kind, **data) == words
