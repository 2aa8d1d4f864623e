"""Slow bodies, answers, heads and connections do not hold the service: other callers are answered meanwhile."""

from __future__ import annotations

import asyncio
import io
from contextlib import AsyncExitStack

import pytest
from aiohttp import web
from tests.app.callers import (
    CREDENTIAL,
    ELSEWHERE,
    GUARD,
    answered,
    connected,
    elsewhere,
    head,
    trickling,
    until_closed,
    until_refused,
)
from tests.app.running import AS_ADMIN, Running, Vendor, a_service
from tests.app.vaults import RealVault, given

from cloudbeds_auth.app.limits import Limits
from cloudbeds_auth.rules.permissions import Caller, Scope

LONG = b"Content-Length: 100000000"
CHUNKED = b"Transfer-Encoding: chunked"
HEALTH = head("/healthz", method="GET")


def reported(vault: RealVault, what: str) -> list[dict[str, object]]:
    """The facts of what happened under this name."""
    return [dict(facts) for name, facts in vault.observer.seen if name == what]


@pytest.mark.row("A71")
@pytest.mark.parametrize(
    ("framing", "body", "drop"),
    [
        ((LONG,), b"", b"x"),
        ((LONG, b"Expect: 100-continue"), b"", b"x"),
        ((CHUNKED,), b"", b"1\r\nx\r\n"),
        ((CHUNKED,), b"ffffff\r\n", b"x"),
        ((CHUNKED,), b"0\r\nX-Trailer: ", b"x"),
    ],
    ids=["length", "expect", "chunks", "one chunk", "trailer"],
)
@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/proxy/con_1/api/x", 401),
        ("/api/v1/authorizations", 401),
        ("/no", 401),
        ("/hooks/wrong", 401),
        ("/healthz", 405),
    ],
)
async def test_the_body_of_a_request_that_is_refused(
    service: Running[RealVault],
    vendor: Vendor,
    target: str,
    status: int,
    framing: tuple[bytes, ...],
    body: bytes,
    drop: bytes,
) -> None:
    """Refused before its body came: answered at once, and closed; the body is not waited for."""
    async with trickling(service, head(target, *framing) + body, drop) as reader:
        answer = await until_closed(reader)
    assert answer.count(b"HTTP/1.1 ") == 1
    if CHUNKED in framing and not target.startswith("/proxy/"):
        status = 411
    if LONG in framing and not target.startswith("/proxy/"):
        status = 413
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.lower().count(b"connection: close") == 1
    assert vendor.seen == []


@pytest.mark.row("A71")
async def test_an_answer_without_its_request_read(service: Running[RealVault]) -> None:
    """Not only refusals: an answer that comes before its request's end is the connection's last."""
    request = head("/healthz", b"Content-Length: 60000", method="GET")
    async with trickling(service, request) as reader:
        answer = await until_closed(reader)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer.lower()


async def test_a_refusal_arrives_although_more_is_sent(vault: RealVault) -> None:
    """The connection is not reset under the answer; what is sent all the same is thrown away, up to a bound."""
    async with (
        a_service(vault, limits=Limits(linger=60.0, linger_bytes=1 << 20)) as service,
        connected(service, head("/proxy/con_1/api/x", LONG) + b"x" * 500_000) as (reader, writer),
    ):
        async with asyncio.timeout(20):
            refusal = await reader.read()
            assert refusal.startswith(b"HTTP/1.1 401 ")
            assert refusal.endswith(b"}")
            await until_refused(writer, b"x" * 65536)


async def test_a_connection_is_kept_where_the_body_was_read(service: Running[RealVault]) -> None:
    """A refused request that is here as a whole costs no connection."""
    request = head("/proxy/con_1/api/x", b"Content-Length: 4") + b"body"
    async with connected(service, request) as (reader, writer):
        for again in (True, False):
            answer = await reader.readuntil(b"}")
            assert answer.startswith(b"HTTP/1.1 401 ")
            assert b"connection: close" not in answer.lower()
            if again:
                writer.write(request)


@pytest.mark.row("A71", "A72", "A41")
@pytest.mark.parametrize(
    ("target", "framing", "body", "drop"),
    [
        ("/proxy/con_1/api/x", b"Content-Length: 60000", b"", b"x"),
        ("/proxy/con_1/api/x", b"Content-Length: 500000", b"", b"x"),
        ("/proxy/con_1/api/x", CHUNKED, b"", b"1\r\nx\r\n"),
        ("/proxy/con_1/api/x", CHUNKED, b"1\r\nx\r\n0\r\nX-Trailer: ", b"x"),
        ("/proxy/con_1/api/x", CHUNKED, b"186a0\r\n" + b"x" * 100_000 + b"\r\n", b"1\r\nx\r\n"),
        ("/api/v1/authorizations", b"Content-Length: 60000", b"", b"x"),
    ],
    ids=["kept", "streamed", "chunks", "trailer", "chunks, streamed", "outside the proxy"],
)
async def test_a_body_that_trickles(
    vault: RealVault, vendor: Vendor, target: str, framing: bytes, body: bytes, drop: bytes
) -> None:
    """Of a caller that is let in: given up when it was waited for so long, however steadily its bytes come."""
    async with a_service(vault, limits=Limits(body=0.2, body_rate=1 << 30, linger=0.1)) as service:
        data = head(target, CREDENTIAL.strip(), b"Content-Type: application/json", framing) + body
        async with trickling(service, data, drop) as reader:
            answer = await until_closed(reader)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"x-cloudbeds-auth-code: invalid_request" in answer
    assert b"connection: close" in answer.lower()
    assert vendor.seen == [], "nothing came to an end there"


async def test_a_body_that_waits_for_us(vendor: Vendor) -> None:
    """While Cloudbeds takes its time to read, the caller is not to blame."""

    async def late(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.5)
        return web.json_response({"size": sum([len(part) async for part in request.content.iter_any()])})

    vendor.before = late
    vault = RealVault(given(base_url=vendor.base_url, body_limit=1 << 26))
    async with (
        a_service(vault, limits=Limits(body=0.2)) as service,
        service.http.post(
            f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN, data=io.BytesIO(bytes(1 << 25))
        ) as answer,
    ):
        assert (answer.status, await answer.json()) == (200, {"size": 1 << 25})


@pytest.mark.row("A71")
@pytest.mark.parametrize("first", [b"", HEALTH], ids=["at first", "after a request"])
async def test_line_ends_are_no_requests(vault: RealVault, first: bytes) -> None:
    """Sent for ever between two requests, they keep no connection open."""
    async with (
        a_service(vault, limits=Limits(head=0.1)) as service,
        trickling(service, first, b"\r\n") as reader,
    ):
        assert (await until_closed(reader)).count(b"HTTP/1.1 ") == (1 if first else 0)


@pytest.mark.row("A72", "A41")
async def test_an_answer_that_is_not_read(vault: RealVault, vendor: Vendor) -> None:
    """The caller is cut off, and Cloudbeds' connection let go."""
    gone = asyncio.Event()

    async def pour(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(b"x" * 65536)
        except ConnectionError:
            gone.set()
        return answer

    vendor.answer = pour
    request = head("/proxy/con_1/api/x", CREDENTIAL.strip(), method="GET")
    async with (
        a_service(vault, limits=Limits(reading=0.2, report_every=0.05), window=65536) as service,
        connected(service, request, window=4096),
    ):
        async with asyncio.timeout(20):
            await gone.wait()
        assert reported(vault, "connection_refused") == [{"address": "127.0.0.1", "why": "slow_reader", "times": 1}]


@pytest.mark.row("A72")
async def test_an_answer_that_is_read_slowly(vault: RealVault, vendor: Vendor) -> None:
    """Steadily, and slower than the service looks after it: the caller gets all of it.

    The kernel holds so much of the answer that it takes nothing more while the caller reads at this pace.
    """

    async def much(request: web.Request) -> web.StreamResponse:
        return web.Response(body=bytes(8 << 20))

    vendor.answer = much
    request = head("/proxy/con_1/api/x", CREDENTIAL.strip(), b"Connection: close", method="GET")
    limits = Limits(reading=1.0, reading_rate=1)
    async with (
        a_service(vault, limits=limits, window=4 << 20) as service,
        connected(service, request, window=4096) as (reader, _),
    ):
        async with asyncio.timeout(GUARD):
            for _ in range(25):
                assert await reader.read(4096)
                await asyncio.sleep(limits.reading / 10)
        assert reported(vault, "connection_refused") == []
        assert len(await until_closed(reader)) > 7 << 20


@pytest.mark.row("A71")
async def test_answers_to_a_stranger_that_reads_none(vault: RealVault) -> None:
    """Requests one after the other, no answer read: cut off, too."""
    async with (
        a_service(vault, limits=Limits(reading=0.2), window=65536) as service,
        connected(service, window=4096) as (_, writer),
    ):
        await until_refused(writer, head("/static/style.css", method="GET") * 100)


@pytest.mark.row("A71", "A74")
@pytest.mark.parametrize("ahead", ["a call", "strangers' requests"])
async def test_requests_that_wait_behind_others(vault: RealVault, vendor: Vendor, ahead: str) -> None:
    """Sent faster than they are answered: a few of them wait, then the connection is closed, and that is reported."""
    slow = Slow(vendor)
    call = head("/proxy/con_1/api/x", CREDENTIAL.strip(), method="GET")
    async with a_service(vault, limits=Limits(report_every=60.0)) as service:
        async with connected(service, call if ahead == "a call" else HEALTH) as (reader, writer):
            if ahead == "a call":
                await slow.has(1)
            writer.write(HEALTH * 5000)
            answers = await until_closed(reader)
        assert answers.count(b"HTTP/1.1 ") <= 1 + Limits().pipelined
        assert await answered(service, HEALTH) == 200
    assert reported(vault, "connection_refused") == [{"address": "127.0.0.1", "why": "pipelines", "times": 1}]


async def test_as_many_as_may_wait(vault: RealVault, vendor: Vendor) -> None:
    """Each is answered, in its turn."""
    slow = Slow(vendor)
    call = head("/proxy/con_1/api/x", CREDENTIAL.strip(), method="GET")
    async with a_service(vault) as service, connected(service, call) as (reader, writer):
        await slow.has(1)
        writer.write(HEALTH * (Limits().pipelined - 1) + head("/healthz", b"Connection: close", method="GET"))
        slow.finish.set()
        assert (await until_closed(reader)).count(b"HTTP/1.1 200 ") == 1 + Limits().pipelined


@pytest.mark.row("A71", "A41")
@pytest.mark.parametrize(
    ("data", "drop"),
    [
        (b"", b""),
        (b"GET /healthz HTTP/1.1\r\nX: ", b"x"),
        (head("/proxy/con_1/api/x", LONG), b"x"),
        (head("/proxy/con_1/api/x", CHUNKED) + b"0\r\nX: ", b"x"),
        (HEALTH, b"\r\n"),
    ],
    ids=["silent", "heads", "bodies", "trailers", "kept"],
)
async def test_health_while_strangers_fill_the_place(vault: RealVault, data: bytes, drop: bytes) -> None:
    """More of them than there may be, from one address: `/healthz` answers, and so do calls; it is reported once."""
    limits = Limits(connections_per_address=8, linger=60.0, report_every=60.0)
    async with a_service(vault, limits=limits) as service, AsyncExitStack() as stack:
        for _ in range(40):
            await stack.enter_async_context(trickling(service, data, drop))
            assert await answered(service, HEALTH) == 200
        call = head("/proxy/con_1/api/x", CREDENTIAL.strip(), method="GET")
        assert await answered(service, call) == 200
        assert await answered(service, call, address=ELSEWHERE) == 200
    refused = reported(vault, "connection_refused")
    assert refused[0] == {"address": "127.0.0.1", "why": "made_room", "times": 1}
    assert sum(int(str(one["times"])) for one in refused) >= 30
    assert len(refused) == 2, "the first at once, the rest together"


class Slow:
    """A vendor that answers when a test lets it."""

    def __init__(self, vendor: Vendor) -> None:
        self.arrived = 0
        self.finish = asyncio.Event()
        vendor.answer = self.handle

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.arrived += 1
        await self.finish.wait()
        return web.json_response({})

    async def has(self, count: int) -> None:
        """Return when so many calls are under way."""
        async with asyncio.timeout(20):
            while self.arrived < count:
                await asyncio.sleep(0.01)


@pytest.mark.row("A71")
@pytest.mark.parametrize("who", ["address", "all"])
async def test_one_connection_too_many(vault: RealVault, vendor: Vendor, who: str) -> None:
    """Where a call runs on each, the next is refused, with a Retry-After; no call is broken off for it."""
    slow = Slow(vendor)
    call = head("/proxy/con_1/api/x", CREDENTIAL.strip(), method="GET")
    limits = Limits(connections_per_address=3) if who == "address" else Limits(connections=3)
    async with a_service(vault, limits=limits) as service, AsyncExitStack() as stack:
        running = [await stack.enter_async_context(connected(service, call)) for _ in range(3)]
        await slow.has(3)
        async with connected(service) as (reader, _):
            refusal = await until_closed(reader)
        assert refusal.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in refusal
        assert b"x-cloudbeds-auth-code: rate_limited\r\n" in refusal
        other = await answered(service, HEALTH, address=ELSEWHERE) if who == "address" else 200
        assert other == 200
        slow.finish.set()
        for reader, _ in running:
            assert (await reader.readuntil(b"{}")).startswith(b"HTTP/1.1 200 ")
        assert await answered(service, HEALTH) == 200, "a connection that is done makes room"
    assert reported(vault, "connection_refused")[0] == {"address": "127.0.0.1", "why": "too_many", "times": 1}


@pytest.mark.row("A71")
async def test_a_trusted_proxy_has_as_many_as_there_are(vendor: Vendor) -> None:
    """All callers come through it; what is bounded there is how many there are in all."""
    slow = Slow(vendor)
    call = head("/proxy/con_1/api/x", CREDENTIAL.strip(), method="GET")
    vault = RealVault(given(base_url=vendor.base_url, trusted_proxies=("127.0.0.0/30",)))
    limits = Limits(connections_per_address=1, connections=4)
    async with a_service(vault, limits=limits) as service, AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(connected(service, call))
        await slow.has(4)
        async with connected(service) as (reader, _):
            assert (await until_closed(reader)).startswith(b"HTTP/1.1 503 ")
        slow.finish.set()


@pytest.mark.row("A72")
@pytest.mark.parametrize("way", ["uploads", "readers"])
async def test_one_caller_does_not_take_the_pool(vault: RealVault, vendor: Vendor, way: str) -> None:
    """215 at once, more than there are connections to Cloudbeds: another caller is answered meanwhile."""

    async def pour(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b"x" * 65536)

    if way == "readers":
        vendor.answer = pour
        data = head("/proxy/con_1/api/x", CREDENTIAL.strip(), method="GET")
    else:
        data = head("/proxy/con_1/api/x", CREDENTIAL.strip(), b"Content-Length: 500000") + b"x" * 1000
    async with a_service(vault, window=65536) as service, AsyncExitStack() as stack, elsewhere() as http:
        for _ in range(215):
            await stack.enter_async_context(connected(service, data, window=4096))
        vendor.answer = None
        async with http.get(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN) as answer:
            assert answer.status == 200


@pytest.mark.row("A72")
@pytest.mark.parametrize("path", ["/proxy/con_1/api/x", "/api/v1/connections/con_1/userinfo"])
async def test_a_share_of_the_calls(vault: RealVault, vendor: Vendor, path: str) -> None:
    """One call too many waits for one of its own caller's to end, then it is refused, and nothing was sent for it."""
    slow = Slow(vendor)
    async with (
        a_service(vault, limits=Limits(calls_per_caller=2, call_wait=0.1)) as service,
        elsewhere() as http,
    ):
        running = [asyncio.create_task(_status(service, path)) for _ in range(2)]
        await slow.has(2)
        async with service.http.get(service.url + path, headers=AS_ADMIN) as refused:
            assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
            assert (await refused.json(content_type=None))["code"] == "rate_limited"
        assert slow.arrived == 2
        another = asyncio.create_task(http.get(service.url + path, headers=AS_ADMIN))
        await slow.has(3)
        slow.finish.set()
        assert [await one for one in running] == [200, 200]
        assert (await another).status == 200
        assert await _status(service, path) == 200
    refusals = reported(vault, "proxy_refused")
    assert all(one["address"] == "127.0.0.1" for one in refusals)


@pytest.mark.row("A72", "A61")
async def test_a_share_of_the_calls_of_a_key(vault: RealVault, vendor: Vendor) -> None:
    """A key shares it with its children, wherever they call from, and with nobody else."""
    parent, other = (Caller(name, frozenset({Scope.PROXY})) for name in ("one", "other"))
    keys = {"parent": parent, "child": Caller("child", frozenset({Scope.PROXY}), within=parent), "other": other}
    slow, path = Slow(vendor), "/proxy/con_1/api/x"
    async with a_service(vault, keys, limits=Limits(calls_per_caller=1, call_wait=0.1)) as service:
        asked = [asyncio.create_task(service.http.get(service.url + path, headers={"X-API-Key": "parent"}))]
        await slow.has(1)
        async with service.http.get(service.url + path, headers={"X-API-Key": "child"}) as refused:
            assert (refused.status, refused.headers["X-Cloudbeds-Auth-Code"]) == (503, "rate_limited")
        asked += [
            asyncio.create_task(service.http.get(service.url + path, headers=headers))
            for headers in ({"X-API-Key": "other"}, AS_ADMIN)
        ]
        await slow.has(3)
        slow.finish.set()
        assert [(await one).status for one in asked] == [200, 200, 200]


@pytest.mark.row("A72")
@pytest.mark.parametrize("behind", ["a moment later", "at once"])
async def test_who_hangs_up_leaves_the_place(
    vault: RealVault, vendor: Vendor, caplog: pytest.LogCaptureFixture, behind: str
) -> None:
    """Although another request of the connection waits behind the call; that one is not begun."""
    slow = Slow(vendor)
    call = head("/proxy/con_1/api/x", CREDENTIAL.strip(), method="GET")
    async with a_service(vault, limits=Limits(calls_per_caller=1, call_wait=GUARD / 2)) as service:
        async with connected(service, call + HEALTH if behind == "at once" else call) as (_, writer):
            await slow.has(1)
            if behind == "a moment later":
                writer.write(HEALTH)
        vendor.answer = None
        assert await answered(service, call) == 200
        slow.finish.set()
    assert [facts["status"] for what, facts in vault.observer.seen if what == "request"] == []
    assert "Exception in ASGI application" not in caplog.text


@pytest.mark.parametrize("begun", [False, True], ids=["no answer yet", "half an answer"])
async def test_a_call_that_outlasts_a_stop(
    vault: RealVault, vendor: Vendor, caplog: pytest.LogCaptureFixture, begun: bool
) -> None:
    """Its connection ends, and it is reported once, as what it is."""
    slow = Slow(vendor)

    async def half(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"half")
        return await slow.handle(request)

    if begun:
        vendor.answer = half
    call = head("/proxy/con_1/api/x", CREDENTIAL.strip(), method="GET")
    async with a_service(vault) as service, connected(service, call) as (reader, _):
        await slow.has(1)
        came = await reader.readuntil(b"half") if begun else b""
        service.server.config.timeout_graceful_shutdown = 0
        service.server.should_exit = True
        came += await until_closed(reader)
    slow.finish.set()
    assert came.count(b"HTTP/1.1 ") == begun
    assert reported(vault, "connection_refused") == [{"address": "127.0.0.1", "why": "stopped", "times": 1}]
    assert [one.message for one in caplog.records if one.levelname == "ERROR"] == [
        "Cancel 1 running task(s), timeout graceful shutdown exceeded"
    ]


@pytest.mark.row("A72")
async def test_a_call_waits_for_its_place(vault: RealVault, vendor: Vendor) -> None:
    """In the order in which they came, and each goes as soon as one before it has ended."""
    async with a_service(vault, limits=Limits(calls_per_caller=1)) as service:
        statuses = await asyncio.gather(*(_status(service, f"/proxy/con_1/api/{number}") for number in range(10)))
    assert statuses == [200] * 10


@pytest.mark.row("A72")
async def test_callers_behind_a_trusted_proxy_have_a_share_each(vendor: Vendor) -> None:
    """By the address that it forwards; what a caller claims in front of that counts for nothing."""
    slow = Slow(vendor)
    vault = RealVault(given(base_url=vendor.base_url, trusted_proxies=("127.0.0.1",)))
    limits = Limits(calls_per_caller=1, call_wait=0.1)
    async with a_service(vault, limits=limits) as service:
        first = asyncio.create_task(_status(service, "/proxy/con_1/api/x", "203.0.113.9"))
        await slow.has(1)
        assert await _status(service, "/proxy/con_1/api/x", "203.0.113.10, 203.0.113.9") == 503
        second = asyncio.create_task(_status(service, "/proxy/con_1/api/x", "203.0.113.9, 203.0.113.10"))
        await slow.has(2)
        slow.finish.set()
        assert [await first, await second] == [200, 200]


async def _status(service: Running[RealVault], path: str, forwarded: str | None = None) -> int:
    headers = AS_ADMIN if forwarded is None else {**AS_ADMIN, "X-Forwarded-For": forwarded}
    async with service.http.get(service.url + path, headers=headers) as answer:
        await answer.read()
        return answer.status
