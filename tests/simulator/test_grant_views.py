"""Why a token is accepted or not: sentences for every rule, checked against the rotation that decides it."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudbeds_simulator import grant_views
from cloudbeds_simulator.grant_views import GrantView, access, moment, refresh
from cloudbeds_simulator.journal import JournalEntry
from cloudbeds_simulator.records import HotelApproval, HotelUser, VendorGrant
from cloudbeds_simulator.rotation import VARIANTS, IssuedPair, Rotation, WhyRefused

USER = HotelUser("9001", "Ada", "Lindqvist", "ada@hotel.example")


def granted(label: str) -> VendorGrant:
    """An approval with its first pair, under this rule."""
    numbers = count()
    rotation = Rotation(VARIANTS[label], lambda kind: f"{kind}-{next(numbers):04}", 0.0, 100.0)
    return VendorGrant(1, HotelApproval("app", ("1",), USER, ()), rotation, 0.0, 0.0)


def renew(grant: VendorGrant, ordinal: int = 0, now: float = 10.0) -> None:
    """Present the refresh token of this pair."""
    assert isinstance(grant.rotation.present(grant.rotation.pairs[ordinal].refresh_token, now), IssuedPair)


def why(grant: VendorGrant, ordinal: int = 0) -> tuple[bool, str]:
    """Whether the refresh token of this pair is accepted, and why."""
    found = refresh(grant, grant.rotation.pairs[ordinal], 20.0)
    return found.accepted, found.why


def seen(grant: VendorGrant, *entries: JournalEntry, now: float = 20.0) -> GrantView:
    """The approval with this log."""
    return grant_views.view(grant, "Hotel", "App", entries, now)


def issued(ordinal: int, fault: str | None = None, *, answered: bool = True) -> JournalEntry:
    """A refresh that gave this pair."""
    return JournalEntry(
        1, 10.0, "token", "POST", "/x", outcome="issued", grant=1, ordinal=ordinal, fault=fault, answered=answered
    )


@pytest.mark.parametrize(
    ("variant", "accepted", "words"),
    [
        ("V0/n", True, "Presenting it gives the pair after it once more."),
        ("V1/n", True, "Presenting it gives one more pair, beside the others."),
        ("V2/n", True, "Still accepted: the new access token, of pair 2, has not been used yet. Presenting it"),
        ("V2/y", True, "Still accepted"),
        ("V3/n", True, "Still accepted"),
        ("V4/n", True, "has not been used yet"),
        ("V5/n", True, "has not been used with success yet"),
        ("V6/n", True, "It never changes under this rule."),
        ("V7/n", False, "Since 00:00:10: it was presented then, and each counts once."),
    ],
)  # fmt: skip
def test_the_old_refresh_token_after_a_refresh(variant: str, accepted: bool, words: str) -> None:
    """While the new access token is unused, the rule decides whether the old refresh token lives, and says so."""
    grant = granted(variant)
    renew(grant)
    assert why(grant)[0] == accepted
    assert words in why(grant)[1]
    assert why(grant, 1)[0] is True


def test_the_newest() -> None:
    """A refresh token that nothing came after."""
    assert why(granted("V2/n")) == (True, "It is the newest.")


@pytest.mark.parametrize(("variant", "more"), [("V2/n", ""), ("V3/n", " Presenting it ends the whole approval.")])
def test_after_the_first_use(variant: str, more: str) -> None:
    """The first use of the new access token ends the old refresh token; under V3 presenting it ends everything."""
    grant = granted(variant)
    renew(grant)
    assert grant.rotation.use(grant.rotation.current.access_token, 15.0)
    assert why(grant) == (False, f"Since 00:00:15: a newer access token was used then.{more}")


def test_a_child_that_was_given_in_vain() -> None:
    """The old refresh token is presented again: under V2 the pair that came first is dead."""
    grant = granted("V2/n")
    renew(grant)
    renew(grant)
    assert why(grant, 1)[1].startswith("Since 00:00:10: an older refresh token was presented again")


def test_a_parent_that_its_child_ended() -> None:
    """In form y presenting the newer refresh token ends the older one."""
    grant = granted("V2/y")
    renew(grant)
    renew(grant, 1)
    assert why(grant)[1].startswith("Since 00:00:10: a newer refresh token was presented")


def test_an_approval_that_has_ended() -> None:
    """Nothing of it is accepted, and each token says why."""
    grant = granted("V2/n")
    grant.rotation.revoke()
    grant.ended = "disconnected"
    assert why(grant) == (False, "The approval has ended (disconnected).")
    assert access(grant, grant.rotation.current, 20.0).why == "The approval has ended (disconnected)."
    assert (seen(grant).badge, seen(grant).tone) == ("Ended", "attention")


def test_an_approval() -> None:
    """Its pairs, newest first, and when it was last used."""
    grant = granted("V2/n")
    renew(grant)
    grant.last_used_at = 12.0
    shown = seen(grant)
    assert [pair.number for pair in shown.pairs] == [2, 1]
    assert (shown.number, shown.hotels, shown.app, shown.last_used, shown.older) == (1, "Hotel", "App", "00:00:12", 0)


def test_access_tokens() -> None:
    """One that lives says until when, one that was replaced when that was, one that ran out since when."""
    grant = granted("V2/n")
    renew(grant)
    old, new = grant.rotation.pairs
    assert access(grant, new, 20.0) == grant_views.TokenView("access…", True, "Until 00:01:50.")
    assert access(grant, old, 20.0).why == "A refresh replaced it at 00:00:10."
    assert access(grant, new, 200.0).why == "It ran out at 00:01:50."


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ("V2/n", "The refresh token before it is still accepted, so that asking again heals it."),
        ("V6/n", "The refresh token is the same as before, and brings another."),
        ("V7/n", "Under this rule nothing else is accepted: the hotel has to approve again."),
    ],
)
def test_a_lost_answer(variant: str, words: str) -> None:
    """It says whether asking again heals it."""
    grant = granted(variant)
    renew(grant)
    shown = seen(grant, issued(1, "reset_after", answered=False))
    assert (shown.badge, words in shown.how) == ("Answer lost", True)


def test_a_lost_answer_that_was_given_once_more() -> None:
    """Under V0 the same pair comes again: it is not lost any more, and once it is used, healed."""
    grant = granted("V0/n")
    renew(grant)
    renew(grant)
    log = [issued(1, "reset_after", answered=False), issued(1)]
    assert seen(grant, *log).badge == "New pair"
    grant.rotation.use(grant.rotation.current.access_token, 15.0)
    assert seen(grant, *log).how == "The answer with pair 2 was lost. It was given once more, and is in use."


def test_healed_until_the_next_refresh() -> None:
    """What was healed is history once another pair is in use."""
    grant = granted("V2/n")
    log = [issued(1, "reset_after", answered=False), issued(2), issued(3)]
    renew(grant)
    renew(grant)
    grant.rotation.use(grant.rotation.current.access_token, 15.0)
    assert seen(grant, *log[:2]).how.startswith("The answer with pair 2 was lost. Pair 3 took its place, and is in use")
    renew(grant, 2)
    grant.rotation.use(grant.rotation.current.access_token, 16.0)
    assert seen(grant, *log).how == "Pair 4 is in use."


@pytest.mark.parametrize(
    ("fault", "answered", "expected"),
    [
        (None, True, False),
        (None, False, False),
        ("reset_after", False, True),
        ("hang_after", False, True),
        ("hang_after", True, False),
        ("slow", False, False),
        ("delay", True, False),
        ("html", True, True),
        ("truncate", False, True),
        ("duplicate", True, False),
    ],
)
def test_which_answers_are_lost(fault: str | None, answered: bool, expected: bool) -> None:
    """One that was cut or withheld, and one that another came in the place of; not one that is on its way."""
    assert grant_views.lost(issued(1, fault, answered=answered)) is expected


def test_moments() -> None:
    """A time of day, with its date on another day, and words for what no calendar has."""
    assert moment(3600.0, 0.0) == "01:00:00"
    assert moment(90000.0, 0.0) == "1970-01-02 01:00:00"
    assert moment(1e300, 0.0) == "the end of time"


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(VARIANTS)),
    st.lists(st.tuples(st.sampled_from(["present", "use", "vary"]), st.integers(0, 5)), max_size=12),
)
def test_every_refused_token_has_its_reason(label: str, deeds: list[tuple[str, int]]) -> None:
    """Whatever happens, and even if the rule is changed on the way: the sentences agree with who is accepted."""
    grant = granted(label)
    rotation = grant.rotation
    for now, (deed, which) in enumerate(deeds):
        if deed == "present":
            rotation.present(rotation.pairs[which % len(rotation.pairs)].refresh_token, float(now))
        elif deed == "use":
            rotation.use(rotation.current.access_token, float(now), which > 0)
        else:
            rotation.variant = VARIANTS[sorted(VARIANTS)[which]]
        for pair in rotation.pairs:
            found = refresh(grant, pair, float(now))
            assert found.accepted == (pair.refresh_token in rotation.accepted)
            assert found.why.endswith(".")
            if not found.accepted and not rotation.revoked:
                assert isinstance(rotation.refused[pair.refresh_token][0], WhyRefused)
        assert seen(grant, now=float(now)).how
