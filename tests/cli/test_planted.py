"""A `.env` in the current folder, as every command meets it: over real processes, and by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.fakes import invoke

APP = "CLOUDBEDS_CLIENT_ID=client-1\nCLOUDBEDS_CLIENT_SECRET=canary-client-secret\n"
COMMANDS = (
    ("connections",), ("apps",), ("doctor",), ("database", "check"), ("call", "1000", "get", "userinfo"), ("serve",),
    ("access-token", "1000"), ("setup", "--non-interactive"), ("connect",), ("apps", "add", "aurora"),
)  # fmt: skip


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    """In the current folder."""
    path = tmp_path / ".env"
    path.write_text(f"{APP}CLOUDBEDS_AUTH_DATABASE_URL=sqlite:///{tmp_path}/hotels.db\n", "utf-8")
    path.chmod(0o600)
    return path


@pytest.mark.row("A69")
@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_any_command_stops(env_file: Path, args: tuple[str, ...]) -> None:
    """It names the file and what to run, exits with 1, and has written nothing."""
    env_file.chmod(0o666)
    done = invoke(*args)
    assert done.status == 1
    assert f"chmod go-w {env_file}" in done.out + done.err
    assert "canary" not in done.out + done.err
    assert [path.name for path in env_file.parent.iterdir()] == [".env"]
    assert env_file.read_text("utf-8").startswith(APP)


@pytest.mark.row("A69")
def test_the_operator_overrides(env_file: Path) -> None:
    """`--env-file` before the command takes the file as it is, and another one as well."""
    env_file.chmod(0o666)
    assert invoke("--env-file", ".env", "database", "migrate").status == 0
    assert invoke("--env-file", ".env", "apps").status == 0
    env_file.rename(env_file.with_name("hotels.env"))
    done = invoke("--env-file", "hotels.env", "apps", "--json")
    assert (done.status, json.loads(done.out)["apps"][0]["client_id"]) == (0, "client-1")
    assert invoke("--env-file", "missing.env", "apps").status == 2


@pytest.mark.row("A69")
def test_it_says_where_settings_came_from(env_file: Path) -> None:
    """One line on standard error, with names and without values; standard output has the result alone."""
    assert invoke("database", "migrate").status == 0
    done = invoke("apps", "--json")
    names = "CLOUDBEDS_AUTH_DATABASE_URL, CLOUDBEDS_CLIENT_ID, CLOUDBEDS_CLIENT_SECRET"
    assert done.err == f"settings from {env_file}: {names}\n"
    assert json.loads(done.out)["apps"]
    assert invoke("connections").err == done.err, "once, however often a command reads them"
    everything = {
        "CLOUDBEDS_CLIENT_ID": "client-1", "CLOUDBEDS_CLIENT_SECRET": "secret",
        "CLOUDBEDS_AUTH_DATABASE_URL": f"sqlite:///{env_file.parent}/hotels.db",
    }  # fmt: skip
    assert invoke("apps", env=everything).err == ""


@pytest.mark.row("A69")
def test_setup_takes_no_word_of_a_planted_file(env_file: Path) -> None:
    """What would stay in it is not made private: the file that another user wrote is left as it is."""
    env_file.write_text(f"{APP}CLOUDBEDS_BASE_URL=https://vendor.example\n", "utf-8")
    env_file.chmod(0o666)
    before = env_file.read_text("utf-8")
    assert invoke("setup", "--non-interactive").status == 1
    assert env_file.read_text("utf-8") == before
