"""`demo`, for real: processes, HTTP, a kill in mid-refresh, and everything cleaned up after it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Temporary files in the test's own folder, and settings of the user's that must not leak in."""
    hostile = {"CLOUDBEDS_BASE_URL": "https://nowhere.invalid", "CLOUDBEDS_AUTH_PORT": "no number"}
    return {**os.environ, "TMPDIR": str(folder), **hostile, **more}


def demo(folder: Path, *args: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "cloudbeds_auth", "demo", *args],
        capture_output=True,
        text=True,
        env=environment(folder, PYTHONIOENCODING="utf-8"),
        cwd=folder,
    )
    return done.returncode, done.stdout, done.stderr


def ended(pid: int) -> bool:
    """Whether no such process runs; one that only waits for its parent to take note counts as ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return not status.parent.exists() and status.parent.parent.exists()


@pytest.mark.long  # `make demo` walks it, too
def test_the_journey_holds(tmp_path: Path) -> None:
    """Every step, three pairs of one grant, one refresh cut off, and nothing left behind."""
    status, out, err = demo(tmp_path, "--json")
    assert status == 0, out + err
    told: dict[str, Any] = json.loads(out)
    assert told["ok"] is True
    assert len(told["steps"]) == 11
    assert all(step["ok"] and step["detail"] for step in told["steps"])
    assert [(pair["generation"], pair["ended_by"]) for pair in told["pairs"]] == [
        (1, "refresh"),
        (2, "refresh"),
        (3, None),
    ]
    assert len({pair["grant"] for pair in told["pairs"]}) == 1
    outcomes = [attempt["outcome"].partition(":")[0] for attempt in told["pairs"][1]["attempts"]]
    assert outcomes == ["cut off", "answered with a new pair"]
    assert all(pair["proven"] and pair["calls"] for pair in told["pairs"])
    assert [entry.name for entry in tmp_path.iterdir()] == []


@pytest.mark.long
def test_another_variant_gives_another_picture(tmp_path: Path) -> None:
    """Where the same refresh token comes back, the picture says so; --keep keeps the logs and the database."""
    kept = tmp_path / "kept"
    status, out, err = demo(tmp_path, "--variant", "V6/n", "--keep", str(kept))
    assert status == 0, out + err
    assert out.count("✓") == 11
    assert "same refresh token" in out
    assert {"service.log", "simulator.log", "demo.sqlite3"} <= {entry.name for entry in kept.iterdir()}


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_children_end_with_the_demo(tmp_path: Path, number: signal.Signals) -> None:
    """However it is ended, and by their own pids; the temporary folder goes when there is a chance to."""
    kept = tmp_path / "kept"
    with subprocess.Popen(
        [sys.executable, "-m", "cloudbeds_auth", "demo", "--keep", str(kept)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(tmp_path),
        cwd=tmp_path,
    ) as running:
        try:
            assert running.stdout is not None
            for line in running.stdout:
                if "the service runs" in line:
                    break
            children = children_of(running.pid)
            assert len(children) == 2
        finally:
            running.send_signal(number)
        status = running.wait()
    assert status == (-number if number is signal.SIGKILL else 130)
    while not all(ended(pid) for pid in children):
        time.sleep(0.02)  # the test's own time limit is the deadline


@pytest.mark.long
def test_stay_leaves_both_running_until_ctrl_c(tmp_path: Path) -> None:
    """It says where to look: the dashboard with a link that signs in, the glass box, and what to try. It opens nothing
    where nobody sits at a terminal, and ends well.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "cloudbeds_auth", "demo", "--stay"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(tmp_path, PYTHONIOENCODING="utf-8"),
        cwd=tmp_path,
    ) as running:
        assert running.stdout is not None
        said, curl = "", ""
        while "curl" not in curl:
            said += (curl := running.stdout.readline())
        try:
            assert "Lose the next answer to a refresh" in said
            assert re.search(r"http://127\.0\.0\.1:\d+/sign-in#[\w-]{43}\n", said)
            [glass_box] = re.findall(r"http://127\.0\.0\.1:\d+/glass-box", said)
            with urllib.request.urlopen(glass_box) as shown:
                assert b"Healed" in shown.read(), "the answer that died with the service"
            children = children_of(running.pid)
            answer = subprocess.run(["sh", "-c", curl], capture_output=True, text=True) if which("curl") else None
        finally:
            running.send_signal(signal.SIGINT)
        assert running.wait() == 0
    assert len(children) == 2
    assert answer is None or json.loads(answer.stdout)["connections"][0]["state"] == "fresh"
    assert all(ended(pid) for pid in children)
    assert [entry.name for entry in tmp_path.iterdir()] == []


@pytest.mark.long
def test_stay_opens_both_at_a_terminal_with_a_display(tmp_path: Path) -> None:
    """The user's browser is asked for the dashboard, by a link that signs in, and for the glass box."""
    script, seen = tmp_path / "browser", tmp_path / "seen"
    script.write_text(f'#!/bin/sh\necho "$1" >> {seen}\n', "utf-8")
    script.chmod(0o755)
    ours, theirs = pty.openpty()
    with (
        subprocess.Popen(
            [sys.executable, "-m", "cloudbeds_auth", "demo", "--stay"],
            stdout=theirs,
            env=environment(tmp_path, PYTHONIOENCODING="utf-8", BROWSER=f"{script} %s", DISPLAY=":9"),
            cwd=tmp_path,
        ) as running,
        os.fdopen(ours) as screen,
    ):
        os.close(theirs)
        try:
            while "curl" not in screen.readline():
                assert running.poll() is None
            while not (seen.exists() and seen.read_text("utf-8").count("\n") == 2):
                time.sleep(0.02)  # the test's own time limit is the deadline
        finally:
            running.send_signal(signal.SIGINT)
        assert running.wait() == 0
    dashboard, glass_box = seen.read_text("utf-8").splitlines()
    assert "/sign-in#" in dashboard
    assert glass_box.endswith("/glass-box")


def children_of(pid: int) -> list[int]:
    """The child processes, as the system tells: /proc where there is one, else ps."""
    if Path("/proc/self/stat").exists():
        parents = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        return [child for child, parent in parents.items() if parent == pid]
    told = subprocess.run(["ps", "-o", "pid=,ppid=", "-A"], capture_output=True, text=True, check=True).stdout
    rows = [tuple(map(int, line.split())) for line in told.splitlines()]
    return [child for child, parent in rows if parent == pid]


def which(name: str) -> bool:
    import shutil

    return shutil.which(name) is not None
