"""The rate limit: what passes in any one second never exceeds it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.drawing import CALM

from cloudbeds_auth.core.budget import rate_within, reserve


@CALM
@given(
    limit=st.sampled_from([1, 2, 5, 10, 50]),
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=120),
)
def test_no_window_of_a_second_holds_more_than_the_limit(limit: int, gaps: list[float]) -> None:
    """However callers arrive, the moments at which they may send are never too close together."""
    rate = rate_within(limit)
    now, arrival, sent = 0.0, 0.0, []
    for gap in gaps:
        now += gap
        turn = reserve(arrival, now, rate, patience=1e9)
        arrival = turn.arrival
        sent.append(now + turn.wait)
    for start in sent:
        assert sum(start <= moment <= start + 0.999999 for moment in sent) <= limit


def test_an_idle_client_may_refresh_and_prove_at_once() -> None:
    """Two requests go without waiting; the third waits its interval."""
    rate = rate_within(10)
    arrival, waits = 0.0, []
    for _ in range(3):
        turn = reserve(arrival, 100.0, rate, patience=5.0)
        arrival = turn.arrival
        waits.append(turn.wait)
    assert waits[:2] == [0.0, 0.0]
    assert waits[2] == pytest.approx(rate.interval)


def test_a_turn_beyond_patience_is_not_taken() -> None:
    """A caller that would wait too long takes nobody's place and is told how long it would have been."""
    rate = rate_within(5)
    turn = reserve(110.0, 100.0, rate, patience=5.0)
    assert not turn.taken
    assert turn.arrival == 110.0
    assert turn.wait == pytest.approx(10.0 - rate.tolerance)


def test_throughput_in_the_long_run() -> None:
    """Saturated for a minute, a limit of ten lets eight a second pass."""
    rate = rate_within(10)
    arrival, moments = 0.0, []
    for _ in range(480):
        turn = reserve(arrival, 0.0, rate, patience=1e9)
        arrival = turn.arrival
        moments.append(turn.wait)
    assert moments[-1] == pytest.approx(60.0, abs=0.5)
