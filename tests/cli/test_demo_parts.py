"""What the demo is built from: processes that are always ended, a browser, free ports, events read back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest
from tests.cli.fakes import invoke

from cloudbeds_auth.child_process import Child, ChildFailed, bare_environment
from cloudbeds_auth.cli.demo_journey import Journey, Step, expect, read_event
from cloudbeds_auth.cli.demo_stage import PORTS, Form, Surprise, browser, free_port, press, start
from cloudbeds_auth.system import SystemClock, SystemEntropy

SIMULATOR = ["cloudbeds_simulator", "--port", "0", "--with-parent"]


def child(folder: Path, *arguments: str) -> Child:
    return Child("simulator", arguments or SIMULATOR, bare_environment(folder), folder)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_says_where_it_listens_and_ends(tmp_path: Path) -> None:
    """Started, known by its address, ended by its own pid; a second end is harmless."""
    one = child(tmp_path)
    try:
        url = one.start(SystemClock())
        assert url.startswith("http://127.0.0.1:")
        pid = one.pid
    finally:
        one.stop()
    assert not alive(pid)
    one.stop()


def test_a_child_that_was_killed_starts_again(tmp_path: Path) -> None:
    """The log goes on; only what the new process says counts."""
    one = child(tmp_path)
    try:
        first = one.start(SystemClock())
        one.kill()
        second = one.start(SystemClock())
        assert first != second or one.log.read_text().count("listening") == 2
    finally:
        one.stop()


def test_a_child_that_does_not_start(tmp_path: Path) -> None:
    """Its last words and its log are named."""
    one = child(tmp_path, "cloudbeds_simulator", "--host", "example.com")
    with pytest.raises(ChildFailed, match="is not a loopback address") as caught:
        one.start(SystemClock())
    assert str(one.log) in str(caught.value)
    one.stop()


def test_children_die_with_their_parent(tmp_path: Path) -> None:
    """Even when the parent is killed without a chance to clean up."""
    code = (
        "import pathlib, sys, time\n"
        "from cloudbeds_auth.child_process import Child, bare_environment\n"
        "from cloudbeds_auth.system import SystemClock\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        f"child = Child('simulator', {SIMULATOR!r}, bare_environment(folder), folder)\n"
        "child.start(SystemClock())\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    status = Path(f"/proc/{pid}/stat")
    while alive(pid) and (not status.exists() or status.read_text().split()[2] != "Z"):
        time.sleep(0.02)  # ends when its standard input does; the test's own time limit is the deadline


def test_the_environment_is_bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the user's settings get through."""
    monkeypatch.setenv("CLOUDBEDS_CLIENT_SECRET", "mine")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    environment = bare_environment(tmp_path, CLOUDBEDS_CLIENT_ID="x")
    assert {name for name in environment if name.startswith("CLOUDBEDS_")} == {"CLOUDBEDS_CLIENT_ID"}
    assert "HTTPS_PROXY" not in environment
    assert environment["HOME"] == str(tmp_path)


def test_free_ports_stay_clear_of_outgoing_connections() -> None:
    """Between choosing and listening nobody is handed the port by the system."""
    assert free_port(SystemEntropy()) in PORTS


def test_a_form_is_read() -> None:
    """Hidden fields, checked boxes, buttons."""
    form = Form(
        '<form action="/go"><input type="hidden" name="a" value="&lt;1"><input type="checkbox" name="b" value="2">'
        '<input type="checkbox" name="c" value="3" checked><button name="d" value="yes">Go</button></form>'
    )
    assert (form.action, form.fields, form.buttons) == ("/go", {"a": "<1", "c": "3"}, [("d", "yes")])


async def test_the_browser_approves_at_the_simulator(tmp_path: Path) -> None:
    """It reads the consent page, presses the button, and follows to wherever it is sent."""
    one = Child(
        "simulator", [*SIMULATOR, "--redirect-uri", "http://127.0.0.1:9/callback"], bare_environment(tmp_path), tmp_path
    )
    try:
        url = await start(one, SystemClock())
        query = "client_id=simulated-app&redirect_uri=http://127.0.0.1:9/callback&response_type=code&state=s"
        async with browser() as http:
            page = await http.get(f"{url}/api/v1.3/oauth?{query}")
            assert "Hotel Aurora" in page.text
            with pytest.raises(Surprise, match="no button"):
                await press(http, page, ("decision", "perhaps"))
            with pytest.raises(httpx2.ConnectError) as nobody:  # nobody listens at the callback in this test
                await press(http, page, ("decision", "approve"))
        assert nobody.value.request.url.path == "/callback"
    finally:
        one.stop()


def test_events_as_the_api_tells_them() -> None:
    """Read back into the noun that the picture is drawn from."""
    told = {
        "sequence": 3,
        "at": "2026-11-24T08:00:00.125Z",
        "kind": "proved",
        "actor": "system",
        "generation": 2,
        "data": {},
    }
    event = read_event({**told, "grant_id": "g1"})
    assert (event.sequence, event.kind, event.grant_id, event.generation) == (3, "proved", "g1", 2)
    assert event.at.microsecond == 125_000


async def test_a_step_that_does_not_hold_ends_the_journey() -> None:
    """Whoever listens is told why; the steps after it are not taken."""
    journey = Journey.__new__(Journey)
    taken: list[str] = []

    async def good() -> str:
        taken.append("good")
        return "fine"

    async def bad() -> str:
        expect(False, "it did not hold")
        return ""

    journey.steps = (("first", good), ("second", bad), ("third", good))
    told: list[Step] = []
    assert await journey.run(told.append) is False
    assert [(step.name, step.ok, step.detail) for step in told] == [
        ("first", True, "fine"),
        ("second", False, "it did not hold"),
    ]
    assert taken == ["good"]


def test_an_impossible_variant_is_told(tmp_path: Path) -> None:
    """The simulator's own words, exit 1, and the folder with the logs."""
    result = invoke("demo", "--variant", "V9", "--keep", str(tmp_path / "kept"))
    assert result.status == 1
    assert "FAILED" in result.out or "✗" in result.out
    assert str(tmp_path / "kept") in result.err
