"""Counted calls: how lines are merged, and how coarse they become."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudbeds_auth.rules.history import (
    A_DAY,
    A_MINUTE,
    AN_HOUR,
    LONGEST_PATH,
    MOST_PATHS,
    SPANS,
    STEPS,
    Calls,
    beginning,
    merged,
    span_at,
    tally,
)

MONTH = 30 * 86400.0


def line(first: float, last: float, count: int = 1, refused: int = 0, **methods: int) -> Calls:
    return Calls("gra_1", 3, first, last, count, refused, methods, f"process/{first}")


def test_lines_are_merged() -> None:
    """From the first call to the last; numbers add up, and the merged line has no name of its own."""
    together = merged([line(70, 80, 2, 1, b=2), line(5, 90, 3, a=1, b=2), line(60, 61)])
    assert together == Calls("gra_1", 3, 5, 90, 6, 1, {"a": 1, "b": 4}, "")


def test_one_line_merged_with_none() -> None:
    """Is itself, without its name."""
    assert merged([line(5, 6, a=1)]) == Calls("gra_1", 3, 5, 6, 1, 0, {"a": 1}, "")


@given(st.lists(st.dictionaries(st.text(max_size=300), st.integers(1, 9), max_size=30), min_size=1, max_size=6))
def test_paths_are_bounded_and_no_call_is_lost(told: list[dict[str, int]]) -> None:
    """Whatever was called, however lines are merged."""
    methods = merged([Calls("g", 1, 0, 0, sum(one.values()), 0, one) for one in told]).methods
    assert len(methods) <= MOST_PATHS + 1
    assert all(len(path) <= LONGEST_PATH for path in methods)
    assert sum(methods.values()) == sum(sum(one.values()) for one in told)


def test_a_path_that_is_told_apart_stays_so() -> None:
    """However many came after it."""
    methods: dict[str, int] = {}
    for number in range(MOST_PATHS + 5):
        tally(methods, f"GET /{number}", 1)
    tally(methods, "GET /0", 1)
    assert (methods["GET /0"], methods["other"]) == (2, 5)


@pytest.mark.parametrize(
    ("age", "span"),
    [(-5, A_MINUTE), (0, A_MINUTE), (86_399, A_MINUTE), (86_400, AN_HOUR), (MONTH - 1, AN_HOUR), (MONTH, A_DAY)],
)
def test_how_coarse(age: float, span: int) -> None:
    """Minutes for a day, hours for a month, then days."""
    assert span_at(age) == span


def test_the_steps_lead_from_each_span_to_the_next() -> None:
    """Each later, and in periods that hold whole ones of the span before."""
    assert [step[:2] for step in STEPS] == list(pairwise(SPANS))
    assert [age for _, _, age in STEPS] == sorted(age for _, _, age in STEPS)
    assert all(coarser % (span or 1) == 0 for span, coarser, _ in STEPS)


@given(st.integers(0, 10**16), st.sampled_from(SPANS[1:]))
def test_a_period_begins_at_a_multiple_of_its_span(at_us: int, span: int) -> None:
    """Not after the moment, and not a whole span before it."""
    begins = beginning(at_us, span)
    assert begins % (span * 10**6) == 0
    assert begins <= at_us < begins + span * 10**6
