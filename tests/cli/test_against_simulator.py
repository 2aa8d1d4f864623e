"""The commands over a real vault, against the simulator as a process: the operator's whole day."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from tests.cli.fakes import Result, invoke

from cloudbeds_auth.child_process import Child, bare_environment
from cloudbeds_auth.cli.demo_stage import free_port, start
from cloudbeds_auth.system import SystemClock, SystemEntropy

APPROVAL = re.compile(r"http://\S+/(?:oauth\?|connect/)\S+")


class Day:
    """The environment of one operator, a simulator that approves by itself, and the service when it is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port(SystemEntropy())
        self.redirect_uri = f"http://localhost:{self.port}/callback"
        arguments = ["cloudbeds_simulator", "--port", "0", "--auto-approve", "--with-parent"]
        environment = bare_environment(folder)
        self.simulator = Child("simulator", [*arguments, "--redirect-uri", self.redirect_uri], environment, folder)
        self.settings: dict[str, str] = {}
        self.service: Child | None = None

    async def begin(self) -> None:
        self.settings = {
            "CLOUDBEDS_CLIENT_ID": "simulated-app",
            "CLOUDBEDS_CLIENT_SECRET": "simulated-secret",
            "CLOUDBEDS_BASE_URL": await start(self.simulator, SystemClock()),
            "CLOUDBEDS_REDIRECT_URI": self.redirect_uri,
            "CLOUDBEDS_AUTH_PORT": str(self.port),
            "CLOUDBEDS_AUTH_DATABASE_URL": f"sqlite:///{self.folder / 'day.sqlite3'}",
        }

    async def serve(self) -> None:
        environment = bare_environment(self.folder, **self.settings)
        self.service = Child("service", ["cloudbeds_auth", "serve", "--with-parent"], environment, self.folder)
        await start(self.service, SystemClock())

    async def end(self) -> None:
        if self.service is not None:
            await asyncio.to_thread(self.service.stop)
        await asyncio.to_thread(self.simulator.stop)

    async def run(self, *args: str) -> Result:
        return await asyncio.to_thread(invoke, *args, env=self.settings)

    async def secretly(self, secret: str, *args: str) -> Result:
        """Run a command with a client secret in its environment."""
        result = await asyncio.to_thread(invoke, *args, env=self.settings | {"CLOUDBEDS_AUTH_APP_SECRET": secret})
        assert result.status == 0, result.err
        return result

    async def connect(self, *args: str) -> Result:
        """Run `connect` as a process, and open the address it prints as a browser would."""
        environment = bare_environment(self.folder, **self.settings)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cloudbeds_auth", "connect", *args),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            cwd=self.folder,
        )
        assert process.stderr is not None
        seen = ""
        try:
            while not (found := APPROVAL.search(seen)):
                line = await process.stderr.readline()
                assert line, seen
                seen += line.decode()
            async with httpx2.AsyncClient(follow_redirects=True, trust_env=False) as browser:
                page = await browser.get(found.group())
                if "/connect/" in page.url.path:  # a link's page: its button
                    page = await browser.post(page.url)
            assert page.is_success, page.text
            out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Result(process.returncode or 0, out.decode(), seen + err.decode())


@pytest.fixture
async def day(tmp_path: Path) -> AsyncIterator[Day]:
    one = Day(tmp_path)
    try:
        await one.begin()
        yield one
    finally:
        await one.end()


async def test_an_operators_day(day: Day) -> None:
    """Connect, look, call, take a token, refresh, check, disconnect."""
    connected = await day.connect("--reference", "tenant-7", "--json")
    assert connected.status == 0
    document = json.loads(connected.out)
    assert (document["reference"], document["property_ids"]) == ("tenant-7", ["100001"])
    listed = json.loads((await day.run("connections", "list", "--json")).out)
    assert [one["id"] for one in listed["connections"]] == [document["id"]]
    called = await day.run("call", "100001", "GET", "userinfo")
    assert json.loads(called.out)["first_name"] == "Ada"
    assert (await day.run("call", "100001", "GET", "nonsense")).status == 1
    first = json.loads((await day.run("access-token", "100001", "--json")).out)
    refreshed = json.loads((await day.run("connections", "refresh", "100001", "--json")).out)
    assert refreshed["generation"] == first["generation"] + 1
    assert (await day.run("access-token", "100001")).out.strip() != first["access_token"]
    checked = await day.run("doctor", "--json")
    assert checked.status == 0, checked.out
    gone = await day.run("connections", "disconnect", "100001", "--yes", "--json")
    assert json.loads(gone.out)["state"] == "disconnected"
    assert (await day.run("access-token", document["id"])).status == 1


async def test_connect_through_the_running_service(day: Day) -> None:
    """The service has the port: a one-time link, and the wait for the connection; a second time reconnects."""
    await day.serve()
    first = await day.connect("--reference", "tenant-7", "--json")
    assert first.status == 0, first.err
    assert f"http://localhost:{day.port}/connect/" in first.err
    again = await day.connect("--reference", "tenant-7", "--json")
    assert json.loads(again.out)["id"] == json.loads(first.out)["id"]
    checked = json.loads((await day.run("doctor", "--json")).out)
    port = next(one for one in checked["checks"] if one["check"] == "port")
    assert "a service of cloudbeds-auth is ready" in port["what"]


async def test_the_vendor_is_away(day: Day) -> None:
    """Every command says so in a diagnosis; none shows a traceback; nothing is forgotten."""
    await day.connect("--json")
    await asyncio.to_thread(day.simulator.stop)
    day.settings["CLOUDBEDS_AUTH_TOKEN_TIMEOUT"] = "2"  # how long a refresh waits after one that could not be sent
    for args in (
        ["call", "100001", "GET", "userinfo"],
        ["connections", "refresh", "100001"],
        ["connections", "disconnect", "100001", "--yes"],
        ["doctor"],
    ):
        result = await day.run(*args)
        assert result.status == 1, args
        assert "Traceback" not in result.err
    assert "cannot be reached" in (await day.run("call", "100001", "GET", "userinfo")).err
    assert (await day.run("access-token", "100001")).status == 0


async def test_the_token_leaves_for_cloudbeds_only(day: Day) -> None:
    """An address elsewhere is refused before anything is sent; one at Cloudbeds is called."""
    await day.connect("--json")
    foreign = await day.run("call", "100001", "GET", "http://127.0.0.1:9/api/v1.3/userinfo")
    assert foreign.status == 1
    assert "only" in foreign.err
    base = day.settings["CLOUDBEDS_BASE_URL"]
    assert (await day.run("call", "100001", "GET", f"{base}/api/v1.3/userinfo")).status == 0


@pytest.mark.long
async def test_a_hotel_with_a_client_of_its_own(day: Day) -> None:
    """Its app is added, the hotel connects by it and is refreshed with it, also across a reset; then both leave."""
    uri = f"{day.redirect_uri}/aurora"
    await at_cloudbeds(day, client_id="hotels-own", client_secret="first", redirect_uris=[uri], level="property")
    added = await day.secretly("first", "apps", "add", "aurora", "--client-id", "hotels-own", "--json")
    assert json.loads(added.out)["redirect_uri"] == uri
    ours = json.loads((await day.connect("--json")).out)
    theirs = json.loads((await day.connect("--app", "aurora", "--json")).out)
    assert (ours["app"], theirs["app"]) == ("default", "aurora")
    listed = json.loads((await day.run("connections", "list", "--app", "aurora", "--json")).out)
    assert [one["id"] for one in listed["connections"]] == [theirs["id"]]
    assert (await day.run("apps", "remove", "aurora", "--yes")).status == 1
    assert (await day.run("doctor")).status == 0
    await at_cloudbeds(day, client_id="hotels-own", client_secret="second")
    refused = await day.run("connections", "refresh", theirs["id"])
    assert (refused.status, "rotate-secret aurora" in refused.err) == (1, True)
    assert (await day.run("connections", "refresh", ours["id"])).status == 0
    for secret in ("second", "not at Cloudbeds yet"):
        await day.secretly(secret, "apps", "rotate-secret", "aurora")
        assert (await day.run("connections", "refresh", theirs["id"])).status == 0, "whichever of the two it takes"
    again = json.loads((await day.connect("--connection", theirs["id"], "--json")).out)
    assert (again["id"], again["app"]) == (theirs["id"], "aurora")
    gone = json.loads((await day.run("connections", "disconnect", theirs["id"], "--yes", "--json")).out)
    assert "in Cloudbeds" in gone["next_step"]
    assert (await day.run("apps", "remove", "aurora", "--yes")).status == 0


async def at_cloudbeds(day: Day, **app: object) -> None:
    """Register a client there, or change one."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        told = await http.post(f"{day.settings['CLOUDBEDS_BASE_URL']}/_control/apps", json=app)
        assert told.is_success, told.text


async def test_a_hotel_is_moved_to_a_key(day: Day) -> None:
    """Looked at first, then moved; it is called as before, refreshes nothing, and is left alone the next time."""
    connected = json.loads((await day.connect("--json")).out)
    looked = json.loads((await day.run("connections", "migrate-to-api-key", "--all", "--dry-run", "--json")).out)
    assert looked["outcomes"] == {"would be moved": 1}
    moved = await day.run("connections", "migrate-to-api-key", "100001", "--yes")
    assert moved.status == 0, moved.out + moved.err
    shown = json.loads((await day.run("connections", "show", "100001", "--json")).out)
    assert (shown["id"], shown["credential"], shown["expires_at"]) == (connected["id"], "api_key", None)
    day.settings["CLOUDBEDS_CREDENTIAL_HEADER"] = "x-api-key"
    assert (await day.run("call", "100001", "GET", "userinfo")).status == 0
    token = json.loads((await day.run("access-token", "100001", "--json")).out)
    assert (token["access_token"][:5], token["expires_at"]) == ("cbat_", None)
    refreshed = await day.run("connections", "refresh", "100001")
    assert (refreshed.status, "never refreshed" in refreshed.err) == (1, True)
    assert "has a key already" in (await day.run("connections", "migrate-to-api-key", "100001", "--yes")).out
    async with httpx2.AsyncClient(trust_env=False) as http:
        base = day.settings["CLOUDBEDS_BASE_URL"]
        counts = (await http.get(f"{base}/_control/counts")).json()["token"]
        log = (await http.get(f"{base}/_control/requests")).json()["requests"]
    assert counts == {"authorization_code": {"issued": 1}, "refresh_token_exchange": {"issued": 1}}
    assert [one["key_header"] for one in log if one["target"] == "userinfo"][-1]


@pytest.mark.long
async def test_connecting_with_keys(day: Day) -> None:
    """Asked for with the code; a hotel that comes back keeps its connection although its answer names no property."""
    day.settings["CLOUDBEDS_CREDENTIAL"] = "api-key"
    first = json.loads((await day.connect("--json")).out)
    again = json.loads((await day.connect("--json")).out)
    assert (first["credential"], first["property_ids"]) == ("api_key", ["100001"])
    assert again["id"] == first["id"]
    assert (await day.run("call", "100001", "GET", "userinfo")).status == 0
