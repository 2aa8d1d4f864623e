"""Webhooks: who subscribed to what, and what is posted when the state of an app at a property changes.

Pure, like the model: ``due`` collects what is to be posted, ``delivery`` posts it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

APP_STATE = ("integration", "appstate_changed")


@dataclass(frozen=True, slots=True)
class Subscription:
    """One endpoint's wish. ``header`` is sent with every delivery and never shown again."""

    number: str
    client_id: str
    property_id: str
    entity: str
    action: str
    endpoint: str
    header: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Post:
    """One delivery to make."""

    subscription: Subscription
    payload: dict[str, object]


@dataclass(slots=True)
class Subscriptions:
    """All of them, by number; the number follows from what was subscribed, so subscribing again changes nothing."""

    known: dict[str, Subscription] = field(default_factory=dict)
    due: list[Post] = field(default_factory=list)

    def add(
        self, client_id: str, property_id: str, entity: str, action: str, endpoint: str, header: tuple[str, str] | None
    ) -> Subscription:
        """Subscribe, or replace the header of the same subscription."""
        named = "\n".join((client_id, property_id, endpoint, entity, action)).encode()
        number = str(int(hashlib.sha256(named).hexdigest()[:12], 16))
        made = Subscription(number, client_id, property_id, entity, action, endpoint, header)
        self.known[number] = made
        return made

    def of(self, client_id: str, property_ids: tuple[str, ...]) -> list[Subscription]:
        """This app's at these properties."""
        return [one for one in self.known.values() if one.client_id == client_id and one.property_id in property_ids]

    def changed(self, client_id: str, property_id: str, old: str, new: str, now: float) -> None:
        """An app's state changed: posts are due, and a disconnect deletes the app's subscriptions there."""
        number: object = int(property_id) if property_id.isdigit() else property_id
        payload: dict[str, object] = {
            "clientID": client_id, "propertyID": number, "propertyID_str": property_id, "oldState": old,
            "newState": new, "version": "1.0", "event": "/".join(APP_STATE), "timestamp": now,
        }  # fmt: skip
        for one in self.of(client_id, (property_id,)):
            if (one.entity, one.action) == APP_STATE:
                self.due.append(Post(one, payload))
            if new == "disabled":
                del self.known[one.number]
