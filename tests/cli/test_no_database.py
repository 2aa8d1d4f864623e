"""Commands where there is no database, as after a mistyped path: those with which an installation begins make it, the
others say so and make nothing.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from tests.cli.fakes import invoke

from cloudbeds_auth.child_process import bare_environment
from cloudbeds_auth.cli.commands import BEGINNINGS
from cloudbeds_auth.cli.main import cli

NEED_ONE = {
    "connections list": "", "connections show": "con_1", "connections events": "con_1", "connections watch": "",
    "connections refresh": "con_1", "connections claim": "con_1", "connections disconnect": "con_1 --yes",
    "connections forget": "con_1 --yes", "connections migrate-to-api-key": "--all --yes", "apps list": "",
    "apps rotate-secret": "aurora --drop-previous", "apps move-origin": "default --from https://x.example --yes",
    "apps remove": "aurora --yes", "keys list": "", "keys show": "key_1", "keys revoke": "key_1 --yes", "audit": "",
    "sign-in": "", "call": "1000 userinfo", "access-token": "1000", "doctor incident": "", "database check": "",
    "database rekey": "", "database backup": "copy.db", "database copy": "--to sqlite:///other.db",
    "database adopt": "--yes", "database accept": "--all --yes",
}  # fmt: skip
NEED_NONE = {
    "demo", "setup", "serve", "simulate", "doctor check", "completion install", "database migrate",
}  # fmt: skip


def settings(folder: Path) -> dict[str, str]:
    """Whose database would be in a folder that is not there either."""
    return {
        "CLOUDBEDS_CLIENT_ID": "client-1",
        "CLOUDBEDS_CLIENT_SECRET": "secret-1",
        "CLOUDBEDS_AUTH_DATABASE_URL": f"sqlite:///{folder}/mistyped/hotels.db",
    }


def process(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """The command, as a program runs it."""
    return subprocess.run(
        [sys.executable, "-m", "cloudbeds_auth", *line.split()], env=bare_environment(folder) | settings(folder),
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def leaves(group: click.Group, path: str = "") -> Iterator[str]:
    """Every command that is no group, as it is typed."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, f"{path}{name} ")
        elif command is not None:
            yield f"{path}{name}"


@pytest.mark.parametrize("line", ["connections", *(" ".join(one) for one in NEED_ONE.items())])
def test_a_command_that_needs_one(tmp_path: Path, line: str) -> None:
    """It names the path and what to do, exits with 1, and has made neither file nor folder."""
    done = invoke(*line.split(), env=settings(tmp_path))
    assert (done.status, done.out) == (1, "")
    assert f"there is no database at {tmp_path}/mistyped/hotels.db" in done.err
    assert "set CLOUDBEDS_AUTH_DATABASE_URL to the one you mean" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", ["connections", "connections list --json", "database check", "sign-in"])
def test_as_a_process(tmp_path: Path, line: str) -> None:
    """The same, for a program that looks at exit status and output."""
    done = process(tmp_path, line)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"there is no database at {tmp_path}/mistyped/hotels.db" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_doctor(tmp_path: Path) -> None:
    """It says where the first start would make one, and makes none."""
    done = process(tmp_path, "doctor")
    assert f"will be created in {tmp_path}/mistyped" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", ["keys create website --scope read", "database migrate"])
def test_a_command_that_begins(tmp_path: Path, line: str) -> None:
    """It makes the database, and others find it."""
    assert process(tmp_path, line).returncode == 0
    assert process(tmp_path, "keys list").returncode == 0


def test_each_command_is_one_or_the_other() -> None:
    """A new one is in the table of those that begin, or needs a database that is there."""
    assert NEED_ONE.keys() | BEGINNINGS | NEED_NONE == set(leaves(cli))
    assert NEED_ONE.keys().isdisjoint(BEGINNINGS)
