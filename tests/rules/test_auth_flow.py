"""Rule 9 by hand: turns, 429s, counting, and at most three sends, stopped early when there is nothing newer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.drawing import CALM

from cloudbeds_auth.errors import BodyNotReplayable, ForeignOrigin, OutcomeUnknown, RateLimited, UpstreamFailed
from cloudbeds_auth.rules.auth_flow import (
    MOST_SENDS,
    SAFE_METHODS,
    Answered,
    Effect,
    Fetch,
    Flow,
    Note,
    PassOn,
    Pause,
    Renew,
    Send,
    TakeTurn,
    Unanswered,
    auth_flow,
    following,
    require_origin,
    unanswered,
)
from cloudbeds_auth.rules.model import AccessToken, moment
from cloudbeds_auth.rules.secret import Secret


def token(generation: int) -> AccessToken:
    """A token of this generation."""
    return AccessToken(Secret(f"A-{generation}"), moment(0.0), generation)


ONE, TWO, THREE = token(1), token(2), token(3)


def a_flow(method: str = "GET", **facts: bool) -> Flow:
    """One call of `/x`; its body can be sent again unless the facts say otherwise."""
    return auth_flow(method, "/x", **({"replayable": True} | facts))


def noted(lent: AccessToken, status: int, method: str = "GET") -> Note:
    """How a sending of `/x` is counted."""
    return Note(lent, method, "/x", status)


def to_first_send(flow: Flow, lent: AccessToken = ONE) -> None:
    """Fetched, its turn taken."""
    assert next(flow) == Fetch(None)
    assert flow.send(lent) == TakeTurn(lent)
    assert flow.send(lent) == Send(lent)


def rejected(flow: Flow, lent: AccessToken) -> Effect | Send | PassOn:
    """A 401 is counted; what comes then."""
    assert flow.send(Answered(401)) == noted(lent, 401)
    return flow.send(None)


def again(flow: Flow, lent: AccessToken) -> None:
    """Sent once more with this token, in a turn of its own."""
    assert flow.send(lent) == TakeTurn(lent)
    assert flow.send(lent) == Send(lent)


def is_over(flow: Flow) -> bool:
    """Nothing is left to do."""
    with pytest.raises(StopIteration):
        next(flow)
    return True


@pytest.mark.parametrize("status", [200, 204, 301, 400, 402, 403, 404, 422, 500, 503])
def test_only_a_401_is_healed(status: int) -> None:
    """Fetched, its turn taken, sent, counted, passed on; and so with every other answer."""
    flow = a_flow()
    to_first_send(flow)
    assert flow.send(Answered(status)) == noted(ONE, status)
    assert flow.send(None) == PassOn(ONE, "GET", "/x")
    assert is_over(flow)


def test_a_429_pauses_all() -> None:
    """It is counted, heard, and passed on."""
    flow = a_flow()
    to_first_send(flow)
    assert flow.send(Answered(429, 7.0)) == noted(ONE, 429)
    assert flow.send(None) == Pause(7.0)
    assert flow.send(None) == PassOn(ONE, "GET", "/x")
    assert is_over(flow)


def test_a_newer_token_in_the_store() -> None:
    """401, the store has another one: sent with that."""
    flow = a_flow("POST")
    to_first_send(flow)
    assert flow.send(Answered(401)) == noted(ONE, 401, "POST")
    assert flow.send(None) == Fetch(ONE)
    again(flow, TWO)
    assert flow.send(Answered(200)) == noted(TWO, 200, "POST")
    assert flow.send(None) == PassOn(TWO, "POST", "/x")


def test_the_last_try() -> None:
    """401, newer, 401, refreshed: the third sending is the last, whatever is answered."""
    flow = a_flow()
    to_first_send(flow)
    assert rejected(flow, ONE) == Fetch(ONE)
    again(flow, TWO)
    assert rejected(flow, TWO) == Fetch(TWO)
    again(flow, THREE)
    assert rejected(flow, THREE) == PassOn(THREE, "GET", "/x")


@pytest.mark.parametrize("after", [0, 1])
def test_proven_good(after: int) -> None:
    """The same generation comes back: the endpoint itself refuses, and its 401 is the answer."""
    flow = a_flow()
    to_first_send(flow)
    current = ONE
    for _ in range(after):
        assert rejected(flow, ONE) == Fetch(ONE)
        current = TWO
        again(flow, current)
    assert rejected(flow, current) == Fetch(current)
    assert flow.send(current) == PassOn(current, "GET", "/x")


def test_sent_with_a_newer_token_than_was_fetched() -> None:
    """It came while the request waited: what is refused then is the one that was sent, and it may prove good."""
    flow = a_flow()
    next(flow)
    assert flow.send(ONE) == TakeTurn(ONE)
    assert flow.send(TWO) == Send(TWO)
    assert rejected(flow, TWO) == Fetch(TWO)
    assert flow.send(TWO) == PassOn(TWO, "GET", "/x")


@pytest.mark.row("F41")
def test_a_write_whose_redirect_led_to_a_401() -> None:
    """It was carried out, and is counted as it was answered: never sent again. Later calls have another token."""
    flow = a_flow("POST")
    to_first_send(flow)
    assert flow.send(Answered(303, led_to=401)) == noted(ONE, 303, "POST")
    assert flow.send(None) == Renew(ONE)
    with pytest.raises(OutcomeUnknown, match="the POST was answered by a redirect"):
        flow.send(None)
    assert is_over(flow)


def test_a_write_whose_redirect_led_to_anything_else() -> None:
    """Passed on; a 429 is heard."""
    flow = a_flow("POST")
    to_first_send(flow)
    assert flow.send(Answered(303, 7.0, led_to=429)) == noted(ONE, 303, "POST")
    assert flow.send(None) == Pause(7.0)
    assert flow.send(None) == PassOn(ONE, "POST", "/x")


def test_a_failing_fetch_ends_it() -> None:
    """An error of the vault leaves through the driver; the flow is over."""
    flow = a_flow()
    next(flow)
    with pytest.raises(ZeroDivisionError):
        flow.throw(ZeroDivisionError())
    assert is_over(flow)


def test_a_body_that_is_gone() -> None:
    """The token is renewed and nothing is sent, so no turn is taken; what a good token was refused is passed on."""
    flow = a_flow("POST", replayable=False)
    to_first_send(flow)
    assert flow.send(Answered(401)) == noted(ONE, 401, "POST")
    assert flow.send(None) == Fetch(ONE)
    with pytest.raises(BodyNotReplayable):
        flow.send(TWO)
    flow = a_flow("POST", replayable=False)
    to_first_send(flow)
    flow.send(Answered(401))
    flow.send(None)
    assert flow.send(ONE) == PassOn(ONE, "POST", "/x")


def test_a_body_that_was_gone_before() -> None:
    """The request was sent once already: not even the first sending is tried."""
    flow = a_flow(replayable=False, sent=True)
    next(flow)
    with pytest.raises(BodyNotReplayable):
        flow.send(ONE)
    to_first_send(a_flow(sent=True))


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("replayable", [True, False])
def test_no_answer(method: str, broken: bool, replayable: bool) -> None:
    """Counted as 0, and raised; what only reads goes once more where the connection broke, in a turn of its own."""
    flow = a_flow(method, replayable=replayable)
    to_first_send(flow)
    assert flow.send(Unanswered(ZeroDivisionError(), broken)) == noted(ONE, 0, method)
    if broken and replayable and method == "GET":
        assert flow.send(None) == TakeTurn(ONE)
        assert flow.send(TWO) == Send(TWO)
        assert flow.send(Unanswered(ZeroDivisionError(), broken)) == noted(TWO, 0)
    with pytest.raises(ZeroDivisionError):
        flow.send(None)


def test_a_broken_connection_costs_no_try() -> None:
    """Three 401s are healed all the same."""
    flow = a_flow()
    to_first_send(flow)
    flow.send(Unanswered(ZeroDivisionError(), broken=True))
    assert flow.send(None) == TakeTurn(ONE)
    flow.send(ONE)
    for lent, newer in ((ONE, TWO), (TWO, THREE)):
        assert rejected(flow, lent) == Fetch(lent)
        again(flow, newer)
    assert rejected(flow, THREE) == PassOn(THREE, "GET", "/x")


@CALM
@given(
    st.lists(st.sampled_from([200, 401, 403]), min_size=4, max_size=4),
    st.lists(st.integers(0, 2), min_size=4, max_size=4),
)
def test_any_story(statuses: list[int], steps: list[int]) -> None:
    """Never more than three sends, each after a turn and counted; every later one follows a 401, with a newer token."""
    sent: list[AccessToken] = []
    turns: list[AccessToken] = []
    counted: list[Note] = []
    flow, fetched, generation = a_flow(), 0, 1
    step = next(flow)
    while not isinstance(step, PassOn):
        if isinstance(step, Fetch):
            assert step.rejected == (sent[-1] if sent else None)
            generation += steps[fetched] if fetched else 0
            fetched += 1
            step = flow.send(token(generation))
        elif isinstance(step, TakeTurn):
            turns.append(step.token)
            step = flow.send(step.token)
        elif isinstance(step, Send):
            sent.append(step.token)
            step = flow.send(Answered(statuses[len(sent) - 1]))
        else:
            assert isinstance(step, Note)
            counted.append(step)
            step = flow.send(None)
    assert is_over(flow)
    assert 1 <= len(sent) <= MOST_SENDS
    assert turns == sent
    assert counted == [noted(lent, status) for lent, status in zip(sent, statuses, strict=False)]
    generations = [one.generation for one in sent]
    assert generations == sorted(set(generations))
    assert all(status == 401 for status in statuses[: len(sent) - 1])
    assert step.token == sent[-1]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
def test_one_set_of_safe_methods(method: str) -> None:
    """What is safe is safe everywhere: only a write may have been carried out, whatever became of its answer."""
    safe = method in SAFE_METHODS
    for written in (method, method.lower()):
        assert type(unanswered(written, "why")) is (UpstreamFailed if safe else OutcomeUnknown)
        with pytest.raises(RateLimited if safe else OutcomeUnknown), following(written):
            raise RateLimited
    assert frozenset({"GET", "HEAD", "OPTIONS"}) == SAFE_METHODS  # RFC 9110 section 9.2.1, without TRACE


def test_what_is_said_where_no_usable_answer_came() -> None:
    """Why; and of a write, that it was sent."""
    assert unanswered("get", "cut off").detail == "Cloudbeds gave no usable answer (cut off)"
    assert unanswered("post", "cut off").detail == "the POST was sent and no usable answer came (cut off)"


@pytest.mark.parametrize("asked", [None, "", "https://evil.example", "http://api.example", "https://api.example:8443"])
def test_another_origin(asked: str | None) -> None:
    """It is named, where it is one, and so is ours."""
    require_origin("https://api.example", "https://api.example")
    with pytest.raises(ForeignOrigin) as refused:
        require_origin(asked, "https://api.example")
    named = asked or "no plain web address"
    assert refused.value.detail == f"the credential is for https://api.example and was asked for {named}"
