"""Programs of the kinds that most integrations are, with a vault of a module's own: each is started, works, and ends.

Each is a real process of the real framework, over the simulator. The vault is `TokenVault.from_environment()`, which
nothing closes. Every timeout only guards against hanging.
"""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import PATIENCE, Http, Process, World
from tests.acceptance.test_library import connect, settings_of
from tests.contrib.serving import wait_until_listening
from tests.support.ports import free_port

from cloudbeds_auth import sync as blocking

pytestmark = [pytest.mark.row("F106"), pytest.mark.long]  # processes that live for seconds

BIN = Path(sys.executable).parent
HOTELS = "from cloudbeds_auth.sync import TokenVault\n\nvault = TokenVault.from_environment()\n"
ASYNCHRONOUS = "from cloudbeds_auth import TokenVault\n\nvault = TokenVault.from_environment()\n"
FLASK = """
    from flask import Flask
    from hotels import vault

    app = Flask(__name__)

    @app.get("/<hotel>")
    def generation(hotel):
        return str(vault.access_token(hotel).generation)
"""
GUNICORN = """
    import os

    def post_worker_init(worker):
        line = f"worker ready {worker.pid}\\n"
        os.write(1, line.encode())  # in one piece: both workers write here
"""
ASGI = """
    from fastapi import FastAPI
    from hotels import vault

    app = FastAPI()

    @app.get("/{hotel}")
    async def generation(hotel: str) -> int:
        return (await vault.access_token(hotel)).generation
"""
DJANGO = """
    import os, sys
    from django.conf import settings
    from django.core.management import execute_from_command_line
    from django.http import HttpResponse
    from django.urls import path
    from hotels import vault

    settings.configure(DEBUG=True, SECRET_KEY="s" * 50, ROOT_URLCONF="__main__", ALLOWED_HOSTS=["*"])
    urlpatterns = [path("<hotel>", lambda _, hotel: HttpResponse(str(vault.access_token(hotel).generation)))]
    execute_from_command_line(sys.argv)
"""
CELERY = """
    from celery import Celery
    from hotels import vault

    app = Celery("tasks", broker="memory://", backend="cache+memory://")

    @app.task
    def generation(hotel):
        return vault.access_token(hotel).generation
"""
# Its worker, on a thread: the broker is this process's memory.
WORKER = """
    import sys
    from celery.contrib.testing.worker import start_worker
    from tasks import app, generation

    with start_worker(app, pool="threads", perform_ping_check=False, shutdown_timeout=30):
        print("generation", generation.delay(sys.argv[1]).get(timeout=30), flush=True)
"""
PYTEST = """
    import os
    from hotels import vault

    def test_a_hotel():
        assert vault.access_token(os.environ["HOTEL"]).generation == 1
"""


@pytest.fixture
def made(make_world: MakeWorld) -> World:
    """A vendor whose hotel approves at once."""
    return make_world("--auto-approve")


@pytest.fixture
def hotel(made: World) -> str:
    """A connected hotel."""
    with blocking.TokenVault.open(settings_of(made)) as vault:
        return connect(vault)


@contextmanager
def started(made: World, *command: str, files: dict[str, str], hotel: str = "") -> Iterator[Process]:
    """The command in a folder with these modules."""
    folder = made.folder / "program"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(textwrap.dedent(text), "utf-8")
    environment = {**made.settings, "HOTEL": hotel, "PYTHONPATH": str(folder)}
    process = Process(*command[1:], env=environment, cwd=folder, command=[str(BIN / command[0])], own_group=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.popen.pid, signal.SIGKILL)  # its workers, too, where it is not ended by then
        process.stop(signal.SIGKILL)


def ends(process: Process, how: signal.Signals | None = None) -> int:
    """Its exit status, by itself or after one signal; nothing of ours is printed."""
    if how is not None:
        process.popen.send_signal(how)
    status = process.popen.wait(PATIENCE)
    process._reader.join(PATIENCE)
    assert "Traceback" not in process.output
    assert "cloudbeds" not in process.output.lower()
    return status


def served(process: Process, hotel: str, port: int, says: str) -> None:
    """Once it says that it listens: the hotel's token, twice."""
    process.wait_for(says)
    wait_until_listening(port)  # several workers say so before the first of them does
    for _ in range(2):
        assert Http().get(f"http://127.0.0.1:{port}/{hotel}").text == "1"


@pytest.mark.parametrize("used", [True, False])
def test_flask_run(made: World, hotel: str, used: bool) -> None:
    """The first Ctrl-C ends it."""
    port = free_port()
    files = {"hotels.py": HOTELS, "app.py": FLASK}
    with started(made, "flask", "--app", "app", "run", "--port", str(port), files=files) as process:
        if used:
            served(process, hotel, port, "Running on")
        else:
            process.wait_for("Running on")
            assert Http().get(f"http://127.0.0.1:{port}/no/hotel").status == 404  # it serves, and needs no vault
        assert ends(process, signal.SIGINT) == 0


@pytest.mark.parametrize("preload", [True, False])
def test_gunicorn(made: World, hotel: str, preload: bool) -> None:
    """Two workers, of an application that is loaded before they are forked, and of one that each loads."""
    port = free_port()
    options = ["--preload"] if preload else []
    files = {"hotels.py": HOTELS, "app.py": FLASK, "gunicorn.conf.py": GUNICORN}
    command = ("gunicorn", "app:app", "--workers", "2", "--bind", f"127.0.0.1:{port}", *options)
    with started(made, *command, files=files) as process:
        first = process.wait_for(r"^worker ready (\d+)$")[1]  # a signal that comes before is lost, and waited for
        process.wait_for(rf"^worker ready (?!{first}$)\d+$")
        served(process, hotel, port, "Listening at")
        assert ends(process, signal.SIGTERM) == 0


def test_manage_py_check(made: World) -> None:
    """A command that imports the application and needs no hotel: it ends by itself."""
    with started(made, "python", "manage.py", "check", files={"hotels.py": HOTELS, "manage.py": DJANGO}) as process:
        assert ends(process) == 0


@pytest.mark.parametrize("options", [[], ["--noreload"]], ids=["with its reloader", "without"])
def test_manage_py_runserver(made: World, hotel: str, options: list[str]) -> None:
    """The first Ctrl-C ends it; as at a terminal, each of its processes gets it."""
    port = free_port()
    command = ("python", "manage.py", "runserver", f"127.0.0.1:{port}", *options)
    with started(made, *command, files={"hotels.py": HOTELS, "manage.py": DJANGO}) as process:
        served(process, hotel, port, "Starting development server")
        children = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children")
        for child in children.read_text().split() if children.exists() else []:
            os.kill(int(child), signal.SIGINT)
        assert ends(process, signal.SIGINT) == 0


def test_celery(made: World, hotel: str) -> None:
    """A worker that takes the task from its broker, and ends."""
    files = {"hotels.py": HOTELS, "tasks.py": CELERY, "main.py": WORKER}
    with started(made, "python", "main.py", hotel, files=files) as process:
        process.wait_for("^generation 1$")
        assert ends(process) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_uvicorn(made: World, hotel: str, workers: int) -> None:
    """The asynchronous vault of a module, in one process and in two."""
    port = free_port()
    files = {"hotels.py": ASYNCHRONOUS, "app.py": ASGI}
    command = ("uvicorn", "app:app", "--port", str(port), "--workers", str(workers))
    with started(made, *command, files=files) as process:
        process.wait_for("Application startup complete")
        served(process, hotel, port, "running on")
        assert ends(process, signal.SIGTERM) in {0, -signal.SIGTERM}


def test_pytest(made: World, hotel: str) -> None:
    """A user's test that imports the application."""
    files = {"hotels.py": HOTELS, "test_hotel.py": PYTEST}
    command = ("python", "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:cloudbeds_auth", "-q", "test_hotel.py")
    with started(made, *command, files=files, hotel=hotel) as process:
        assert ends(process) == 0
        assert "1 passed" in process.output
