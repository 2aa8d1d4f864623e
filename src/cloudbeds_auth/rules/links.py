"""What a one-time link asks a hotel for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """What a link asks a hotel for: a page shows it before anything begins.

    `expected_properties`: the approval has to cover one of them; empty: any hotel's will do. `scopes` are what the app
    asks for, `credential` is "oauth" or "api_key". The hotel comes back to `redirect_uri`, and then to `return_to`.
    `takes_key`: the hotel may give an API key of its own instead of an approval; `takes_approval`: it may approve,
    because the app has a client id.
    """

    app: str
    reference: str | None
    return_to: str | None
    expected_properties: tuple[str, ...]
    scopes: tuple[str, ...]
    credential: str
    redirect_uri: str
    expires_at: datetime
    takes_key: bool = True
    takes_approval: bool = True


@dataclass(frozen=True, slots=True)
class AppRequest:
    """What a link asks a hotel for by which it registers an app of its own: the client id and the secret.

    `redirect_uri` is to be entered at Cloudbeds, exactly so, and `scopes` are to be chosen there. The others are as for
    `Apps.add`; None: as the settings say.
    """

    name: str
    level: str
    redirect_uri: str
    scopes: tuple[str, ...]
    credential: str | None
