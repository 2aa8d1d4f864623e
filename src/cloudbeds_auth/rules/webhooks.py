"""Webhooks, in and out.

In: Cloudbeds' `integration/appstate_changed`, read leniently, because its format is not published. It is unsigned, may
be forged, may come twice or never: a hint. It only makes the service ask, and nothing is deleted because of it. The
answer of `getAppState` is read in the same way, and is a hint, too (rule-12).

Out: which change of a connection is reported, what the message says, and when it is tried again. The connection's
`Standing` before and after decides what is reported (`NOTICES`), in the transaction that changes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from typing import Any

from cloudbeds_auth.rules.api_errors import DISABLED
from cloudbeds_auth.rules.documents import connection_document, precise
from cloudbeds_auth.rules.inputs import Unreadable, one_line, read_object
from cloudbeds_auth.rules.model import Connection, Role, moment
from cloudbeds_auth.rules.presentation import presentation

APP_DISABLED = "disabled"  # the only state of an app at a property that ends a connection
FIRST = 60.0  # seconds until a hotel that connected is asked about for the first time
POLL = 43200.0  # seconds between two reads of a connection's app state: Cloudbeds deletes its webhook at a disconnect
LONGEST = 64  # characters of a state or an id
STATES = ("newState", "app_state", "state")  # no other: `status` and the like may belong to another object
EVENT = "appstate_changed"
PROPERTIES = ("propertyID_str", "propertyId_str", "propertyID", "propertyId")
CLIENTS = ("clientID", "clientId", "client_id")


@dataclass(frozen=True, slots=True)
class Hint:
    """An app may have been disabled at this property; `client_id` is empty if the payload names none."""

    property_id: str
    client_id: str


def hint_of(body: bytes) -> Hint | None:
    """The hint in a payload; None if it is about anything else, names no property, or cannot be read."""
    try:
        payload = read_object("application/json", body)
    except Unreadable:
        return None
    property_id = _first(payload, PROPERTIES)
    event = _first(payload, ("event",))
    if event and not event.lower().endswith(EVENT):
        return None
    if state_in(payload) != APP_DISABLED or not property_id:
        return None
    return Hint(property_id, _first(payload, CLIENTS))


def state_in(found: Mapping[str, Any]) -> str:
    """The state of an app that an object names, in lower case; empty if it names none."""
    return _first(found, STATES).lower()


def _first(found: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((text for name in names if (text := one_line(found.get(name), LONGEST).strip())), "")


DAY = 86400.0


WAITS = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
"""Seconds to wait after each failed attempt, before jitter. After the last attempt, in three days, the message is given
up.

Source: Standard Webhooks, "Retry schedule".
"""


JITTER = 0.2  # how much longer than that, at most


UNTRIED = 7 * DAY  # how long a message that no process has tried to send is kept: no address is set


SHOWN = 30 * DAY  # how long a message that was given up is kept, for people to see


PERSONAL = ("authorizing_user",)  # a name and an e-mail address; a receiver that needs them reads them from the API


ASKED_FOR = ("connect_url",)  # made when a caller reads the connection; a connect link is also a secret


class Notice(StrEnum):
    """The types of messages; those up to DISCONNECTED report a change in `NOTICES`."""

    CONNECTED = "connection.connected"
    REAUTHORIZATION_REQUIRED = "connection.reauthorization_required"
    RECOVERED = "connection.recovered"
    DISCONNECTED = "connection.disconnected"
    REFERENCE_CHANGED = "connection.reference_changed"  # by a trusted way, while connected
    AT_RISK = "connection.at_risk"  # one more of `rules.risks`, while connected
    RISK_OVER = "connection.risk_over"  # … and no risk any more


class Standing(Enum):
    """The condition of a connection, as its messages report it."""

    AWAY = "never connected, or disconnected"
    CONNECTED = "connected"
    MARKED = "the hotel has to approve again"
    LEFT = "the hotel disconnected the app at Cloudbeds"


NOTICES = {
    (Standing.AWAY, Standing.CONNECTED): Notice.CONNECTED,
    (Standing.CONNECTED, Standing.MARKED): Notice.REAUTHORIZATION_REQUIRED,
    (Standing.MARKED, Standing.CONNECTED): Notice.RECOVERED,
    (Standing.CONNECTED, Standing.AWAY): Notice.DISCONNECTED,
    (Standing.MARKED, Standing.AWAY): Notice.DISCONNECTED,
    (Standing.CONNECTED, Standing.LEFT): Notice.DISCONNECTED,
    (Standing.LEFT, Standing.CONNECTED): Notice.RECOVERED,
}
"""Any other change (a refresh, a backoff, a newer approval of a healthy hotel) is not reported."""


def standing(role: Role | str | None, reauth: str | None) -> Standing:
    """The standing of a connection that points to a grant with this role and mark; role None: to no grant."""
    if role != Role.ACTIVE:
        return Standing.AWAY
    if reauth is None:
        return Standing.CONNECTED
    return Standing.LEFT if reauth == DISABLED else Standing.MARKED


def message_id(notice: Notice, connection_id: str, sequence: int, at: float) -> str:
    """The id of a message: the same for every attempt, but another one after a backup was restored."""
    named = f"{notice.value} {connection_id} {sequence} {at!r}".encode()
    return f"msg_{hashlib.sha256(named).hexdigest()[:32]}"


def message_body(notice: Notice, at: float, sequence: int, connection: Connection) -> str:
    """The body as it is signed and sent. `sequence`: the line of the connection's history that reports the same."""
    document = connection_document(replace(connection, next_step=presentation(connection).next_step))
    shown = {name: value for name, value in document.items() if name not in PERSONAL + ASKED_FOR}
    body: dict[str, Any] = {
        "type": notice.value,
        "timestamp": precise(moment(at)),
        "data": {"sequence": sequence, "connection": shown},
    }
    return json.dumps(body, separators=(",", ":"), ensure_ascii=True)


def wait_after(attempts: int, retry_after: float | None, roll: float) -> float | None:
    """Seconds until the next attempt after so many have failed; None: given up. `roll` is in [0, 1)."""
    if attempts > len(WAITS):
        return None
    wait = WAITS[attempts - 1] * (1.0 + JITTER * roll)
    return max(wait, min(retry_after or 0.0, DAY))
