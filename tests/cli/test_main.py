"""The root: help, exit statuses, and what is imported."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.fakes import FakeVault, invoke

from cloudbeds_auth import errors
from cloudbeds_auth.child_process import bare_environment
from cloudbeds_auth.cli.main import MODULES

HEAVY = {"fastapi", "starlette", "uvicorn", "aiohttp", "rich", "httpx2", "pydantic", "jinja2", "cryptography", "apsw"}
WEB = {"fastapi", "starlette", "uvicorn", "aiohttp"}


@pytest.mark.parametrize("command", [[], *([name] for name in MODULES)], ids=["root", *MODULES])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_everywhere(command: list[str], flag: str) -> None:
    """Every command explains itself, with examples, and exits 0."""
    result = invoke(*command, flag)
    assert result.status == 0
    assert "Examples:" in result.out
    assert "Usage: cloudbeds-auth" in result.out


@pytest.mark.parametrize("command", MODULES)
def test_json_everywhere(command: str) -> None:
    """Every command has --json; of a group, every subcommand."""
    groups = {
        "connections": ("list", "show", "watch", "refresh", "disconnect"), "database": ("adopt",),
        "completion": ("install",),
    }  # fmt: skip
    for subcommand in groups.get(command, ("",)):
        assert " --json " in invoke(*filter(None, (command, subcommand)), "--help").out


@pytest.mark.parametrize("args", [["nonsense"], ["call"], ["access-token", "x", "--min-valid", "soon"], ["--nonsense"]])
def test_wrong_usage_is_2(args: list[str]) -> None:
    """What Click refuses exits 2 and says so on standard error."""
    result = invoke(*args)
    assert result.status == 2
    assert result.out == ""
    assert "Usage:" in result.err


@pytest.mark.parametrize(("args", "meant"), [(["conections"], "connections"), (["connections", "lst"], "list")])
def test_a_command_that_is_misspelt(args: list[str], meant: str) -> None:
    """It is answered with those that are alike, whether they are imported yet or not."""
    _, likely = invoke(*args).err.split("Did you mean ")
    assert f"'{meant}'" in likely
    assert "Did you mean" not in invoke("nonsense").err


def test_version() -> None:
    """--version names the distribution."""
    result = invoke("--version")
    assert result.status == 0
    assert result.out.startswith("cloudbeds-auth, version ")


def test_an_error_is_a_diagnosis_on_standard_error(vault: FakeVault) -> None:
    """What happened, whether anything is lost, what to do next; exit status 1."""
    vault.failure = errors.TokenEndpointUnavailable("it hung")
    result = invoke("access-token", "con_ADA")
    assert result.status == 1
    assert result.out == ""
    assert result.err == str(vault.failure.diagnosis()) + "\n"


def test_interrupted_is_130(vault: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is no failure and no traceback."""

    async def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(vault, "access_token", interrupted)
    result = invoke("access-token", "con_ADA")
    assert result.status == 130
    assert "Traceback" not in result.err


def loaded(*args: str) -> tuple[int, set[str]]:
    """Exit status of a command line in a fresh interpreter, and the top-level packages it imported."""
    code = (
        "import json, sys; from cloudbeds_auth.cli.main import run; status = run(sys.argv[1:]); "
        "sys.stderr.write('\\n' + json.dumps([status, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    status, names = json.loads(done.stderr.rpartition("\n")[2])
    return status, set(names)


@pytest.mark.parametrize("args", [["--help"], ["access-token", "--help"], ["connections", "--help"]])
def test_help_starts_fast(args: list[str]) -> None:
    """Help imports nothing heavy."""
    status, names = loaded(*args)
    assert status == 0
    assert names & HEAVY == set()


def test_access_token_imports_no_web_framework() -> None:
    """Also when it really opens a vault (here: as far as it gets without settings)."""
    status, names = loaded("access-token", "con_ADA")
    assert status == 1
    assert names & WEB == set()


def test_a_reader_that_leaves_is_no_noise() -> None:
    """A closed pipe ends the command quietly."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "cloudbeds_auth", "--help"], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that takes nothing")
def test_an_output_that_takes_nothing(hotels: dict[str, str]) -> None:
    """A full disk is said in a line, and the exit status says so, too."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cloudbeds_auth", "connections"],
            env={**os.environ, **hotels}, stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the output cannot be written: ")
    assert len(done.stderr.splitlines()) == 1


def test_an_output_that_is_closed(hotels: dict[str, str]) -> None:
    """As one to /dev/null."""
    command = [sys.executable, "-m", "cloudbeds_auth", "connections"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command], env={**os.environ, **hotels}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_input_that_is_closed(hotels: dict[str, str]) -> None:
    """As one from /dev/null: there is no terminal to confirm at, and no key to read."""
    for args in (["database", "adopt"], ["connections", "add-key", "--key-file", "-"]):
        done = subprocess.run(
            ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "cloudbeds_auth", *args],
            env={**os.environ, **hotels}, capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode in {1, 2}, "Traceback" in done.stderr) == (True, False), done.stderr


def test_an_argument_that_is_no_text() -> None:
    """Bytes that are not UTF-8 are wrong usage."""
    result = invoke("call", "100001", "/api/v1.3/\udcff")
    assert result.status == 2
    assert "not UTF-8" in result.err


def test_serve_on_another_port_than_hotels_are_sent_to(tmp_path: Path) -> None:
    """It says so before it begins, as `doctor` does; here it begins nothing, because the port is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        settings = {"CLOUDBEDS_CLIENT_ID": "app-1", "CLOUDBEDS_CLIENT_SECRET": "secret-1", "CLOUDBEDS_AUTH_PORT": port}
        done = subprocess.run(
            [sys.executable, "-m", "cloudbeds_auth", "serve"], env=bare_environment(tmp_path) | settings, cwd=tmp_path,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "settings_warning" in done.stderr
    assert f"http://localhost:7000/callback leads to port 7000, but CLOUDBEDS_AUTH_PORT is {port}" in done.stderr
    assert "register another redirect URI" in done.stderr
    assert f"port {port} is in use" in done.stderr
