"""Clients for one hotel each, over one pool of connections to the vendor."""

from __future__ import annotations

from typing import Any

import httpx2

from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.wire import http_client
from cloudbeds_auth.wire.protected import in_our_words

KEEP_ALIVE = 20  # idle connections


class HotelClient(httpx2.AsyncClient):
    """A client that raises what `vault.call` raises: UpstreamFailed where nothing was sent or only reading was asked
    for, OutcomeUnknown where a write may have happened. While a body is streamed, httpx2's own errors come through.
    """

    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        """As `httpx2.AsyncClient.send`."""
        with in_our_words(request.method):
            return await super().send(request, **how)


class HotelClients:
    """Lends clients; closing one of them leaves the connections to the others."""

    def __init__(self, base_url: str, timing: Timing) -> None:
        self._base_url = base_url
        self._timing = timing
        self._pool = http_client.pool(keep_alive=KEEP_ALIVE)

    def client(self, auth: httpx2.Auth, property_id: str | None) -> HotelClient:
        """For the vendor's origin, under `auth`; with `X-PROPERTY-ID` where one property is meant."""
        made = HotelClient(
            **http_client.manners(self._timing, keep_alive=KEEP_ALIVE),
            transport=_Lent(self._pool),
            base_url=self._base_url,
            auth=auth,
        )
        if property_id is not None:
            made.headers["X-PROPERTY-ID"] = property_id
        return made

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


class _Lent(httpx2.AsyncBaseTransport):
    """A transport that somebody else closes."""

    def __init__(self, pool: httpx2.AsyncBaseTransport) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self._pool.handle_async_request(request)
