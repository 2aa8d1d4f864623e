"""Draws the states of a grant from `rules.lifecycle.TABLE`: `python docs/draw_lifecycle.py` prints, `--write` updates.

Plain text, so that every reader of the page sees it: a diagram language would be loaded from somebody else's host.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import splice

from cloudbeds_auth.rules.lifecycle import TABLE, State
from cloudbeds_auth.rules.presentation import STATES

PAGE = Path(__file__).with_name("rotation.md")
BEGIN, END = "<!-- lifecycle -->", "<!-- /lifecycle -->"


def picture() -> str:
    """Per state: what may happen to it, and where that leads."""
    lines: list[str] = []
    for state in State:
        moves = {event: after for (before, event), after in TABLE.items() if before is state}
        stored = bool(moves) or state in TABLE.values()
        lines.append(f"{state.value}  ({STATES[state].words}{'' if stored else '; never stored'})")
        for after in State:
            events = [event.value for event, leads_to in moves.items() if leads_to is after]
            if events:
                lines.append(_arrow("stays" if after is state else f"-> {after.value}", events))
    return "\n".join(lines)


def _arrow(where: str, events: Sequence[str]) -> str:
    return f"    {where:<28}{', '.join(sorted(events))}"


def block() -> str:
    """The picture as it stands in the page, between its markers."""
    return f"{BEGIN}\n```text\n{picture()}\n```\n{END}"


if __name__ == "__main__":
    splice.run((PAGE, block()))
