"""`completion install`: the shell completes commands, options, choices and files, by Click's own completion."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import click
from click.shell_completion import get_completion_class

from cloudbeds_auth.cli.commands import command, group
from cloudbeds_auth.cli.output import Output

PROGRAM: Final = "cloudbeds-auth"
VARIABLE: Final = "_CLOUDBEDS_AUTH_COMPLETE"  # what Click's scripts ask the program with; its name follows from PROGRAM


class ShellFiles(NamedTuple):
    """Where a shell looks for completions of one user's, and what to do where it does not."""

    place: Callable[[Mapping[str, str]], Path]
    advice: str


def _data(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")


def _of_bash(environ: Mapping[str, str]) -> Path:
    """As the package bash-completion looks for them."""
    named = environ.get("BASH_COMPLETION_USER_DIR")
    return (Path(named) if named else _data(environ) / "bash-completion") / "completions" / PROGRAM


def _of_zsh(environ: Mapping[str, str]) -> Path:
    return _data(environ) / "zsh" / "site-functions" / f"_{PROGRAM}"


def _of_fish(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "fish" / "completions" / f"{PROGRAM}.fish"


SHELLS: Final = {
    "bash": ShellFiles(
        _of_bash,
        "A new bash completes by it where the package bash-completion is installed; else add to ~/.bashrc:\n  . {file}",
    ),
    "zsh": ShellFiles(
        _of_zsh,
        "For zsh to find it, add to ~/.zshrc, and begin a new shell; the second line where there is none like it yet:\n"
        "  fpath=({folder} $fpath)\n"
        "  autoload -Uz compinit && compinit",
    ),
    "fish": ShellFiles(_of_fish, "A new fish completes by it."),
}


@group(
    "completion",
    "cloudbeds-auth completion install",
    "cloudbeds-auth completion install zsh --show",
    short_help="Let your shell complete commands and options.",
)
def completion() -> None:
    """Let your shell complete commands, options and their choices with the Tab key: bash, zsh or fish."""


@command(
    "install",
    "cloudbeds-auth completion install           for the shell that $SHELL names",
    "cloudbeds-auth completion install fish",
    "cloudbeds-auth completion install --show    print it, and write nothing",
    group=completion,
)
@click.argument("shell", metavar="[bash|zsh|fish]", type=click.Choice(list(SHELLS)), required=False)
@click.option("--show", is_flag=True, help="Print what would be written, and write nothing.")
def install(out: Output, shell: str | None, show: bool) -> None:
    """Write the completion for your shell where it looks for it, and say where that is.

    It is a file of your own, and nothing else is changed. Run again, it leaves a file alone that is as it should be.
    """
    name = shell or _login_shell()
    place, advice = SHELLS[name]
    path, script = place(os.environ), _script(name)
    if show:
        out.document({"shell": name, "file": str(path), "script": script})
        out.bare(script)
        return
    written = _written(path, script)
    out.document({"shell": name, "file": str(path), "written": written})
    out.line(f"{path} {'is written' if written else 'is as it should be'}")
    out.line(advice.format(file=path, folder=path.parent))


def _login_shell() -> str:
    """The name of the user's shell; raises UsageError where it is none that is known here."""
    found = Path(os.environ.get("SHELL", "")).name
    if found not in SHELLS:
        raise click.UsageError(f"$SHELL names {found or 'no shell'}: say which of {', '.join(SHELLS)} it is for")
    return found


def _script(shell: str) -> str:
    """What Click has for this shell."""
    from cloudbeds_auth.cli.main import cli

    of_shell = get_completion_class(shell)
    assert of_shell is not None  # noqa: S101 - Click knows the three
    return of_shell(cli, {}, PROGRAM, VARIABLE).source()


def _written(path: Path, script: str) -> bool:
    """Write the file unless it says that already; whether it was. Raises ConfigurationError."""
    from cloudbeds_auth.errors import ConfigurationError
    from cloudbeds_auth.os_files import write_private

    try:
        if path.exists() and path.read_text("utf-8") == script:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, script.encode(), exclusive=False)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigurationError(
            f"{path} cannot be written: {why}", next_step=f"print it with --show, and put it where {path.name} belongs"
        ) from None
    return True
