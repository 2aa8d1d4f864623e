"""What the token endpoint is asked (RFC 6749 sections 4.1.3 and 6; cloudbeds-facts.md section 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cloudbeds_auth.rules.model import App
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Answer, KeyAnswer

MaySend = Callable[[], bool]


class TokenEndpoint(Protocol):
    """Production: `wire.token_endpoint`. Every call is one request on a connection of its own, never retried by itself,
    finished or aborted (its socket closed) before the call returns, and within the timing's `deadline`.

    `may_send` is asked when the connection is up, directly before the first byte (rule-7). Where it says no, nothing is
    sent, and the answer is TooLate.
    """

    async def exchange(self, app: App, secret: Secret, code: str) -> Answer:
        """`grant_type=authorization_code`, or the API key's own, as `app.credential` says."""
        ...

    async def refresh(self, app: App, secret: Secret, token: Secret, may_send: MaySend) -> Answer:
        """`grant_type=refresh_token`."""
        ...

    async def exchange_for_key(self, app: App, secret: Secret, token: Secret, may_send: MaySend) -> KeyAnswer:
        """`grant_type=refresh_token_exchange`: an API key for the hotel of this refresh token."""
        ...
