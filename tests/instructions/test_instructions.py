"""What each call costs, in instructions as callgrind counts them: no clock, and no other process, has a part in it.

The limits are half as much again as what was measured when they were set, with CPython 3.11.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.simulator import vendor

from cloudbeds_auth import TokenVault

pytestmark = pytest.mark.timeout(600)  # valgrind is some fifty times as slow as the processor
TIMES = 500
COLLECTED = re.compile(r"Collected\s*:\s*(\d+)")
Counted = Callable[[str], float]


@pytest.fixture
async def counted(tmp_path: Path) -> Counted:
    """Instructions of one of `measured.TABLE`: how many more they are when it is done TIMES times more."""
    async with vendor() as cloudbeds, TokenVault.open(cloudbeds.settings(tmp_path)) as vault:
        connection = await cloudbeds.connect(vault)
    where = (f"sqlite:///{tmp_path / 'vault.sqlite3'}", cloudbeds.base, connection.id)

    def count(name: str) -> float:
        with ThreadPoolExecutor() as both:
            few, many = both.map(lambda times: _instructions(*where, name, str(times)), (0, TIMES))
        return (many - few) / TIMES

    return count


def _instructions(*arguments: str) -> int:
    valgrind = shutil.which("valgrind")
    assert valgrind, "valgrind is missing: `make system` installs it"
    done = subprocess.run(
        [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null",
         sys.executable, "-m", "tests.instructions.measured", *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = COLLECTED.search(done.stderr)
    assert found, done.stderr
    return int(found[1])


async def test_a_fresh_token(counted: Counted) -> None:
    """A look-up in memory."""
    assert counted("access_token") < 9_500


async def test_a_call_under_the_auth_object(counted: Counted) -> None:
    """What `auth=vault.auth(id)` adds to a call of httpx2."""
    assert counted("call") - counted("plain call") < 190_000
