"""What Cloudbeds' resource API is asked on our own behalf."""

from __future__ import annotations

from typing import Protocol

from cloudbeds_auth.core.nouns import App
from cloudbeds_auth.core.refusals import Verdict
from cloudbeds_auth.core.secret import Secret


class Vendor(Protocol):
    """Production: `wire.vendor`."""

    def authorization_url(self, app: App, state: str) -> str:
        """Where the hotel approves: the authorization endpoint with client_id, redirect_uri, response_type, state."""
        ...

    async def userinfo(self, access: Secret) -> Verdict:
        """`GET …/userinfo`: the proof call; needs no scope. Never raises for what the vendor or the network does."""
        ...

    async def properties(self, access: Secret) -> tuple[str, ...]:
        """The property ids that `getHotels` lists; empty when it cannot be asked or does not say."""
        ...

    async def disable_app(self, access: Secret, property_ids: tuple[str, ...]) -> bool:
        """`postAppState disabled` for every property: whether the vendor took note of all of them."""
        ...
