"""Imports of hotels that another program kept connected: what is handed over, and the result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cloudbeds_auth.rules.model import Connection
from cloudbeds_auth.rules.secret import Secret


@dataclass(frozen=True, slots=True)
class Handover:
    """A hotel as another program kept it: the property, its refresh token, and what else is known.

    `reference`: your own id for the hotel. `access_token` is valid until `expires_at`; without one, only the refresh
    token is used. `scopes`: what the hotel granted, if that differs from what the app asks for now.
    """

    property_id: str
    refresh_token: Secret
    reference: str | None = None
    app: str = "default"
    access_token: Secret | None = None
    expires_at: datetime | None = None
    scopes: tuple[str, ...] | None = None


class Outcome(StrEnum):
    """The result of importing a token."""

    CONNECTED = "connected"
    ALREADY_CONNECTED = "already_connected"
    IN_DOUBT = "in_doubt"
    REFUSED = "refused"
    OTHER_PROPERTY = "other_property"
    DISCONNECTED = "disconnected"


MEANINGS = {
    Outcome.CONNECTED: "refreshed once, seen to work, and of the hotel that was named",
    Outcome.ALREADY_CONNECTED: "the hotel is connected by another approval",
    Outcome.IN_DOUBT: "stored, and not proven yet: the service resumes it, or the same import again",
    Outcome.REFUSED: "Cloudbeds refused it twice: the hotel has to approve again",
    Outcome.OTHER_PROPERTY: "it works, and is another hotel's than was named",
    Outcome.DISCONNECTED: "imported before, and disconnected since",
}


@dataclass(frozen=True, slots=True)
class Imported:
    """The import of one hotel. `connection` has a connect link if the hotel has to approve again; `detail` explains the
    outcome to people.

    `retry_after`: seconds to wait before a retry, if the outcome is in doubt.
    """

    outcome: Outcome
    connection: Connection
    detail: str
    retry_after: float | None = None
