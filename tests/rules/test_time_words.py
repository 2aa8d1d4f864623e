"""Lengths of time and moments in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cloudbeds_auth.rules.time_words import duration, relative, span

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3600, "0 ms"), (0, "0 ms"), (0.25, "250 ms"), (4, "4.0 s"), (59.94, "59.9 s"), (60, "1 min 0 s"),
        (725, "12 min 5 s"), (3600, "1 h 0 min"), (28740, "7 h 59 min"), (172799, "47 h 59 min"), (172800, "2 d 0 h"),
        (792000, "9 d 4 h"),
    ],
)  # fmt: skip
def test_a_length_of_time_on_a_scale(seconds: float, words: str) -> None:
    """In one or two units, none of which is larger than it has to be."""
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"), (-59, "just now"), (1, "in less than a minute"), (-60, "1 minute ago"),
        (-150, "2 minutes ago"),
        (3600, "in 1 hour"), (7 * 3600, "in 7 hours"), (-86400, "1 day ago"), (30 * 86400, "in 30 days"),
    ],
)  # fmt: skip
def test_a_moment(seconds: float, words: str) -> None:
    """How far it is from now."""
    assert relative(NOW + timedelta(seconds=seconds), NOW) == words


def test_a_length_of_time() -> None:
    """The largest unit that it is one of; of less than none, where a clock was set back, no unit."""
    lengths = (-5, 0.9, 1, 59.9, 60, 7200, 86400 * 1234)
    assert [duration(seconds) for seconds in lengths] == [
        "less than a second", "less than a second", "1 second", "59 seconds", "1 minute", "2 hours", "1,234 days",
    ]  # fmt: skip
