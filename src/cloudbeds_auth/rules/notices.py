"""Webhooks out: which change of a connection is told, what the message says, and when it is tried again.

What is told is decided by how the connection stood before and after (`NOTICES`). How it stands is how the grant stands
that its pointer is at; the store asks in the transaction that moves it.
"""

from __future__ import annotations

import hashlib
import json
from enum import Enum, StrEnum
from typing import Any

from cloudbeds_auth.rules.api_errors import DISABLED
from cloudbeds_auth.rules.documents import connection_document, precise
from cloudbeds_auth.rules.model import Connection, Role, moment

DAY = 86400.0
WAITS = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
"""Seconds after each failed attempt, before jitter; after the last one the message is given up, three days in all.

Source: Standard Webhooks, "Retry schedule".
"""
JITTER = 0.2  # how much longer than that, at most
UNTRIED = 7 * DAY  # that a message is kept which nobody has tried to send: no address is set
SHOWN = 30 * DAY  # that a message which was given up is kept, for people to see
PERSONAL = ("authorizing_user",)  # a name and an e-mail address; whoever needs them asks the API
ASKED_FOR = ("next_step", "connect_url")  # made when somebody looks; a connect link is a secret, besides


class Notice(StrEnum):
    """The types of messages; `MEANING` says what each tells."""

    CONNECTED = "connection.connected"
    REAUTHORIZATION_REQUIRED = "connection.reauthorization_required"
    RECOVERED = "connection.recovered"
    DISCONNECTED = "connection.disconnected"
    REFERENCE_CHANGED = "connection.reference_changed"  # of one that is connected, by a trusted way


class Standing(Enum):
    """How a connection stands towards its hotel."""

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
"""Any other change (a refresh, a backoff, a newer approval of a healthy hotel) is told to nobody."""


def standing(role: Role | str | None, reauth: str | None) -> Standing:
    """Of a connection whose pointer is at a grant with this role and mark; None: at no grant."""
    if role != Role.ACTIVE:
        return Standing.AWAY
    if reauth is None:
        return Standing.CONNECTED
    return Standing.LEFT if reauth == DISABLED else Standing.MARKED


def message_id(notice: Notice, connection_id: str, sequence: int, at: float) -> str:
    """The same for every attempt; another one for what happens after a backup was restored."""
    named = f"{notice.value} {connection_id} {sequence} {at!r}".encode()
    return f"msg_{hashlib.sha256(named).hexdigest()[:32]}"


def message_body(notice: Notice, at: float, sequence: int, connection: Connection) -> str:
    """The body as it is signed and sent. `sequence`: the line of the connection's history that tells the same."""
    document = connection_document(connection)
    shown = {name: value for name, value in document.items() if name not in PERSONAL + ASKED_FOR}
    body: dict[str, Any] = {
        "type": notice.value,
        "timestamp": precise(moment(at)),
        "data": {"sequence": sequence, "connection": shown},
    }
    return json.dumps(body, separators=(",", ":"), ensure_ascii=True)


def wait_after(attempts: int, retry_after: float | None, roll: float) -> float | None:
    """Seconds until the next attempt when so many have failed; None: given up. `roll` is in [0, 1)."""
    if attempts > len(WAITS):
        return None
    wait = WAITS[attempts - 1] * (1.0 + JITTER * roll)
    return max(wait, min(retry_after or 0.0, DAY))
