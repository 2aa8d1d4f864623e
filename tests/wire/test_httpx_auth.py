"""What drives httpx2 and httpx, where the client follows redirects by itself; tests/contrib has the rest."""

from __future__ import annotations

import asyncio
import pickle
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest
from tests.wire.certificates import Authority
from tests.wire.rawserver import RawServer, Respond, answer, serving, tunnelling

from cloudbeds_auth.errors import ForeignOrigin, OutcomeUnknown, TokenEndpointUnavailable
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.wire.httpx_auth import ClientAuth, CloudbedsAuth, Library
from cloudbeds_auth.wire.lender import Lender

TOKEN = AccessToken(Secret("A-1"), datetime.now(UTC), 1, grant_id="g")


KEY = AccessToken(Secret("cbat_1"), None, 1, grant_id="g")


class OlderAuth(ClientAuth[httpx.Request, httpx.Response], httpx.Auth):
    """As `contrib.httpx` has it, over a lender of the test's own."""

    library = Library(httpx)


AUTHS: dict[ModuleType, Callable[..., Any]] = {httpx2: CloudbedsAuth, httpx: OlderAuth}


@pytest.fixture(params=AUTHS, ids=lambda library: library.__name__)
def library(request: pytest.FixtureRequest) -> Any:
    """The client's module."""
    return request.param


def auth_for(library: ModuleType, base_url: str, lent: AccessToken = TOKEN, keys: str = "bearer") -> Any:
    """Lends one credential, for this origin."""

    async def fetch(rejected: AccessToken | None) -> AccessToken:
        return lent

    lender = Lender(fetch, lambda rejected: lent, lambda *call: None, keys=keys)
    return AUTHS[library](base_url, lender, replay_limit=0)


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
async def test_a_redirect_that_is_not_followed_is_handed_over(other: RawServer, library: Any, credential: str) -> None:
    """The client does not follow: the caller has the answer, and may go there by hand, without the credential."""
    lent, keys, (name, value) = CREDENTIALS[credential]
    async with (
        serving(answer("", "302 Found", f"Location: {other.url}/file\r\n")) as vendor,
        library.AsyncClient() as http,
    ):
        found = await http.get(f"{vendor.url}/x", auth=auth_for(library, vendor.url, lent, keys))
        assert found.status_code == 302
        assert found.next_request is not None
        assert (await http.send(found.next_request)).status_code == 200
    assert vendor.peers[0].head[name.decode().lower()] == value.decode()
    assert not {"authorization", "x-api-key"} & set(other.peers[0].head)


@pytest.mark.row("A33")
async def test_a_location_that_is_no_address(library: Any) -> None:
    """The client says so in its own words, and goes nowhere."""
    async with (
        serving(answer("", "302 Found", "Location: http://[::1/x\r\n")) as vendor,
        library.AsyncClient(follow_redirects=True) as http,
    ):
        with pytest.raises(library.RemoteProtocolError):
            await http.get(f"{vendor.url}/x", auth=auth_for(library, vendor.url))
    assert len(vendor.peers) == 1


@pytest.mark.row("A33")
@pytest.mark.parametrize("credential", CREDENTIALS)
async def test_a_hook_that_changes_the_address(other: RawServer, library: Any, credential: str) -> None:
    """A client's hook is called when the credential is in the request: nothing of it is sent to another origin."""
    lent, keys, _ = CREDENTIALS[credential]

    async def hook(request: Any) -> None:
        request.url = library.URL(f"{other.url}/x")

    async with library.AsyncClient(event_hooks={"request": [hook]}) as http:
        with pytest.raises(ForeignOrigin, match=other.url):
            await http.get("https://hotels.example/x", auth=auth_for(library, "https://hotels.example", lent, keys))
    assert not other.peers


class Untold:
    """A transport that knows no `trace`: the vendor redirects to itself, then elsewhere. `sent` is all that left."""

    def __init__(self, library: ModuleType) -> None:
        self.sent: list[tuple[str, list[tuple[bytes, bytes]]]] = []
        self.transport: Any = library.MockTransport(self._answer)
        self._response = library.Response

    def _answer(self, request: Any) -> Any:
        leaving = [(name, value) for name, value in request.headers.raw if b"A-1" in value or b"cbat_1" in value]
        self.sent.append((str(request.url), leaving))
        to = {"/x": "https://hotels.example/y", "/y": "https://evil.example/"}.get(request.url.path)
        return self._response(302, headers={"Location": to}) if to else self._response(200)


async def sent(library: Any, request: Any, transport: Any, auth: Any, *, blocking: bool) -> None:
    """By a client of either kind, told to follow redirects."""
    if blocking:
        with library.Client(transport=transport, follow_redirects=True) as http:
            http.send(request, auth=auth)
    else:
        async with library.AsyncClient(transport=transport, follow_redirects=True) as later:
            await later.send(request, auth=auth)


@pytest.mark.row("A33")
@pytest.mark.parametrize("credential", CREDENTIALS)
@pytest.mark.parametrize("blocking", [False, True])
async def test_a_transport_that_tells_nothing(library: Any, blocking: bool, credential: str) -> None:
    """What it already sent elsewhere carried no credential, whichever header that travels in, and the error is ours."""
    lent, keys, header = CREDENTIALS[credential]
    untold, auth = Untold(library), auth_for(library, "https://hotels.example", lent, keys)
    request = library.Request("GET", "https://hotels.example/x")
    with pytest.raises(ForeignOrigin, match=r"evil\.example"):
        await sent(library, request, untold.transport, auth, blocking=blocking)
    (first, led, elsewhere) = untold.sent
    assert first == ("https://hotels.example/x", [header])
    assert led == ("https://hotels.example/y", [(b"Authorization", b"Bearer " + lent.reveal().encode())])
    assert elsewhere == ("https://evil.example/", [])
    assert pickle.loads(pickle.dumps(request)).headers.raw == request.headers.raw
    assert header in request.headers.raw


async def posted(library: Any, url: str, auth: Any, *, blocking: bool, **how: Any) -> Any:
    """The answer to a POST of `url`, by a client of either kind that follows redirects."""

    def post() -> Any:
        with library.Client(follow_redirects=True, **how) as http:
            return http.post(url, auth=auth, content=b"a guest's name")

    if blocking:
        return await asyncio.to_thread(post)
    async with library.AsyncClient(follow_redirects=True, **how) as later:
        return await later.post(url, auth=auth, content=b"a guest's name")


@pytest.mark.row("A33")
@pytest.mark.parametrize("blocking", [False, True])
async def test_a_redirect_through_a_proxys_tunnel(tmp_path: Path, library: Any, blocking: bool) -> None:
    """The proxy's own answer, to CONNECT, is not taken for the vendor's: no byte goes where that redirects to, not even
    a connection is asked for. Within the origin it is followed.
    """
    authority = Authority(tmp_path)
    trusted = ssl.create_default_context(cafile=str(authority.path))
    tls = authority.server("127.0.0.1")
    async with (
        tunnelling() as proxy,
        serving(answer("{}"), tls=tls) as other,
        serving(
            answer("", "307 Temporary Redirect", "Location: /there\r\n"),
            answer("", "307 Temporary Redirect", f"Location: {other.url}/elsewhere\r\n"),
            tls=tls,
        ) as vendor,
    ):
        way = library.HTTPTransport if blocking else library.AsyncHTTPTransport
        through = way(verify=trusted, proxy=library.Proxy(proxy.url))
        with pytest.raises(ForeignOrigin, match=other.url):
            await posted(
                library, f"{vendor.url}/here", auth_for(library, vendor.url), blocking=blocking, transport=through
            )
    assert [peer.line for peer in vendor.peers] == ["POST /here", "POST /there"]
    assert other.connections == 0
    assert set(proxy.asked) == {f"CONNECT 127.0.0.1:{vendor.port}"}


def redirect(status: str) -> Respond:
    """To `/there`, within the origin."""
    return answer("", status, "Location: /there\r\n")


REFUSED = answer("{}", "401 Unauthorized")


@pytest.mark.row("F41")
@pytest.mark.parametrize("status", ["303 See Other", "302 Found", "301 Moved Permanently"])
@pytest.mark.parametrize("healed", [True, False], ids=["a newer token", "none"])
@pytest.mark.parametrize("blocking", [False, True])
async def test_a_write_whose_redirect_led_to_a_401(library: Any, blocking: bool, healed: bool, status: str) -> None:
    """The token was rotated between the two requests: the POST was carried out, and is not sent again. It is counted as
    it was answered. A newer token is fetched for the next call; where there is none, that is not what is raised.
    """
    noted: list[tuple[str, str, int]] = []
    asked: list[AccessToken | None] = []

    def fetch_blocking(rejected: AccessToken | None) -> AccessToken:
        asked.append(rejected)
        if rejected is not None and not healed:
            raise TokenEndpointUnavailable
        return TOKEN

    async def fetch(rejected: AccessToken | None) -> AccessToken:
        return fetch_blocking(rejected)

    lender = Lender(fetch, fetch_blocking, lambda token, *call: noted.append(call))
    async with serving(redirect(status), REFUSED, answer("{}")) as vendor:
        with pytest.raises(OutcomeUnknown, match="led to a 401"):
            await posted(
                library, f"{vendor.url}/here", AUTHS[library](vendor.url, lender, replay_limit=0), blocking=blocking
            )
    assert [peer.line for peer in vendor.peers] == ["POST /here", "GET /there"]
    assert noted == [("POST", "/here", int(status[:3]))]
    assert asked == [None, TOKEN]


async def test_a_write_that_a_redirect_repeats_and_a_401_refuses(library: Any) -> None:
    """Nothing was carried out: it is sent again from its beginning, as every request."""
    lent = iter([TOKEN, AccessToken(Secret("A-2"), datetime.now(UTC), 2, grant_id="g")])

    async def fetch(rejected: AccessToken | None) -> AccessToken:
        return next(lent)

    lender = Lender(fetch, lambda rejected: TOKEN, lambda *call: None)
    async with serving(redirect("307 Temporary Redirect"), REFUSED, answer("{}")) as vendor:
        auth = AUTHS[library](vendor.url, lender, replay_limit=0)
        assert (await posted(library, f"{vendor.url}/here", auth, blocking=False)).status_code == 200
    assert [peer.line for peer in vendor.peers] == ["POST /here", "POST /there", "POST /here"]


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_trace_of_the_users_own_is_told(library: Any, blocking: bool) -> None:
    """Everything that the transport tells reaches it, in order, and the request is left as it was given."""
    told: list[str] = []

    def tell(event: str, info: dict[str, Any]) -> None:
        told.append(event)

    async def tell_later(event: str, info: dict[str, Any]) -> None:
        told.append(event)

    async with serving(answer("{}")) as vendor:
        trace = tell if blocking else tell_later
        request = library.Request("GET", f"{vendor.url}/x", extensions={"trace": trace})
        if blocking:

            def send() -> None:
                with library.Client() as http:
                    http.send(request, auth=auth_for(library, vendor.url))

            await asyncio.to_thread(send)
        else:
            async with library.AsyncClient() as http:
                await http.send(request, auth=auth_for(library, vendor.url))
    assert told[0] == "connection.connect_tcp.started"
    assert "http11.receive_response_headers.complete" in told
    assert request.extensions["trace"] is trace


@pytest.mark.parametrize(
    ("accepted", "sent"), [("gzip, br, zstd", "gzip"), ("br", "identity"), ("deflate;q=0.5, *", "deflate;q=0.5")]
)
async def test_an_answer_is_asked_for_that_can_be_looked_into(library: Any, accepted: str, sent: str) -> None:
    """A client that unpacks brotli would be answered so, and a refusal in it would teach the connection nothing."""
    async with serving(answer("{}")) as vendor, library.AsyncClient() as http:
        await http.get(f"{vendor.url}/x", auth=auth_for(library, vendor.url), headers={"Accept-Encoding": accepted})
    assert vendor.peers[0].head["accept-encoding"] == sent


async def test_a_request_that_accepts_what_it_likes_stays_so(library: Any) -> None:
    """Without the header nothing is added."""
    async with serving(answer("{}")) as vendor, library.AsyncClient() as http:
        request = http.build_request("GET", f"{vendor.url}/x")
        del request.headers["accept-encoding"]
        await http.send(request, auth=auth_for(library, vendor.url))
    assert "accept-encoding" not in vendor.peers[0].head
