"""A place in a history: written out, read back, and moved along."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudbeds_auth.errors import InvalidRequest
from cloudbeds_auth.rules.history import BEYOND, NEWEST, HistoryPlace, microseconds

PLACES = st.builds(HistoryPlace, st.integers(0, BEYOND), st.integers(0, BEYOND), st.integers(0, 10**6 - 1))


@given(PLACES)
def test_a_cursor_names_a_place(place: HistoryPlace) -> None:
    """And that one only."""
    assert HistoryPlace.parse(place.cursor) == place


def test_the_newest_end() -> None:
    """Where a reader begins who names none."""
    assert HistoryPlace.parse(None) == NEWEST == HistoryPlace(BEYOND, BEYOND, 0)


@given(st.text())
def test_nothing_else_is_one(cursor: str) -> None:
    """Any text is either a cursor or the caller's mistake."""
    with suppress(InvalidRequest):
        assert HistoryPlace.parse(cursor).cursor.replace("_", "").isdecimal()


def test_behind_events_and_calls() -> None:
    """Calls that began after an event are behind a reader who has come past it; of several that began at one moment as
    many as were read.
    """
    place = NEWEST.after_calls(500)
    assert place == HistoryPlace(BEYOND, 500, 1)
    assert place.after_calls(500) == HistoryPlace(BEYOND, 500, 2)
    assert place.after_calls(400) == HistoryPlace(BEYOND, 400, 1)
    assert place.after_event(7, 450) == HistoryPlace(7, 450, 0)
    assert place.after_event(7, 500) == HistoryPlace(7, 500, 1)
    assert place.after_event(7, 900) == HistoryPlace(7, 500, 1), "its clock was set back since"


@pytest.mark.parametrize(
    ("seconds", "whole"), [(0.0, 0), (1.0000004, 1_000_000), (1_800_000_000.123457, 1_800_000_000_123_457)]
)
def test_microseconds(seconds: float, whole: int) -> None:
    """To the nearest."""
    assert microseconds(seconds) == whole
