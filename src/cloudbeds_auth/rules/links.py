"""One-time links for hotels: what each kind asks for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """What a connect link asks a hotel for; a page shows this before anything begins.

    `expected_properties`: the approval has to cover one of them; empty: any property is accepted. `scopes`: what the
    app asks for. `credential`: "oauth" or "api_key". The browser is sent back to `redirect_uri`, then to `return_to`.
    `takes_key`: the hotel may give an API key of its own instead of an approval. `takes_approval`: the hotel may
    approve, because the app has a client id.
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
    """What a link for registering the hotel's own app asks for: its client id and client secret.

    The hotel enters exactly `redirect_uri` at Cloudbeds and chooses `scopes` there. The other fields are as for
    `Apps.add`; None: as in the settings.
    """

    name: str
    level: str
    redirect_uri: str
    scopes: tuple[str, ...]
    credential: str | None
