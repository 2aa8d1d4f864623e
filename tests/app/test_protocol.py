"""Raw bytes at the server that `serve` uses: sizes, shapes and framings of a request's head."""

from __future__ import annotations

import asyncio

import pytest
from tests.app.fake_vault import ADMIN_TOKEN, FakeVault
from tests.app.running import Running, Vendor, raw

from cloudbeds_auth.app import protocol

HEAD = f"Host: localhost\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n".encode()


def post(extra: bytes, body: bytes = b"") -> bytes:
    return b"POST /proxy/con_1/x HTTP/1.1\r\n" + HEAD + extra + b"\r\n" + body


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
        post(b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", b"0\r\n\r\n"),
        post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n"),
        post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
        post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
        post(b"Content-Length: 1\r\nContent-Length: 2\r\n", b"ab"),
        post(b"Content-Length: 1\r\nContent-Length: 1\r\n", b"a"),
        post(b"Content-Length: +1\r\n", b"a"),
        post(b"Content-Length: 0x1\r\n", b"a"),
        post(b"Content-Length: -1\r\n", b"a"),
        post(b"Content-Length : 1\r\n", b"a"),
        post(b" Folded: x\r\n"),
        post(b"X: a\r\n folded\r\n"),
        post(b"Bad Name: x\r\n"),
        post(b"Authorization : x\r\n"),
        post(b"X: a\x00b\r\n"),
        post(b": x\r\n"),
        b"GET /healthz HTTP/1.1\nHost: localhost\n\n",
        b"GET http://evil/healthz HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET http://localhost/healthz HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET //evil/x HTTP/1.1\r\n" + b"Host: evil\r\n\r\n",
        b"GET /proxy/con_1/x#frag HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET /proxy/con_1/x y HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET * HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET evil HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET /x HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n" + HEAD + b"\r\n",
    ],
)
async def test_malformed(service: Running[FakeVault], vendor: Vendor, request_bytes: bytes) -> None:
    """What two parsers could read differently is refused, the connection closed, and nothing sent on."""
    answer = await raw(service, request_bytes)
    assert answer.split(b" ", 2)[1] in {b"400", b"421"}
    assert answer.count(b"HTTP/1.1 ") == 1
    assert vendor.seen == []


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n", b"414"),
        (post(b"X: " + b"x" * 70_000 + b"\r\n"), b"431"),
        (post(b"".join(b"X-%d: x\r\n" % number for number in range(120))), b"431"),
    ],
)
async def test_too_large(service: Running[FakeVault], request_bytes: bytes, status: bytes) -> None:
    """A head is bounded: its address, the number of its headers, and their size."""
    assert (await raw(service, request_bytes)).split(b" ", 2)[1] == status


async def test_bad_chunk_tail(service: Running[FakeVault], vendor: Vendor) -> None:
    """A body whose chunks are malformed is never sent on as a whole request."""
    answer = await raw(service, post(b"Transfer-Encoding: chunked\r\n", b"3\r\nabcX\r\n0\r\n\r\n"))
    assert b" 200 " not in answer.split(b"\r\n")[0]
    assert vendor.seen == []


async def test_pipelined(service: Running[FakeVault], vendor: Vendor) -> None:
    """Two well-formed requests on one connection get two answers, in their order."""
    answer = await raw(
        service, post(b"Content-Length: 1\r\n", b"a") + post(b"Content-Length: 2\r\nConnection: close\r\n", b"bb")
    )
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert [seen.body for seen in vendor.seen] == [b"a", b"bb"]


async def test_slow_head(service: Running[FakeVault], monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that does not come to an end is cut off; one on a later request of the connection too."""
    monkeypatch.setattr(protocol, "HEAD_WITHIN", 0.05)
    for first in (b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(first + b"GET /healthz HTTP/1.1\r\nHo")
        async with asyncio.timeout(30):
            try:
                answer = await reader.read()
            except ConnectionResetError:
                answer = b""
        assert answer.count(b"HTTP/1.1 ") <= (1 if first else 0)
        writer.close()


async def test_one_endless_header(service: Running[FakeVault]) -> None:
    """A header that never ends is cut off before it fills the memory."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
    sent = 0
    try:
        async with asyncio.timeout(30):
            while sent < 64 * 1024 * 1024:
                writer.write(b"x" * 16384)
                await writer.drain()
                await asyncio.sleep(0)
                sent += 16384
    except ConnectionError:
        pass
    assert sent < 64 * 1024 * 1024
    writer.close()
    assert reader is not None


async def test_trailers_are_dropped(service: Running[FakeVault], vendor: Vendor) -> None:
    """A trailer is no header: neither we nor the vendor see it."""
    body = b"1\r\na\r\n0\r\nX-Property-ID: 99\r\nAuthorization: Bearer x\r\n\r\n"
    head = b"Connection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-Property-ID\r\n"
    answer = await raw(service, post(head, body))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert vendor.seen[0].body == b"a"
    assert vendor.seen[0].header("x-property-id") is None
