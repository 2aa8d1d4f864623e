"""Raw bytes at the server that `serve` uses: sizes, shapes and framings of a request's head."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web
from tests.app.running import Running, Vendor, a_service, raw
from tests.app.vaults import ADMIN_TOKEN, RealVault

from cloudbeds_auth.app.limits import Limits

HEAD = f"Host: localhost\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n".encode()


def post(extra: bytes, body: bytes = b"") -> bytes:
    return b"POST /proxy/con_1/api/x HTTP/1.1\r\n" + HEAD + extra + b"\r\n" + body


@pytest.mark.row("A29", "A36", "A37", "A38")
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
        b"GET /proxy/con_1/api/x#frag HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET /proxy/con_1/api/x y HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET * HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET evil HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET /x HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n" + HEAD + b"\r\n",
    ],
)
async def test_malformed(service: Running[RealVault], vendor: Vendor, request_bytes: bytes) -> None:
    """What two parsers could read differently is refused, the connection closed, and nothing sent on."""
    answer = await raw(service, request_bytes)
    assert answer.split(b" ", 2)[1] in {b"400", b"421"}
    assert answer.count(b"HTTP/1.1 ") == 1
    assert vendor.seen == []


@pytest.mark.row("A40")
@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n", b"414"),
        (post(b"X: " + b"x" * 70_000 + b"\r\n"), b"431"),
        (post(b"".join(b"X-%d: x\r\n" % number for number in range(120))), b"431"),
    ],
)
async def test_too_large(service: Running[RealVault], request_bytes: bytes, status: bytes) -> None:
    """A head is bounded: its address, the number of its headers, and their size."""
    assert (await raw(service, request_bytes)).split(b" ", 2)[1] == status


@pytest.mark.row("A67")
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"),
        b"GET /healthz HTTP/2\r\n" + HEAD + b"\r\n",
        post(b":method: GET\r\n:path: /healthz\r\n"),
        b"GET /healthz HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n"
        + HEAD + b"\r\n",
    ],
    ids=["preface", "version", "pseudo headers", "h2c"],
)  # fmt: skip
async def test_http_2_is_not_spoken(service: Running[RealVault], vendor: Vendor, request_bytes: bytes) -> None:
    """So none of its tricks is tried here: 400, and closed."""
    answer = await raw(service, request_bytes)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert vendor.seen == []


@pytest.mark.parametrize(
    ("request_bytes", "status", "title"),
    [
        (b"GET http://a/ HTTP/1.1\r\n" + HEAD + b"\r\n", 400, "The request cannot be served"),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n", 414, "The address that was asked for"),
        (post(b"X: " + b"x" * 70_000 + b"\r\n"), 431, "The request has more headers"),
    ],
)
async def test_a_request_that_is_not_read_is_told_why(
    service: Running[RealVault], request_bytes: bytes, status: int, title: str
) -> None:
    """By a problem document, as every refusal of ours, with the headers of every answer of ours."""
    head, _, body = (await raw(service, request_bytes)).partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (status, "invalid_request")
    assert problem["type"] == "/errors/invalid_request"
    assert problem["title"].startswith(title)
    assert {b"content-type: application/problem+json", b"cache-control: no-store"} < {*head.split(b"\r\n")}


async def test_what_is_no_request(service: Running[RealVault]) -> None:
    """Its refusal arrives although more of it is on the way, and carries our code."""
    answer = await raw(service, b"\x16\x03\x01" + b"x" * 100_000)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"x-cloudbeds-auth-code: invalid_request\r\n" in answer


@pytest.mark.row("A37")
async def test_bad_chunk_tail(service: Running[RealVault], vendor: Vendor) -> None:
    """A body whose chunks are malformed is never sent on as a whole request."""
    answer = await raw(service, post(b"Transfer-Encoding: chunked\r\n", b"3\r\nabcX\r\n0\r\n\r\n"))
    assert b" 200 " not in answer.split(b"\r\n")[0]
    assert vendor.seen == []


async def test_pipelined(service: Running[RealVault], vendor: Vendor) -> None:
    """Two well-formed requests on one connection get two answers, in their order."""
    answer = await raw(
        service, post(b"Content-Length: 1\r\n", b"a") + post(b"Content-Length: 2\r\nConnection: close\r\n", b"bb")
    )
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert [seen.body for seen in vendor.seen] == [b"a", b"bb"]


@pytest.mark.row("A41")
async def test_slow_head(vault: RealVault) -> None:
    """A head that does not come to an end is cut off; one on a later request of the connection too."""
    async with a_service(vault, limits=Limits(head=0.05)) as service:
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


@pytest.mark.row("A40")
async def test_one_endless_header(service: Running[RealVault]) -> None:
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


@pytest.mark.row("A37")
async def test_trailers_are_dropped(service: Running[RealVault], vendor: Vendor) -> None:
    """A trailer is no header: neither we nor the vendor see it."""
    body = b"1\r\na\r\n0\r\nX-Property-ID: 99\r\nAuthorization: Bearer x\r\n\r\n"
    head = b"Connection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-Property-ID\r\n"
    answer = await raw(service, post(head, body))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert vendor.seen[0].body == b"a"
    assert vendor.seen[0].header("x-property-id") is None


CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.row("A37")
@pytest.mark.parametrize(
    "body",
    [
        b"1;" + b"x" * 30_000 + b"\r\na\r\n0\r\n\r\n",
        b"1;" + b"x" * 1_000_000 + b"\r\na\r\n0\r\n\r\n",
        b'1;name="' + b"x" * 1_000_000 + b'"\r\na\r\n0\r\n\r\n',
        b"1;" + b"x" * 1_000_000,
        b"1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\na\r\n" * 1000 + b"0\r\n\r\n",
        b"1\r\na\r\n0;" + b"x" * 1_000_000 + b"\r\n\r\n",
        b"1\r\na\r\n0\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n",
        b"1\r\na\r\n0\r\nX: " + b"x" * 1_000_000,
        b"1\r\na\r\n0\r\n" + b"X: x\r\n" * 10_000 + b"\r\n",
        b"1\r\na\r\n" + b"0" * 1_000_000,
    ],
    ids=[
        "30 KB",
        "1 MB",
        "quoted",
        "endless",
        "many small ones",
        "of the last chunk",
        "a trailer",
        "an endless trailer",
        "trailers",
        "zeros",
    ],
)
async def test_what_is_beside_the_body(service: Running[RealVault], vendor: Vendor, body: bytes) -> None:
    """Chunk extensions and trailers, which are not read, are bounded: 400, closed, nothing sent on."""
    answer = await raw(service, post(CHUNKED, body))
    assert answer.split(b" ", 2)[1] in {b"400", b"431"}
    assert b"connection: close" in answer.lower()
    assert answer.count(b"HTTP/1.1 ") == 1
    assert vendor.seen == []


@pytest.mark.row("A37")
@pytest.mark.parametrize(
    ("body", "size"),
    [
        (b"1;name=value\r\na\r\n0\r\n\r\n", 1),
        (b"1;" + b"x" * 10_000 + b"\r\na\r\n0\r\n\r\n", 1),
        (b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n", 20_000),
        (b"0000000000000001\r\na\r\n" * 100 + b"0\r\n\r\n", 100),
    ],
    ids=["a small one", "10 KB", "tiny chunks", "leading zeros"],
)
async def test_chunks_as_they_may_be(service: Running[RealVault], vendor: Vendor, body: bytes, size: int) -> None:
    """A recipient ignores extensions that it does not know (RFC 9112 section 7.1.1), and takes chunks of any size."""
    answer = await raw(service, post(CHUNKED + b"Connection: close\r\n", body))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert [len(seen.body) for seen in vendor.seen] == [size]


@pytest.mark.row("A37")
async def test_beside_a_body_that_streams(service: Running[RealVault], vendor: Vendor) -> None:
    """Where the vendor has half of the request already, it never gets the other half."""
    begun = b"%x\r\n" % 100_000 + b"x" * 100_000 + b"\r\n"
    answer = await raw(service, post(CHUNKED, begun + b"1;" + b"x" * 1_000_000 + b"\r\na\r\n0\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert vendor.seen == []


async def test_a_malformed_request_behind_one_that_is_answered(service: Running[RealVault], vendor: Vendor) -> None:
    """The refusal of the second does not come in the middle of the first's answer."""

    async def slowly(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "4"})
        await answer.prepare(request)
        await answer.write(b"ab")
        await gate.wait()
        await answer.write(b"cd")
        return answer

    gate = asyncio.Event()
    vendor.answer = slowly
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(post(b"Content-Length: 1\r\n", b"a"))
    begun = await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2)
    writer.write(b"nonsense\r\n\r\n")
    gate.set()
    try:
        rest = await reader.read()
    except ConnectionResetError:
        rest = b""
    assert begun.startswith(b"HTTP/1.1 200 ")
    assert b"400" not in rest
    writer.close()
