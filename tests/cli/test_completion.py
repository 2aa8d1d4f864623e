"""`completion install`: the file is where the shell looks for it, and bash completes by it (Tab: `tests/shells`)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.fakes import invoke

PLACES = {
    "bash": "data/bash-completion/completions/cloudbeds-auth",
    "zsh": "data/zsh/site-functions/_cloudbeds-auth",
    "fish": "config/fish/completions/cloudbeds-auth.fish",
}
ASK = """
source {script}
COMP_WORDS=({words}); COMP_CWORD={at}
_cloudbeds_auth_completion cloudbeds-auth
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """A user's folders, all of them empty."""
    return {
        "XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path / "config"), "SHELL": "/bin/bash",
        "BASH_COMPLETION_USER_DIR": "",
    }  # fmt: skip


@pytest.mark.parametrize("shell", PLACES)
def test_it_is_written_once(tmp_path: Path, home: dict[str, str], shell: str) -> None:
    """It says where; the second time it leaves the file alone, and one that is otherwise is made as it should be."""
    path = tmp_path / PLACES[shell]
    first = invoke("completion", "install", shell, env=home)
    assert (first.status, f"{path} was written" in first.out) == (0, True)
    script = path.read_text("utf-8")
    before = path.stat()
    again = json.loads(invoke("completion", "install", shell, "--json", env=home).out)
    assert again == {"shell": shell, "file": str(path), "written": False}
    assert path.stat().st_ino == before.st_ino
    path.write_text("of an earlier version", "utf-8")
    assert json.loads(invoke("completion", "install", shell, "--json", env=home).out)["written"]
    assert path.read_text("utf-8") == script


def test_the_shell_of_the_user(tmp_path: Path, home: dict[str, str]) -> None:
    """$SHELL says which; one that is not known is asked for."""
    assert invoke("completion", "install", env=home | {"SHELL": "/usr/bin/fish"}).status == 0
    assert (tmp_path / PLACES["fish"]).exists()
    unknown = invoke("completion", "install", env=home | {"SHELL": "/bin/tcsh"})
    assert (unknown.status, "tcsh" in unknown.err) == (2, True)
    assert invoke("completion", "install", env=home | {"SHELL": ""}).status == 2


def test_show_writes_nothing(tmp_path: Path, home: dict[str, str]) -> None:
    """The script alone is on standard output."""
    shown = invoke("completion", "install", "zsh", "--show", env=home)
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.startswith("#compdef cloudbeds-auth\n")
    assert not (tmp_path / "data").exists()
    document = json.loads(invoke("completion", "install", "zsh", "--show", "--json", env=home).out)
    assert document == {"shell": "zsh", "file": str(tmp_path / PLACES["zsh"]), "script": shown.out.removesuffix("\n")}


def test_where_it_cannot_be_written(tmp_path: Path, home: dict[str, str]) -> None:
    """It says so, and what to do instead."""
    (tmp_path / "data").write_text("a file")
    refused = invoke("completion", "install", "bash", env=home)
    assert (refused.status, "--show" in refused.err) == (1, True)


def program_in(folder: Path) -> dict[str, str]:
    """An environment whose PATH has `cloudbeds-auth`."""
    folder.mkdir()
    program = folder / "cloudbeds-auth"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cloudbeds_auth "$@"\n', "utf-8")
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/local/bin:/usr/bin:/bin", "HOME": str(folder)}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("cloudbeds-auth connec", {"connect", "connections"}),
        ("cloudbeds-auth connections wa", {"watch"}),
        ("cloudbeds-auth connections list --st", {"--state"}),
        ("cloudbeds-auth connections list --state re", {"refreshing", "reauthorization_required", "read_only"}),
        ("cloudbeds-auth completion install ", {"bash", "zsh", "fish"}),
    ],
)
def test_bash_completes(tmp_path: Path, home: dict[str, str], words: str, wanted: set[str]) -> None:
    """Commands, options and choices, asked of a real bash with the file that was written."""
    assert invoke("completion", "install", "bash", env=home).status == 0
    given = words.split(" ")
    script = ASK.format(
        script=tmp_path / PLACES["bash"], words=" ".join(f"'{one}'" for one in given), at=len(given) - 1
    )
    environment = program_in(tmp_path / "bin")
    done = subprocess.run(["bash", "--norc", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == wanted
