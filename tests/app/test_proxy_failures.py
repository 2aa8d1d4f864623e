"""`/proxy` when something goes wrong: 401s healed, lost answers, bodies that are gone, callers that hang up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from tests.app.running import AS_ADMIN, Running, Seen, Vendor, a_service, raw
from tests.app.vaults import HandClock, RealVault, given
from tests.wire import rawserver

from cloudbeds_auth.app.limits import Limits
from cloudbeds_auth.ports import Fact

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


@pytest.mark.row("F42")
@pytest.mark.parametrize("method", METHODS)
async def test_401_is_healed(service: Running[RealVault], vendor: Vendor, method: str) -> None:
    """A 401 is answered with a renewed token and the same request; the caller never sees it."""
    vendor.good = {"token-2"}
    async with service.http.request(
        method, f"{service.url}/proxy/con_1/api/x?a=1", headers=AS_ADMIN, data=b"the body"
    ) as answer:
        assert answer.status == 200
    assert [(one.method, one.target, one.body) for one in vendor.seen] == [(method, "/api/x?a=1", b"the body")] * 2
    assert service.vault.endpoint.refreshes == 1
    assert [status for *_, status in service.vault.calls] == [401, 200]


async def test_three_sends_at_most(service: Running[RealVault], vendor: Vendor) -> None:
    """A vendor that refuses every token is asked three times; its last answer is the answer."""
    vendor.good = set()
    async with service.http.get(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN) as answer:
        assert answer.status == 401
        assert await answer.json() == {"error": "access_denied"}
        assert "X-Cloudbeds-Auth-Code" not in answer.headers
    assert len(vendor.seen) == 3


@pytest.mark.row("F39")
async def test_proven_401_passes(service: Running[RealVault], vendor: Vendor) -> None:
    """A token proven good: the endpoint itself refuses, and its own 401 is passed on."""
    vendor.good = set()
    service.vault.proven = True
    async with service.http.post(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN, data=b"x") as answer:
        assert answer.status == 401
        assert await answer.json() == {"error": "access_denied"}
    assert (len(vendor.seen), service.vault.endpoint.refreshes) == (1, 0)


@pytest.mark.row("F39")
async def test_verdict_is_remembered(service: Running[RealVault], vendor: Vendor) -> None:
    """An endpoint that refuses a good token: its 401 passes, the vault is asked once, nothing is refreshed."""
    vendor.good = set()
    service.vault.proven = True
    for path in ("a", "a", "a", "b"):
        async with service.http.get(f"{service.url}/proxy/con_1/api/{path}", headers=AS_ADMIN) as answer:
            assert answer.status == 401
    assert len(vendor.seen) == 4
    assert (service.vault.rejections, service.vault.endpoint.refreshes) == (2, 0)


@pytest.mark.row("F39")
async def test_a_verdict_is_of_one_generation_and_ends_after_a_minute(vendor: Vendor) -> None:
    """A newer token is asked about once more, and so is an old one when a minute is over."""
    clock = HandClock()
    vault = RealVault(given(base_url=vendor.base_url), clock=clock)
    vault.proven, vendor.good = True, set()
    async with a_service(vault) as service:

        async def asked() -> int:
            """How often the vault was told of a rejected token, after one more call."""
            async with service.http.get(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN) as answer:
                assert answer.status == 401
            return vault.rejections

        assert [await asked(), await asked()] == [1, 1]
        await vault.refresh("con_1")
        assert [await asked(), await asked()] == [2, 2]
        clock.now += 59.0
        assert await asked() == 2
        clock.now += 1.0
        assert await asked() == 3


@pytest.mark.row("F42")
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_streamed_body_is_not_replayed(service: Running[RealVault], vendor: Vendor, framing: str) -> None:
    """After a 401, a body that was streamed: the token is renewed, and the caller is told to send again."""
    vendor.good = {"token-2"}
    size = service.vault.settings.replay_limit * 3

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * (size // 3)

    data = b"x" * size if framing == "length" else chunks()
    async with service.http.post(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN, data=data) as answer:
        problem = await answer.json(content_type="application/problem+json")
        assert (answer.status, problem["code"]) == (503, "body_not_replayable")
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["X-Cloudbeds-Auth-Code"] == "body_not_replayable"
    assert (len(vendor.seen), service.vault.endpoint.refreshes) == (1, 1)
    assert (service.vault.streams, service.vault.streams_ended) == ([1], 1), "a refresh that is due waits for it"
    async with service.http.post(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN, data=b"y" * size) as answer:
        assert await answer.json() == {"method": "POST", "size": size}
    assert vendor.seen[-1].header("content-length") == str(size)


async def test_streamed_body_refused_by_the_endpoint(service: Running[RealVault], vendor: Vendor) -> None:
    """After a 401 with a token proven good, nothing has to be sent again: the 401 is the endpoint's own."""
    vendor.good = set()
    service.vault.proven = True
    data = b"x" * (service.vault.settings.replay_limit * 2)
    async with service.http.post(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN, data=data) as answer:
        assert (answer.status, await answer.json()) == (401, {"error": "access_denied"})


@pytest.mark.row("F43", control=True)
@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("POST", "outcome_unknown"),
        ("PATCH", "outcome_unknown"),
        ("PUT", "outcome_unknown"),
        ("DELETE", "outcome_unknown"),
        ("GET", "upstream_failed"),
    ],
)
async def test_connection_lost_after_sending(
    service: Running[RealVault], vendor: Vendor, method: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that was sent and not answered is never repeated, and the caller is told so; what reads is, once. Were
    every method taken for one that reads, a guest would be booked twice.
    """
    arrived: list[str] = []

    async def hang_up(request: web.Request) -> web.StreamResponse:
        await request.read()
        arrived.append(request.method)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    vendor.before = hang_up
    async with service.http.request(method, f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN, data=b"x") as answer:
        problem = await answer.json(content_type="application/problem+json")
        assert (answer.status, problem["code"], problem["connection_id"]) == (502, code, "con_1")
    assert arrived == [method] * (1 if code == "outcome_unknown" else 2)
    assert service.vault.turns == len(arrived)
    assert [status for *_, status in service.vault.calls] == [0] * len(arrived)
    arrived.clear()
    monkeypatch.setattr("cloudbeds_auth.rules.auth_flow.is_safe", lambda method: True)
    async with service.http.request(method, f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN, data=b"x") as answer:
        assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (502, "upstream_failed")
    assert arrived == [method] * 2


@pytest.mark.parametrize(("method", "code"), [("GET", "upstream_failed"), ("POST", "outcome_unknown")])
async def test_silence_after_sending(vault: RealVault, vendor: Vendor, method: str, code: str) -> None:
    """Nothing came for the idle time: a call that only reads has failed; of a write the outcome is unknown."""
    released = asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.Response()

    vendor.before = silent
    async with (
        a_service(vault, timeouts={"idle": 0.1}) as service,
        service.http.request(method, f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN, data=b"x") as answer,
    ):
        assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (502, code)
    released.set()
    assert vault.calls == [(1, method, "/api/x", 0)]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nothing_was_sent(method: str) -> None:
    """No connection came about: the call failed, a write too, and nothing happened."""
    async with (
        a_service(RealVault(given(base_url="http://127.0.0.1:9"))) as service,
        service.http.request(method, f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN) as answer,
    ):
        assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (502, "upstream_failed")


@pytest.mark.row("A43")
@pytest.mark.parametrize(
    "spoken",
    [
        b"HTTP/1.1 200 OK\r\nX-Request-ID: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"",
    ],
)
async def test_unusable_answer(spoken: bytes) -> None:
    """Bytes that are no HTTP answer, a bad status or a bad header are 502 and nothing of them is passed on."""
    async with (
        rawserver.serving(rawserver.raw(spoken, close=True)) as server,
        a_service(RealVault(given(base_url=server.url))) as service,
        service.http.get(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN) as answer,
    ):
        assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (502, "upstream_failed")


@pytest.mark.row("A42")
async def test_nothing_leaks_from_the_answer() -> None:
    """Cookies, an echoed credential, the server's name and trailers of the vendor's answer do not reach the caller."""
    leaky = rawserver.raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Tail\r\nSet-Cookie: leak=1\r\n"
        b"Server: leaky\r\nAuthorization: Bearer leaked\r\n\r\n2\r\nok\r\n0\r\nX-Tail: leaked\r\n\r\n",
        close=True,
    )
    async with (
        rawserver.serving(leaky) as server,
        a_service(RealVault(given(base_url=server.url))) as service,
    ):
        credential = AS_ADMIN["Authorization"].encode()
        answer = await raw(
            service,
            b"GET /proxy/con_1/api/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Authorization: " + credential + b"\r\n\r\n",
        )
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"2\r\nok\r\n0\r\n\r\n")
    assert not any(word in answer.lower() for word in (b"leak", b"trailer", b"server", b"x-tail", b"set-cookie"))


async def test_answer_breaks_off(service: Running[RealVault], vendor: Vendor) -> None:
    """An answer that stops half-way stops half-way for the caller: it is never made to look whole."""

    async def half(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "10"})
        await answer.prepare(request)
        await answer.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return answer

    vendor.answer = half
    async with service.http.get(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN) as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_body_limit(service: Running[RealVault], vendor: Vendor, framing: str) -> None:
    """A body above the limit is 413; it is not executed at the vendor."""
    size = service.vault.settings.body_limit + 1

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(size // 65536 + 1):
            yield b"x" * 65536

    data = b"x" * size if framing == "length" else chunks()
    try:
        async with service.http.post(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN, data=data) as answer:
            assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (413, "invalid_request")
    except aiohttp.ClientOSError:
        pass  # the connection was closed while the rest was still being sent
    assert vendor.seen == []


def gone(method: str) -> tuple[str, dict[str, Fact]]:
    """What is reported of a caller that hung up."""
    return "caller_gone", {
        "connection_id": "con_1", "method": method, "path": "/proxy/con_1/api/x", "caller": "admin",
        "address": "127.0.0.1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "size", "whole"),
    [("GET", 0, True), *(("POST", size, whole) for size in (1, 256 * 1024) for whole in (True, False))],
)
async def test_caller_hangs_up(vendor: Vendor, method: str, size: int, whole: bool) -> None:
    """Without a body; with one, small or large enough to pause reading, here as a whole or still on its way: the call
    to the vendor ends.
    """
    arrived, ended = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request) -> web.StreamResponse:
        arrived.set()
        while request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(0.01)
        ended.set()
        return web.Response()

    vendor.before = wait
    vault = RealVault(given(base_url=vendor.base_url, replay_limit=512 * 1024 if whole else 0))
    async with a_service(vault) as service, asyncio.timeout(20):
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
        head = f"{method} /proxy/con_1/api/x HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Authorization: {AS_ADMIN['Authorization']}\r\n"
        writer.write(f"{head}Content-Length: {size + (not whole)}\r\n\r\n".encode() + b"x" * size)
        await arrived.wait()
        writer.close()
        await ended.wait()
        while gone(method) not in service.vault.observer.seen:
            await asyncio.sleep(0.01)
    assert len([what for what, _ in vault.observer.seen if what == "caller_gone"]) == 1


async def test_caller_hangs_up_before_its_call_begins(vault: RealVault, vendor: Vendor) -> None:
    """While it waits for a place: nothing is sent for it."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request) -> web.StreamResponse:
        vendor.seen.append(Seen(request.method, request.path, [], b""))
        arrived.set()
        await go_on.wait()
        return web.Response()

    vendor.before = wait
    async with a_service(vault, limits=Limits(calls_per_caller=1)) as service, asyncio.timeout(20):
        url = f"{service.url}/proxy/con_1/api/x"
        first = asyncio.create_task(service.http.get(url, headers=AS_ADMIN).__aenter__())
        await arrived.wait()
        second = asyncio.create_task(service.http.post(url, headers=AS_ADMIN).__aenter__())
        while len(service.server.server_state.tasks) < 2:
            await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.wait({second})
        while len(service.server.server_state.connections) > 1:
            await asyncio.sleep(0.01)
        go_on.set()
        assert (await first).status == 200
        while gone("POST") not in vault.observer.seen:
            await asyncio.sleep(0.01)
    assert [one.method for one in vendor.seen] == ["GET"]


async def test_hanging_up_spares_the_refresh(service: Running[RealVault], vendor: Vendor) -> None:
    """A caller that hangs up while its token is renewed takes nothing with it."""
    vendor.good = {"token-2"}
    service.vault.endpoint.gate = asyncio.Event()
    call = asyncio.create_task(service.http.get(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN).__aenter__())
    async with asyncio.timeout(20):
        while not service.vault.endpoint.refreshes:
            await asyncio.sleep(0.01)
        call.cancel()
        await asyncio.wait({call})
        while gone("GET") not in service.vault.observer.seen:
            await asyncio.sleep(0.01)
        service.vault.endpoint.gate.set()
    assert (await service.vault.access_token("con_1")).generation == 2
