"""Streams through `/proxy`: nobody is read faster than the other side reads, connections are kept, patience ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from tests.app.running import AS_ADMIN, Running, Vendor, a_service, raw
from tests.app.vaults import RealVault, given
from tests.wire import rawserver

PART = b"x" * 65536
PARTS = 2048  # 128 MiB
# What the kernel and the libraries hold between two slow ends: two hops of socket buffers, and nothing that grows.
MOST_BETWEEN = 64 * 1024 * 1024
SLOWLY = 40  # turns of the loop that everybody else has for one of the slow side's


async def fall_behind() -> None:
    """Let everybody else run as far as they can."""
    for _ in range(SLOWLY):
        await asyncio.sleep(0)


@pytest.mark.row("A40")
async def test_a_slow_caller_slows_the_vendor_down(service: Running[RealVault], vendor: Vendor) -> None:
    """128 MiB, read slowly: what was taken from the vendor and not yet by the caller stays within socket buffers."""
    sent = read = most = 0

    async def pour(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(PARTS):
            await answer.write(PART)
            sent += len(PART)
        return answer

    vendor.answer = pour
    async with service.http.get(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN, read_bufsize=4096) as answer:
        while part := await answer.content.read(65536):
            read += len(part)
            most = max(most, sent - read)
            await fall_behind()
    assert read == PARTS * len(PART)
    assert 0 < most < MOST_BETWEEN


@pytest.mark.row("A40")
async def test_a_slow_vendor_slows_the_caller_down(vendor: Vendor) -> None:
    """128 MiB, read slowly at the vendor: what the caller got rid of and the vendor did not get stays bounded."""
    sent = read = most = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(PARTS):
            sent += len(PART)
            yield PART

    async def sip(request: web.Request) -> web.StreamResponse:
        nonlocal read, most
        while part := await request.content.read(65536):
            read += len(part)
            most = max(most, sent - read)
            await fall_behind()
        return web.Response()

    vendor.before = sip
    vault = RealVault(given(base_url=vendor.base_url, body_limit=PARTS * len(PART)))
    async with (
        a_service(vault) as service,
        service.http.post(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN, data=body()) as answer,
    ):
        assert answer.status == 200
    assert read == PARTS * len(PART)
    assert 0 < most < MOST_BETWEEN


async def test_a_small_answer_goes_out_together(service: Running[RealVault]) -> None:
    """Head and body in one piece, so that what waits for it wakes once."""
    request = "GET /proxy/con_1/api/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: {Authorization}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port)) as caller:
        for _ in range(10):
            waits = asyncio.create_task(asyncio.to_thread(caller.recv, 65536))
            caller.sendall(request.format(**AS_ADMIN).encode())
            piece = await waits
            assert piece.startswith(b"HTTP/1.1 200 ")
            assert piece.endswith(b'\r\n\r\n{"method": "GET", "size": 0}')


async def test_connections_to_the_vendor_are_kept(service: Running[RealVault], vendor: Vendor) -> None:
    """One for calls that follow each other, whatever their method; for calls at once no more than there are of them."""
    peers: list[object] = []

    async def noted(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        return web.json_response({})

    async def call(method: str) -> None:
        url = f"{service.url}/proxy/con_1/api/x"
        async with service.http.request(method, url, headers=AS_ADMIN, data=b"y") as answer:
            assert answer.status == 200
            await answer.read()

    vendor.answer = noted
    for method in ("GET", "POST", "PUT", "DELETE") * 5:
        await call(method)
    assert (len(peers), len(set(peers))) == (20, 1)
    for _ in range(4):
        await asyncio.gather(*(call("POST") for _ in range(16)))
    assert len(peers) == 20 + 64
    assert len(set(peers)) <= 16


async def test_a_connection_whose_answer_was_not_read_to_its_end_is_not_kept(
    service: Running[RealVault], vendor: Vendor
) -> None:
    """A refused attempt's answer, closed unread, is never taken for the next one's."""
    vendor.good = {"token-2"}
    for _ in range(3):
        async with service.http.post(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN, data=b"y") as answer:
            assert await answer.json() == {"method": "POST", "size": 1}


@pytest.mark.parametrize(("method", "code"), [("GET", "upstream_failed"), ("POST", "outcome_unknown")])
async def test_a_head_that_trickles(method: str, code: str) -> None:
    """A vendor that sends a byte now and then is not idle; the head of its answer has an end all the same."""
    async with (
        rawserver.serving(rawserver.drip(b"HTTP/1.1 200 OK\r\nX-Slow: ")) as server,
        a_service(RealVault(given(base_url=server.url)), timeouts={"head": 0.3}) as service,
        service.http.request(method, f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN) as answer,
    ):
        assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (502, code)


async def test_an_answer_that_falls_silent_half_way(vendor: Vendor) -> None:
    """The caller sees a connection that was cut, never an answer that looks whole."""
    released = asyncio.Event()

    async def half(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "10"})
        await answer.prepare(request)
        await answer.write(b"half")
        await released.wait()
        return answer

    vendor.answer = half
    vault = RealVault(given(base_url=vendor.base_url))
    async with (
        a_service(vault, timeouts={"idle": 0.1}) as service,
        service.http.get(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN) as answer,
    ):
        assert await answer.content.readexactly(4) == b"half"
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.read()
    released.set()


OLD = "\r\n".join(["GET /proxy/con_1/api/x HTTP/1.0", "Host: localhost", *map(": ".join, AS_ADMIN.items())]) + "\r\n"


@pytest.mark.parametrize("more", ["", "Connection: keep-alive\r\n"])
async def test_a_caller_that_knows_no_chunks(service: Running[RealVault], vendor: Vendor, more: str) -> None:
    """HTTP/1.0 has none (RFC 9112 section 6.1): what has no length ends with the connection, what has one stays."""

    async def pour(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(3 if request.method == "GET" else 0):
            await answer.write(PART)
        return answer

    vendor.answer = pour
    head, _, body = (await raw(service, f"{OLD}{more}\r\n".encode())).partition(b"\r\n\r\n")
    assert (head[9:12], body) == (b"200", 3 * PART)
    assert b"transfer-encoding" not in head.lower()
    assert head.lower().count(b"connection: close") == 1
    head, _, body = (await raw(service, f"{OLD}{more}\r\n".replace("GET", "HEAD").encode())).partition(b"\r\n\r\n")
    assert (head[9:12], body, b"transfer-encoding" in head.lower()) == (b"200", b"", False)
    vendor.answer = None
    head, _, body = (await raw(service, f"{OLD}{more}\r\n".encode())).partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head.lower()


async def test_an_answer_without_length_that_falls_silent(vendor: Vendor) -> None:
    """Nor does it look whole where the end of the connection is that of the answer: it is reset."""
    released = asyncio.Event()

    async def half(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"half")
        await released.wait()
        return answer

    vendor.answer = half
    vault = RealVault(given(base_url=vendor.base_url))
    async with a_service(vault, timeouts={"idle": 0.1}) as service:
        with pytest.raises(ConnectionResetError):
            await raw(service, f"{OLD}\r\n".encode())
    released.set()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_connection_that_never_comes_about(method: str) -> None:
    """Nothing was sent, so a write has failed and may be made again: `upstream_failed`, not `outcome_unknown`."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = []
        for _ in range(3):  # nobody accepts: the queue is full, and the next connection waits for ever
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            waiting.append(one)
        try:
            async with (
                a_service(RealVault(given(base_url=f"http://127.0.0.1:{port}")), timeouts={"connect": 0.2}) as service,
                service.http.request(method, f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN) as answer,
            ):
                assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (502, "upstream_failed")
                assert "nothing was sent" in (await answer.json(content_type=None))["detail"]
        finally:
            for one in waiting:
                one.close()


@pytest.mark.row("A43")
@pytest.mark.parametrize("size", [40_000, 2_000_000])
async def test_an_answer_with_a_head_too_large(size: int) -> None:
    """It is unusable: 502, and nothing of it is passed on."""
    swollen = b"HTTP/1.1 200 OK\r\nX-Request-ID: " + b"x" * size + b"\r\nContent-Length: 0\r\n\r\n"
    async with (
        rawserver.serving(rawserver.raw(swollen, close=True)) as server,
        a_service(RealVault(given(base_url=server.url))) as service,
        service.http.get(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN) as answer,
    ):
        assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (502, "upstream_failed")
