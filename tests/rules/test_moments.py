"""Moments that an event carries: unix seconds, text, or nothing that could be one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cloudbeds_auth.rules.model import Event
from cloudbeds_auth.rules.timeline import pairs

AT = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "moment"),
    [
        (AT.timestamp(), AT), (int(AT.timestamp()), AT), ("2026-11-24T08:00:00Z", AT), ("", None), (None, None),
        (True, None), (False, None), ([], None),
    ],
)  # fmt: skip
def test_the_end_of_a_pair(told: object, moment: datetime | None) -> None:
    """As the store writes it and as the HTTP API does; a truth value is no second of 1970."""
    received = Event(1, AT, "candidate_received", "hotel", "g1", 1, {"expires_at": told})
    (line,) = pairs([received])
    assert line.expires_at == moment
