"""`vault.call`: where a call goes, and what it means when no answer comes."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from cloudbeds_auth.errors import Error, ForeignOrigin, InvalidRequest, OutcomeUnknown, UpstreamFailed
from cloudbeds_auth.rules.model import AccessToken, moment
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.wire import hotel_client
from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth
from cloudbeds_auth.wire.lender import Lender

BASE = "https://api.cloudbeds.com"


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/api/v1.2/getHotels", "/api/v1.2/getHotels"),
        ("userinfo", "/api/v1.3/userinfo"),
        ("getHotels?a=b", "/api/v1.3/getHotels?a=b"),
        (f"{BASE}/api/v1.3/userinfo?x=1", "/api/v1.3/userinfo?x=1"),
        ("HTTPS://API.cloudbeds.com:443/x", None),
        ("/x?next=https://evil.example/", "/x?next=https://evil.example/"),
        ("//evil.example/x", "/evil.example/x"),
        ("https:evil.example", "/api/v1.3/https:evil.example"),
    ],
)
def test_addresses(path: str, where: str | None) -> None:
    """A path, a bare method name, or an address of the vendor's; all of them at the vendor."""
    found = hotel_client.address(path, BASE, "v1.3")
    assert found == (path if where is None else BASE + where)
    assert httpx2.URL(found).host == "api.cloudbeds.com"


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example/",
        "http://api.cloudbeds.com/",
        f"{BASE}:8443/",
        f"{BASE}.evil.example/",
        f"{BASE}@evil.example/",
        f"{BASE}\\@evil.example/",
        "https://user@api.cloudbeds.com/",
        "ftp://api.cloudbeds.com/",
        "file:///etc/passwd",
        "https://[::1/",
    ],
)
def test_foreign_addresses(path: str) -> None:
    """Another scheme, host or port, however it is written, is refused before anything is sent."""
    with pytest.raises(ForeignOrigin, match=r"for https://api\.cloudbeds\.com"):
        hotel_client.address(path, BASE, "v1.3")


def lending() -> CloudbedsAuth:
    """A credential that is always there."""
    token = AccessToken(Secret("A-1"), moment(2e9), 1)

    async def fetch(rejected: AccessToken | None) -> AccessToken:
        return token

    return CloudbedsAuth(BASE, Lender(fetch, lambda rejected: token, lambda *call: None), replay_limit=0)


async def failing(method: str, error: Exception) -> Error:
    """What `call` makes of a failure of the network."""

    def fail(request: httpx2.Request) -> httpx2.Response:
        raise error

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(fail)) as http:
        with pytest.raises(Error) as caught:
            await hotel_client.call(http, lending(), method, f"{BASE}/x", {})
    return caught.value


NOT_SENT = [
    lambda: httpx2.ConnectError("refused"),
    lambda: httpx2.ConnectTimeout("too long"),
    lambda: httpx2.PoolTimeout("none free"),
    lambda: httpx2.LocalProtocolError("a header"),
]
NO_ANSWER = [
    lambda: httpx2.ReadTimeout("too long"),
    lambda: httpx2.ReadError("reset"),
    lambda: httpx2.WriteError("reset"),
    lambda: httpx2.WriteTimeout("too long"),
    lambda: httpx2.RemoteProtocolError("gone"),
    lambda: httpx2.DecodingError("not gzip"),
    lambda: ConnectionResetError(),
    lambda: TimeoutError(),
]


def named(make: Callable[[], Exception]) -> str:
    return type(make()).__name__


@pytest.mark.parametrize("method", ["GET", "POST", "delete"])
@pytest.mark.parametrize("make", NOT_SENT, ids=named)
async def test_nothing_was_sent(method: str, make: Callable[[], Exception]) -> None:
    """A failure, whatever was asked for: the vendor cannot have acted."""
    error = await failing(method, make())
    assert type(error) is UpstreamFailed
    assert "cannot be reached" in error.detail


@pytest.mark.parametrize("make", NO_ANSWER, ids=named)
async def test_no_answer_came(make: Callable[[], Exception]) -> None:
    """Reading failed; a write may have arrived, and that is what is said."""
    for method in ("GET", "head", "OPTIONS"):
        assert type(await failing(method, make())) is UpstreamFailed
    for method in ("POST", "PUT", "patch", "DELETE"):
        assert type(await failing(method, make())) is OutcomeUnknown


async def test_an_address_that_cannot_be() -> None:
    """Control characters in a path are the caller's to mend."""
    async with httpx2.AsyncClient() as http:
        with pytest.raises(InvalidRequest):
            await hotel_client.call(http, lending(), "GET", f"{BASE}/a\nb", {})


@pytest.mark.parametrize("client", ["vault.call", "a lent client"])
async def test_a_redirect_is_an_answer(client: str) -> None:
    """Also where the caller says that it should be followed: the POST was carried out, and where the next connection
    fails nobody is told that nothing was sent.
    """
    sent: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(f"{request.method} {request.url.path}")
        if len(sent) > 1:
            raise httpx2.ConnectError("refused")
        return httpx2.Response(303, headers={"Location": "/there"})

    transport = httpx2.MockTransport(answer)
    if client == "vault.call":
        async with httpx2.AsyncClient(transport=transport) as http:
            got = await hotel_client.call(http, lending(), "POST", f"{BASE}/x", {"follow_redirects": True})
    else:
        async with hotel_client.HotelClient(transport=transport, auth=lending(), follow_redirects=True) as lent:
            got = await lent.post(f"{BASE}/x", follow_redirects=True)
    assert got.status_code == 303
    assert sent == ["POST /x"]


async def test_an_answer() -> None:
    """Passed on as it is, a refusal too, the credential added."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["Authorization"] == "Bearer A-1"
        return httpx2.Response(403, text=request.url.query.decode())

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        got = await hotel_client.call(http, lending(), "GET", f"{BASE}/x", {"params": {"a": "1"}})
    assert (got.status_code, got.text) == (403, "a=1")
