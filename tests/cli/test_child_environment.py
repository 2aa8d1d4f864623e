"""What a child process is given of our environment: what it needs, and no secret (A77)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudbeds_auth import child_process

SECRETS = {
    "CLOUDBEDS_CLIENT_SECRET": "canary-client-secret",
    "CLOUDBEDS_AUTH_ADMIN_TOKEN": "canary-admin-token-0123456789abcdef",
    "CLOUDBEDS_AUTH_ENCRYPTION_KEYS": "Y2FuYXJ5LWtleS04MVF6MExyN0dkWXc1blhlMlZidGs=",
    "PGPASSWORD": "canary-database",
    "AWS_SECRET_ACCESS_KEY": "canary-somebody-else",
}


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """`cloudbeds-auth simulate` in an environment full of secrets."""
    environment = {**os.environ, **SECRETS, "SIMULATOR_CLIENT_SECRET": "made-up"}
    with subprocess.Popen(
        [sys.executable, "-m", "cloudbeds_auth", "simulate", "--port", "0"],
        env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        yield process
        process.send_signal(signal.SIGTERM)


def child_of(pid: int) -> int:
    """The one child of a process."""
    (found,) = (int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return found


@pytest.mark.row("A77")
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_simulators_process(started: subprocess.Popen[str]) -> None:
    """It has its own made-up secret and none of ours."""
    assert started.stdout is not None
    assert "listening on" in started.stdout.readline()
    given = Path(f"/proc/{child_of(started.pid)}/environ").read_bytes().decode()
    names = {entry.partition("=")[0] for entry in given.split("\0")}
    assert "canary" not in given
    assert SECRETS["CLOUDBEDS_AUTH_ENCRYPTION_KEYS"] not in given
    assert {"PATH", "SIMULATOR_CLIENT_SECRET"} <= names


@pytest.mark.row("A77")
def test_the_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the desktop's variables and none of our secrets; a browser that there is not is no failure."""
    script, seen = tmp_path / "browser", tmp_path / "seen"
    script.write_text(f'#!/bin/sh\n{{ echo "$1"; env; }} > {seen}\n', "utf-8")
    script.chmod(0o755)
    for name, value in {**SECRETS, "BROWSER": f"{script} %s", "DISPLAY": ":9"}.items():
        monkeypatch.setenv(name, value)
    child_process.open_browser("http://localhost:7000/connect/abc")
    address, *given = seen.read_text("utf-8").splitlines()
    assert address == "http://localhost:7000/connect/abc"
    assert "DISPLAY=:9" in given
    assert not any(value in line for value in SECRETS.values() for line in given)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    child_process.open_browser("http://localhost:7000/connect/abc")


@pytest.mark.parametrize(
    ("platform", "variable", "there"),
    [
        ("linux", "DISPLAY", True),
        ("linux", "WAYLAND_DISPLAY", True),
        ("linux", "TERM", False),
        ("darwin", "TERM", True),
    ],
)
def test_whether_a_browser_would_show(
    monkeypatch: pytest.MonkeyPatch, platform: str, variable: str, there: bool
) -> None:
    """A Mac has a display; elsewhere a variable names it."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, ":9")
    monkeypatch.setattr(sys, "platform", platform)
    assert child_process.has_display() is there


def test_what_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    """What processes need to run here, what is asked for besides, and what is said; an allow-list, so nothing else."""
    for name, value in {**SECRETS, "LC_TIME": "C", "PYTHONPATH": "x", "SSL_CERT_FILE": "y", "DISPLAY": ":9"}.items():
        monkeypatch.setenv(name, value)
    given = child_process.environment("DISPLAY", "NOT_SET", HOME="/nowhere")
    assert {"LC_TIME", "PYTHONPATH", "SSL_CERT_FILE", "DISPLAY", "PATH"} <= given.keys()
    assert given["HOME"] == "/nowhere"
    assert not given.keys() & {*SECRETS, "NOT_SET"}
    assert "DISPLAY" not in child_process.environment()
