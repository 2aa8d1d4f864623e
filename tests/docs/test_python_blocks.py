"""The Python that the documentation shows runs as it stands, against a simulator that is a process of its own."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.acceptance.processes import CLIENT_ID, PATIENCE, Http, Process, World, world
from tests.contrib.hotel import connected
from tests.docs.pages import block
from tests.docs.terminal import Terminal, assert_shown
from tests.docs.under_load import across_three_rotations
from tests.pytest_plugin.running import run
from tests.support.keys import WEBHOOK_SECRET
from tests.support.ports import free_port

from cloudbeds_auth import StateMismatch, TokenVault, sync
from cloudbeds_auth.settings import Need, load

BLOCKS = (
    "README.md#hotel",
    "docs/python.md#block",
    "docs/python.md#blocking",
    "docs/clients.md#httpx",
    "docs/clients.md#requests",
    "docs/clients.md#sdk",
)
SHOWN = {"README.md#hotel": "README.md#hotel-output"}
SUBSCRIBED = "wait?path=/api/v1.3/postWebhook&answered=true&timeout=20"


def approved(url: str) -> str:
    """Approve at this address, as a browser would; the code that comes back."""
    back = urlsplit(Http().get(url).headers["Location"])
    code: str = parse_qs(back.query)["code"][0]
    return code


@pytest.mark.long
@pytest.mark.parametrize("name", BLOCKS)
def test_the_block_runs_as_written(name: str, tmp_path: Path) -> None:
    """It prints an address, takes the code, and shows who approved: the hotel is connected and a call answers."""
    (tmp_path / "hotel.py").write_text(block(name), "utf-8")
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
        if name in SHOWN:
            printed = program.output.replace("code: ", f"code: {code}\n").replace(CLIENT_ID, "simulated-app")
            assert_shown(printed, block(SHOWN[name]).partition("\n")[2])
        assert made.vendor.counts("authorization_code") == {"issued": 1}


@pytest.mark.long
def test_the_block_about_several_apps_runs_as_written(tmp_path: Path) -> None:
    """A hotel's own client is added, its hotel approves; after a reset at Cloudbeds only the new secret is left."""
    given: dict[str, Any] = {}
    exec(block("docs/python.md#apps"), given)

    async def brought(made: World) -> None:
        own: dict[str, Any] = {"client_id": "hotels-own", "redirect_uris": [f"{made.base}/callback/aurora"]}
        made.vendor.control("apps", client_secret="first", **own)
        async with TokenVault.open(load(made.settings, None, need=Need.APP)) as vault:
            url = await given["bring"](vault, "hotels-own", "first")
            state = parse_qs(urlsplit(url).query)["state"][0]
            aurora = await vault.finish_authorization(code=approved(url), state=state)
            assert (aurora.app, aurora.reference) == ("aurora", "tenant-7")
            made.vendor.control("apps", client_secret="second", **own)
            await given["after_a_reset"](vault, "second", aurora)
            assert [secret.reveal() for secret in (await vault.apps.get("aurora")).secrets] == ["second"]
            assert (await vault.connection(aurora.id)).generation == 2

    with world(tmp_path, "--auto-approve") as made:
        asyncio.run(brought(made))


@pytest.mark.long
def test_the_block_about_sessions_runs_as_written(tmp_path: Path) -> None:
    """The browser that began finishes, by a link too; another one's session does not, and leaves it as it was."""
    given: dict[str, Any] = {}
    exec(block("docs/python.md#session"), given)
    mine: dict[str, str] = {}
    with (
        world(tmp_path, "--auto-approve") as made,
        sync.TokenVault.open(load(made.settings, None, need=Need.APP)) as vault,
    ):
        link = vault.create_link(reference="tenant-8")
        for url in (given["begin"](vault, mine, "tenant-7"), given["begin_from_link"](vault, mine, link.token)):
            code, state = approved(url), parse_qs(urlsplit(url).query)["state"][0]
            for session in ({}, {"cloudbeds_browser": "another's"}):
                with pytest.raises(StateMismatch):
                    given["finish"](vault, session, code, state)
            assert given["finish"](vault, mine, code, state).property_ids
        assert vault.link_outcome(link.token) is not None


@pytest.mark.long
def test_the_vendors_package_under_load_runs_as_written(tmp_path: Path) -> None:
    """The published package under 32 threads: the token ends three times under their hands, every answer is a 200."""
    (tmp_path / "many.py").write_text(block("docs/examples.md#sdk"), "utf-8")
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
    shown = block("docs/examples.md#sdk-output").partition("\n")[2]
    assert_shown(program.output, re.sub(r"\{200: \d+\}", statuses, shown))


@pytest.mark.long
def test_the_v2_package_prints_what_the_page_shows(tmp_path: Path) -> None:
    """The program, and below it what the simulator has it print."""
    (tmp_path / "rates.py").write_text(block("docs/clients.md#sdk-v2"), "utf-8")
    shown = block("docs/clients.md#rates-output").splitlines()[1:]
    with connected(tmp_path) as hotel:
        program = Process("rates", "100001", env=hotel.made.settings, cwd=tmp_path)
        try:
            assert program.popen.wait(PATIENCE) == 0, program.output
        finally:
            program.stop()
    assert program.lines == shown


@pytest.mark.long
def test_the_receiver_of_webhooks_runs_as_written(tmp_path: Path) -> None:
    """It verifies what the service sends, and is told of the hotel that connects and leaves."""
    (tmp_path / "receiver.py").write_text(block("docs/webhooks.md#receiver"), "utf-8")
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


@pytest.mark.long
def test_the_receiver_of_cloudbeds_events_runs_as_written(tmp_path: Path) -> None:
    """The service has a hotel subscribed to it, and it takes what Cloudbeds posts, and nothing without the secret."""
    (tmp_path / "cloudbeds_events.py").write_text(block("docs/webhooks.md#events-receiver"), "utf-8")
    port = free_port()
    wanted = {
        "CLOUDBEDS_AUTH_SUBSCRIPTIONS": "reservation/created",
        "CLOUDBEDS_AUTH_SUBSCRIPTIONS_URL": f"http://127.0.0.1:{port}/cloudbeds-events",
        "CLOUDBEDS_AUTH_SUBSCRIPTIONS_SECRET": "a-header-that-nobody-guesses-0123456",
    }
    with world(tmp_path, "--auto-approve", **wanted) as made, Terminal.of(made) as terminal:
        program = Process("uvicorn", "cloudbeds_events:app", "--port", str(port), env=made.settings, cwd=tmp_path)
        try:
            program.wait_for("Uvicorn running on")
            made.start()
            made.connect()
            assert any(made.vendor.control(SUBSCRIBED, "GET")["entry"] for _ in range(4)), "no subscription"
            terminal.run("docs/webhooks.md#event")
            program.wait_for("^reservation/created 100001$")
            assert Http().post(wanted["CLOUDBEDS_AUTH_SUBSCRIPTIONS_URL"], json_body={}).status == 401
        finally:
            program.stop()


SUITE = ("docs/testing.md#suite", "docs/testing.md#override", "docs/testing.md#web")
OVERRIDDEN = """

def test_the_override(cloudbeds_sync_vault):
    settings = cloudbeds_sync_vault.settings
    assert settings.return_origins == ("https://app.example",)
    assert settings.redirect_uri == "https://app.example/auth/callback"
"""


@pytest.mark.long
def test_the_suite_runs_as_written(tmp_path: Path) -> None:
    """By pytest, as a user runs it: every test of the page passes, with the fixtures as they are and overridden."""
    suite, override, web = (block(name) for name in SUITE)
    ini = "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
    (tmp_path / "pytest.ini").write_text(ini, "utf-8")
    (tmp_path / "test_suite.py").write_text(suite, "utf-8")
    (tmp_path / "test_override.py").write_text(override + OVERRIDDEN, "utf-8")
    (tmp_path / "test_web.py").write_text(web, "utf-8")
    done = run(tmp_path)
    assert done.counts == {"passed": 7}, done.output


def test_the_asyncio_block_is_the_public_contracts() -> None:
    """Letter by letter: users were promised this block."""
    promised = Path(__file__).with_name("contract_block.txt").read_text("utf-8")
    assert block("docs/python.md#block") == promised
