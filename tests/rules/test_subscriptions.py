"""Which subscriptions a property should have at Cloudbeds, and what makes it so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.subscriptions import (
    APP_STATE,
    Hook,
    Subscription,
    VendorSubscription,
    Wanted,
    changes,
    compare,
    problem_in,
    settings_of,
    takes_over,
    unasked_scopes,
)

HOOK = Hook("https://app.example/hotel-events", "X-Hook-Secret", Secret("canary"))
WANTED = Wanted("guest/created", HOOK)
THERE = VendorSubscription("7", WANTED.event, HOOK.url)
STORED = Subscription("1000", WANTED.event, WANTED.endpoint, WANTED.header, "7", made=True)


@pytest.mark.parametrize(
    ("stored", "found", "makes", "made"),
    [
        ([], [], True, True), ([], [THERE], True, False), ([STORED], [THERE], False, True),
        ([STORED], [], True, True), ([replace(STORED, made=False)], [], True, True),
        ([replace(STORED, id="")], [THERE], False, True), ([replace(STORED, header="former")], [THERE], True, True),
        ([STORED], [replace(THERE, id="8", url="https://other.example/")], True, True),
        ([STORED], [replace(THERE, url="HTTPS://app.example:443/hotel-events")], False, True),
    ],
    ids=["new", "somebody else's", "as it was", "deleted", "somebody else's, deleted", "the answer was lost",
         "another secret", "at another address only", "in other words"],
)  # fmt: skip
def test_what_is_made(stored: list[Subscription], found: list[VendorSubscription], makes: bool, made: bool) -> None:
    """Nothing that is there with the right header; what is made is stored as ours before it is sent."""
    step = compare("1000", [WANTED], stored, found)
    assert [one.event for _, one in step.make] == [WANTED.event] * makes
    (now,) = step.stored
    assert (now.property_id, now.place, now.made) == ("1000", (WANTED.event, WANTED.endpoint), made)
    assert step.end == ()


def test_what_is_ended() -> None:
    """What we made and nobody wants, under the id that Cloudbeds lists; not what somebody else made, or is gone."""
    theirs = replace(STORED, id="5", event="guest/removed", made=False)
    gone = replace(STORED, id="6", event="guest/assigned")
    found = [replace(THERE, id="8"), replace(THERE, id="5", event="guest/removed")]
    step = compare("1000", [], [STORED, theirs, gone], found)
    assert step.end == step.stored == (replace(STORED, id="8"),)
    assert step.make == ()


def test_what_is_not_ended_without_an_opinion() -> None:
    """Settings that name no events say nothing of what a program wants: it stays, known to be there or not; what they
    do want, our own hook, is ended at its former address.
    """
    former = replace(STORED, id="5", event=APP_STATE, endpoint="former")
    gone = replace(STORED, id="6", event="guest/removed")
    found = [THERE, replace(THERE, id="5", event=APP_STATE, url="https://former.example/")]
    step = compare("1000", [Wanted(APP_STATE, HOOK)], [STORED, former, gone], found, decided=False)
    assert [one.event for _, one in step.make] == [APP_STATE]
    assert step.stored[1:] == (STORED, replace(gone, id=""), former)
    assert step.end == (former,)


@pytest.mark.parametrize(
    ("former", "decided", "takes"),
    [(None, True, True), (None, False, True), ("other", True, True), ("other", False, False), ("-other", True, True),
     ("-other", False, True)],
)  # fmt: skip
def test_whose_settings_hold(former: str | None, decided: bool, takes: bool) -> None:
    """Those of the process that started last; one whose settings say nothing takes over from none that says anything.
    The same settings make no start.
    """
    settings = settings_of([WANTED], decided=decided)
    assert takes_over(former, settings) is takes
    assert not takes_over(settings, settings)


def test_what_the_history_says() -> None:
    """Events that came and went; a refusal with Cloudbeds' words, once."""
    refused = replace(STORED, event="guest/removed", id="").refused("missing_scope", "No.")
    bare = replace(STORED, event="guest/assigned", id="").refused("subscription_refused", "")
    found = changes([], [STORED, refused, bare])
    assert (found.made, found.ended) == (("guest/created",), ())
    assert found.refused == {"guest/removed": "missing_scope: No.", "guest/assigned": "subscription_refused"}
    assert changes([STORED, refused], [refused]).ended == ("guest/created",)
    assert not changes([STORED, refused], [STORED, refused])


def test_how_one_is_shown() -> None:
    """There, not yet, or why not; the connection's problem is that of the first that was refused."""
    pending, refused = replace(STORED, id=""), STORED.refused("missing_scope", "No.")
    assert [one.state for one in (STORED, pending, refused)] == ["subscribed", "pending", "missing_scope"]
    assert [one.is_there for one in (STORED, pending, refused)] == [True, False, False]
    assert problem_in([STORED, pending]) is None
    assert problem_in([STORED, refused]) == "missing_scope"
    assert refused.taken(WANTED, "9") == replace(STORED, id="9")


def test_scopes_that_nobody_asks_for() -> None:
    """Documented ones; an app that names no scopes asks for all that it is registered for."""
    events = ("reservation/created", "guest/created", "night_audit/completed")
    assert unasked_scopes(events, ("read:guest",)) == {"reservation/created": "read:reservation"}
    assert unasked_scopes(events, ()) == {}


def test_no_secret_is_shown() -> None:
    """Neither the header's value nor the address, which may hold one, in any `repr`."""
    assert "canary" not in repr(WANTED)
    assert HOOK.url not in f"{WANTED!r}{THERE!r}{STORED!r}"
    assert WANTED.veiled(f"{HOOK.url} or canary is wrong") == "[the address] or [the header] is wrong"
