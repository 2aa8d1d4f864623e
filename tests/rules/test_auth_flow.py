"""Rule 9 by hand: at most three sends, stopped early when there is nothing newer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.drawing import CALM

from cloudbeds_auth.rules.auth_flow import MOST_SENDS, Answered, Fetch, Send, heal
from cloudbeds_auth.rules.model import AccessToken, moment
from cloudbeds_auth.rules.secret import Secret


def token(generation: int) -> AccessToken:
    """A token of this generation."""
    return AccessToken(Secret(f"A-{generation}"), moment(0.0), generation)


ONE, TWO, THREE = token(1), token(2), token(3)


def test_a_good_token() -> None:
    """Fetched, sent, done."""
    flow = heal()
    assert next(flow) == Fetch(None)
    assert flow.send(ONE) == Send(ONE)
    with pytest.raises(StopIteration):
        flow.send(Answered(200))


@pytest.mark.parametrize("status", [200, 204, 301, 400, 402, 403, 404, 422, 429, 500, 503])
def test_only_a_401_is_healed(status: int) -> None:
    """Every other answer is passed on."""
    flow = heal()
    next(flow)
    flow.send(ONE)
    with pytest.raises(StopIteration):
        flow.send(Answered(status))


def test_a_newer_token_in_the_store() -> None:
    """401, the store has another one: sent with that."""
    flow = heal()
    next(flow)
    flow.send(ONE)
    assert flow.send(Answered(401)) == Fetch(ONE)
    assert flow.send(TWO) == Send(TWO)
    with pytest.raises(StopIteration):
        flow.send(Answered(200))


def test_the_last_try() -> None:
    """401, newer, 401, refreshed: the third sending is the last, whatever is answered."""
    flow = heal()
    next(flow)
    flow.send(ONE)
    flow.send(Answered(401))
    flow.send(TWO)
    assert flow.send(Answered(401)) == Fetch(TWO)
    assert flow.send(THREE) == Send(THREE)
    with pytest.raises(StopIteration):
        flow.send(Answered(401))


@pytest.mark.parametrize("after", [0, 1])
def test_proven_good(after: int) -> None:
    """The same generation comes back: the endpoint itself refuses, and its 401 is the answer."""
    flow = heal()
    next(flow)
    flow.send(ONE)
    current = ONE
    for _ in range(after):
        flow.send(Answered(401))
        current = TWO
        flow.send(current)
    assert flow.send(Answered(401)) == Fetch(current)
    with pytest.raises(StopIteration):
        flow.send(current)


def test_sent_with_a_newer_token_than_was_named() -> None:
    """It came while the request waited: what is refused then is the one that was sent, and it may prove good."""
    flow = heal()
    next(flow)
    assert flow.send(ONE) == Send(ONE)
    assert flow.send(Answered(401, TWO)) == Fetch(TWO)
    with pytest.raises(StopIteration):
        flow.send(TWO)


def test_a_failing_fetch_ends_it() -> None:
    """An error of the vault leaves through the driver; the flow is over."""
    flow = heal()
    next(flow)
    with pytest.raises(ZeroDivisionError):
        flow.throw(ZeroDivisionError())
    with pytest.raises(StopIteration):
        next(flow)


@CALM
@given(
    st.lists(st.sampled_from([200, 401, 403]), min_size=4, max_size=4),
    st.lists(st.integers(0, 2), min_size=4, max_size=4),
)
def test_any_story(statuses: list[int], steps: list[int]) -> None:
    """Never more than three sends; every sending after the first follows a 401 and carries a newer generation."""
    sent: list[AccessToken] = []
    flow, fetched, generation = heal(), 0, 1
    step: Fetch | Send = next(flow)
    try:
        while True:
            if isinstance(step, Fetch):
                assert step.rejected == (sent[-1] if sent else None)
                generation += steps[fetched] if fetched else 0
                fetched += 1
                step = flow.send(token(generation))
            else:
                sent.append(step.token)
                step = flow.send(Answered(statuses[len(sent) - 1]))
    except StopIteration:
        pass
    assert 1 <= len(sent) <= MOST_SENDS
    generations = [one.generation for one in sent]
    assert generations == sorted(set(generations))
    assert all(status == 401 for status in statuses[: len(sent) - 1])
