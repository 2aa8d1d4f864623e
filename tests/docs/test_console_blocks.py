"""The commands of the pages are typed in a shell and print what the pages show: real services, a real simulator."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.processes import Http, World, world
from tests.acceptance.receiver import receiving
from tests.acceptance.test_marketplace import connect_app
from tests.docs.pages import block
from tests.docs.terminal import OWN_LOG, Terminal, answered, assert_shown, commands, run_to_its_end
from tests.support.keys import WEBHOOK_SECRET
from tests.support.ports import free_port

from cloudbeds_auth import Secret, TokenVault
from cloudbeds_auth.settings import Need, load

RANDOM = "0f6c1e9b42d7a85313c4be70f92a6d58e1b7304cc95f82ad6e40137b9d2f5a86"


@contextmanager
def service(
    folder: Path, *arguments: str, hotels: int = 1, tenant: int = 7, **extra: str
) -> Iterator[tuple[World, Terminal]]:
    """A service with connected hotels, a terminal beside it; `$TOKEN` is its admin token."""
    with world(folder, "--auto-approve", *arguments, **extra) as made:
        made.start()
        for number in range(hotels):
            made.vendor.control("choose", property_ids=[str(100001 + number)])
            made.connect(query=f"?reference=tenant-{tenant + number}")
        with Terminal.of(made) as terminal:
            terminal.set(TOKEN=made.admin.token or "")
            yield made, terminal


@contextmanager
def simulated(folder: Path) -> Iterator[Terminal]:
    """The README's simulator, and a terminal with the export lines that it printed."""
    ports = {"7000": str(free_port()), "7001": str(free_port())}
    env = {
        "CLOUDBEDS_AUTH_PORT": ports["7000"],
        "CLOUDBEDS_REDIRECT_URI": f"http://localhost:{ports['7000']}/callback",
        "CLOUDBEDS_AUTH_RATE_LIMIT": "0",
    }
    with Terminal(folder, env, ports) as terminal:
        terminal.run("README.md#simulate")
        exported = re.findall(r"^ +export (\w+)=(\S+)$", terminal.here(block("README.md#simulate")), re.MULTILINE)
        terminal.set(**dict(exported))
        yield terminal


@pytest.mark.long
def test_the_readme_from_the_simulator_to_the_first_call(tmp_path: Path) -> None:
    """The export lines that the simulator prints are all that the service needs."""
    with simulated(tmp_path) as terminal:
        base = terminal.here("http://localhost:7000")
        terminal.run("README.md#serve", then=lambda: Http(base).get("/connect?reference=tenant-7", follow=True))


@pytest.mark.long
def test_the_marketplace_is_tried(tmp_path: Path) -> None:
    """The address of the page leads to an approval that waits; the command lists it."""
    with simulated(tmp_path) as terminal:
        terminal.run("docs/marketplace.md#try")
        page = Http().get(terminal.here(block("docs/marketplace.md#connect-app")).strip(), follow=True)
        connection = page.url.rpartition("/claim/")[2]
        assert connection.startswith("con_")
        terminal.instead["con_01J..."] = connection
        terminal.run("docs/marketplace.md#claim")


@pytest.mark.long
def test_the_readme_when_a_hotel_revoked(tmp_path: Path) -> None:
    """It is listed, `doctor` says so, and the link of `connect` mends it."""
    with service(tmp_path, CLOUDBEDS_AUTH_TOKEN_TIMEOUT="0.5") as (made, terminal):
        connection = made.admin.get("/api/v1/connections").json["connections"][0]["id"]
        made.vendor.control("revoke", property="100001")
        while "reconnect needed" not in made.run("connections").stdout:
            made.run("connections", "refresh", connection)
        terminal.instead["con_01M86BK4AA8J8WT348EQ6VT39E"] = connection
        terminal.run("README.md#operate")


@pytest.mark.long
def test_the_readme_shows_the_page_of_a_connected_hotel(tmp_path: Path) -> None:
    """Line by line; who asks is this machine here."""
    with service(tmp_path, CLOUDBEDS_SCOPES="read:hotel read:reservation write:reservation") as (made, _):
        link = made.admin.post("/api/v1/authorizations", json_body={"reference": "Hotel Aurora"}).json["connect_url"]
        text = Http().start(link, follow=True).text
        printed = unescape(" ".join(re.sub(r"<[^>]+>", " ", text).split())).replace(" .", ".")
        for line in block("README.md#connected").replace("breakfast.example", "localhost").splitlines():
            assert " ".join(line.split()) in printed


@pytest.mark.long
def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    """Steps and timeline; moments, ports and bars are those of each run."""
    (shown,) = block("README.md#demo").split("$ make demo\n")[1:]
    assert_shown(run_to_its_end("cloudbeds-auth demo", tmp_path, {"COLUMNS": "200"}), shown)


@pytest.mark.long
def test_who_did_what(tmp_path: Path) -> None:
    """A key by the command, a disconnection with the admin token, a key by a key: newest first."""
    with service(tmp_path) as (made, terminal):
        key = made.run("keys", "create", "deploy", "--scope", "admin").stdout.strip()
        (connection,) = made.admin.get("/api/v1/connections").json["connections"]
        made.admin.ask("DELETE", f"/api/v1/connections/{connection['id']}")
        Http(made.base, key).post("/api/v1/keys", json_body={"name": "website", "scopes": ["read"]})
        terminal.instead["192.0.2.7"] = "127.0.0.1"
        terminal.run("docs/audit.md#audit")


@pytest.mark.long
def test_a_webhook(tmp_path: Path) -> None:
    """The message of a hotel that connects, whose members the page shows."""
    port = free_port()
    hooks: dict[str, Any] = {
        "CLOUDBEDS_AUTH_WEBHOOK_URL": f"http://127.0.0.1:{port}/hotel-events",
        "CLOUDBEDS_AUTH_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    with receiving(port) as receiver, service(tmp_path, **hooks):
        ((_, message),) = receiver.wait_for(1)
    shown = json.loads(block("docs/webhooks.md#message"))
    shown_connection = {name: value for name, value in shown["data"]["connection"].items() if name != "…"}
    assert message.keys() == shown.keys()
    assert message["type"] == shown["type"]
    assert message["data"].keys() == shown["data"].keys()
    assert shown_connection.keys() <= message["data"]["connection"].keys()
    assert message["data"]["connection"]["state"] == shown_connection["state"]


def test_completion(tmp_path: Path) -> None:
    """It is written where the shell of the user looks for it."""
    with Terminal(tmp_path, {"SHELL": "/bin/bash"}, {}) as terminal:
        terminal.run("docs/command-line.md#completion")
    assert (tmp_path / ".local/share/bash-completion/completions/cloudbeds-auth").is_file()


@pytest.mark.long
def test_keys_for_callers(tmp_path: Path) -> None:
    """Each line makes a key; one calls Cloudbeds, and makes a child."""
    with service(tmp_path) as (_, terminal):
        assert re.fullmatch(r"cbauth_\S+", terminal.run("docs/callers.md#create").strip().splitlines()[0])
        terminal.run("docs/callers.md#use")
        terminal.run("docs/callers.md#child")


@pytest.mark.long
def test_the_http_api(tmp_path: Path) -> None:
    """Refused without a credential; a link; the list; a call through the proxy; an access token; a hotel's own key."""
    with service(tmp_path, "--hotels", "2") as (made, terminal):
        listed = terminal.run("docs/http-api.md#list")
        assert_shown(json.dumps(json.loads(listed), indent=4), terminal.here(block("docs/http-api.md#connection")))
        for name in (
            "docs/http-api.md#no-credential",
            "docs/http-api.md#authorization",
            "docs/http-api.md#proxy",
            "docs/http-api.md#access-token",
        ):
            terminal.run(name)
        key = made.vendor.control("keys", property="100002")["api_key"]
        (tmp_path / "key.json").write_text(json.dumps({"api_key": key}), "utf-8")
        terminal.instead["100001"] = "100002"
        terminal.run("docs/http-api.md#add-key")


@pytest.mark.long
def test_after_a_leak(tmp_path: Path) -> None:
    """The steps, printed; nothing is changed."""
    with service(tmp_path) as (_, terminal):
        terminal.run("docs/incident.md#commands")
        terminal.instead["/srv/auth"] = str(tmp_path)
        terminal.run("docs/incident.md#admin-token")


@pytest.mark.parametrize("name", ["docs/install.md#setup", "docs/tutorial.md#setup"])
def test_setup(name: str, tmp_path: Path) -> None:
    """What to enter at Cloudbeds, before it asks for id and secret."""
    ((typed, shown),) = commands(block(name))
    with world(tmp_path) as made:
        env = {"CLOUDBEDS_BASE_URL": made.vendor.base}
        assert_shown(answered(typed, tmp_path, env, "client-1", "a-client-secret-0123456789"), shown)


SETTINGS = [
    "docs/install.md#behind-a-proxy",
    "docs/container.md#container",
    "docs/container.md#image-settings",
    "docs/keys.md#connect-with-keys",
    "docs/marketplace.md#park",
    "docs/nginx.md#prefix",
    "docs/operating.md#postgresql",
    "docs/webhooks.md#settings",
    "docs/webhooks.md#hook",
    "docs/webhooks.md#subscriptions",
]


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_taken_as_they_stand(name: str, tmp_path: Path) -> None:
    """A shell sets them and the program reads them; secrets that a reader makes are made up."""
    text = block(name).replace("whsec_…", WEBHOOK_SECRET).replace("…", RANDOM)
    (tmp_path / "cloudbeds-auth-key").write_text("W+HEdwqT2C9uFLmgXD33gWYp4MtIEv2XNarAXotx00Y=", "utf-8")
    (tmp_path / "cloudbeds-auth-admin").write_text(RANDOM, "utf-8")
    (tmp_path / "cloudbeds-client-secret").write_text("a-client-secret-0123456789", "utf-8")
    text = text.replace("/run/secrets", str(tmp_path))
    wanted = re.findall(r"^(CLOUDBEDS_\w+)=", text, re.MULTILINE)
    env = run_to_its_end(f"set -a\n{text}\nenv", tmp_path, {})
    given = {name: value for name, _, value in (line.partition("=") for line in env.splitlines()) if name in wanted}
    assert len(given) == len(wanted) > 0
    usual = {
        "CLOUDBEDS_CLIENT_ID": "client-1",
        "CLOUDBEDS_CLIENT_SECRET": "a-client-secret-0123456789",
        "CLOUDBEDS_REDIRECT_URI": "https://auth.example.com/callback",
    }
    for name in ("cloudbeds-auth-key", "cloudbeds-auth-admin", "cloudbeds-client-secret"):
        (tmp_path / name).chmod(0o600)
    load({name: value for name, value in usual.items() if f"{name}_FILE" not in given} | given, None, need=Need.APP)


def test_mistakes_in_settings(tmp_path: Path) -> None:
    """All at once, by name."""
    wrong = {
        "CLOUDBEDS_AUTH_PORTT": "7000",
        "CLOUDBEDS_BASE_URL": "http://cloudbeds.example",
        "CLOUDBEDS_AUTH_PORT": "seven",
        "CLOUDBEDS_CLIENT_ID": "client-1",
        "CLOUDBEDS_CLIENT_SECRET": "a-client-secret-0123456789",
    }
    typed, shown = block("docs/settings.md#mistakes").removeprefix("$ ").split("\n", 1)
    assert_shown(run_to_its_end(typed, tmp_path, wrong), shown)


def test_completion_is_installed(tmp_path: Path) -> None:
    """For bash: where the file is, and what a shell needs that has no bash-completion."""
    with Terminal(tmp_path, {"SHELL": "/bin/bash", "XDG_DATA_HOME": str(tmp_path)}, {}) as terminal:
        terminal.run("docs/command-line.md#completion")
        assert (tmp_path / "bash-completion" / "completions" / "cloudbeds-auth").exists()


@pytest.mark.long
def test_an_error_of_the_command_line(tmp_path: Path) -> None:
    """What happened, what is lost, what to do: a second service on the port of the first, which root may look into."""
    with service(tmp_path, hotels=0) as (made, _):
        told = run_to_its_end("cloudbeds-auth serve", tmp_path, made.settings)
        lines = [line for line in told.splitlines() if not line.startswith(OWN_LOG)]
        printed = "\n".join(lines).replace("by python", "by cloudbeds-auth")  # as it is installed, and not as a module
        shown = block("docs/command-line.md#an-error").replace("7000", str(made.port))
        assert_shown(printed, shown if os.geteuid() == 0 else re.sub(r" by cloudbeds-auth .*", "", shown))


async def awaited(made: World, source: str, **given: Any) -> dict[str, Any]:
    """Run this in a program that has opened the world's vault, where it may await; the names that it leaves."""
    async with TokenVault.open(load(made.settings, None, need=Need.APP)) as vault:
        names = {"vault": vault, "Secret": Secret, **given}
        waits = eval(compile(source, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        if waits is not None:
            await waits
        return names


@pytest.mark.long
def test_keys_of_hotels(tmp_path: Path) -> None:
    """Taken in by the command, in Python, and where there is no app at all; a hotel moves to one."""
    with service(tmp_path, "--hotels", "3", tenant=1) as (made, terminal):
        keys = [made.vendor.control("keys", property=hotel)["api_key"] for hotel in ("100002", "100002", "100003")]
        ((typed, shown),) = commands(block("docs/keys.md#add-key"))
        assert_shown(answered(typed, tmp_path, made.settings, keys[0]), shown)
        left = asyncio.run(awaited(made, block("docs/keys.md#add-key-in-python"), pasted=keys[1]))
        assert left["connection"].property_ids == ("100002",)
        (moves,) = made.admin.get("/api/v1/connections?property=100001").json["connections"]
        terminal.instead["con_01J..."] = moves["id"]
        for typed, _ in commands(terminal.here(block("docs/keys.md#migrate"))):
            answered(typed, tmp_path, made.settings, "y")
        assert made.admin.get(f"/api/v1/connections/{moves['id']}").json["credential"] == "api_key"
        alone = {
            "CLOUDBEDS_API_KEY": keys[2],
            "CLOUDBEDS_BASE_URL": made.vendor.base,
            "CLOUDBEDS_AUTH_PORT": str(free_port()),
        }
        with Terminal(tmp_path, alone, {}) as other:
            other.instead["/srv/hotels"] = str(tmp_path)
            other.run("docs/keys.md#keys-alone")


CLAIMS = ("docs/marketplace.md#claim", "docs/marketplace.md#claim-over-http", "docs/marketplace.md#claim-in-python")


@pytest.mark.long
def test_claims(tmp_path: Path) -> None:
    """What arrived from the Marketplace is claimed by the command, over HTTP and in Python."""
    with service(tmp_path, "--hotels", "3", hotels=0, CLOUDBEDS_AUTH_MARKETPLACE="park") as (made, terminal):
        for number, name in enumerate(CLAIMS):
            made.vendor.control("choose", property_ids=[str(100001 + number)])
            connect_app(made)
            listed = made.run("connections", "list", "--state", "parked", "--json").stdout
            (parked,) = json.loads(listed)["connections"]
            if name.endswith("in-python"):
                source = block(name).replace("con_01J...", parked["id"])
                assert asyncio.run(awaited(made, source))["connection"].reference == "tenant-7"
            else:
                terminal.instead["con_01J..."] = parked["id"]
                terminal.run(name)


@pytest.mark.long
def test_signing_in(tmp_path: Path) -> None:
    """The link opens the pages."""
    with service(tmp_path) as (_, terminal):
        address, _, code = terminal.run("docs/sign-in.md#sign-in").strip().splitlines()[0].partition("#")
        origin = address.removesuffix("/sign-in")
        signed_in = Http(origin).post("/session", form={"credential": code}, headers={"Origin": origin})
        assert signed_in.status == 303, signed_in.text


@pytest.mark.long
def test_the_simulator_as_it_is_begun(tmp_path: Path) -> None:
    """With a variant and three hotels."""
    with Terminal(tmp_path, {}, {"7001": str(free_port())}) as terminal:
        terminal.run("docs/simulator.md#simulate")


@pytest.mark.long
def test_the_simulator_is_told_what_goes_wrong(tmp_path: Path) -> None:
    """Tokens end, a hotel revokes, answers are lost: as the page shows, and so often."""
    with service(tmp_path) as (made, terminal):
        terminal.run("docs/examples.md#expire")
        made.admin.get("/proxy/100001/api/v1.3/userinfo")
        terminal.run("docs/simulator.md#faults")
        terminal.run("docs/simulator.md#control")


@pytest.mark.long
def test_what_to_catch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A token where there is one; else the last `except` prints what to do."""
    with service(tmp_path) as (made, _):
        source = block("docs/python.md#catch")
        assert asyncio.run(awaited(made, source, connection_id="100001"))["token"].generation == 1
        asyncio.run(awaited(made, source, connection_id="100009"))
        assert "nothing is connected under" in capsys.readouterr().out
