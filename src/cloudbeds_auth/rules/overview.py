"""The overview of all hotels: counts by the words that they are shown in, a name for each, and a button for its next
step; and how registrations at Cloudbeds are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cloudbeds_auth.errors import ClientRefused
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import App, Connection, StateCounts
from cloudbeds_auth.rules.origins import Foreign
from cloudbeds_auth.rules.presentation import (
    BY_ITSELF,
    STATES,
    Badge,
    Presentation,
    Responsible,
    mended_by_link,
    remedy_of,
)

BY_WORDS: Mapping[str, tuple[State, ...]] = {
    words: tuple(state for state, row in STATES.items() if row.words == words)
    for words in dict.fromkeys(row.words for row in STATES.values())
}
"""The states by the words that people read for them, in the order of the states."""

ALWAYS = frozenset({State.FRESH, State.BACKING_OFF, State.REAUTHORIZATION_REQUIRED})
"""States whose count is shown even if it is zero."""

SECRET_REFUSED = "Cloudbeds refuses its secret"
MOST_NAMED = 3  # properties in the name of a hotel


class Bound(StrEnum):
    """How a count relates to the true number."""

    EXACTLY = ""
    AT_LEAST = "at least"
    AT_MOST = "at most"


@dataclass(frozen=True, slots=True)
class WordCount:
    """The number of hotels that are shown in these words."""

    words: str
    badge: Badge
    connections: int
    bound: Bound


class Offer(StrEnum):
    """The buttons that an overview offers beside a hotel; any other next step is text."""

    RECONNECT_LINK = "reconnect link"
    REFRESH = "refresh"


def word_counts(counted: StateCounts) -> list[WordCount]:
    """The counts by words, in the order of `BY_WORDS`; zero is left out except for states in `ALWAYS`."""
    found = []
    for words, states in BY_WORDS.items():
        number = sum(counted.connections.get(state, 0) for state in states)
        if number or not ALWAYS.isdisjoint(states):
            badge = STATES[states[0]].badge
            bound = _bound(states, badge) if counted.capped else Bound.EXACTLY
            found.append(WordCount(words, badge, number, bound))
    return found


def _bound(states: tuple[State, ...], badge: Badge) -> Bound:
    if State.CLIENT_REFUSED in states:
        return Bound.AT_LEAST
    return Bound.AT_MOST if badge in BY_ITSELF else Bound.EXACTLY


def name_of(one: Connection) -> str:
    """A hotel's name for people: its reference, else its properties, else the user who approved, else its id."""
    if one.reference:
        return one.reference
    return properties_of(one) or ("" if one.authorizing_user is None else one.authorizing_user.name) or one.id


def properties_of(one: Connection) -> str:
    """The hotel's properties in words, at most `MOST_NAMED` of them named; empty if none is known."""
    named, more = one.property_ids[:MOST_NAMED], len(one.property_ids) - MOST_NAMED
    if len(named) < 2:
        return f"Property {named[0]}" if named else ""
    listed = f"Properties {', '.join(named[:-1])}"
    return f"{listed}, {named[-1]} and {more} more" if more > 0 else f"{listed} and {named[-1]}"


def offer_of(one: Connection) -> Offer | None:
    """The button for the hotel's next step; None if there is no next step, or none that a button can take."""
    if mended_by_link(one):
        return Offer.RECONNECT_LINK
    return Offer.REFRESH if one.state is State.BACKING_OFF else None


@dataclass(frozen=True, slots=True)
class AppLook:
    """A registration as people see it, and the number of its connections; `more`: there are more than were counted."""

    app: App
    seen: Presentation
    connections: int
    more: bool


def app_presentation(app: App, foreign: Foreign | None, *, refused: bool, own: bool) -> Presentation:
    """How a registration is shown. `foreign`: why its secret may not be sent; `refused`: Cloudbeds refuses the secrets
    that are stored; `own`: it is the one in the settings.
    """
    if not app.client_id:
        return Presentation("not set: hotels connect with API keys alone", Badge.HEALTHY, None, Responsible.NOBODY)
    if foreign is not None:
        return Presentation(
            "its secret is for another server", Badge.ATTENTION, foreign.next_step, Responsible.OPERATOR
        )
    if refused or not app.secrets:
        words = SECRET_REFUSED if app.secrets else "its secret does not open"
        step = ClientRefused.next_step_default if own else remedy_of(app.id, app)
        return Presentation(words, Badge.ATTENTION, step, Responsible.OPERATOR)
    return Presentation("in order", Badge.HEALTHY, None, Responsible.NOBODY)
