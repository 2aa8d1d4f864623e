"""The applications that the pages on FastAPI, Flask and Django show run as they stand here, under their own servers."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.acceptance.processes import Http, Process, World, world
from tests.contrib.serving import wait_until_listening
from tests.docs.pages import block, text_of
from tests.docs.terminal import Terminal

from cloudbeds_simulator.__main__ import DEFAULT_REDIRECTS


@pytest.mark.long
@pytest.mark.parametrize("own", [None, "http://localhost:7100/callback"])
def test_the_redirect_uris_that_the_simulator_knows(own: str | None, tmp_path: Path) -> None:
    """Without options the service's and the mounted application's of the page; else the one that is set."""
    (mounted,) = re.findall(r"^\$ CLOUDBEDS_REDIRECT_URI=(\S+) uvicorn", text_of("docs/fastapi.md"), re.MULTILINE)
    env = {} if own is None else {"CLOUDBEDS_REDIRECT_URI": own}
    program = Process("cloudbeds_auth", "simulate", "--port", "0", "--auto-approve", env=env, cwd=tmp_path)
    try:
        base = program.wait_for(r"listening on (http\S+)")[1]
        query = f"{base}/api/v1.3/oauth?client_id=simulated-app&response_type=code&redirect_uri="
        asked = ["http://localhost:7000/callback", mounted, "http://localhost:7100/callback"]
        statuses = [Http().get(query + quote(uri)).status for uri in asked]
    finally:
        program.stop()
    assert statuses == ([302, 302, 400] if own is None else [400, 400, 302])


def write_block(name: str, tmp_path: Path, module: str = "hotels.py") -> None:
    """This block, as a module."""
    (tmp_path / module).write_text(block(name), "utf-8")


@pytest.mark.long
def test_the_application_with_its_own_answers_runs_as_written(tmp_path: Path) -> None:
    """It is told of the hotel that connected, and shows its own page about a callback that nobody began."""
    write_block("docs/fastapi.md#answers", tmp_path)
    with world(tmp_path, "--auto-approve") as made:
        program = Process("uvicorn", "hotels:app", "--port", str(made.port), env=made.settings, cwd=tmp_path)
        try:
            program.wait_for("Uvicorn running on")
            browser = Http(made.base)
            assert "<h1>Connected</h1>" in browser.get("/connect?reference=tenant-7", follow=True).text
            assert list(browser.get("/hotels").json.values()) == ["tenant-7"]
            failed = browser.get("/callback?code=x&state=y")
            assert (failed.status, failed.text[:22]) == (400, "<h1>Not connected</h1>")
        finally:
            program.stop()


@pytest.mark.long
def test_the_mounted_application_runs_as_written(tmp_path: Path) -> None:
    """Under a real uvicorn: a hotel that is not connected is a problem; it connects, and the endpoint answers."""
    write_block("docs/fastapi.md#mounted", tmp_path)
    with world(tmp_path, "--auto-approve", callback="/auth/callback") as made:
        command = [*typed("docs/fastapi.md#run", made), "--port", str(made.port)]
        with running(command, made, "Uvicorn running on") as browser:
            refused = browser.get("/me")
            assert refused.json == json.loads(block("docs/fastapi.md#problem").replace("100002", ""))
            link = browser.post("/connect-my-hotel").headers["Location"]
            shown = browser.start(link, follow=True)
            assert shown.url.startswith(f"{made.base}/me?connection_id=con_")
            assert shown.json["first_name"] == "Ada"


def typed(command: str, made: World) -> list[str]:
    """The words of this block's command; port 8000 is the world's here, and so is every setting."""
    words = shlex.split(block(command).removeprefix("$ ").replace("8000", str(made.port)))
    return [word for word in words if not word.startswith("CLOUDBEDS_")]


@contextmanager
def running(command: list[str], made: World, listens: str, without: str = "") -> Iterator[Http]:
    """A server as it is begun on a page; a browser."""
    env = {name: value for name, value in made.settings.items() if name != without}
    program = Process(*command, env=env, cwd=made.folder)
    try:
        program.wait_for(listens)
        wait_until_listening(made.port)
        yield Http(made.base)
    finally:
        program.stop()
    assert "Traceback" not in program.output, program.output


@contextmanager
def flask_with(name: str, made: World) -> Iterator[Http]:
    """This block of Flask's page, run as the page says; a browser."""
    write_block(name, made.folder)
    with running(typed("docs/flask.md#run", made), made, "Running on") as browser:
        yield browser


@contextmanager
def django_with(name: str, made: World) -> Iterator[Http]:
    """This block of Django's page in a project that `startproject` made, run as the page says; a browser."""
    subprocess.run([sys.executable, "-m", "django", "startproject", "hotels", "."], cwd=made.folder, check=True)
    write_block(name, made.folder, "hotels/urls.py")
    with (made.folder / "hotels" / "settings.py").open("a", encoding="utf-8") as file:
        file.write(
            block("docs/django.md#settings").replace("http://localhost:8000", made.base)
        )  # the port is the test's
    python, manage, *arguments = typed("docs/django.md#run", made)
    assert (python, manage) == ("python", "manage.py")
    command = ["manage", *arguments, "--noreload"]
    with running(command, made, "Quit the server", without="CLOUDBEDS_REDIRECT_URI") as browser:
        yield browser


LONGEST_TUTORIAL = 25  # lines
MOUNTED = {"docs/flask.md#mounted": flask_with, "docs/django.md#mounted": django_with}
ANSWERS = {"docs/flask.md#answers": (flask_with, ""), "docs/django.md#answers": (django_with, "/cloudbeds")}


def own_lines(block: str) -> int:
    """Lines of a reader's own code: neither empty nor an import."""
    return sum(1 for line in block.splitlines() if line and not line.startswith(("import ", "from ")))


@pytest.mark.parametrize("page", ["python", "fastapi", "flask", "django"])
def test_no_tutorial_is_longer_than_a_screen_of_a_readers_own_lines(page: str) -> None:
    """Django's settings are a block beside that of its views, and count with it."""
    blocks = re.findall(r"```python\n(.*?)```", text_of(f"docs/{page}.md"), re.DOTALL)
    settings = [block for block in blocks if "MIDDLEWARE" in block]
    program = max((own_lines(block) for block in blocks if block not in settings), default=0)
    assert 0 < program + sum(map(own_lines, settings)) <= LONGEST_TUTORIAL


@pytest.mark.parametrize("page", ["flask", "django", "fastapi"])
def test_the_simulator_knows_the_redirect_uri_of_the_page(page: str) -> None:
    """As it is started without options, which is all that the page says of it."""
    shown = re.search(r"""CLOUDBEDS_REDIRECT_URI ?= ?"?(http://localhost:8000[^\s"]+)""", text_of(f"docs/{page}.md"))
    assert shown is not None
    assert shown[1] in DEFAULT_REDIRECTS


@pytest.mark.long
@pytest.mark.parametrize("name", MOUNTED)
def test_the_flow_in_a_blocking_application_runs_as_written(name: str, tmp_path: Path) -> None:
    """Under the framework's own server: no hotel is a problem, or a page; it connects, and the view answers."""
    with (
        world(tmp_path, "--auto-approve", callback="/cloudbeds/callback") as made,
        MOUNTED[name](name, made) as browser,
    ):
        assert browser.get("/me").json["code"] == "unknown_connection"
        assert "<h1>This hotel is not connected" in browser.get("/me", headers={"Accept": "text/html"}).text
        browser.cookies["localhost"] = {"csrftoken": "a" * 32}  # as a form of theirs has it, for Django
        link = browser.post("/connect-my-hotel", headers={"X-CSRFToken": "a" * 32}).headers["Location"]
        shown = browser.start(link, follow=True)
        assert shown.url.startswith(f"{made.base}/me?connection_id=con_")
        assert shown.json["first_name"] == "Ada"
        if "django" in name:
            made.extra["CLOUDBEDS_REDIRECT_URI"] = f"{made.base}/cloudbeds/callback"
            with Terminal.of(made) as terminal:
                link = terminal.run("docs/django.md#link").split()[-1]
                assert link.startswith(f"{made.base}/cloudbeds/connect/")


@pytest.mark.long
@pytest.mark.parametrize("name", ANSWERS)
def test_a_blocking_application_with_its_own_answers_runs_as_written(name: str, tmp_path: Path) -> None:
    """It is told of the hotel that connected, and shows its own page about a callback that nobody began."""
    served, prefix = ANSWERS[name]
    with (
        world(tmp_path, "--auto-approve", callback=f"{prefix}/callback") as made,
        served(name, made) as browser,
    ):
        assert "<h1>Connected</h1>" in browser.get(f"{prefix}/connect?reference=tenant-7", follow=True).text
        assert list(browser.get("/hotels").json.values()) == ["tenant-7"]
        failed = browser.get(f"{prefix}/callback?code=x&state=y")
        assert (failed.status, failed.text[:22]) == (400, "<h1>Not connected</h1>")
