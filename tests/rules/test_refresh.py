"""When, with which token, how long to wait: the decisions of docs/rotation.md#algorithm without any effect."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.drawing import CALM

from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import CredentialKind, Grant, Role, StoredToken
from cloudbeds_auth.rules.refresh import (
    Ask,
    Next,
    Timing,
    arrives_within,
    backoff,
    brake,
    candidates,
    decide,
    may_mark,
    reference,
    reprieve,
    servable,
    stale_after,
    unresolved,
)
from cloudbeds_auth.rules.secret import Secret

TIMING = Timing()
DICE = st.floats(0.0, 1.0, exclude_max=True)


def stored(*values: str) -> tuple[StoredToken, ...]:
    """Refresh tokens, oldest first."""
    return tuple(StoredToken(position, Secret(value)) for position, value in enumerate(values, 1))


ROW = Grant(
    id="g", connection_id="c", app="default", kind=CredentialKind.OAUTH, role=Role.ACTIVE, state=State.FRESH,
    generation=3, access=Secret("A"), expires_at=0.0, lifetime=3600.0, valid_for=100.0, stale_in=-5.0,
    tokens=stored("R-3"),
)  # fmt: skip
SEEN = Ask("g", seen=3)
REJECTED = Ask("g", seen=3, rejected=3)


# --- decide


@pytest.mark.parametrize("role", [Role.ACTIVE, Role.CANDIDATE])
@pytest.mark.parametrize(
    ("row", "ask", "step"),
    [
        # somebody else did it already
        ({"generation": 4}, SEEN, Next.RETURN),
        ({"generation": 4}, REJECTED, Next.RETURN),
        ({"generation": 4}, Ask("g", seen=4, rejected=3), Next.RETURN),
        ({"generation": 4, "reauth": "revoked", "latched": True, "held_back": 9.0}, SEEN, Next.RETURN),
        ({"generation": 4, "valid_for": 0.0}, SEEN, Next.SEND),
        ({"generation": 2}, SEEN, Next.RETURN),
        ({"generation": 4, "valid_for": 0.001}, SEEN, Next.RETURN),
        # an API key
        ({"kind": CredentialKind.API_KEY}, SEEN, Next.KEY_RETURN),
        ({"kind": CredentialKind.API_KEY, "valid_for": 0.0}, SEEN, Next.KEY_RETURN),
        ({"kind": CredentialKind.API_KEY}, REJECTED, Next.KEY_PROBE),
        ({"kind": CredentialKind.API_KEY, "latched": True, "reauth": "x", "held_back": 9.0}, REJECTED, Next.KEY_PROBE),
        ({"kind": CredentialKind.API_KEY, "reauth": "x"}, SEEN, Next.KEY_PROBE),
        ({"kind": CredentialKind.API_KEY, "braked": 0.001}, REJECTED, Next.BRAKED),
        ({"kind": CredentialKind.API_KEY, "braked": 9.0}, SEEN, Next.KEY_RETURN),
        # new access tokens are answered 401, too: only for another 401 nothing is sent yet
        ({"braked": 0.001}, REJECTED, Next.BRAKED),
        ({"braked": 9.0, "valid_for": 0.001}, REJECTED, Next.BRAKED),
        ({"braked": 9.0, "valid_for": 0.0}, REJECTED, Next.SEND),
        ({"braked": 9.0}, SEEN, Next.SEND),
        ({"braked": 9.0, "reauth": "x"}, replace(SEEN, upkeep=True), Next.BRAKED),
        ({"braked": 9.0, "reauth": "x"}, replace(SEEN, operator=True), Next.PROBE),
        ({"braked": 9.0, "held_back": 9.0}, REJECTED, Next.HELD_BACK),
        # latched before marked before held back
        ({"latched": True}, SEEN, Next.LATCHED),
        ({"latched": True, "reauth": "x", "held_back": 9.0}, replace(SEEN, operator=True), Next.LATCHED),
        ({"reauth": "x"}, SEEN, Next.MARKED),
        ({"reauth": "x", "held_back": 9.0}, REJECTED, Next.MARKED),
        ({"reauth": "x"}, replace(SEEN, operator=True), Next.PROBE),
        ({"reauth": "x"}, replace(SEEN, upkeep=True), Next.PROBE),
        ({"reauth": "x", "valid_for": 0.0}, replace(SEEN, upkeep=True), Next.SEND),
        ({"held_back": 0.001}, SEEN, Next.HELD_BACK),
        ({"held_back": 9.0, "valid_for": 0.0}, REJECTED, Next.HELD_BACK),
        ({"held_back": 9.0, "reauth": "x"}, replace(SEEN, operator=True), Next.HELD_BACK),
        # prove before spending
        ({"tokens": stored("R-2", "R-3")}, SEEN, Next.PROBE),
        ({}, REJECTED, Next.PROBE),
        ({"valid_for": 0.001}, REJECTED, Next.PROBE),
        ({"intent": 1, "unresolved_age": 0.0}, SEEN, Next.PROBE),
        ({"intent": 1, "unresolved_age": 599.9}, SEEN, Next.PROBE),
        ({"refused_as": "user_inactive"}, SEEN, Next.PROBE),
        # … unless there is nothing to prove, or nothing in doubt
        ({"refused_as": "user_inactive"}, replace(SEEN, operator=True), Next.SEND),
        ({"refused_as": "revoked"}, SEEN, Next.SEND),
        ({}, SEEN, Next.SEND),
        ({"intent": 1, "unresolved_age": 600.0}, SEEN, Next.SEND),
        ({"valid_for": 0.0, "tokens": stored("R-2", "R-3")}, SEEN, Next.SEND),
        ({"valid_for": 0.0}, REJECTED, Next.SEND),
        ({"valid_for": -1.0, "intent": 1, "unresolved_age": 1.0}, SEEN, Next.SEND),
    ],
)
def test_the_one_next_thing(row: dict[str, object], ask: Ask, step: Next, role: Role) -> None:
    """The first condition that holds, in the algorithm's order, for an active grant and for a candidate."""
    assert decide(replace(ROW, role=role, **row), ask, TIMING) is step  # type: ignore[arg-type]


@pytest.mark.parametrize("ask", [SEEN, REJECTED, replace(SEEN, operator=True)])
def test_a_grant_that_is_not_there(ask: Ask) -> None:
    """No row, disconnected, superseded: before everything else."""
    assert decide(None, ask, TIMING) is Next.GONE
    rest = {"generation": 9, "kind": CredentialKind.API_KEY, "latched": True, "reauth": "x", "held_back": 9.0}
    assert decide(replace(ROW, role=Role.DISCONNECTED, **rest), ask, TIMING) is Next.GONE  # type: ignore[arg-type]
    assert decide(replace(ROW, role=Role.SUPERSEDED, **rest), ask, TIMING) is Next.RESTART  # type: ignore[arg-type]


def test_every_combination() -> None:
    """An oracle of predicates, independent of the order in which they are asked, over all combinations."""
    found: set[Next] = set()
    for moved, valid, key, latched, marked, held, kept, rejected, doubt, operator, braked in product(
        [False, True], repeat=11
    ):
        row = replace(
            ROW, generation=4 if moved else 3, valid_for=9.0 if valid else 0.0, latched=latched,
            kind=CredentialKind.API_KEY if key else CredentialKind.OAUTH, reauth="x" if marked else None,
            held_back=9.0 if held else 0.0, tokens=stored("a", "b") if kept else stored("b"),
            unresolved_age=5.0 if doubt else None, braked=9.0 if braked else 0.0,
        )  # fmt: skip
        step = decide(row, Ask("g", seen=3, rejected=3 if rejected else None, operator=operator), TIMING)
        found.add(step)
        sends = not (moved and valid) and not key and not latched and (not marked or operator) and not held
        sends = sends and not (rejected and valid and braked)
        probes = sends and valid and (kept or rejected or doubt or marked)
        assert (step is Next.SEND) == (sends and not probes)
        assert (step is Next.PROBE) == probes
        assert (step is Next.RETURN) == (moved and valid)
        if key and not (moved and valid):
            asked = rejected or marked
            assert step is (Next.BRAKED if asked and braked else Next.KEY_PROBE if asked else Next.KEY_RETURN)
    assert found == set(Next) - {Next.GONE, Next.RESTART}


def test_how_long_a_reprieve_is() -> None:
    """The interval, doubling to an hour, and no longer than the access token lasts, but for the interval."""
    seen = [reprieve(replace(ROW, reprieves=count, valid_for=1e6), TIMING) for count in (0, 1, 5, 6, 1000)]
    assert seen == [60.0, 120.0, 1920.0, 3600.0, 3600.0]
    assert reprieve(replace(ROW, reprieves=5, valid_for=300.0), TIMING) == 300.0
    assert reprieve(replace(ROW, reprieves=5, valid_for=3.0), TIMING) == 60.0


@pytest.mark.row("F100")
def test_how_long_the_brake_holds() -> None:
    """60 s, doubling to an hour: an hour of 401s everywhere costs at most eight refreshes."""
    waits = [brake(denied, TIMING) for denied in range(1, 9)]
    assert waits == [60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0]
    assert brake(1000, TIMING) == 3600.0
    assert 1 + sum(sum(waits[:count]) < 3600.0 for count in range(1, 9)) <= 8


def test_the_generation_to_be_replaced() -> None:
    """The rejected one if there is one, else the one that was seen."""
    assert reference(Ask("g", seen=5)) == 5
    assert reference(Ask("g", seen=5, rejected=4)) == 4
    assert reference(Ask("g", seen=5, rejected=0)) == 0


def test_unresolved() -> None:
    """An attempt of unknown outcome that is younger than ten minutes."""
    ages = {None: False, 0.0: True, 599.9: True, 600.0: False, 1e9: False}
    for age, doubt in ages.items():
        assert unresolved(replace(ROW, unresolved_age=age), TIMING) is doubt


def test_when_a_lost_request_has_arrived() -> None:
    """Within the deadline of a request, if at all."""
    ages = {None: 0.0, 0.0: 20.0, 15.0: 5.0, 20.0: 0.0, 1e9: 0.0}
    for age, seconds in ages.items():
        assert arrives_within(age, TIMING) == seconds


def test_servable() -> None:
    """Unexpired, not rejected, and nobody insists on a refresh."""
    assert servable(ROW, SEEN)
    assert servable(ROW, Ask("g", seen=3, rejected=2))
    assert not servable(ROW, REJECTED)
    assert not servable(replace(ROW, valid_for=0.0), SEEN)
    assert servable(replace(ROW, valid_for=0.001), SEEN), "to the last moment"
    assert not servable(ROW, replace(SEEN, operator=True))


# --- the order


@pytest.mark.parametrize(
    ("values", "order"),
    [
        ((), []), (("a",), ["a"]), (("a", "b", "c"), ["c", "b", "a"]), (("a", "b", "a"), ["a", "b"]),
        (("a", "a", "a"), ["a"]), (("a", "b", "b"), ["b", "a"]),
    ],
)  # fmt: skip
def test_the_order_of_sending(values: tuple[str, ...], order: list[str]) -> None:
    """The child, then newest to oldest, equal values once, where they are newest."""
    chosen = candidates(stored(*values))
    assert [token.value.reveal() for token in chosen] == order
    assert [token.position for token in chosen] == sorted({token.position for token in chosen}, reverse=True)


@CALM
@given(st.lists(st.sampled_from("abcdef"), max_size=8))
def test_any_order(values: list[str]) -> None:
    """Every value once, the last one first."""
    chosen = [token.value.reveal() for token in candidates(stored(*values))]
    assert sorted(chosen) == sorted(set(values))
    assert chosen[:1] == values[-1:]


# --- waiting


@CALM
@given(st.integers(0, 10_000), DICE, st.floats(0.01, 600.0))
def test_backoff(attempts: int, dice: float, deadline: float) -> None:
    """Between nothing and the cap, whatever the dice say, however often it failed."""
    timing = Timing.of(deadline)
    assert 0.0 <= backoff(attempts, timing, dice) <= timing.backoff_cap


def test_backoff_grows() -> None:
    """The bound doubles from the first second to the cap."""
    bounds = [backoff(attempts, TIMING, 1.0) for attempts in range(10)]
    assert bounds == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0]


@CALM
@given(st.floats(60.0, 366 * 86400.0), DICE)
def test_stale_after(lifetime: float, dice: float) -> None:
    """About nine tenths: never before seven eighths, never after the end."""
    assert 0.874 * lifetime <= stale_after(lifetime, dice) < 0.926 * lifetime


def test_stale_is_spread() -> None:
    """A fleet that was connected in one minute is not refreshed in one minute."""
    assert stale_after(28800.0, 0.99) - stale_after(28800.0, 0.0) > 20 * 60


@pytest.mark.parametrize(("ago", "verdict"), [(None, False), (0.0, False), (59.9, False), (60.0, True), (3600.0, True)])
def test_may_mark(ago: float | None, verdict: bool) -> None:
    """The second refusal is the last word if the first was counted an interval before its pass began (rule 12)."""
    assert may_mark(replace(ROW, refused_ago=ago), TIMING) is verdict
    assert not may_mark(replace(ROW, refused_ago=60.0), Timing.of(200.0)), "the interval grows with the deadline"


# --- durations


@CALM
@given(st.floats(0.01, 600.0))
def test_every_inequality_is_kept(deadline: float) -> None:
    """Whatever one deadline an operator sets, the order of the durations stays."""
    timing = Timing.of(deadline)
    assert timing.connect < timing.deadline < timing.wait < timing.lease
    assert timing.poll < timing.renew < timing.lease / 2
    assert timing.deadline < timing.lease, "a lease outlives the exchange under it"
    assert timing.refusal_interval >= max(60.0, timing.lease + timing.deadline), "rule 12 has a floor"
    assert timing.backoff_first < timing.deadline < timing.backoff_cap < timing.unresolved
    assert all(getattr(timing, one.name) > 0 for one in fields(timing))


def test_scaled_for_tests() -> None:
    """Everything, the floor too."""
    assert [getattr(Timing.scaled(0.5), one.name) * 2 for one in fields(Timing)] == [
        getattr(TIMING, one.name) for one in fields(Timing)
    ]  # fmt: skip


def test_the_numbers_of_the_page() -> None:
    """docs/rotation.md#numbers: what `Timing()` says is what 20 seconds give."""
    assert Timing.of(20.0) == Timing()
    assert (TIMING.connect, TIMING.deadline, TIMING.lease, TIMING.renew) == (5.0, 20.0, 30.0, 10.0)
    assert (TIMING.backoff_first, TIMING.backoff_cap, TIMING.unresolved, TIMING.wait) == (1.0, 60.0, 600.0, 25.0)
    assert TIMING.refusal_interval == max(60.0, TIMING.lease + TIMING.deadline)


@pytest.mark.parametrize(
    ("deadline", "connect", "poll", "interval"),
    [(2.0, 1.5, 0.025, 60.0), (20.0, 5.0, 0.25, 60.0), (200.0, 5.0, 0.25, 500.0)],
)
def test_what_does_not_grow_with_the_deadline(deadline: float, connect: float, poll: float, interval: float) -> None:
    """A connection takes five seconds at most and looks are four a second at least; the interval has a floor."""
    timing = Timing.of(deadline)
    assert (timing.connect, timing.poll, timing.refusal_interval) == pytest.approx((connect, poll, interval))
