"""The tutorial from its first command to its last, and the how-tos that are programs of their own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.acceptance.processes import Http, Process, World, world
from tests.acceptance.test_article import press
from tests.contrib.hotel import connect
from tests.docs.pages import block
from tests.docs.terminal import Terminal, run_to_its_end
from tests.support.ports import free_port

from cloudbeds_auth import Secret, sync
from cloudbeds_auth.settings import Need, key_bytes, load


@pytest.mark.long
def test_the_tutorial(tmp_path: Path) -> None:
    """The program is saved, a hotel approves in a browser, a call answers, its token ends, and a call answers;
    then the command and the service show what happened.
    """
    ports = {port: str(free_port()) for port in ("7000", "7001", "8000")}
    callback = f"http://localhost:{ports['8000']}/cloudbeds/callback"
    (tmp_path / "hotels.py").write_text(block("docs/tutorial.md#program"), "utf-8")
    with Terminal(tmp_path, {"CLOUDBEDS_REDIRECT_URI": callback}, ports) as terminal:
        terminal.run("docs/tutorial.md#simulate")
        for line in terminal.here(block("docs/tutorial.md#simulate")).splitlines():
            if line.startswith("  export "):
                name, value = line.removeprefix("  export ").split("=", 1)
                terminal.set(**{name: value})
        terminal.run("docs/tutorial.md#run")
        browser = Http(f"http://localhost:{ports['8000']}")
        back = press(browser, browser.get("/cloudbeds/connect", follow=True), "Approve")
        assert "Connected" in browser.get(back.headers["Location"], follow=True).text
        terminal.run("docs/tutorial.md#call")
        terminal.run("docs/tutorial.md#expire")
        terminal.run("docs/tutorial.md#picture")
        service = f"http://localhost:{ports['7000']}"
        terminal.set(CLOUDBEDS_AUTH_PORT=ports["7000"], CLOUDBEDS_REDIRECT_URI=f"{service}/callback")
        terminal.run("docs/tutorial.md#dashboard")
        assert Http(service).get("/sign-in").status == 200


@contextmanager
def worker(made: World, *more: str) -> Iterator[None]:
    """The tasks and the worker of the page, `more` its options; files in its folder are the broker, not Redis."""
    (made.folder / "tasks.py").write_text(block("docs/celery.md#tasks"), "utf-8")
    (made.folder / "data_in").mkdir()
    (made.folder / "data_out").symlink_to("data_in")
    (made.folder / "results").mkdir()
    made.extra |= {"CELERY_BROKER_URL": "filesystem://", "CELERY_RESULT_BACKEND": f"file://{made.folder}/results"}
    command = block("docs/celery.md#worker").removeprefix("$ ").split()
    process = Process(*command, *more, env=made.settings, cwd=made.folder)
    try:
        process.wait_for("exchange=celery")
        yield
    finally:
        process.stop()


@pytest.mark.long
def test_celery(tmp_path: Path) -> None:
    """A worker that forks runs the task; for a hotel that disconnected it returns what to do."""
    with world(tmp_path, "--auto-approve") as made:
        with sync.TokenVault.open(load(made.settings, None, need=Need.APP)) as vault:
            hotel = connect(vault)
        with worker(made), Terminal.of(made) as terminal:
            terminal.run("docs/celery.md#ask")
            assert made.run("connections", "disconnect", hotel, "--yes").returncode == 0
            ask = terminal.here(block("docs/celery.md#ask")).partition("\n")[0].removeprefix("$ ")
            told = run_to_its_end(ask.replace("100001", hotel), tmp_path, made.settings)
            assert "connect" in told, told


def counted(vault: sync.TokenVault, hotel: str) -> int:
    """The calls in the hotel's history."""
    lines = (event.data["methods"] for event in vault.events(hotel) if event.kind == "calls")
    return sum(sum(line.values()) for line in lines if isinstance(line, dict))


@pytest.mark.long
def test_a_child_of_celery_closes_its_vault(tmp_path: Path) -> None:
    """A second call would be in the history a minute later: it is once the worker has ended."""
    with (
        world(tmp_path, "--auto-approve") as made,
        sync.TokenVault.open(load(made.settings, None, need=Need.APP)) as vault,
    ):
        hotel = connect(vault)
        with worker(made, "--concurrency", "1"), Terminal.of(made) as terminal:
            terminal.run("docs/celery.md#ask")
            while counted(vault, hotel) < 1:
                time.sleep(0.1)
            terminal.run("docs/celery.md#ask")
        assert counted(vault, hotel) == 2


def test_keys_for_two_machines(tmp_path: Path) -> None:
    """Two files that only their owner can read, and the settings take them."""
    assert run_to_its_end(block("docs/two-machines.md#keys"), tmp_path, {}) == ""
    for name in ("cloudbeds-auth-key", "cloudbeds-auth-admin"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert len(key_bytes(Secret((tmp_path / "cloudbeds-auth-key").read_text("utf-8")))) == 32
