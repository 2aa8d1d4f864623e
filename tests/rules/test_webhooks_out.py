"""Which changes are told, and when an attempt that failed is followed by the next."""

from __future__ import annotations

import itertools

import pytest

from cloudbeds_auth.rules.model import Role
from cloudbeds_auth.rules.schedule import DAY
from cloudbeds_auth.rules.webhooks import JITTER, NOTICES, WAITS, Notice, Standing, message_id, standing, wait_after


def test_every_change_between_two_standings_is_decided() -> None:
    """Whoever was never connected cannot be marked, nor be said to have left; standing as before is no news.

    A reference is told of beside it.
    """
    changes = set(itertools.product(Standing, Standing))
    marks = (Standing.MARKED, Standing.LEFT)
    silent = (
        {(one, one) for one in Standing}
        | {(Standing.AWAY, mark) for mark in marks}
        | set(itertools.permutations(marks))
    )
    silent |= {(Standing.LEFT, Standing.AWAY)}  # that it left is known already
    assert NOTICES.keys() == changes - silent
    assert set(NOTICES.values()) == set(Notice) - {Notice.REFERENCE_CHANGED, Notice.AT_RISK, Notice.RISK_OVER}


@pytest.mark.parametrize("role", [None, Role.CANDIDATE, Role.SUPERSEDED, Role.DISCONNECTED])
def test_only_the_grant_in_use_speaks_for_its_connection(role: Role | None) -> None:
    """Whatever became of another one."""
    assert standing(role, None) is standing(role, "revoked") is Standing.AWAY
    assert standing(Role.ACTIVE, None) is Standing.CONNECTED
    assert standing(Role.ACTIVE, "revoked") is Standing.MARKED
    assert standing(Role.ACTIVE, "disabled") is Standing.LEFT


def test_a_message_has_an_id_of_its_own() -> None:
    """The same for the same change; another for what a restored backup lets happen again under the same number."""
    one = message_id(Notice.CONNECTED, "con_1", 3, 1000.0)
    others = {
        message_id(Notice.RECOVERED, "con_1", 3, 1000.0),
        message_id(Notice.CONNECTED, "con_2", 3, 1000.0),
        message_id(Notice.CONNECTED, "con_1", 4, 1000.0),
        message_id(Notice.CONNECTED, "con_1", 3, 1000.5),
    }
    assert one == message_id(Notice.CONNECTED, "con_1", 3, 1000.0)
    assert len(others | {one}) == 5
    assert "." not in one, "a full stop separates the parts that are signed"


def test_attempts_end_after_three_days() -> None:
    """Ten of them, further and further apart; jitter makes each wait longer, never shorter."""
    waits = [wait_after(failed, None, 0.0) for failed in range(1, 12)]
    assert waits == [*WAITS, None, None]
    assert 3 * DAY < sum(WAITS) < 4 * DAY
    assert wait_after(1, None, 0.5) == pytest.approx(WAITS[0] * (1 + JITTER / 2))


def test_a_receiver_that_says_when() -> None:
    """Is not asked sooner, nor a day later; and no sooner than without it."""
    assert wait_after(1, 60.0, 0.0) == 60.0
    assert wait_after(2, 60.0, 0.0) == WAITS[1]
    assert wait_after(1, 1e9, 0.0) == DAY
