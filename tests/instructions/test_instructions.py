"""What each call costs, in instructions as callgrind counts them: no clock, and no other process, has a part in it.

The limits are half as much again as what was measured when they were set, with CPython 3.11.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import pytest
from tests.support.simulator import CLIENT, SECRET, vendor

from cloudbeds_auth import TokenVault

pytestmark = pytest.mark.timeout(600)  # valgrind is some fifty times as slow as the processor
TIMES = 500
ADMIN = "an-admin-token-of-more-than-32-characters"
COLLECTED = re.compile(r"Collected\s*:\s*(\d+)")
LISTENING = re.compile(r"listening on (\S+)")
STEADY_HASHES = {"PYTHONHASHSEED": "0"}
Counted = Callable[[str, int], float]


@pytest.fixture
async def counted(tmp_path: Path) -> Counted:
    """Instructions of one of `measured.TABLE`: how many more they are when it is done that many times more."""
    async with vendor() as cloudbeds, TokenVault.open(cloudbeds.settings(tmp_path)) as vault:
        connection = await cloudbeds.connect(vault)
    where = (f"sqlite:///{tmp_path / 'vault.sqlite3'}", cloudbeds.base, connection.id)

    def count(name: str, times: int) -> float:
        with ThreadPoolExecutor() as both:
            few, many = both.map(lambda done: _instructions(*where, name, str(done)), (0, times))
        return (many - few) / times

    return count


def _instructions(*arguments: str) -> int:
    done = subprocess.run(
        [*_callgrind(), sys.executable, "-m", "tests.instructions.measured", *arguments],
        capture_output=True, text=True, check=False, env=os.environ | STEADY_HASHES,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return _collected(done.stderr)


def _callgrind() -> list[str]:
    valgrind = shutil.which("valgrind")
    assert valgrind, "valgrind is missing: `make system` installs it"
    return [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null"]


def _collected(output: str) -> int:
    found = COLLECTED.search(output)
    assert found, output
    return int(found[1])


async def _instructions_of_service(settings: dict[str, str], log: Path, path: str, times: int) -> int:
    """Of `cloudbeds-auth serve` from its start to its end; `path` is called that often over one connection."""
    command = [*_callgrind(), sys.executable, "-m", "cloudbeds_auth", "serve"]
    with log.open("wb") as output:
        service = await asyncio.create_subprocess_exec(
            *command, stdout=output, stderr=output, env=os.environ | STEADY_HASHES | settings
        )
    try:
        while (listening := LISTENING.search(log.read_text())) is None:
            assert service.returncode is None, log.read_text()
            await asyncio.sleep(0.5)
        async with aiohttp.ClientSession(listening[1], headers={"Authorization": f"Bearer {ADMIN}"}) as caller:
            for _ in range(1 + times):  # one that everything is made for
                async with caller.get(path) as answer:
                    assert answer.status == 200, await answer.text()
                    await answer.read()
        service.terminate()
        await service.wait()
    finally:
        if service.returncode is None:
            service.kill()
    return _collected(log.read_text())


async def test_a_fresh_token(counted: Counted) -> None:
    """A look-up in memory, often enough that what differs between two starts is little beside it."""
    assert counted("access_token", 20_000) < 9_300


async def test_a_call_under_the_auth_object(counted: Counted) -> None:
    """What `auth=vault.auth(id)` adds to a call of httpx2."""
    assert counted("call", TIMES) - counted("plain call", TIMES) < 190_000


async def test_a_proxied_call(tmp_path: Path) -> None:
    """All that the service does for one, its log included: default settings but for the rate limit."""
    async with vendor() as cloudbeds:
        async with TokenVault.open(cloudbeds.settings(tmp_path)) as vault:
            connection = await cloudbeds.connect(vault)
        settings = {
            "CLOUDBEDS_CLIENT_ID": CLIENT,
            "CLOUDBEDS_CLIENT_SECRET": SECRET,
            "CLOUDBEDS_BASE_URL": cloudbeds.base,
            "CLOUDBEDS_AUTH_DATABASE_URL": f"sqlite:///{tmp_path / 'vault.sqlite3'}",
            "CLOUDBEDS_AUTH_ADMIN_TOKEN": ADMIN,
            "CLOUDBEDS_AUTH_PORT": "0",
            "CLOUDBEDS_AUTH_RATE_LIMIT": "0",
        }
        path = f"/proxy/{connection.id}/api/v1.3/getHotels"
        few, many = await asyncio.gather(
            *(_instructions_of_service(settings, tmp_path / f"log-{times}", path, times) for times in (0, TIMES))
        )
    assert (many - few) / TIMES < 1_800_000
