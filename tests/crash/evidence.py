"""Where a kill struck, told from evidence only, and what that point promises about the database and the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.crash import marks

MAYBE = frozenset({marks.IN_TRANSACTION, marks.COMMITTING, marks.SYNCING})  # behind these a commit may be done or not
WITH_INTENT = frozenset({"K1", "K2", "K3", "K4", "K5", "K6", "K7"})


@dataclass(frozen=True)
class Life:
    """What a killed process left behind of one hotel: its marks, and what the vendor was asked meanwhile."""

    marks: str
    entries: list[dict[str, Any]]

    @property
    def refreshes(self) -> list[dict[str, Any]]:
        """The token requests."""
        return [entry for entry in self.entries if entry["grant_type"] == "refresh_token"]


def last_step(left: str) -> str:
    """The last mark that the refresh itself left: its caller may have been answered while it goes on."""
    return next((mark for mark in reversed(left) if mark in marks.POINTS), marks.OPEN)


def point_of(left: str, refreshes: list[dict[str, Any]]) -> str:
    """The kill point, from the marks that the process left and the token requests that the vendor saw of it.

    A request whose headers were going out (K2) was sent (K3) if the vendor read it, and K4 if it acted on it: when it
    acted as often as the process began to send.
    """
    last = last_step(left)
    begun = left.count(marks.SENDING)
    if last in {marks.SENDING, marks.SENT} and begun:
        acted = sum(entry["outcome"] not in {"pending", "not_acted"} for entry in refreshes)
        if acted >= begun:
            return "K4"
        if last == marks.SENDING and len(refreshes) >= begun:
            return "K3"
    return marks.POINTS[last]


def broken_promise(point: str, life: Life, before: dict[str, Any], after: dict[str, Any]) -> str:
    """What the row and the journal show that this kill point rules out (rules 1 and 7); empty when nothing."""
    gained = after["generation"] - before["generation"]
    committed = life.marks.count(marks.COMMITTED)
    if not committed <= gained <= committed + (last_step(life.marks) in MAYBE):
        return f"{committed} commits were seen and the generation moved by {gained}"
    outcomes = [entry["outcome"] for entry in life.refreshes]
    settled = "refused" in outcomes or "client_refused" in outcomes  # a refusal takes the intent back
    settled |= point == "K1" and after["state"] == "backing_off"  # it stood still before it sent, and took it back
    settled |= after["unresolved_at"] not in {
        None,
        before["unresolved_at"],
    }  # the answer was lost, which is noted instead
    if point in WITH_INTENT and gained == committed and after["intent_position"] is None and not settled:
        return "no intent rests"
    issued = {entry["ordinal"] for entry in life.refreshes if entry["outcome"] == "issued"}
    used = {entry["ordinal"] for entry in life.entries if entry["outcome"] == "accepted"}
    if gained == 0 and issued & used:
        return f"an uncommitted token was used: {sorted(issued & used)}"
    return ""
