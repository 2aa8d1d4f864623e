"""Rule 10: a refresh that is due waits, up to its margin, while a body streams that cannot be sent again."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from tests.support.fakes import issued
from tests.support.hotels import BusyVendor, hotels, keep_up, limited
from tests.support.interrupting import interrupted
from tests.support.simulator import vendor
from tests.support.stage import Stage
from tests.support.virtual import settle

from cloudbeds_auth.engine.context import MARGIN, Streams
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.vault import TokenVault
from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth
from cloudbeds_auth.wire.lender import Lender

STALE, LIFETIME = 3240.0, 3600.0


async def test_a_refresh_behind_a_caller_waits_for_the_stream(stage: Stage) -> None:
    """While it streams, callers use the old token and nothing is sent; with its end the next caller starts one."""
    grant = await stage.connected()
    stage.endpoint.will(issued(2))
    token = await stage.one.access.access_token(grant.connection_id)
    await stage.clock.sleep(STALE + 10)
    with stage.one.world.streams.carrying(token):
        for _ in range(3):
            assert (await stage.one.access.access_token(grant.connection_id)).reveal() == token.reveal()
            await settle()
        assert stage.endpoint.sent == []
    await stage.one.access.access_token(grant.connection_id)
    await settle()
    assert stage.endpoint.sent == ["R-1"]


async def test_upkeep_waits_up_to_the_margin(stage: Stage) -> None:
    """A stream that goes on for ever puts the refresh off until the margin, and the token is renewed before it ends."""
    bus = BusyVendor()
    (grant,) = await hotels(stage, 1)
    process = await limited(stage, bus)
    began = stage.clock.steady()
    with process.world.streams.carrying(grant.token()):
        margin = MARGIN * stage.timing.lease
        await keep_up(process, LIFETIME - margin - 1)
        assert bus.renewed == []
        await keep_up(process, margin)
        assert bus.renewed == ["R-0"]
    assert bus.moments[0] - began < LIFETIME, "in time"


async def test_who_needs_a_token_now_does_not_wait(stage: Stage) -> None:
    """A rejected token is refreshed at once, whatever streams: it is dead already."""
    grant = await stage.connected()
    stage.endpoint.will(issued(2))
    token = await stage.one.access.access_token(grant.connection_id)
    await stage.clock.sleep(LIFETIME + 10)
    with stage.one.world.streams.carrying(token):
        assert (await stage.one.access.access_token(grant.connection_id, rejected=token)).generation == 2


def test_streams_are_counted_by_grant() -> None:
    """Two of one hotel end one after the other; another hotel is not held up; nothing is left behind."""
    streams = Streams()
    one, two = (AccessToken(Secret(f"A-{at}"), datetime.now(UTC), 1, grant_id=f"g-{at}") for at in (1, 2))
    with streams.carrying(one):
        with streams.carrying(one), streams.carrying(two):
            assert sorted(streams._under_way.values()) == ["g-1", "g-1", "g-2"]
        assert list(streams._under_way.values()) == ["g-1"]
    assert not streams._under_way


def test_a_stream_that_the_garbage_collector_ends() -> None:
    """At whatever line it interrupts a thread that begins or ends another one."""
    token = AccessToken(Secret("A-1"), datetime.now(UTC), 1, grant_id="g")
    tried: list[int] = []

    def at_every_line() -> None:
        for number in itertools.count(1):
            streams, given_up = Streams(), ExitStack()
            given_up.enter_context(streams.carrying(token))

            def another(streams: Streams = streams) -> None:
                with streams.carrying(token):
                    pass

            if not interrupted(number, given_up.close, another):
                return
            assert not streams._under_way
            tried.append(number)

    thread = threading.Thread(target=at_every_line, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "it hangs"
    assert len(tried) > 5


async def chunks() -> AsyncIterator[bytes]:
    """A body of unknown length."""
    yield b"a"
    await asyncio.sleep(0)
    yield b"b"


@pytest.mark.parametrize("ended", ["answered", "broken off"])
async def test_httpx2_tells_of_a_streamed_body(tmp_path: Path, ended: str) -> None:
    """`vault.auth()` with a body of unknown length is counted from the sending to the answer, however it ends; one that
    is kept is not.
    """
    async with vendor("V2/n") as sim, TokenVault.open(sim.settings(tmp_path)) as vault:
        connection = await sim.connect(vault)
        under_way = vault.engine.world.streams._under_way
        seen: list[int] = []

        async def told() -> AsyncIterator[bytes]:
            seen.append(len(under_way))
            async for chunk in chunks():
                yield chunk
            if ended == "broken off":
                raise RuntimeError("the file is gone")

        async with httpx2.AsyncClient(base_url=vault.base_url, auth=vault.auth(connection.id)) as http:
            try:
                await http.put("/api/v1.3/getHotels", content=told())
            except RuntimeError:
                assert ended == "broken off"
        assert seen == [1]
        assert not under_way


def test_a_blocking_client_tells_too() -> None:
    """The same for `httpx2.Client`."""
    streams, token = Streams(), AccessToken(Secret("A-1"), datetime.now(UTC), 1, grant_id="g")
    seen: list[int] = []

    async def fetch(rejected: AccessToken | None) -> AccessToken:
        return token

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(len(streams._under_way))
        return httpx2.Response(200)

    def body() -> Iterator[bytes]:
        yield b"a"

    lender = Lender(fetch, lambda rejected: token, lambda *call: None, streams.carrying)
    auth = CloudbedsAuth("https://hotels.example", lender, replay_limit=1024)
    with httpx2.Client(transport=httpx2.MockTransport(answer), auth=auth) as http:
        http.post("https://hotels.example/x", content=body())
        http.post("https://hotels.example/x", content=b"kept")
    assert seen == [1, 0]
    assert not streams._under_way
