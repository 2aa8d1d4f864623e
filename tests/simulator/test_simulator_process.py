"""The simulator as a process: its one line, its ways to stop, its refusals."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cloudbeds_simulator.__main__ import build, parser, run

SOURCE = Path(__file__).parents[2] / "src"
Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts simulators and leaves none behind."""
    running: list[asyncio.subprocess.Process] = []

    async def begin(*args: str, **variables: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), **variables}
        command = (sys.executable, "-m", "cloudbeds_simulator", *args)
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def base_of(process: asyncio.subprocess.Process) -> str:
    """The address from the process's one line."""
    assert process.stdout
    line = (await process.stdout.readline()).decode()
    found = re.fullmatch(r"simulator listening on (http://127\.0\.0\.1:\d+)\n", line)
    assert found, line
    return found[1]


@pytest.mark.row("A78")
@pytest.mark.parametrize("number", ["65536", "-1", "9" * 30, "9" * 5000, "1e3", "x", ""])
@pytest.mark.parametrize("option", ["--port", "--hotels"])
def test_absurd_numbers(option: str, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A usage error that names the option."""
    with pytest.raises(SystemExit) as ended:
        run([f"{option}={number}"])
    assert ended.value.code == 2
    assert f"argument {option}" in capsys.readouterr().err


async def test_listens_and_stops(start: Start) -> None:
    """It prints one line once it listens, serves, and SIGTERM ends it with 0 and nothing more said."""
    process = await start("--variant", "V6", "--hotels", "2", SIMULATOR_CLIENT_SECRET="from the environment")
    base = await base_of(process)
    async with aiohttp.ClientSession() as session, session.get(f"{base}/_control/state") as response:
        state: Any = await response.json()
    assert (state["settings"]["variant"], len(state["hotels"])) == ("V6/n", 2)
    assert state["apps"][0]["client_secret"] == "from the environment"
    process.send_signal(signal.SIGTERM)
    said, complained = await process.communicate()
    assert (process.returncode, said, complained) == (0, b"", b"")


async def test_stops_with_its_parent(start: Start) -> None:
    """With --with-parent the end of stdin ends it with 0, even while a request hangs."""
    process = await start("--with-parent")
    base = await base_of(process)
    async with aiohttp.ClientSession() as session:
        await (await session.post(f"{base}/_control/faults", json={"kind": "hang_before", "target": "any"})).read()
        hanging = asyncio.create_task(session.get(f"{base}/api/v1.3/userinfo").__aenter__())
        await (await session.get(f"{base}/_control/wait?fault=hang_before")).read()
        assert process.stdin
        process.stdin.close()
        assert await process.wait() == 0
        with pytest.raises(aiohttp.ClientError):
            await hanging


def test_port_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    """A taken port is one clear line on stderr and exit status 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["--port", str(port)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{port}" in said.err


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com"])
def test_refuses_other_hosts(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An address beyond loopback is refused unless asked for outright."""
    assert run(["--host", host]) == 1
    assert "--allow-any-host" in capsys.readouterr().err


def test_refuses_impossible_lifetime(capsys: pytest.CaptureFixture[str]) -> None:
    """An impossible setting is one line on stderr and exit status 1."""
    assert run(["--expires-in", "0"]) == 1
    assert "expires_in" in capsys.readouterr().err


def test_unknown_variant(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown variant is a usage error."""
    with pytest.raises(SystemExit, match="2"):
        run(["--variant", "V9"])
    assert "--variant" in capsys.readouterr().err


def test_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Client, redirect URIs, name and approval are what the command line says; its secret beats the environment's."""
    monkeypatch.setenv("SIMULATOR_CLIENT_SECRET", "other")
    text = (
        "--client-id c --client-secret s --redirect-uri http://a/ --redirect-uri http://b/ --app-name N --auto-approve"
    )
    model = build(parser().parse_args(text.split())).model
    app = model.apps["c"]
    assert (app.client_secret, app.name, app.redirect_uris) == ("s", "N", frozenset({"http://a/", "http://b/"}))
    assert model.settings.auto_approve
