"""The Tab key in each shell that commands are completed for, at a terminal (needs `make system`)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.fakes import invoke
from tests.cli.test_completion import PLACES, program_in
from tests.deploy.tools import program
from tests.support.terminal import at_terminal

BEGIN = {
    "bash": ("--norc", "-i"),
    "zsh": ("-f", "-i"),
    "fish": ("--no-config", "-i"),
}
"""Interactive, without anybody's configuration."""


@pytest.mark.parametrize("shell", PLACES)
def test_the_tab_key(tmp_path: Path, shell: str) -> None:
    """Pressed: the rest of the word is there."""
    home = {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert invoke("completion", "install", shell, env=home).status == 0
    path = tmp_path / PLACES[shell]
    load = {
        "bash": f". {path}",
        "zsh": f"fpath=({path.parent} $fpath); autoload -Uz compinit && compinit -u -D",
        "fish": f"source {path}",
    }[shell]
    with at_terminal(
        *BEGIN[shell], settings=program_in(tmp_path / "bin") | home, folder=tmp_path, executable=program(shell),
        program=(),
    ) as ran:  # fmt: skip
        ran.type(f"{load}; echo rea''dy\r")
        ran.wait_for("ready")
        ran.type("cloudbeds-auth connections wat\t")
        ran.wait_for("connections watch")
        ran.type("\x15exit\r")  # the line is emptied first
        assert ran.end() == 0
