"""The Python that the documentation shows runs as it stands, against a simulator that is a process of its own."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from tests.acceptance.processes import PATIENCE, Http, Process, World, world
from tests.contrib.hotel import connected
from tests.contrib.serving import wait_until_listening
from tests.docs.pages import code_block, text_of
from tests.docs.under_load import across_three_rotations, example
from tests.pytest_plugin.running import run
from tests.support.keys import WEBHOOK_SECRET
from tests.support.ports import free_port

from cloudbeds_auth import StateMismatch, TokenVault, sync
from cloudbeds_auth.settings import Need, load
from cloudbeds_simulator.__main__ import DEFAULT_REDIRECTS

BLOCKS = {
    "readme": ("README.md", ""),
    "asyncio": ("docs/python.md", "<!-- block -->"),
    "blocking": ("docs/python.md", "<!-- blocking -->"),
    "httpx": ("docs/clients.md", "<!-- httpx -->"),
    "requests": ("docs/clients.md", "<!-- requests -->"),
    "sdk": ("docs/clients.md", "<!-- sdk -->"),
}


def approved(url: str) -> str:
    """Approve at this address, as a browser would; the code that comes back."""
    back = urlsplit(Http().get(url).headers["Location"])
    code: str = parse_qs(back.query)["code"][0]
    return code


@pytest.mark.parametrize("block", BLOCKS)
def test_the_block_runs_as_written(block: str, tmp_path: Path) -> None:
    """It prints an address, takes the code, and shows who approved: the hotel is connected and a call answers."""
    page, marker = BLOCKS[block]
    (tmp_path / "hotel.py").write_text(code_block(text_of(page), "python", after=marker), "utf-8")
    with world(tmp_path, "--auto-approve") as made:
        program = Process("hotel", env=made.settings, cwd=tmp_path)
        try:
            code = approved(program.wait_for(r"open (http\S+)")[1])
            assert program.popen.stdin
            program.popen.stdin.write(f"{code}\n")
            program.popen.stdin.flush()
            status = program.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(program.output)
        finally:
            program.stop()
        assert status == 0, program.output
        assert "'first_name': 'Ada'" in program.output
        assert made.vendor.counts("authorization_code") == {"issued": 1}


def test_the_block_about_several_apps_runs_as_written(tmp_path: Path) -> None:
    """A hotel's own client is added, its hotel approves; after a reset at Cloudbeds only the new secret is left."""
    block: dict[str, Any] = {}
    exec(code_block(text_of("docs/python.md"), "python", after="<!-- apps -->"), block)

    async def brought(made: World) -> None:
        own: dict[str, Any] = {"client_id": "hotels-own", "redirect_uris": [f"{made.base}/callback/aurora"]}
        made.vendor.control("apps", client_secret="first", **own)
        async with TokenVault.open(load(made.settings, None, need=Need.APP)) as vault:
            url = await block["bring"](vault, "hotels-own", "first")
            state = parse_qs(urlsplit(url).query)["state"][0]
            aurora = await vault.finish_authorization(code=approved(url), state=state)
            assert (aurora.app, aurora.reference) == ("aurora", "tenant-7")
            made.vendor.control("apps", client_secret="second", **own)
            await block["after_a_reset"](vault, "second", aurora)
            assert [secret.reveal() for secret in (await vault.apps.get("aurora")).secrets] == ["second"]
            assert (await vault.connection(aurora.id)).generation == 2

    with world(tmp_path, "--auto-approve") as made:
        asyncio.run(brought(made))


def test_the_block_about_sessions_runs_as_written(tmp_path: Path) -> None:
    """The browser that began finishes, by a link too; another one's session does not, and leaves it as it was."""
    block: dict[str, Any] = {}
    exec(code_block(text_of("docs/python.md"), "python", after="<!-- session -->"), block)
    mine: dict[str, str] = {}
    with (
        world(tmp_path, "--auto-approve") as made,
        sync.TokenVault.open(load(made.settings, None, need=Need.APP)) as vault,
    ):
        link = vault.create_link(reference="tenant-8")
        for url in (block["begin"](vault, mine, "tenant-7"), block["begin_from_link"](vault, mine, link.token)):
            code, state = approved(url), parse_qs(urlsplit(url).query)["state"][0]
            for session in ({}, {"cloudbeds_browser": "another's"}):
                with pytest.raises(StateMismatch):
                    block["finish"](vault, session, code, state)
            assert block["finish"](vault, mine, code, state).property_ids
        assert vault.link_outcome(link.token) is not None


@pytest.mark.long
def test_the_vendors_package_under_load_runs_as_written(tmp_path: Path) -> None:
    """The published package under 32 threads: the token ends three times under their hands, every answer is a 200."""
    (tmp_path / "many.py").write_text(example("python", "sdk"), "utf-8")
    with world(tmp_path, "--auto-approve", CLOUDBEDS_AUTH_TOKEN_TIMEOUT="20") as made:
        made.start()
        hotel = made.connect()
        made.services.pop().stop()
        program = Process("many", hotel, env=made.settings, cwd=tmp_path)
        try:
            statuses = across_three_rotations(program, made)
        finally:
            program.stop()
    assert re.fullmatch(r"\{200: \d+\}", statuses), statuses


def test_the_v2_package_prints_what_the_page_shows(tmp_path: Path) -> None:
    """The program, and below it what the simulator has it print."""
    text = text_of("docs/clients.md")
    (tmp_path / "rates.py").write_text(code_block(text, "python", after="<!-- sdk-v2 -->"), "utf-8")
    shown = code_block(text, "console", after="<!-- /sdk-v2 -->").splitlines()[1:]
    with connected(tmp_path) as hotel:
        program = Process("rates", "100001", env=hotel.made.settings, cwd=tmp_path)
        try:
            assert program.popen.wait(PATIENCE) == 0, program.output
        finally:
            program.stop()
    assert program.lines == shown


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


def write_block(name: str, tmp_path: Path, page: str = "docs/fastapi.md", module: str = "hotels.py") -> None:
    """This block of the page, as a module."""
    block = code_block(text_of(page), "python", after=f"<!-- {name} -->")
    (tmp_path / module).write_text(block, "utf-8")


def test_the_application_with_its_own_answers_runs_as_written(tmp_path: Path) -> None:
    """It is told of the hotel that connected, and shows its own page about a callback that nobody began."""
    write_block("answers", tmp_path)
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


def test_the_mounted_application_runs_as_written(tmp_path: Path) -> None:
    """Under a real uvicorn: a hotel that is not connected is a problem; it connects, and the endpoint answers."""
    write_block("mounted", tmp_path)
    with world(tmp_path, "--auto-approve", callback="/auth/callback") as made:
        program = Process("uvicorn", "hotels:app", "--port", str(made.port), env=made.settings, cwd=tmp_path)
        try:
            program.wait_for("Uvicorn running on")
            browser = Http(made.base)
            assert browser.get("/me").json["code"] == "unknown_connection"
            link = browser.post("/connect-my-hotel").headers["Location"]
            shown = browser.start(link, follow=True)
            assert shown.url.startswith(f"{made.base}/me?connection_id=con_")
            assert shown.json["first_name"] == "Ada"
        finally:
            program.stop()


@contextmanager
def flask_with(name: str, tmp_path: Path, made: World) -> Iterator[Http]:
    """This block of Flask's page, run as the page says; a browser."""
    write_block(name, tmp_path, "docs/flask.md")
    program = Process("flask", "--app", "hotels", "run", "--port", str(made.port), env=made.settings, cwd=tmp_path)
    try:
        program.wait_for("Running on")
        yield Http(made.base)
    finally:
        program.stop()
    assert "Traceback" not in program.output, program.output


@contextmanager
def django_with(name: str, tmp_path: Path, made: World) -> Iterator[Http]:
    """This block of Django's page in a project that `startproject` made, run as the page says; a browser."""
    page = text_of("docs/django.md")
    subprocess.run([sys.executable, "-m", "django", "startproject", "hotels", "."], cwd=tmp_path, check=True)
    write_block(name, tmp_path, "docs/django.md", "hotels/urls.py")
    settings = code_block(page, "python", after="<!-- settings -->")
    with (tmp_path / "hotels" / "settings.py").open("a", encoding="utf-8") as file:
        file.write(settings.replace("http://localhost:8000", made.base))  # the port is the test's
    given = {name: value for name, value in made.settings.items() if name != "CLOUDBEDS_REDIRECT_URI"}
    program = Process("manage", "runserver", str(made.port), "--noreload", env=given, cwd=tmp_path)
    try:
        program.wait_for("Quit the server")
        wait_until_listening(made.port)
        yield Http(made.base)
    finally:
        program.stop()
    assert "Traceback" not in program.output, program.output


LONGEST_TUTORIAL = 25  # lines
MOUNTED = {"flask": flask_with, "django": django_with}


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


@pytest.mark.parametrize("kind", MOUNTED)
def test_the_flow_in_a_blocking_application_runs_as_written(kind: str, tmp_path: Path) -> None:
    """Under the framework's own server: no hotel is a problem, or a page; it connects, and the view answers."""
    with (
        world(tmp_path, "--auto-approve", callback="/cloudbeds/callback") as made,
        MOUNTED[kind]("mounted", tmp_path, made) as browser,
    ):
        assert browser.get("/me").json["code"] == "unknown_connection"
        assert "<h1>This hotel is not connected" in browser.get("/me", headers={"Accept": "text/html"}).text
        browser.cookies["localhost"] = {"csrftoken": "a" * 32}  # as a form of theirs has it, for Django
        link = browser.post("/connect-my-hotel", headers={"X-CSRFToken": "a" * 32}).headers["Location"]
        shown = browser.start(link, follow=True)
        assert shown.url.startswith(f"{made.base}/me?connection_id=con_")
        assert shown.json["first_name"] == "Ada"


@pytest.mark.parametrize(("kind", "prefix"), [("flask", ""), ("django", "/cloudbeds")])
def test_a_blocking_application_with_its_own_answers_runs_as_written(kind: str, prefix: str, tmp_path: Path) -> None:
    """It is told of the hotel that connected, and shows its own page about a callback that nobody began."""
    with (
        world(tmp_path, "--auto-approve", callback=f"{prefix}/callback") as made,
        MOUNTED[kind]("answers", tmp_path, made) as browser,
    ):
        assert "<h1>Connected</h1>" in browser.get(f"{prefix}/connect?reference=tenant-7", follow=True).text
        assert list(browser.get("/hotels").json.values()) == ["tenant-7"]
        failed = browser.get(f"{prefix}/callback?code=x&state=y")
        assert (failed.status, failed.text[:22]) == (400, "<h1>Not connected</h1>")


@pytest.mark.long
def test_the_receiver_of_webhooks_runs_as_written(tmp_path: Path) -> None:
    """It verifies what the service sends, and is told of the hotel that connects and leaves."""
    block = code_block(text_of("docs/webhooks.md"), "python", after="<!-- receiver -->")
    (tmp_path / "receiver.py").write_text(block, "utf-8")
    port = free_port()
    hooks = {
        "CLOUDBEDS_AUTH_WEBHOOK_URL": f"http://127.0.0.1:{port}/hotel-events",
        "CLOUDBEDS_AUTH_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    with world(tmp_path, "--auto-approve", **hooks) as made:
        program = Process("uvicorn", "receiver:app", "--port", str(port), env=made.settings, cwd=tmp_path)
        try:
            program.wait_for("Uvicorn running on")
            made.start()
            hotel = made.connect(query="?reference=tenant-7")
            program.wait_for(f"connection.connected {hotel} tenant-7")
            assert made.admin.ask("DELETE", f"/api/v1/connections/{hotel}").status == 200
            program.wait_for(f"connection.disconnected {hotel} tenant-7")
            forged = Http().post(hooks["CLOUDBEDS_AUTH_WEBHOOK_URL"], json_body={"type": "connection.connected"})
            assert forged.status == 401
        finally:
            program.stop()


OVERRIDDEN = """

def test_the_override(cloudbeds_sync_vault):
    settings = cloudbeds_sync_vault.settings
    assert settings.return_origins == ("https://app.example",)
    assert settings.redirect_uri == "https://app.example/auth/callback"
"""


@pytest.mark.long
def test_the_suite_runs_as_written(tmp_path: Path) -> None:
    """By pytest, as a user runs it: every test of the page passes, with the fixtures as they are and overridden."""
    page = text_of("docs/testing.md")
    suite, override = (code_block(page, "python", after=f"<!-- {name} -->") for name in ("suite", "override"))
    ini = "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
    (tmp_path / "pytest.ini").write_text(ini, "utf-8")
    (tmp_path / "test_suite.py").write_text(suite, "utf-8")
    (tmp_path / "test_override.py").write_text(override + OVERRIDDEN, "utf-8")
    done = run(tmp_path)
    assert done.counts == {"passed": 5}, done.output


def test_the_asyncio_block_is_the_public_contracts() -> None:
    """Letter by letter: users were promised this block."""
    promised = Path(__file__).with_name("contract_block.txt").read_text("utf-8")
    assert code_block(text_of("docs/python.md"), "python", after="<!-- block -->") == promised
