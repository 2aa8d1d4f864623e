"""The tutorial from its first command to its last, and the how-tos that are programs of their own."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.processes import Http, Process, World, world
from tests.acceptance.test_article import press
from tests.contrib.hotel import connect
from tests.docs.pages import block
from tests.docs.terminal import Terminal, run_to_its_end
from tests.support.ports import free_port

from cloudbeds_auth import Secret, sync
from cloudbeds_auth.settings import Need, key_bytes, load

WORKER = """
import sys
from celery.contrib.testing.worker import start_worker
from tasks import app, who_approved

with start_worker(app, pool="threads", perform_ping_check=False, shutdown_timeout=30):
    print("approved by", who_approved.delay(sys.argv[1]).get(timeout=30), flush=True)
"""


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


def celery_in(made: World, hotel: str) -> Process:
    """The tasks of the page, and a worker that is given one."""
    (made.folder / "tasks.py").write_text(block("docs/celery.md#tasks"), "utf-8")
    (made.folder / "main.py").write_text(WORKER, "utf-8")
    return Process("main", hotel, env=made.settings, cwd=made.folder)


def test_celery(tmp_path: Path) -> None:
    """A worker runs the task; for a hotel that disconnected it returns what to do."""
    with world(tmp_path, "--auto-approve") as made:
        with sync.TokenVault.open(load(made.settings, None, need=Need.APP)) as vault:
            hotel = connect(vault)
        program = celery_in(made, hotel)
        try:
            program.wait_for("^approved by Ada$")
        finally:
            program.stop()
        assert made.run("connections", "disconnect", hotel, "--yes").returncode == 0
        program = celery_in(made, hotel)
        try:
            assert "None" not in program.wait_for("^approved by (.+)$")[1]
        finally:
            program.stop()


def test_keys_for_two_machines(tmp_path: Path) -> None:
    """Two files that only their owner can read, and the settings take them."""
    assert run_to_its_end(block("docs/two-machines.md#keys"), tmp_path, {}) == ""
    for name in ("cloudbeds-auth-key", "cloudbeds-auth-admin"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert len(key_bytes(Secret((tmp_path / "cloudbeds-auth-key").read_text("utf-8")))) == 32
