"""Who began an approval: we, with a state of ours, or the hotel in the Marketplace, with none or Cloudbeds' own."""

from __future__ import annotations

OURS = "st_"
"""How every state of ours begins: one that is long forgotten is still told from the vendor's."""
MOST_PENDING = 10_000
"""States that wait to come back, begun without a link; anonymous ones and those of programs are counted apart."""
MOST_OF_ONE_LINK = 50
"""States of one link that wait to come back: it may be opened several times until it has led to a connection."""
MOST_PARKED = 200
"""Approvals that wait to be claimed, of all apps together; what comes then is refused and nothing is exchanged."""


def begun_here(state: str | None) -> bool:
    """Whether a callback's `state` is, or pretends to be, one that we issued."""
    return state is not None and state.startswith(OURS)
