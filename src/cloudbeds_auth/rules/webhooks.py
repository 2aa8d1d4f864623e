"""Webhooks in: what an `integration/appstate_changed` says, read leniently, because nobody has published one.

It is unsigned, may be forged, may come twice or never: a hint. It makes us ask, and nothing is deleted for it. What
`getAppState` answers is read by the same words, and is a hint, too (rule 12).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloudbeds_auth.rules.parsing import Unreadable, one_line, read_object

DISABLED = "disabled"  # the only state of an app at a property that ends a connection
FIRST = 60.0  # seconds until a hotel that connected is asked about for the first time, and its webhook subscribed
POLL = 43200.0  # seconds between two looks at a connection's app state: Cloudbeds deletes its webhook at a disconnect
LONGEST = 64  # characters of a state or an id
STATES = ("newState", "app_state", "state")  # no other: `status` and its like may be another object's
EVENT = "appstate_changed"
PROPERTIES = ("propertyID_str", "propertyId_str", "propertyID", "propertyId")
CLIENTS = ("clientID", "clientId", "client_id")


@dataclass(frozen=True, slots=True)
class Hint:
    """An app may have been disabled at this property; `client_id` is empty where the payload names none."""

    property_id: str
    client_id: str


def hint_of(body: bytes) -> Hint | None:
    """The hint in a payload; None when it is about anything else, names no property, or cannot be read."""
    try:
        payload = read_object("application/json", body)
    except Unreadable:
        return None
    property_id = _first(payload, PROPERTIES)
    event = _first(payload, ("event",))
    if event and not event.lower().endswith(EVENT):
        return None
    if state_in(payload) != DISABLED or not property_id:
        return None
    return Hint(property_id, _first(payload, CLIENTS))


def state_in(found: Mapping[str, Any]) -> str:
    """The state of an app that an object names, in lower case; empty when it names none."""
    return _first(found, STATES).lower()


def _first(found: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((text for name in names if (text := one_line(found.get(name), LONGEST).strip())), "")
