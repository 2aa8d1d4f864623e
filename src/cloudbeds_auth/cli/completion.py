"""`completion install`: shell completion of commands, options, choices and files, with Click's own scripts."""

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
VARIABLE: Final = "_CLOUDBEDS_AUTH_COMPLETE"  # Click's scripts ask the program with it; derived from PROGRAM


class ShellFiles(NamedTuple):
    """Where a shell looks for a user's completions, and advice if it does not look there by itself."""

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
        "New bash sessions use it if the package bash-completion is installed; else add to ~/.bashrc:\n  . {file}",
    ),
    "zsh": ShellFiles(
        _of_zsh,
        "For zsh to find it, add this to ~/.zshrc (the second line only if there is none yet) and start a new shell:\n"
        "  fpath=({folder} $fpath)\n"
        "  autoload -Uz compinit && compinit",
    ),
    "fish": ShellFiles(_of_fish, "New fish sessions use it."),
}


@group(
    "completion",
    "cloudbeds-auth completion install",
    "cloudbeds-auth completion install zsh --show",
    short_help="Let your shell complete commands and options.",
)
def completion() -> None:
    """Let bash, zsh or fish complete commands, options and their values with the Tab key."""


@command(
    "install",
    "cloudbeds-auth completion install           for the shell named by $SHELL",
    "cloudbeds-auth completion install fish",
    "cloudbeds-auth completion install --show    print it, and write nothing",
    group=completion,
)
@click.argument("shell", metavar="[bash|zsh|fish]", type=click.Choice(list(SHELLS)), required=False)
@click.option("--show", is_flag=True, help="Print what would be written, and write nothing.")
def install(out: Output, shell: str | None, show: bool) -> None:
    """Write the completion script where your shell looks for it, and print the path.

    The file belongs to your user, and nothing else is changed. A file that is already up to date is left alone.
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
    out.line(f"{path} {'was written' if written else 'is up to date'}")
    out.line(advice.format(file=path, folder=path.parent))


def _login_shell() -> str:
    """The name of the user's shell; raises UsageError if it is not supported."""
    found = Path(os.environ.get("SHELL", "")).name
    if found not in SHELLS:
        raise click.UsageError(f"$SHELL names {found or 'no shell'}: name one of {', '.join(SHELLS)}")
    return found


def _script(shell: str) -> str:
    """Click's completion script for this shell."""
    from cloudbeds_auth.cli.main import cli

    of_shell = get_completion_class(shell)
    assert of_shell is not None  # noqa: S101 - Click knows the three
    return of_shell(cli, {}, PROGRAM, VARIABLE).source()


def _written(path: Path, script: str) -> bool:
    """Write the file unless it is up to date; returns whether it was written. Raises ConfigurationError."""
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
            f"{path} cannot be written: {why}", next_step=f"print it with --show, and install {path.name} yourself"
        ) from None
    return True
