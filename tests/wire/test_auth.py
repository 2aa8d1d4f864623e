"""`vault.auth()` where the client follows redirects by itself; tests/contrib/test_origins.py has the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from tests.wire.rawserver import RawServer, answer, serving

from cloudbeds_auth.core.nouns import AccessToken
from cloudbeds_auth.core.secret import Secret
from cloudbeds_auth.errors import ForeignOrigin
from cloudbeds_auth.wire.auth import CloudbedsAuth, Lender

TOKEN = AccessToken(Secret("A-1"), datetime.now(UTC), 1, grant_id="g")


def auth_for(base_url: str) -> CloudbedsAuth:
    """Lends one token, for this origin."""

    async def fetch(rejected: AccessToken | None) -> AccessToken:
        return TOKEN

    return CloudbedsAuth(base_url, Lender(fetch, lambda rejected: TOKEN, lambda *call: None), replay_limit=0)


@pytest.fixture
async def other() -> AsyncIterator[RawServer]:
    """Where the redirect leads."""
    async with serving(answer("{}")) as server:
        yield server


@pytest.mark.row("A33")
async def test_a_redirect_that_is_not_followed_is_handed_over(other: RawServer) -> None:
    """The client does not follow: the caller has the answer, and may go there by hand, without the credential."""
    async with (
        serving(answer("", "302 Found", f"Location: {other.url}/file\r\n")) as vendor,
        httpx2.AsyncClient() as http,
    ):
        found = await http.get(f"{vendor.url}/x", auth=auth_for(vendor.url))
        assert found.status_code == 302
        assert found.next_request is not None
        assert (await http.send(found.next_request)).status_code == 200
    assert [peer.head.get("authorization") for peer in (*vendor.peers, *other.peers)] == ["Bearer A-1", None]


@pytest.mark.row("A33")
async def test_a_location_that_is_no_address(other: RawServer) -> None:
    """The client says so in its own words, and goes nowhere."""
    async with (
        serving(answer("", "302 Found", "Location: http://[::1/x\r\n")) as vendor,
        httpx2.AsyncClient(follow_redirects=True) as http,
    ):
        with pytest.raises(httpx2.RemoteProtocolError):
            await http.get(f"{vendor.url}/x", auth=auth_for(vendor.url))
    assert len(vendor.peers) == 1


@pytest.mark.row("A33")
async def test_a_transport_that_tells_nothing() -> None:
    """One that knows no `trace`: what it already sent carried no credential, and the error is ours all the same."""
    seen: list[httpx2.Request] = []

    def answering(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        found = request.url.host == "hotels.example"
        return httpx2.Response(302 if found else 200, headers={"Location": "https://evil.example/"} if found else {})

    transport = httpx2.MockTransport(answering)
    async with httpx2.AsyncClient(transport=transport, follow_redirects=True) as http:
        with pytest.raises(ForeignOrigin, match=r"evil\.example"):
            await http.get("https://hotels.example/x", auth=auth_for("https://hotels.example"))
    assert ["Authorization" in request.headers for request in seen] == [True, False]


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_trace_of_the_users_own_is_told(blocking: bool) -> None:
    """Everything that the transport tells reaches it, in order, and the request is left as it was given."""
    told: list[str] = []

    def tell(event: str, info: dict[str, Any]) -> None:
        told.append(event)

    async def tell_later(event: str, info: dict[str, Any]) -> None:
        told.append(event)

    async with serving(answer("{}")) as vendor:
        trace = tell if blocking else tell_later
        request = httpx2.Request("GET", f"{vendor.url}/x", extensions={"trace": trace})
        if blocking:

            def send() -> None:
                with httpx2.Client() as http:
                    http.send(request, auth=auth_for(vendor.url))

            await asyncio.to_thread(send)
        else:
            async with httpx2.AsyncClient() as http:
                await http.send(request, auth=auth_for(vendor.url))
    assert told[0] == "connection.connect_tcp.started"
    assert "http11.receive_response_headers.complete" in told
    assert request.extensions["trace"] is trace
