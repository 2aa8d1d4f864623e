"""How the service stops behind a balancer: `/readyz` says so first, and the port is open until it has been heard."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from itertools import count

import aiohttp
import pytest
from tests.app.running import AS_ADMIN, Vendor
from tests.app.test_server import Start, accepts, address, start
from tests.app.vaults import HandClock, Observer

from cloudbeds_auth.app.draining import Draining
from cloudbeds_auth.app.http_connections import Connections
from cloudbeds_auth.app.limits import Limits, Tally

__all__ = ["start"]
CALL = "/proxy/con_1/api/x"


async def status(http: aiohttp.ClientSession, url: str, path: str) -> tuple[int, str | None, str | None]:
    """Of an answer: its status, its code, and whether the connection goes on."""
    async with http.get(url + path, headers=AS_ADMIN) as answer:
        return answer.status, answer.headers.get("X-Cloudbeds-Auth-Code"), answer.headers.get("Connection")


@pytest.mark.row("F109")
async def test_a_balancer_hears_of_a_stop_first(start: Start, vendor: Vendor) -> None:
    """After SIGTERM `/readyz` says `draining`, while calls on new and on kept connections are served and end them.
    Ctrl-C ends it at once.
    """
    process = await start(0, vendor.base_url)
    url = await address(process)
    async with aiohttp.ClientSession() as http:
        assert await status(http, url, "/readyz") == (200, "ok", None)
        assert await status(http, url, CALL) == (200, None, None)
        process.send_signal(signal.SIGTERM)
        while (said := await status(http, url, "/readyz"))[0] == 200:
            await asyncio.sleep(0)
        assert said == (503, "draining", "close")
        assert await status(http, url, CALL) == (200, None, "close")
        assert await accepts(url)
    process.send_signal(signal.SIGINT)
    out, _ = await process.communicate()
    assert (out, process.returncode) == (b"drained\n", 0)


@pytest.mark.row("F109")
async def test_workers_hear_a_balancer_before_the_port_is_closed(start: Start, vendor: Vendor) -> None:
    """The supervisor closes its copies of the port at once; a worker that `/readyz` was asked of listens meanwhile."""
    process = await start(0, vendor.base_url, "2")
    url = await address(process)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:  # each its connection
        assert (await status(http, url, "/readyz"))[0] == 200
        process.send_signal(signal.SIGTERM)
        for path, expected in (("/readyz", 503), (CALL, 200), ("/readyz", 503)):
            while await status_of_any(http, url, path) != expected:  # the worker that was not asked stops at once
                await asyncio.sleep(0)
        assert process.returncode is None
    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C ends each worker at once
    assert await process.wait() == 0


@pytest.fixture
def stopped() -> Iterator[list[int]]:
    """The signals that would have stopped the process: SIGUSR1 in SIGTERM's place."""
    found: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: found.append(number))
    yield found
    signal.signal(signal.SIGUSR1, before)


async def test_who_is_told_twice(stopped: list[int]) -> None:
    """Of a process group each process has the signal, and a worker once more from its parent: that is one signal. One
    that comes later ends the wait; where `/readyz` was not asked for long, there is none.
    """
    clock, observer = HandClock(), Observer()
    connections = Connections(Limits(), [], Tally(observer, every=60.0))
    draining = Draining(connections, clock, observer)
    with draining.put_off(signal.SIGUSR1):
        signal.raise_signal(signal.SIGUSR1)
        assert len(stopped) == 1
        draining.asked()
        clock.now += 15.1
        signal.raise_signal(signal.SIGUSR1)
        assert len(stopped) == 2
        draining.asked()
        for _ in range(2):
            signal.raise_signal(signal.SIGUSR1)
            clock.now += 1.0
        assert (len(stopped), draining.begun) == (2, True)
        clock.now += 1.0
        signal.raise_signal(signal.SIGUSR1)
        assert len(stopped) == 3
    await asyncio.sleep(0)
    assert observer.seen == [("draining", {"seconds": 7.0})]


@pytest.mark.long
@pytest.mark.row("F109")
async def test_a_rolling_restart_refuses_no_call(start: Start, vendor: Vendor) -> None:
    """Behind a balancer that asks `/readyz` every two seconds, one service after the other is stopped and started while
    fifty calls a second come: each is answered 200.
    """
    balancer = Balancer()
    processes = [await balancer.add(await start(0, vendor.base_url)) for _ in range(2)]
    async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
        asking = group.create_task(balancer.ask(http))
        calling = group.create_task(balancer.call(http))
        for process in processes:
            while len(balancer.ready) < 2:
                await asyncio.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
            await balancer.add(await start(0, vendor.base_url))
        asking.cancel()
        calling.cancel()
    assert len(balancer.found) > 500
    assert set(balancer.found) == {200}


class Balancer:
    """Sends calls in turn to the services whose `/readyz` said last that they are ready, and repeats none."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.ready: list[str] = []
        self.found: list[int | str] = []

    async def add(self, process: asyncio.subprocess.Process) -> asyncio.subprocess.Process:
        """One more to ask."""
        self.urls.append(await address(process))
        return process

    async def ask(self, http: aiohttp.ClientSession) -> None:
        """Every two seconds."""
        while True:
            self.ready = [url for url in self.urls if await is_ready(http, url)]
            await asyncio.sleep(2.0)

    async def call(self, http: aiohttp.ClientSession) -> None:
        """Fifty times a second, and what came of it."""
        for number in count():
            await asyncio.sleep(0.02)
            if self.ready:
                try:
                    self.found.append((await status(http, self.ready[number % len(self.ready)], CALL))[0])
                except aiohttp.ClientError as error:
                    self.found.append(repr(error))


async def status_of_any(http: aiohttp.ClientSession, url: str, path: str) -> int | None:
    """What the worker answers that takes the connection; None if it closed it instead."""
    try:
        return (await status(http, url, path))[0]
    except aiohttp.ClientError:
        return None


async def is_ready(http: aiohttp.ClientSession, url: str) -> bool:
    """What `/readyz` says; a service that is gone is not ready."""
    try:
        return (await status(http, url, "/readyz"))[0] == 200
    except aiohttp.ClientError:
        return False
