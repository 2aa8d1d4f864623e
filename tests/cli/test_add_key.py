"""`connections add-key`, against the simulator: the key from a prompt, a file or the environment, never an argument."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.cli.fakes import Result, invoke, with_database
from tests.support.terminal import screen_of

from cloudbeds_auth.child_process import Child, bare_environment
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Need, load
from cloudbeds_auth.sync import TokenVault

VARIABLE = "CLOUDBEDS_API_KEY"


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """The simulator's control API; its process serves all tests of this module."""
    folder = tmp_path_factory.mktemp("vendor")
    arguments = ["cloudbeds_simulator", "--port", "0", "--hotels", "30", "--with-parent"]
    child = Child("simulator", arguments, bare_environment(folder), folder)
    try:
        with httpx2.Client(base_url=started(child), trust_env=False) as http:
            yield http
    finally:
        child.stop()


def started(child: Child) -> str:
    """Where it listens, once it does."""
    import asyncio

    from cloudbeds_auth.cli.demo_stage import start
    from cloudbeds_auth.system import SystemClock

    return asyncio.run(start(child, SystemClock()))


Make = Callable[..., str]


@pytest.fixture
def made(vendor: httpx2.Client) -> Make:
    """A hotel makes a key."""

    def make(hotel: str, **more: Any) -> str:
        answer = vendor.post("/_control/keys", json={"property": hotel, **more})
        return str(answer.json()["api_key"])

    return make


@pytest.fixture
def typed(vendor: httpx2.Client, tmp_path: Path) -> Callable[..., Result]:
    """Run `connections …` over a database of the test's own; no key is ever on standard output or standard error."""

    settings = with_database(of(vendor, tmp_path))

    def run(*args: str, stdin: str = "", **env: str) -> Result:
        result = invoke("connections", *args, typed=stdin, env=settings | env)
        assert not re.search(r"cbat_\w", result.out + result.err)
        return result

    return run


def of(vendor: httpx2.Client, folder: Path) -> dict[str, str]:
    """The settings of an installation."""
    return {
        "CLOUDBEDS_CLIENT_ID": "simulated-app",
        "CLOUDBEDS_CLIENT_SECRET": "simulated-secret",
        "CLOUDBEDS_BASE_URL": str(vendor.base_url).rstrip("/"),
        "CLOUDBEDS_AUTH_DATABASE_URL": f"sqlite:///{folder / 'keys.sqlite3'}",
    }


def shown(typed: Callable[..., Result]) -> list[dict[str, Any]]:
    """The connections that there are."""
    found: list[dict[str, Any]] = json.loads(typed("list", "--json").out)["connections"]
    return found


def test_from_the_environment(typed: Callable[..., Result], made: Make) -> None:
    """The variable of the command's own, which no setting takes for a slip of the pen."""
    result = typed("add-key", "--reference", "tenant-7", "--json", **{VARIABLE: made("100001")})
    assert (result.status, result.err) == (0, "")
    (one,) = shown(typed)
    assert json.loads(result.out) == one
    assert (one["credential"], one["property_ids"], one["reference"]) == ("api_key", ["100001"], "tenant-7")


def test_from_a_file_and_from_standard_input(typed: Callable[..., Result], made: Make, tmp_path: Path) -> None:
    """Only the value counts, not the line's end; the same hotel, so the same connection."""
    (tmp_path / "key").write_text(f"{made('100002')}\n")
    (tmp_path / "key").chmod(0o600)
    assert typed("add-key", "--key-file", "key", "--property", "100002").status == 0
    assert typed("add-key", "--key-file", "-", "--connection", "100002", stdin=made("100002") + "\n").status == 0
    assert len(shown(typed)) == 1


def test_from_a_prompt(vendor: httpx2.Client, typed: Callable[..., Result], made: Make, tmp_path: Path) -> None:
    """Typed without an echo."""
    key = made("100003")
    settings = of(vendor, tmp_path)
    screen = screen_of("connections", "add-key", answers={"API key": key}, settings=settings, folder=tmp_path)
    assert ("connected" in screen, key in screen) == (True, False)
    assert [one["property_ids"] for one in shown(typed)] == [["100003"]]


@pytest.mark.row("A56")
@pytest.mark.parametrize("args", [("--api-key", "KEY"), ("--key=KEY",), ("KEY",), ("--reference", "x", "KEY")])
def test_a_key_among_the_arguments_is_refused(typed: Callable[..., Result], made: Make, args: tuple[str, ...]) -> None:
    """Also where one comes another way; it is not repeated, and nothing is stored."""
    key = made("100004")
    result = typed("add-key", *(one.replace("KEY", key) for one in args), **{VARIABLE: key})
    assert (result.status, "must not be an argument" in result.err) == (2, True)
    assert shown(typed) == []


def test_nobody_can_be_asked(typed: Callable[..., Result]) -> None:
    """It says where a key may come from."""
    result = typed("add-key")
    assert (result.status, VARIABLE in result.err, "--key-file" in result.err) == (2, True, True)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (lambda made, http: "cbat_mistyped", "Cloudbeds refuses this API key"),
        (lambda made, http: "live1_secret", "no API key of Cloudbeds"),
        (lambda made, http: revoked(http), "Cloudbeds refuses this API key"),
        (lambda made, http: made("100005", scopes=["read:guest"]), "lacks the scope read:hotel"),
        (lambda made, http: made("100006"), "names property 100006, not 100005"),
    ],
    ids=["mistyped", "no key", "revoked", "without the scope", "another hotel's"],
)
def test_a_key_that_does_not_come_in(
    vendor: httpx2.Client, typed: Callable[..., Result], made: Make, key: Callable[..., str], says: str
) -> None:
    """What is wrong with it and what to do next; nothing is stored."""
    result = typed("add-key", "--property", "100005", **{VARIABLE: key(made, vendor)})
    assert (result.status, says in result.err, "next: " in result.err) == (1, True, True)
    assert shown(typed) == []


def revoked(http: httpx2.Client) -> str:
    """A key that the hotel deleted again."""
    answer = http.post("/_control/keys", json={"property": "100005"}).json()
    http.post("/_control/revoke", json={"grant": answer["grant"]})
    return str(answer["api_key"])


def test_a_link_for_the_hotel(typed: Callable[..., Result]) -> None:
    """Nothing is asked for; the service answers it (tests/app/test_key_page.py)."""
    result = typed("add-key", "--link", "--reference", "tenant-7", "--json")
    assert re.fullmatch(r"http://localhost:7000/paste-key/[\w-]{40,}", json.loads(result.out)["key_url"])
    assert typed("add-key", "--link", "--property", "100001").status == 2
    assert shown(typed) == []


def test_connect_waits_for_a_key_that_is_pasted(vendor: httpx2.Client, made: Make, tmp_path: Path) -> None:
    """Its link is opened, and a key is pasted instead of an approval: the command shows that connection."""
    here = of(vendor, tmp_path) | {"CLOUDBEDS_REDIRECT_URI": "https://auth.example.com/callback"}
    command = [sys.executable, "-m", "cloudbeds_auth", "connect", "--reference", "tenant-7", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=os.environ | here
    ) as waiting:
        assert waiting.stderr is not None
        assert waiting.stdout is not None
        tokens = (re.search(r"/connect/([\w-]{40,})", line) for line in waiting.stderr)
        token = next(found[1] for found in tokens if found is not None)
        with TokenVault.open(load(here, None, need=Need.APP)) as vault:
            key = Secret(made("100007"))
            vault.run(lambda there: there.engine.pasted_keys.add_from_link(token, key))
        found = json.loads(waiting.stdout.read())
    assert (waiting.returncode, found["property_ids"], found["reference"]) == (0, ["100007"], "tenant-7")
