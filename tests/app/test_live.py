"""A page that is live: what changes comes as it happens, and nothing is held by it that anybody else needs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
import yarl
from tests.app.operators import Operator, signed_in
from tests.app.running import AS_ADMIN, Running
from tests.app.vaults import RealVault

from cloudbeds_auth.app import live
from cloudbeds_auth.engine import watching
from cloudbeds_auth.errors import StoreUnavailable


@pytest.fixture
async def operator(service: Running[RealVault], monkeypatch: pytest.MonkeyPatch) -> Operator:
    """Signed in."""
    monkeypatch.setattr(live, "LOOK_UP", 0.05)
    monkeypatch.setattr(live, "CHECKED", 0.1)
    monkeypatch.setattr(watching, "EVERY", 0.05)
    return await signed_in(service)


def headers(operator: Operator) -> dict[str, str]:
    """Of its browser."""
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in operator.cookies.items()), "Host": operator.host}


@asynccontextmanager
async def stream(operator: Operator) -> AsyncIterator[aiohttp.ClientResponse]:
    """What a page of this browser listens to."""
    async with operator.service.http.get(f"{operator.service.url}/live", headers=headers(operator)) as answer:
        yield answer


async def changed(answer: aiohttp.ClientResponse) -> list[str]:
    """The ids of the next event; comments and fields of other kinds are passed over."""
    async with asyncio.timeout(10):
        while True:
            name, _, data = (await answer.content.readline()).decode().strip().partition(": ")
            if name == "data":
                found: list[str] = json.loads(data)
                return found


async def until_named(answer: aiohttp.ClientResponse, connection_id: str) -> None:
    """An event names this connection."""
    while connection_id not in await changed(answer):
        pass


async def test_what_changes(operator: Operator) -> None:
    """Is said to every page that is open, by one watcher, which ends with the last of them."""
    vault = operator.service.vault
    async with AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(stream(operator)) for _ in range(2)]
        for page in pages:
            assert (page.status, page.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
            assert page.headers["Cache-Control"] == "no-store"
        await vault.connect("con_2", "2000")
        for page in pages:
            await until_named(page, "con_2")
        assert sum(task.get_name() == "watch for viewers" for task in asyncio.all_tasks()) == 1
    await gone()


async def test_a_page_of_a_browser_that_knows_no_chunks(operator: Operator) -> None:
    """What comes is said in HTTP/1.0, too, without the sizes of chunks between."""
    reader, writer = await asyncio.open_connection("127.0.0.1", operator.service.port)
    asked = "".join(f"{name}: {value}\r\n" for name, value in headers(operator).items())
    writer.write(f"GET /live HTTP/1.0\r\n{asked}\r\n".encode())
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"transfer-encoding" not in head.lower()
        assert await reader.readexactly(len(live.BEGIN)) == live.BEGIN
    writer.close()
    await gone()


async def gone() -> None:
    """Until no watcher runs."""
    async with asyncio.timeout(10):
        while any(task.get_name() == "watch for viewers" for task in asyncio.all_tasks()):
            await asyncio.sleep(0.01)


async def test_the_list_as_it_is_now(operator: Operator) -> None:
    """What the page reads then is the page that it is, search and all; that is no use of the session."""
    vault = operator.service.vault
    vault.sql("UPDATE sessions SET used_at = used_at - 600")
    before = vault.sql("SELECT used_at FROM sessions")
    status, _, page = await operator.open("/live/hotels?show=healthy")
    assert (status, page) == (200, (await operator.open("/connections?show=healthy"))[2])
    assert vault.sql("SELECT used_at FROM sessions") > before
    vault.sql("UPDATE sessions SET used_at = used_at - 600")
    before = vault.sql("SELECT used_at FROM sessions")
    await operator.open("/live/hotels")
    assert vault.sql("SELECT used_at FROM sessions") == before


async def test_a_page_may_load_it(operator: Operator) -> None:
    """The script is a file of ours, which asks us alone; the page works without."""
    async with operator.service.http.get(f"{operator.service.url}/", headers=headers(operator)) as answer:
        rules = answer.headers["Content-Security-Policy"]
        page = await answer.text()
    assert "script-src 'self'; connect-src 'self';" in rules
    assert '<script src="/static/live.js" defer></script>' in page
    assert 'data-live="/live"' in page
    assert (await operator.open("/static/live.js"))[0] == 200


async def test_silence(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is broken by a comment, so that nothing on the way ends the connection."""
    monkeypatch.setattr(live, "SPEAKS", 0.1)
    async with stream(operator) as page, asyncio.timeout(10):
        while await page.content.readline() != live.COMMENT.splitlines(keepends=True)[0]:
            pass


async def test_signed_out(operator: Operator) -> None:
    """The stream ends, also where its session was ended by another process."""
    async with stream(operator) as page, asyncio.timeout(10):
        operator.service.vault.sql("UPDATE sessions SET expires_at = 0")
        await page.content.read()
    assert (await operator.open("/live"))[0] == 401
    await gone()


async def test_a_path_that_is_spelled_otherwise(operator: Operator) -> None:
    """Shows no stream to a caller without a session, whatever credential it has."""
    url = yarl.URL(f"{operator.service.url}/%6Cive", encoded=True)
    async with operator.service.http.get(url, headers=AS_ADMIN) as answer:
        assert answer.status == 401


async def test_while_the_database_is_away(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is taken to be signed out; what changed is said when it is back."""
    vault = operator.service.vault

    async def away(*_: object, **__: object) -> None:
        raise StoreUnavailable

    async with stream(operator) as page:
        with monkeypatch.context() as patch:
            patch.setattr(vault.engine.sessions, "recognize", away)
            await asyncio.sleep(0.3)
        await vault.connect("con_2", "2000")
        await until_named(page, "con_2")


async def test_too_many_pages(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is refused, and is a page that is not live; there is room when one is closed."""
    monkeypatch.setattr(watching, "MOST_VIEWERS", 1)
    async with stream(operator) as page:
        assert page.status == 200
        async with stream(operator) as other:
            assert (other.status, other.headers["Retry-After"]) == (503, "60")
    await gone()
    async with stream(operator) as page:
        assert page.status == 200


async def test_a_stranger(service: Running[RealVault]) -> None:
    """And a caller with the admin token hear nothing."""
    for path in ("/live", "/live/hotels", "/live/else"):
        for given in ({}, {"Authorization": "Bearer an-admin-token-of-more-than-32-characters"}):
            async with service.http.get(service.url + path, headers=given) as answer:
                assert answer.status == 401


async def test_a_stop_ends_it(operator: Operator) -> None:
    """At once, and not after the time that a request in flight has."""
    async with stream(operator) as page:
        operator.service.server.should_exit = True
        async with asyncio.timeout(10):
            await page.content.read()


async def test_a_stop_behind_a_balancer_ends_it(operator: Operator) -> None:
    """When the service is told to stop, and not when the port is closed."""
    async with stream(operator) as page:
        protocol: Any = next(iter(operator.service.server.server_state.connections))
        protocol._connections.ending = True
        async with asyncio.timeout(10):
            await page.content.read()
