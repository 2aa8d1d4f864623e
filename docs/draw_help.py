"""Takes the program's own help into the pages: `python docs/draw_help.py` prints, `--write` updates README and docs.

A test holds the pages to what this gives, so a changed help text is one command away from a green run.
"""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import click
import splice

from cloudbeds_auth.cli.main import cli

PROGRAM = "cloudbeds-auth"
README = Path(__file__).parent.parent / "README.md"
PAGE = Path(__file__).with_name("command-line.md")
README_MARKS = ("<!-- help -->", "<!-- /help -->")
PAGE_MARKS = ("<!-- commands -->", "<!-- /commands -->")


def help_of(path: tuple[str, ...]) -> str:
    """What `cloudbeds-auth … --help` prints at 80 columns."""
    with patch.dict(os.environ, {"COLUMNS": "80", "LINES": "24"}):
        command, context = _found(path)
        return _trimmed(command.get_help(context))


def commands(path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command and subcommand, in the program's order."""
    command, context = _found(path)
    if not isinstance(command, click.Group):
        return [path]
    below = [one for name in command.list_commands(context) for one in commands((*path, name))]
    return [path, *below] if path else below


def readme_block() -> str:
    """The root's help, as it stands in the README."""
    return f"{README_MARKS[0]}\n{_fenced(help_of(()))}\n{README_MARKS[1]}"


def page_block() -> str:
    """Every command's help, as it stands in the page."""
    parts = [f"## `{PROGRAM} {' '.join(path)}`\n\n{_fenced(help_of(path))}" for path in commands()]
    return "\n\n".join((PAGE_MARKS[0], *parts, PAGE_MARKS[1]))


def _found(path: tuple[str, ...]) -> tuple[click.Command, click.Context]:
    command: click.Command = cli
    context = click.Context(cli, info_name=PROGRAM, **cli.context_settings)
    for name in path:
        assert isinstance(command, click.Group)  # noqa: S101 - only groups have commands below them
        below = command.get_command(context, name)
        assert below is not None  # noqa: S101 - the path came from the groups themselves
        command, context = below, click.Context(below, context, name, **below.context_settings)
    return command, context


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _fenced(text: str) -> str:
    return f"```text\n{text}\n```"


if __name__ == "__main__":
    splice.run((README, readme_block()), (PAGE, page_block()))
