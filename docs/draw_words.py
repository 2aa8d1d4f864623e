"""Draws the tables of problems and of a history's lines in `docs/states.md`, from the words that pages show for them:
`python docs/draw_words.py` prints, `--write` updates.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

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


def replaced(page: str) -> str:
    """The page with the tables of now; raises ValueError when a marker is missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} needs {BEGIN} and {END}")
    return before + block() + after


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(replaced(PAGE.read_text("utf-8")), "utf-8")
    else:
        sys.stdout.write("\n".join(lines()) + "\n")
