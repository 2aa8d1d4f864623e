"""The table of events: what users see of a member, and that its parts fit together."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from cloudbeds_auth.rules.api_errors import Verdict
from cloudbeds_auth.rules.happenings import Happening, LogLevel
from cloudbeds_auth.rules.token_response import Answer, KeyAnswer

ANSWERS = {kind.__name__ for kind in get_args(Answer | KeyAnswer)}
VERDICTS = {kind.__name__ for kind in get_args(Verdict)}


def test_it_is_its_name_as_text() -> None:
    """An observer of a user compares, formats and stores a string."""
    what: str = Happening.REFRESHED
    assert what == "refreshed"
    assert {"refreshed": 1}[what] == 1
    assert (f"{what}", str(what), "%s" % what, json.dumps(what)) == (*["refreshed"] * 3, '"refreshed"')  # noqa: UP031


@pytest.mark.parametrize("what", Happening, ids=str)
def test_a_member_is_whole(what: Happening) -> None:
    """It is found by its name, it says what it means, and its metric counts by facts that it has."""
    assert what == what.name.lower()
    assert what.meaning
    metrics = (*what.timed, *([what.metric] if what.metric else ()))
    assert {label.fact for one in metrics for label in one.labels} <= {None, *what.facts}
    assert {timed.fact for timed in what.timed} <= set(what.facts)
    assert what.metric is None or what.metric.only_with in {None, *what.facts}


@pytest.mark.parametrize(
    ("what", "fact", "values", "warned"),
    [
        (Happening.TOKEN_ANSWER, "answer", ANSWERS, {"Refused", "RefusedClient", "Ambiguous"}),
        (Happening.PROOF, "verdict", VERDICTS, {"DeadToken", "DeadGrant"}),
    ],
)
def test_some_answers_are_warnings(what: Happening, fact: str, values: set[str], warned: set[str]) -> None:
    """Of all answers there are, those that a person should look at."""
    assert fact in what.facts
    assert (
        {value for value in values if what.level_of({fact: value}) is LogLevel.WARNING} == warned == set(what.warns_of)
    )
