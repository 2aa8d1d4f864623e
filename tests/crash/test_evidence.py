"""What a kill's marks rule out, and what they leave open."""

from __future__ import annotations

import pytest
from tests.crash.evidence import Life, broken_promise, point_of
from tests.crash.marks import COMMITTED, COMMITTING, IN_TRANSACTION, OPEN, POINTS, PUBLISHED, RELEASED, SERVED, WAITING

INTENT_RESTS = 1


def broken(left: str, gained: int) -> str:
    """What is said of a process that left these marks of a refresh whose pair is stored or not."""
    before = {"generation": 3, "intent_position": None, "unresolved_at": None}
    after = {**before, "generation": 3 + gained, "intent_position": None if gained else INTENT_RESTS}
    return broken_promise(point_of(left, []), Life(left, []), before, after)


@pytest.mark.parametrize("told", ["", SERVED, WAITING, WAITING + SERVED])
@pytest.mark.parametrize("step", [IN_TRANSACTION, COMMITTING])
@pytest.mark.parametrize("gained", [0, 1])
def test_a_commit_under_way_may_be_done_or_not(step: str, gained: int, told: str) -> None:
    """Whatever its caller, who waits no longer than the deadline, was told meanwhile."""
    assert broken(OPEN + step + told, gained) == ""


@pytest.mark.parametrize("after", ["", SERVED, PUBLISHED, PUBLISHED + RELEASED + SERVED])
@pytest.mark.parametrize("gained", [0, 2])
def test_a_commit_that_was_seen_counts_once(gained: int, after: str) -> None:
    """Negative control: a pair that was committed and is gone, or is there twice, is told."""
    said = broken(OPEN + IN_TRANSACTION + COMMITTING + COMMITTED + after, gained)
    assert said == f"1 commits were seen and the generation moved by {gained}"


@pytest.mark.parametrize("left", [OPEN, OPEN + SERVED])
def test_a_pair_that_nobody_committed_is_told(left: str) -> None:
    """Negative control: the generation moves and no transaction was begun."""
    assert broken(left, 1) == "0 commits were seen and the generation moved by 1"


@pytest.mark.parametrize(("lost_at", "said"), [(9.0, ""), (None, "no intent rests")])
def test_an_answer_that_was_lost(lost_at: float | None, said: str) -> None:
    """The process noted that in the place of its intent, and was killed behind that."""
    (sent,) = (mark for mark, point in POINTS.items() if point == "K3")
    before = {"generation": 3, "intent_position": None, "unresolved_at": None}
    after = {**before, "unresolved_at": lost_at, "state": "in_doubt"}
    assert broken_promise(point_of(sent, []), Life(sent, []), before, after) == said


@pytest.mark.parametrize(("state", "said"), [("backing_off", ""), ("stale", "no intent rests")])
def test_an_intent_that_was_taken_back(state: str, said: str) -> None:
    """By a process that stood still for longer than it may before it sends: it says so in the row. Negative control: of
    a killed one that did not, the intent rests.
    """
    (intent,) = (mark for mark, point in POINTS.items() if point == "K1")
    before = {"generation": 3, "intent_position": None, "unresolved_at": None}
    after = {**before, "state": state}
    assert broken_promise(point_of(intent, []), Life(intent, []), before, after) == said
