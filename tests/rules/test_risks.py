"""What may end or cripple a connection that works."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import App, Connection
from cloudbeds_auth.rules.risks import NEXT_STEP, after, first_of, lacking_scope, no_owner, unapproved_scopes
from cloudbeds_auth.rules.subscriptions import Subscription

AT = datetime(2026, 11, 24, tzinfo=UTC)
HOTEL = Connection("con_1", "default", None, State.FRESH, "oauth", ("1",), None, ("read:hotel",), 1, AT, AT, AT, AT)
ASKING = App("default", "client-1", (), "https://app.example/callback", ("read:hotel", "read:guest"))


def test_what_was_found_is_added_and_taken_back() -> None:
    """What is not named stays; the same risk for another reason is the same."""
    known = {"not_renewable": "why"}
    assert after(known, {"missing_scope": "/x"}) == {**known, "missing_scope": "/x"}
    assert after(known, {"not_renewable": "other words", "missing_scope": None}) == known
    assert after(known, {"not_renewable": None}) == {}
    assert after({}, {}) == {}


def test_one_problem_is_shown() -> None:
    """The most urgent; each says what to do."""
    assert first_of(reversed(NEXT_STEP)) == "not_renewable"
    assert first_of([]) is None
    assert all(NEXT_STEP.values())


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        ((), None), (("Owner",), None), (("Staff", "Hotel owner"), None), (("Staff", "Night"), "Staff, Night"),
        (("PROPRIETÁRIO",), None), (("Dueña",), None), (("Geschäftsinhaberin",), None), (("Manager",), "Manager"),
    ],
)  # fmt: skip
def test_an_approver(roles: tuple[str, ...], expected: str | None) -> None:
    """Roles are named by hotels, in their own language; an approver of whom none is named is no risk."""
    assert no_owner(roles) == expected


def test_scopes_that_were_not_approved() -> None:
    """Of an OAuth grant that is in use."""
    assert unapproved_scopes(ASKING, HOTEL) == ("read:guest",)
    never, over = replace(HOTEL, connected_at=None), replace(HOTEL, state=State.DISCONNECTED)
    for other in (never, over, replace(HOTEL, credential="api_key")):
        assert unapproved_scopes(ASKING, other) == ()
    assert unapproved_scopes(None, HOTEL) == ()


def test_what_lacks_a_scope() -> None:
    """What Cloudbeds refused for it; what it did not take, while the app asks for no such scope."""
    waits = Subscription("1000", "guest/created", "", "")
    refused, unknown = waits.refused("missing_scope", "No."), waits.refused("subscription_refused", "No.")
    assert lacking_scope([refused], ("read:guest",)) == ("guest/created",)
    assert lacking_scope([waits, unknown], ("read:guest",)) == ()
    assert lacking_scope([waits], ("read:hotel",)) == lacking_scope([unknown], ("read:hotel",)) == ("guest/created",)
    assert lacking_scope([replace(waits, id="7")], ("read:hotel",)) == (), "Cloudbeds took it"
