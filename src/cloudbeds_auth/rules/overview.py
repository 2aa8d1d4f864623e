"""What an overview of all hotels shows: how many are shown in which words, a name for each, and the button that takes
its next step; and the same of registrations at Cloudbeds.
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
"""The words that people read of states, in the order of the states, and the states that have them."""

ALWAYS = frozenset({State.FRESH, State.BACKING_OFF, State.REAUTHORIZATION_REQUIRED})
"""States of which it is said how many hotels look so, also where none does."""

MOST_NAMED = 3  # properties by which a hotel is called


class Bound(StrEnum):
    """What a number says that was not counted to its end."""

    EXACTLY = ""
    AT_LEAST = "at least"
    AT_MOST = "at most"


@dataclass(frozen=True, slots=True)
class WordCount:
    """How many hotels are shown in these words."""

    words: str
    badge: Badge
    connections: int
    bound: Bound


class Offer(StrEnum):
    """What an overview offers beside a hotel; everything else that is to be done is said in words."""

    RECONNECT_LINK = "reconnect link"
    REFRESH = "refresh"


def word_counts(counted: StateCounts) -> list[WordCount]:
    """The counts by words, in their order; of what is rare, only where there is any."""
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
    """What people call a hotel: your own name for it, else its properties, else who approved it, else its id."""
    if one.reference:
        return one.reference
    return properties_of(one) or ("" if one.authorizing_user is None else one.authorizing_user.name) or one.id


def properties_of(one: Connection) -> str:
    """Its properties, the first few of very many; empty where none is known."""
    named, more = one.property_ids[:MOST_NAMED], len(one.property_ids) - MOST_NAMED
    if len(named) < 2:
        return f"Property {named[0]}" if named else ""
    listed = f"Properties {', '.join(named[:-1])}"
    return f"{listed}, {named[-1]} and {more} more" if more > 0 else f"{listed} and {named[-1]}"


def offer_of(one: Connection) -> Offer | None:
    """The button that takes its next step; None: there is none to take here, or none at all."""
    if mended_by_link(one):
        return Offer.RECONNECT_LINK
    return Offer.REFRESH if one.state is State.BACKING_OFF else None


@dataclass(frozen=True, slots=True)
class AppLook:
    """A registration as people see it, and how many connections came by it; `more`: than were counted."""

    app: App
    seen: Presentation
    connections: int
    more: bool


def app_presentation(app: App, foreign: Foreign | None, *, refused: bool, own: bool) -> Presentation:
    """How a registration is shown. `foreign`: why its secret may not be sent; `refused`: Cloudbeds refuses what we have
    of it; `own`: it is that of the settings.
    """
    if not app.client_id:
        return Presentation("not set: hotels connect with API keys alone", Badge.HEALTHY, None, Responsible.NOBODY)
    if foreign is not None:
        return Presentation(
            "its secret is for another server", Badge.ATTENTION, foreign.next_step, Responsible.OPERATOR
        )
    if refused or not app.secrets:
        words = "Cloudbeds refuses its secret" if app.secrets else "its secret does not open"
        step = ClientRefused.next_step_default if own else remedy_of(app.id, app)
        return Presentation(words, Badge.ATTENTION, step, Responsible.OPERATOR)
    return Presentation("in order", Badge.HEALTHY, None, Responsible.NOBODY)
