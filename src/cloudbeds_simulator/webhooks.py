"""Webhooks: the subscriptions, what is posted when the state of an app at a property changes, and its delivery.

``Subscriptions`` is pure, like the model: it collects what is due. ``WebhookPoster`` posts it, to this machine only.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field, replace
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout

APP_STATE = ("integration", "appstate_changed")
SCOPES = {"reservation": "read:reservation", "guest": "read:guest"}
"""The scope that a subscription needs is that of its object: a documented rule without a list. Other objects need none
here.
"""
USER_AGENT = "CloudBeds-Webhooks/4.0.0"
ANSWER_WITHIN = 2.0  # seconds
REPETITIONS = 5


@dataclass(frozen=True, slots=True)
class WebhookSubscription:
    """One subscription. ``header`` is sent with every delivery and never shown again; ``copy`` counts duplicates."""

    client_id: str
    property_id: str
    entity: str
    action: str
    endpoint: str
    header: tuple[str, str] | None = None
    copy: int = 0

    @property
    def number(self) -> str:
        """Its id, derived from what was subscribed."""
        parts = [self.client_id, self.property_id, self.endpoint, self.entity, self.action, *"x" * self.copy]
        named = "\n".join(parts).encode()
        return str(int(hashlib.sha256(named).hexdigest()[:12], 16))


@dataclass(slots=True)
class Subscriptions:
    """All subscriptions, by number; ``due`` holds what is to be posted: the subscription and the payload."""

    known: dict[str, WebhookSubscription] = field(default_factory=dict)
    due: list[tuple[WebhookSubscription, dict[str, object]]] = field(default_factory=list)

    def of(self, client_id: str, property_ids: tuple[str, ...]) -> list[WebhookSubscription]:
        """The subscriptions of this app at these properties."""
        return [one for one in self.known.values() if one.client_id == client_id and one.property_id in property_ids]

    def add(self, made: WebhookSubscription, again: str) -> str:
        """Add a subscription and return its number. ``again``: a second one for the same is the ``same``, with the new
        header, or a ``new`` one.
        """
        while again == "new" and made.number in self.known:
            made = replace(made, copy=made.copy + 1)
        self.known[made.number] = made
        return made.number

    def happened(self, property_id: str, event: str, payload: dict[str, object], now: float) -> int:
        """Something happened at a property: queue posts, and return for how many subscriptions."""
        number: object = int(property_id) if property_id.isdigit() else property_id
        named: dict[str, object] = {"propertyID": number, "propertyID_str": property_id, "version": "1.0"}
        wanted = (property_id, *event.split("/"))
        meant = [one for one in self.known.values() if (one.property_id, one.entity, one.action) == wanted]
        self.due += [(one, {**payload, **named, "event": event, "timestamp": now}) for one in meant]
        return len(meant)

    def shown(self) -> list[dict[str, object]]:
        """All subscriptions, without the values of their headers."""
        return [
            {**asdict(one), "number": number, "header": one.header[0] if one.header else None}
            for number, one in self.known.items()
        ]

    def changed(self, client_id: str, property_id: str, old: str, new: str, now: float) -> None:
        """An app's state changed: queue the posts; a disconnect also deletes the app's subscriptions there."""
        number: object = int(property_id) if property_id.isdigit() else property_id
        payload: dict[str, object] = {
            "clientID": client_id, "propertyID": number, "propertyID_str": property_id, "oldState": old,
            "newState": new, "version": "1.0", "event": "/".join(APP_STATE), "timestamp": now,
        }  # fmt: skip
        for one in self.of(client_id, (property_id,)):
            if (one.entity, one.action) == APP_STATE:
                self.due.append((one, payload))
            if new == "disabled":
                del self.known[one.number]


class WebhookPoster:
    """Posts unsigned, waits two seconds for an answer, and repeats up to five times.

    ``attempts`` has every attempt: endpoint, payload, and status (None: no answer).
    """

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._sleep = sleep
        self._tasks: set[asyncio.Task[None]] = set()
        self.attempts: list[dict[str, object]] = []

    def flush(self, subscriptions: Subscriptions, interval: float) -> None:
        """Begin to post what is due; two attempts are ``interval`` seconds apart."""
        due, subscriptions.due = subscriptions.due, []
        for subscription, payload in due:
            task = asyncio.create_task(self._deliver(subscription, payload, interval))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel the deliveries that are under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _deliver(self, to: WebhookSubscription, payload: dict[str, object], interval: float) -> None:
        for _ in range(1 + REPETITIONS):
            status = await _status_of(to, payload)
            self.attempts.append({"endpoint": to.endpoint, "payload": payload, "status": status})
            if status is not None and 200 <= status < 300:
                return
            await self._sleep(interval)


async def _status_of(to: WebhookSubscription, payload: dict[str, object]) -> int | None:
    """The status of the answer; None if none came in time, or if the endpoint is not on this machine."""
    if not is_loopback(urlsplit(to.endpoint).hostname):
        return None
    headers = {"User-Agent": USER_AGENT, **dict([to.header] if to.header else [])}
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=ANSWER_WITHIN)) as session,
            session.post(to.endpoint, json=payload, headers=headers) as answer,
        ):
            return answer.status
    except (ClientError, TimeoutError, OSError):
        return None


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
