"""The life of `serve`: it says where it listens, drains when it is told to stop, and names who has its port."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from tests.app.running import AS_ADMIN, Vendor

from cloudbeds_auth.app.server import address_of, bind
from cloudbeds_auth.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts services in processes of their own, each with its workers in a group, and ends those that are left."""
    processes: list[Process] = []

    async def begin(port: int, base_url: str, *how: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.app.serving", str(port), base_url, *how, stdout=PIPE, stderr=PIPE,
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
        )  # fmt: skip
        processes.append(process)
        return process

    yield begin
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


async def address(process: Process) -> str:
    """Where it says that it listens."""
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode().strip()
    assert line.startswith("listening on http://127.0.0.1:"), line
    return line.removeprefix("listening on ")


async def accepts(url: str) -> bool:
    """Whether a new connection is taken."""
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{url}/healthz"):
            return True
    except aiohttp.ClientConnectionError:
        return False


def holding(vendor: Vendor) -> tuple[asyncio.Event, asyncio.Event]:
    """The vendor sets the first when a call arrives, and answers it once the second is set."""
    arrived, release = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        arrived.set()
        await release.wait()
        return web.Response(text="finished")

    vendor.before = slow
    return arrived, release


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_drain(start: Start, vendor: Vendor, number: signal.Signals) -> None:
    """Told to stop, it accepts nothing new, finishes what is in flight, closes the vault, and ends with status 0."""
    arrived, release = holding(vendor)
    process = await start(0, vendor.base_url)
    url = await address(process)
    async with aiohttp.ClientSession() as http:
        call = asyncio.create_task(http.get(f"{url}/proxy/con_1/api/x", headers=AS_ADMIN))
        await arrived.wait()
        process.send_signal(number)
        while await accepts(url):
            await asyncio.sleep(0.02)
        assert process.returncode is None
        release.set()
        async with await call as answer:
            assert await answer.text() == "finished"
    out, _ = await process.communicate()
    assert out == b"drained\n"
    assert await process.wait() == 0


SUPERVISED = pytest.mark.parametrize("how", ["2", "reload"])  # two workers, or one that code changes replace


async def connects(url: str) -> bool:
    """Whether the kernel takes a new connection, whoever answers on it."""
    port = int(url.rpartition(":")[2])
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return False
    writer.transport.abort()
    return True


@SUPERVISED
async def test_a_stop_refuses_new_connections_while_a_worker_finishes(start: Start, vendor: Vendor, how: str) -> None:
    """The supervisor keeps no port open on which nobody answers; what is in flight is finished."""
    arrived, release = holding(vendor)
    process = await start(0, vendor.base_url, how)
    url = await address(process)
    async with aiohttp.ClientSession() as http:
        call = asyncio.create_task(http.get(f"{url}/proxy/con_1/api/x", headers=AS_ADMIN))
        await arrived.wait()
        process.send_signal(signal.SIGTERM)
        while await connects(url):
            await asyncio.sleep(0.02)
        assert not call.done(), "it is refused before the last worker ends"
        release.set()
        async with await call as answer:
            assert await answer.text() == "finished"
    assert await process.wait() == 0


def workers_of(process: Process) -> list[int]:
    """The processes that the supervisor started; multiprocessing's own helpers left out."""
    found = []
    for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii").split():
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        found += [int(pid)] if b"spawn_main" in command else []
    return found


async def others(process: Process, former: list[int]) -> list[int]:
    """The workers once there are as many as before, not all the same."""
    while (now := workers_of(process)) == former or len(now) < len(former):
        await asyncio.sleep(0.05)
    return now


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
async def test_a_worker_that_cannot_start_ends_no_other(start: Start, vendor: Vendor, tmp_path: Path) -> None:
    """One was killed, and the next ones fail as long as the database is away: the other one serves."""
    process = await start(0, vendor.base_url, "2")
    url = await address(process)
    while len(former := workers_of(process)) < 2:
        await asyncio.sleep(0.05)
    os.kill(former[0], signal.SIGSTOP)
    assert await accepts(url), "so the other one has started"
    (tmp_path / "broken").touch()
    os.kill(former[0], signal.SIGKILL)
    second = await others(process, former)
    third = await others(process, second)
    assert former[1] in second
    assert former[1] in third
    assert await accepts(url)
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 0


async def test_no_worker_can_start(start: Start, vendor: Vendor, tmp_path: Path) -> None:
    """That is a failure, for whoever starts the service again after one."""
    (tmp_path / "broken").touch()
    process = await start(0, vendor.base_url, "2")
    _, err = await process.communicate()
    assert (process.returncode, b"no worker could start" in err) == (1, True)


@pytest.mark.parametrize("how", ["1", "2"])
async def test_a_second_ctrl_c_waits_for_nobody(start: Start, vendor: Vendor, how: str) -> None:
    """A call that is never answered holds the first one up; the supervisor passes the second on. Nothing is complained
    about.
    """
    arrived, _ = holding(vendor)
    process = await start(0, vendor.base_url, how)
    url = await address(process)
    async with aiohttp.ClientSession() as http:
        call = asyncio.create_task(http.get(f"{url}/proxy/con_1/api/x", headers=AS_ADMIN))
        await arrived.wait()
        process.send_signal(signal.SIGINT)
        while await connects(url):
            await asyncio.sleep(0.02)
        assert process.returncode is None
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        with suppress(aiohttp.ClientError):
            await call
    assert (await process.wait(), b"Traceback" in err) == (0, False), err


STARTS = pytest.mark.parametrize("how", ["1", "2", "reload"])


@STARTS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_during_the_start_ends_it(start: Start, number: signal.Signals, how: str) -> None:
    """What was opened is closed, no worker is started, nothing is said to listen, and the status is 0."""
    process = await start(0, "stuck", how)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"opening\n"
    process.send_signal(number)
    out, err = await process.communicate()
    assert (out, err, process.returncode) == (b"drained\n", b"", 0)


async def test_broken_start(start: Start) -> None:
    """A vault that does not open is told as what it is, and nothing is said to listen."""
    process = await start(0, "broken")
    out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert b"the keys do not open this database" in err
    assert b"Traceback" not in err


async def test_port_in_use(start: Start, vendor: Vendor) -> None:
    """A port that somebody has: the start fails naming them, and how to move."""
    port = int((await address(await start(0, vendor.base_url))).rpartition(":")[2])
    _, err = await (second := await start(port, vendor.base_url)).communicate()
    assert second.returncode == 1
    assert f"port {port} is in use".encode() in err
    assert b"CLOUDBEDS_AUTH_PORT" in err


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc")
def test_who_has_the_port() -> None:
    """Whoever listens on it is named by pid and name."""
    [held] = bind("127.0.0.1", 0)
    port = held.getsockname()[1]
    with held:
        held.listen()
        with pytest.raises(ConfigurationError, match=rf"port {port} is in use by \S.* \(pid {os.getpid()}\)"):
            bind("127.0.0.1", port)


def test_workers_get_the_sockets() -> None:
    """What is bound can be handed to the processes of several workers."""
    for one in bind("localhost", 0):
        with one:
            assert one.get_inheritable()


def test_bind_every_address() -> None:
    """A name with several addresses gets one port on all of them."""
    sockets = bind("localhost", 0)
    assert len({one.getsockname()[1] for one in sockets}) == 1
    for one in sockets:
        one.close()


def test_unknown_host() -> None:
    """A name that is none of this machine's addresses is a setting to mend."""
    with pytest.raises(ConfigurationError, match="CLOUDBEDS_AUTH_HOST"):
        bind("no.such.host.invalid", 0)
    with pytest.raises(ConfigurationError):
        bind("192.0.2.1", 0)


def test_address_of() -> None:
    """IPv6 addresses are told in brackets."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        assert address_of([one]) == f"http://127.0.0.1:{one.getsockname()[1]}"
