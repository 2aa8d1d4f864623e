"""Draws the tables of problems and of a history's lines in `docs/states.md`, from the words that pages show for them:
`python docs/draw_words.py` prints, `--write` updates.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import splice

from cloudbeds_auth.rules.api_errors import DISABLED, REVOKED, USER_INACTIVE
from cloudbeds_auth.rules.event_words import KINDS
from cloudbeds_auth.rules.lifecycle import ALTERED, State
from cloudbeds_auth.rules.presentation import LOOK, SERVING, STATES, WAITING, NextStep, Responsible

PAGE = Path(__file__).with_name("states.md")
BEGIN, END = "<!-- words -->", "<!-- /words -->"
OF_STATE = {
    REVOKED: State.REAUTHORIZATION_REQUIRED,
    USER_INACTIVE: State.REAUTHORIZATION_REQUIRED,
    DISABLED: State.DISCONNECTED,
}
"""Problems whose next step is that of the state which they lead to."""


def steps() -> dict[str, NextStep]:
    """By problem, the next step."""
    of_state = {problem: step for problem, state in OF_STATE.items() if (step := STATES[state].step) is not None}
    return {**of_state, ALTERED: NextStep(LOOK, Responsible.OPERATOR), **WAITING, **SERVING}


def lines() -> Iterator[str]:
    """Both tables."""
    yield "| `problem` | waits for | next step |\n| --- | --- | --- |"
    for problem, step in sorted(steps().items()):
        yield f"| `{problem}` | {'' if step.by is Responsible.NOBODY else step.by.value} | {step.text} |"
    yield "\n| `kind` | what happened |\n| --- | --- |"
    for kind, words in sorted(KINDS.items()):
        yield f"| `{kind}` | {words} |"


def block() -> str:
    """The tables, between their markers."""
    return "\n".join((BEGIN, *lines(), END))


if __name__ == "__main__":
    splice.run((PAGE, block()))
