"""How people see a connection: words, badge, next step and who acts, of every state and problem."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import pytest

from cloudbeds_auth.errors import by_code
from cloudbeds_auth.rules import api_errors, lifecycle, risks
from cloudbeds_auth.rules.lifecycle import MIGRATION_UNDER_WAY, PROPERTY_MISMATCH, UNRECOGNIZED, State
from cloudbeds_auth.rules.model import App, Connection
from cloudbeds_auth.rules.presentation import (
    PASTE,
    RISKS,
    SERVING,
    STATES,
    WAITING,
    Badge,
    Responsible,
    has_tokens,
    lacking,
    presentation,
    remedy_of,
)

AT = datetime(2026, 11, 24, tzinfo=UTC)
HOTEL = Connection("con_1", "default", None, State.FRESH, "oauth", ("1",), None, (), 1, AT, AT, AT, AT)
OURS = App("default", "client-1", (), "https://app.example/callback", level="property")
LIVING = (State.FRESH, State.STALE, State.REFRESHING, State.IN_DOUBT, State.BACKING_OFF)
PROBLEMS = sorted({*WAITING, *SERVING, api_errors.REVOKED, api_errors.DISABLED, "nothing_sent", "words of nobody"})
ENDED = {State.DISCONNECTED, State.SUPERSEDED}


@pytest.mark.parametrize(("state", "problem", "pasted"), list(product(State, [None, *PROBLEMS], [False, True])))
def test_every_state_and_problem_is_shown(state: State, problem: str | None, pasted: bool) -> None:
    """Words and a badge always; a next step wherever the badge asks for a person, and then it says whom."""
    for app, remedy in product((None, OURS), (None, "do that")):
        one = replace(HOTEL, state=state, problem=problem, pasted=pasted)
        shown = presentation(one, app=app, remedy=remedy)
        assert shown.words == STATES[state].words
        assert "attention" in shown.label or shown.label == shown.words
        assert not (shown.badge is Badge.ATTENTION and shown.label.startswith("healthy") and shown.label == shown.words)
        assert (shown.badge is Badge.ENDED) == (state in ENDED)
        if shown.badge is Badge.ATTENTION:
            assert shown.next_step
            assert shown.by is not Responsible.NOBODY
        elif shown.badge is not Badge.ENDED:
            assert shown.by is Responsible.NOBODY
        assert shown.next_step or shown.by is Responsible.NOBODY


def test_what_has_tokens() -> None:
    """All but what was replaced, and what an operator disconnected."""
    gone = replace(HOTEL, state=State.DISCONNECTED)
    assert [has_tokens(one) for one in (HOTEL, gone, replace(gone, problem=api_errors.DISABLED))] == [True, False, True]
    assert not has_tokens(replace(HOTEL, state=State.SUPERSEDED))


def test_words_for_people() -> None:
    """Every state has some, as the public contract words it."""
    assert set(STATES) == set(State)
    assert {STATES[state].words for state in (State.FRESH, State.STALE, State.REFRESHING)} == {"healthy"}
    assert {STATES[state].words for state in (State.IN_DOUBT, State.BACKING_OFF)} == {"healthy, recovering"}
    assert STATES[State.REAUTHORIZATION_REQUIRED].words == "reconnect needed"
    assert STATES[State.CLIENT_REFUSED].words == "our credentials are refused"


def test_every_problem_that_the_library_names_has_a_step() -> None:
    """Each risk, each reason of a refused call that is shown, each problem that is a word of the lifecycle."""
    assert RISKS.keys() == risks.NEXT_STEP.keys()
    assert {step.text for step in RISKS.values()} == set(risks.NEXT_STEP.values())
    assert api_errors.NEXT_STEP.keys() <= SERVING.keys()
    named = {
        lifecycle.HOTEL_SCOPE_MISSING, lifecycle.MIGRATION_CLIENT_UNKNOWN, MIGRATION_UNDER_WAY, PROPERTY_MISMATCH,
        lifecycle.PROPERTY_UNKNOWN, UNRECOGNIZED, lifecycle.UNAUTHORIZED_CLIENT,
    }  # fmt: skip
    assert named <= {*WAITING, *SERVING}


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (State.REAUTHORIZATION_REQUIRED, "reauthorization_required"), (State.CLIENT_REFUSED, "client_refused"),
        (State.PARKED, "unclaimed"), (State.DISCONNECTED, "connection_disconnected"),
        (State.READ_ONLY, "store_read_only"),
    ],
)  # fmt: skip
def test_the_error_about_a_state_says_the_same(state: State, code: str) -> None:
    """A caller's error, and the connection that an operator looks at, name one next step."""
    assert presentation(replace(HOTEL, state=state)).next_step == by_code()[code].next_step_default


@pytest.mark.parametrize(
    ("state", "problem", "badge", "by"),
    [
        (State.FRESH, None, Badge.HEALTHY, Responsible.NOBODY),
        (State.FRESH, "not_renewable", Badge.ATTENTION, Responsible.HOTEL),
        (State.BACKING_OFF, "not_renewable", Badge.ATTENTION, Responsible.HOTEL),
        (State.FRESH, "missing_scope", Badge.ATTENTION, Responsible.OPERATOR),
        (State.FRESH, "wrong_property", Badge.ATTENTION, Responsible.OPERATOR),
        (State.FRESH, MIGRATION_UNDER_WAY, Badge.HEALTHY, Responsible.NOBODY),
        (State.IN_DOUBT, lifecycle.MIGRATION_CLIENT_UNKNOWN, Badge.ATTENTION, Responsible.OPERATOR),
        (State.BACKING_OFF, "wrong_property", Badge.RECOVERING, Responsible.NOBODY),
        (State.IN_DOUBT, None, Badge.RECOVERING, Responsible.NOBODY),
        (State.BACKING_OFF, UNRECOGNIZED, Badge.ATTENTION, Responsible.OPERATOR),
        (State.REAUTHORIZATION_REQUIRED, "user_inactive", Badge.ATTENTION, Responsible.HOTEL),
        (State.REAUTHORIZATION_REQUIRED, UNRECOGNIZED, Badge.ATTENTION, Responsible.HOTEL),
        (State.CLIENT_REFUSED, "client_refused", Badge.ATTENTION, Responsible.OPERATOR),
        (State.PARKED, PROPERTY_MISMATCH, Badge.ATTENTION, Responsible.OPERATOR),
        (State.SUPERSEDED, "con_2", Badge.ENDED, Responsible.NOBODY),
    ],
)
def test_who_acts(state: State, problem: str | None, badge: Badge, by: Responsible) -> None:
    """A problem that a person mends needs attention, although the hotel is served; the words stay the state's."""
    shown = presentation(replace(HOTEL, state=state, problem=problem))
    assert (shown.badge, shown.by) == (badge, by)


def test_the_problem_says_more_than_the_state() -> None:
    """While it is served, or waits to be claimed; of a marked one the mark is what counts."""
    for state in (*LIVING, State.PARKED):
        shown = presentation(replace(HOTEL, state=state, problem=UNRECOGNIZED))
        assert "Cloudbeds refuses the refresh in words" in (shown.next_step or "")
    refused = presentation(replace(HOTEL, state=State.BACKING_OFF, problem="revoked"))
    assert (refused.badge, refused.by) == (Badge.RECOVERING, Responsible.NOBODY)
    assert "only when it refuses again does the hotel have to approve again" in (refused.next_step or "")
    assert "no hurry" in (presentation(replace(HOTEL, state=State.PARKED, problem=PROPERTY_MISMATCH)).next_step or "")


def test_a_key_that_the_hotel_made() -> None:
    """Neither an approval nor a call of ours mends it."""
    pasted = replace(HOTEL, pasted=True)
    assert presentation(replace(pasted, state=State.REAUTHORIZATION_REQUIRED)).next_step == PASTE
    assert "a new API key with this scope" in (presentation(replace(pasted, problem="missing_scope")).next_step or "")
    gone = presentation(replace(pasted, state=State.DISCONNECTED), app=OURS)
    assert "deletes its API key" in (gone.next_step or "")
    assert presentation(replace(pasted, problem="wrong_property")) == presentation(
        replace(HOTEL, problem="wrong_property")
    )


def test_what_the_registration_decides() -> None:
    """A property-level client cannot disconnect at Cloudbeds; a further app is mended by its own commands."""
    gone = replace(HOTEL, state=State.DISCONNECTED)
    assert "in Cloudbeds" in (presentation(gone, app=OURS).next_step or "")
    assert "in Cloudbeds" not in (presentation(gone, app=replace(OURS, level="partner")).next_step or "")
    refused = replace(HOTEL, state=State.CLIENT_REFUSED)
    assert presentation(refused, remedy=remedy_of("aurora", OURS)).next_step == remedy_of("aurora", OURS)
    assert ("rotate-secret aurora" in remedy_of("aurora", OURS), "apps add aurora" in remedy_of("aurora")) == (
        True, True,
    )  # fmt: skip


def test_a_step_that_was_decided_already_stays() -> None:
    """Where more was known of it: it is shown as it is, by the same function."""
    one = replace(HOTEL, problem="scope_not_approved", next_step=lacking(("read:guest", "write:guest")))
    assert presentation(one).next_step == "send the hotel its connect link: its approval lacks read:guest write:guest"
