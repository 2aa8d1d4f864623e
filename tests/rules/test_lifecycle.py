"""THE table: every row of it, everything outside it, and what its docstring claims."""

from __future__ import annotations

from itertools import product

import pytest

from cloudbeds_auth.rules.lifecycle import TABLE, IllegalMove, LifecycleEvent, State, move, seen

LIVING = (State.FRESH, State.IN_DOUBT, State.BACKING_OFF, State.REFRESHING)
NEVER_STORED = {State.STALE, State.CLIENT_REFUSED, State.READ_ONLY}

S, E = State, LifecycleEvent
ENDS = (E.TOKEN_REFUSED, E.ANSWER_LOST, E.NOTHING_SENT, E.CLIENT_REFUSED)
ATTEMPT = (E.INTENT_WRITTEN, E.PASS_REFUSED, *ENDS)
MARKED = (State.REAUTHORIZATION_REQUIRED, State.DISCONNECTED)
EXPECTED = {
    # state: {event: next state}, written out by hand
    S.FRESH: {
        E.INTENT_WRITTEN: S.REFRESHING, E.PAIR_COMMITTED: S.FRESH,
        E.KEY_RECEIVED: S.FRESH, E.PASS_REFUSED: S.BACKING_OFF,
        E.REAUTHORIZATION_REQUIRED: S.REAUTHORIZATION_REQUIRED, E.PROVED: S.FRESH, E.PROMOTED: S.FRESH,
        E.DISABLED: S.DISCONNECTED, E.SUPERSEDED: S.SUPERSEDED, E.DISCONNECTED: S.DISCONNECTED,
        E.SET_ASIDE: S.PARKED,
    },
    S.IN_DOUBT: {
        E.INTENT_WRITTEN: S.REFRESHING, E.PAIR_COMMITTED: S.FRESH,
        E.KEY_RECEIVED: S.FRESH, E.PASS_REFUSED: S.BACKING_OFF,
        E.REAUTHORIZATION_REQUIRED: S.REAUTHORIZATION_REQUIRED, E.PROVED: S.FRESH, E.PROMOTED: S.FRESH,
        E.DISABLED: S.DISCONNECTED, E.SUPERSEDED: S.SUPERSEDED, E.DISCONNECTED: S.DISCONNECTED,
        E.SET_ASIDE: S.PARKED,
    },
    S.BACKING_OFF: {
        E.INTENT_WRITTEN: S.REFRESHING, E.PAIR_COMMITTED: S.FRESH,
        E.KEY_RECEIVED: S.FRESH, E.PASS_REFUSED: S.BACKING_OFF,
        E.REAUTHORIZATION_REQUIRED: S.REAUTHORIZATION_REQUIRED, E.PROVED: S.FRESH, E.PROMOTED: S.FRESH,
        E.DISABLED: S.DISCONNECTED, E.SUPERSEDED: S.SUPERSEDED, E.DISCONNECTED: S.DISCONNECTED,
        E.SET_ASIDE: S.PARKED,
    },
    S.REAUTHORIZATION_REQUIRED: {
        **dict.fromkeys(ATTEMPT, S.REAUTHORIZATION_REQUIRED), E.PAIR_COMMITTED: S.REAUTHORIZATION_REQUIRED,
        E.KEY_RECEIVED: S.REAUTHORIZATION_REQUIRED, E.PROVED: S.FRESH, E.PROMOTED: S.FRESH,
        E.SUPERSEDED: S.SUPERSEDED, E.DISCONNECTED: S.DISCONNECTED,
        E.SET_ASIDE: S.PARKED,
    },
    S.REFRESHING: {
        E.INTENT_WRITTEN: S.REFRESHING, E.TOKEN_REFUSED: S.REFRESHING, E.ANSWER_LOST: S.IN_DOUBT,
        E.NOTHING_SENT: S.BACKING_OFF, E.CLIENT_REFUSED: S.BACKING_OFF, E.PAIR_COMMITTED: S.FRESH,
        E.KEY_RECEIVED: S.FRESH,
        E.PASS_REFUSED: S.BACKING_OFF, E.REAUTHORIZATION_REQUIRED: S.REAUTHORIZATION_REQUIRED,
        E.DISABLED: S.DISCONNECTED, E.PROVED: S.REFRESHING, E.PROMOTED: S.REFRESHING,
        E.SUPERSEDED: S.SUPERSEDED, E.DISCONNECTED: S.DISCONNECTED,
        E.SET_ASIDE: S.PARKED,
    },
    S.SUPERSEDED: {
        E.PAIR_COMMITTED: S.SUPERSEDED, E.KEY_RECEIVED: S.SUPERSEDED, E.PROVED: S.SUPERSEDED,
        E.SUPERSEDED: S.SUPERSEDED, E.DISCONNECTED: S.DISCONNECTED,
    },
    S.DISCONNECTED: {
        **dict.fromkeys(ATTEMPT, S.DISCONNECTED), E.PAIR_COMMITTED: S.DISCONNECTED, E.KEY_RECEIVED: S.DISCONNECTED,
        E.PROVED: S.FRESH, E.PROMOTED: S.FRESH, E.SUPERSEDED: S.SUPERSEDED, E.DISCONNECTED: S.DISCONNECTED,
        E.SET_ASIDE: S.PARKED,
    },
    S.PARKED: {
        **dict.fromkeys(ATTEMPT, S.PARKED), E.PAIR_COMMITTED: S.PARKED, E.PROVED: S.PARKED,
        E.REAUTHORIZATION_REQUIRED: S.PARKED,
        E.CLAIMED: S.IN_DOUBT, E.SUPERSEDED: S.SUPERSEDED, E.DISCONNECTED: S.DISCONNECTED,
    },
}  # fmt: skip


@pytest.mark.parametrize(("state", "event"), list(product(State, LifecycleEvent)))
def test_every_pair(state: State, event: LifecycleEvent) -> None:
    """What is in the table moves there; what is not raises, naming both, and changes nothing."""
    wanted = EXPECTED.get(state, {}).get(event)
    if wanted is not None:
        assert move(state, event) is wanted
        return
    before = dict(TABLE)
    with pytest.raises(IllegalMove) as raised:
        move(state, event)
    assert (raised.value.state, raised.value.event) == (state, event)
    assert state.value in str(raised.value)
    assert event.value in str(raised.value)
    assert before == TABLE


def test_every_stored_state_is_reached_and_left() -> None:
    """From how a grant comes in, in the table's own moves; all but the end can be left again."""
    reached, new = {State.IN_DOUBT, State.PARKED}, {State.IN_DOUBT, State.PARKED}
    while new:
        new = {after for (state, _), after in TABLE.items() if state in new} - reached
        reached |= new
    assert reached == set(State) - NEVER_STORED
    for state in reached:
        assert any(before is state and after is not state for (before, _), after in TABLE.items())


def test_what_is_never_stored() -> None:
    """`stale`, `client_refused` and `read_only` are how a state looks: no move begins or ends there."""
    assert not NEVER_STORED & ({state for state, _ in TABLE} | set(TABLE.values()))


@pytest.mark.parametrize("marked", MARKED)
def test_only_a_proof_ends_a_mark(marked: State) -> None:
    """Whatever becomes of the attempts that are made now and then, a pair alone included."""
    ends = {event for (state, event), after in TABLE.items() if state is marked and after is State.FRESH}
    assert ends == {LifecycleEvent.PROVED, LifecycleEvent.PROMOTED}


def test_a_former_grant_is_never_used_again() -> None:
    """Nothing makes a superseded grant current, and no attempt begins on it."""
    after = {TABLE[state, event] for state, event in TABLE if state is State.SUPERSEDED}
    assert after == {State.SUPERSEDED, State.DISCONNECTED}
    assert (State.SUPERSEDED, LifecycleEvent.INTENT_WRITTEN) not in TABLE


def test_a_pair_may_come_late() -> None:
    """Into every state that serves or recovers, and it heals."""
    assert {move(state, LifecycleEvent.PAIR_COMMITTED) for state in LIVING} == {State.FRESH}


def test_a_proof_settles_every_doubt() -> None:
    """And lets an attempt that runs go on."""
    assert {move(state, LifecycleEvent.PROVED) for state in LIVING if state is not State.REFRESHING} == {State.FRESH}
    assert move(State.REFRESHING, LifecycleEvent.PROVED) is State.REFRESHING


def test_an_attempt_ends_only_where_one_runs() -> None:
    """The four ways a sending ends are moves of `refreshing`, and of what is refreshed although marked or set aside."""
    assert {state for state, event in TABLE if event in ENDS} == {State.REFRESHING, State.PARKED, *MARKED}


@pytest.mark.parametrize("stored", [state for state in State if state not in NEVER_STORED])
@pytest.mark.parametrize(("stale", "circuit", "copy"), list(product([False, True], repeat=3)))
def test_how_it_looks(stored: State, stale: bool, circuit: bool, copy: bool) -> None:
    """Dead or gone looks so whatever else is wrong; then copy, then refused client, then stale."""
    shown = seen(stored, stale=stale, circuit_open=circuit, read_only=copy)
    if stored in {State.DISCONNECTED, State.SUPERSEDED, State.PARKED, State.REAUTHORIZATION_REQUIRED}:
        assert shown is stored
    elif copy:
        assert shown is State.READ_ONLY
    elif circuit:
        assert shown is State.CLIENT_REFUSED
    elif stored is State.FRESH:
        assert shown is (State.STALE if stale else State.FRESH)
    else:
        assert shown is stored
