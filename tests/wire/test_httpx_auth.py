"""`vault.auth()` where the client follows redirects by itself; tests/contrib/test_origins.py has the rest."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from tests.wire.rawserver import RawServer, answer, serving

from cloudbeds_auth.errors import ForeignOrigin
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth
from cloudbeds_auth.wire.lender import Lender

TOKEN = AccessToken(Secret("A-1"), datetime.now(UTC), 1, grant_id="g")


KEY = AccessToken(Secret("cbat_1"), None, 1, grant_id="g")


def auth_for(base_url: str, lent: AccessToken = TOKEN, keys: str = "bearer") -> CloudbedsAuth:
    """Lends one credential, for this origin."""

    async def fetch(rejected: AccessToken | None) -> AccessToken:
        return lent

    lender = Lender(fetch, lambda rejected: lent, lambda *call: None, keys=keys)
    return CloudbedsAuth(base_url, lender, replay_limit=0)


CREDENTIALS: dict[str, tuple[AccessToken, str, tuple[bytes, bytes]]] = {
    "a token": (TOKEN, "x-api-key", (b"Authorization", b"Bearer A-1")),
    "a key as a bearer": (KEY, "bearer", (b"Authorization", b"Bearer cbat_1")),
    "a key in its own header": (KEY, "x-api-key", (b"x-api-key", b"cbat_1")),
}


@pytest.fixture
async def other() -> AsyncIterator[RawServer]:
    """Where the redirect leads."""
    async with serving(answer("{}")) as server:
        yield server


@pytest.mark.row("A33")
@pytest.mark.parametrize("credential", CREDENTIALS)
async def test_a_redirect_that_is_not_followed_is_handed_over(other: RawServer, credential: str) -> None:
    """The client does not follow: the caller has the answer, and may go there by hand, without the credential."""
    lent, keys, (name, value) = CREDENTIALS[credential]
    async with (
        serving(answer("", "302 Found", f"Location: {other.url}/file\r\n")) as vendor,
        httpx2.AsyncClient() as http,
    ):
        found = await http.get(f"{vendor.url}/x", auth=auth_for(vendor.url, lent, keys))
        assert found.status_code == 302
        assert found.next_request is not None
        assert (await http.send(found.next_request)).status_code == 200
    assert vendor.peers[0].head[name.decode().lower()] == value.decode()
    assert not {"authorization", "x-api-key"} & set(other.peers[0].head)


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


class Untold(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """A transport that knows no `trace`: the vendor redirects to itself, then elsewhere. `sent` is all that left."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[tuple[bytes, bytes]]]] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        leaving = [(name, value) for name, value in request.headers.raw if b"A-1" in value or b"cbat_1" in value]
        self.sent.append((str(request.url), leaving))
        to = {"/x": "https://hotels.example/y", "/y": "https://evil.example/"}.get(request.url.path)
        return httpx2.Response(302, headers={"Location": to}) if to else httpx2.Response(200)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return self.handle_request(request)


async def sent(request: httpx2.Request, transport: Untold, auth: CloudbedsAuth, *, blocking: bool) -> None:
    """By a client of either kind, told to follow redirects."""
    if blocking:
        with httpx2.Client(transport=transport, follow_redirects=True) as http:
            http.send(request, auth=auth)
    else:
        async with httpx2.AsyncClient(transport=transport, follow_redirects=True) as later:
            await later.send(request, auth=auth)


@pytest.mark.row("A33")
@pytest.mark.parametrize("credential", CREDENTIALS)
@pytest.mark.parametrize("blocking", [False, True])
async def test_a_transport_that_tells_nothing(blocking: bool, credential: str) -> None:
    """What it already sent elsewhere carried no credential, whichever header that travels in, and the error is ours."""
    lent, keys, header = CREDENTIALS[credential]
    transport, auth = Untold(), auth_for("https://hotels.example", lent, keys)
    request = httpx2.Request("GET", "https://hotels.example/x")
    with pytest.raises(ForeignOrigin, match=r"evil\.example"):
        await sent(request, transport, auth, blocking=blocking)
    (first, led, elsewhere) = transport.sent
    assert first == ("https://hotels.example/x", [header])
    assert led == ("https://hotels.example/y", [(b"Authorization", b"Bearer " + lent.reveal().encode())])
    assert elsewhere == ("https://evil.example/", [])
    assert pickle.loads(pickle.dumps(request)).headers.raw == request.headers.raw
    assert header in request.headers.raw


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


@pytest.mark.parametrize(
    ("accepted", "sent"), [("gzip, br, zstd", "gzip"), ("br", "identity"), ("deflate;q=0.5, *", "deflate;q=0.5")]
)
async def test_an_answer_is_asked_for_that_can_be_looked_into(accepted: str, sent: str) -> None:
    """A client that unpacks brotli would be answered so, and a refusal in it would teach the connection nothing."""
    async with serving(answer("{}")) as vendor, httpx2.AsyncClient() as http:
        await http.get(f"{vendor.url}/x", auth=auth_for(vendor.url), headers={"Accept-Encoding": accepted})
    assert vendor.peers[0].head["accept-encoding"] == sent


async def test_a_request_that_accepts_what_it_likes_stays_so() -> None:
    """Without the header nothing is added."""
    async with serving(answer("{}")) as vendor, httpx2.AsyncClient() as http:
        request = http.build_request("GET", f"{vendor.url}/x")
        del request.headers["accept-encoding"]
        await http.send(request, auth=auth_for(vendor.url))
    assert "accept-encoding" not in vendor.peers[0].head
