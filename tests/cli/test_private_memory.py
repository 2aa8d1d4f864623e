"""What the command line and the service have in memory stays there (A66)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.acceptance.conftest import MakeWorld, make_world

pytestmark = [
    pytest.mark.row("A66"),
    pytest.mark.skipif(sys.platform != "linux", reason="prctl and /proc are Linux's"),
]
__all__ = ["make_world"]
ASKS = """
import ctypes, resource
from cloudbeds_auth.cli.commands import command

@command("ask")
def ask(out):
    print(ctypes.CDLL(None).prctl(3), *resource.getrlimit(resource.RLIMIT_CORE))

ask([])
"""


def test_a_command(tmp_path: Path) -> None:
    """Whatever it does may not be read by others, and leaves no dump: it may ask for a secret before it reads any."""
    done = subprocess.run(
        [sys.executable, "-c", ASKS], cwd=tmp_path, capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.split() == ["0", "0", "0"]


def workers_of(pid: int, number: int) -> list[str]:
    """The processes that serve, once all of them have been started: the port is open before."""
    for _ in range(600):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        serving = [child for child in children if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]
        if len(serving) == number:
            return serving
        time.sleep(0.05)
    raise AssertionError(f"{len(serving)} of {number} workers")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_service(make_world: MakeWorld, workers: str) -> None:
    """Each of its processes: the system gives what shows their memory to root alone, whoever they run as."""
    pid = make_world(CLOUDBEDS_AUTH_WORKERS=workers).start().popen.pid
    serving = [] if workers == "1" else workers_of(pid, int(workers))
    for one in (str(pid), *serving):
        assert "Max core file size        0                    0" in Path(f"/proc/{one}/limits").read_text()
    if os.getuid():
        assert Path(f"/proc/{pid}/mem").stat().st_uid == 0
        with pytest.raises(PermissionError):
            Path(f"/proc/{pid}/environ").read_bytes()
