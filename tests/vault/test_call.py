"""`vault.call`: where a call goes, and what it means when no answer comes."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

import h11
import httpx2
import pytest
from tests.wire.rawserver import Peer, serving
from tests.wire.rawserver import answer as answer_with

from cloudbeds_auth import Settings, TokenVault
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


def lending(base_url: str = BASE) -> CloudbedsAuth:
    """A credential that is always there."""
    token = AccessToken(Secret("A-1"), moment(2e9), 1)

    async def fetch(rejected: AccessToken | None) -> AccessToken:
        return token

    return CloudbedsAuth(base_url, Lender(fetch, lambda rejected: token, lambda *call: None), replay_limit=0)


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
    lambda: h11.LocalProtocolError("too much data"),
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


async def posted(transport: httpx2.AsyncBaseTransport | None, url: str, client: str, **parts: Any) -> httpx2.Response:
    """The answer to a POST by `vault.call`, or by a client that was lent."""
    if client == "vault.call":
        async with httpx2.AsyncClient(transport=transport) as http:
            return await hotel_client.call(http, lending(url), "POST", f"{url}/x", parts)
    async with hotel_client.HotelClient(transport=transport, auth=lending(url)) as lent:
        return await lent.post(f"{url}/x", **parts)


CALLING = pytest.mark.parametrize("client", ["vault.call", "a lent client"])


@CALLING
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

    got = await posted(httpx2.MockTransport(answer), BASE, client, follow_redirects=True)
    assert got.status_code == 303
    assert sent == ["POST /x"]


@CALLING
@pytest.mark.parametrize("kind", [lambda: io.BytesIO(b"ab"), lambda: iter([b"a", b"b"])], ids=["file", "iterator"])
async def test_a_body_that_is_read_by_blocking(client: str, kind: Callable[[], Any]) -> None:
    """As an asynchronous one. That of a file has its length, and so may be kept for another sending."""
    lengths: list[str | None] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        lengths.append(request.headers.get("Content-Length"))
        return httpx2.Response(200, content=request.content)

    content = kind()
    got = await posted(httpx2.MockTransport(answer), BASE, client, content=content)
    assert got.content == b"ab"
    assert lengths == ["2" if isinstance(content, io.BytesIO) else None]


async def test_a_body_that_waits() -> None:
    """It is read on one thread, not the loop's, which goes on; what it raises is raised."""
    threads: set[str] = set()
    loop, going_on = asyncio.get_running_loop(), threading.Event()

    def parts() -> Iterator[bytes]:
        for part in (b"a", b"b"):
            threads.add(threading.current_thread().name)
            loop.call_soon_threadsafe(going_on.set)
            assert going_on.wait(60)
            going_on.clear()
            yield part
        raise ZeroDivisionError

    async with serving(answer_with("{}")) as server:
        with pytest.raises(ZeroDivisionError):
            await posted(None, server.url, "vault.call", content=parts())
    assert threads == {"cloudbeds-auth-body"}


@CALLING
@pytest.mark.parametrize("said", ["1", "3"], ids=["longer", "shorter"])
async def test_a_body_of_another_length_than_was_said(client: str, said: str) -> None:
    """The vendor has its head already: what it made of that is not known."""
    async with serving(answer_with("{}")) as server:
        with pytest.raises(OutcomeUnknown, match="Content-Length"):
            await posted(None, server.url, client, content=b"ab", headers={"Content-Length": said})


async def test_an_answer() -> None:
    """Passed on as it is, a refusal too, the credential added."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["Authorization"] == "Bearer A-1"
        return httpx2.Response(403, text=request.url.query.decode())

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        got = await hotel_client.call(http, lending(), "GET", f"{BASE}/x", {"params": {"a": "1"}})
    assert (got.status_code, got.text) == (403, "a=1")


@pytest.mark.parametrize(("method", "error"), [("POST", OutcomeUnknown), ("GET", UpstreamFailed)])
async def test_under_way_when_the_vault_is_closed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, method: str, error: type[Error]
) -> None:
    """The vault's own work is finished before it closes; a call is cut off, and what came of a write is not known."""
    arrived, may_end, ended = asyncio.Event(), asyncio.Event(), list[str]()

    async def silent(peer: Peer) -> None:
        arrived.set()
        await peer.gone()

    async def runs() -> None:
        await may_end.wait()
        ended.append("the vault's own work")

    async with serving(silent) as server:
        settings = settings.model_copy(update={"base_url": server.url})
        async with TokenVault.open(settings) as vault:
            monkeypatch.setattr(vault, "auth", lambda connection_id: lending(server.url))
            calling = asyncio.create_task(vault.call("con_1", method, f"{settings.base_url}/x"))
            await arrived.wait()
            vault.engine.world.tasks.begin("runs", runs)
            closing = asyncio.create_task(vault.aclose())
            await asyncio.sleep(0)
            assert not calling.done()
            may_end.set()
            await closing
            assert ended == ["the vault's own work"]
            with pytest.raises(error):
                await calling
