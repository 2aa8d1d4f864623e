"""The root of the command line: imports commands on demand, and turns every outcome into an exit status."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from cloudbeds_auth.cli import CONTEXT, examples
from cloudbeds_auth.version import VERSION

FAILED, INTERRUPTED = 1, 130
ENV_FILE = "CLOUDBEDS_AUTH_ENV_FILE"  # as in settings.loading, which commands that need no settings do not import

MODULES = {
    "demo": "demo",
    "setup": "setup",
    "serve": "serve",
    "simulate": "serve",
    "connect": "connect",
    "connections": "connections",
    "apps": "apps",
    "keys": "keys",
    "sign-in": "sign_in",
    "audit": "audit",
    "call": "call",
    "access-token": "call",
    "database": "database",
    "doctor": "doctor",
    "completion": "completion",
}
"""Each command with the module of this package that defines it."""


class Root(click.Group):
    """A group that imports a command's module only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order in which a newcomer needs them."""
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, its module imported now."""
        if cmd_name not in MODULES:
            return None
        module = importlib.import_module(f"cloudbeds_auth.cli.{MODULES[cmd_name]}")
        command = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)  # noqa: S101 - our own modules define it so
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As Click's, which knows commands that are alike only of those that are imported."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(error.command_name, possibilities=MODULES, ctx=ctx) from None


@click.group(
    cls=Root,
    context_settings=CONTEXT,
    epilog=examples(
        "cloudbeds-auth demo                     see the whole journey, no account needed",
        "cloudbeds-auth setup                    enter your app's client id and secret",
        "cloudbeds-auth serve                    run the service",
        "cloudbeds-auth connections              which hotels are connected, and how they are",
    ),
)
@click.version_option(VERSION, prog_name="cloudbeds-auth")
@click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Read settings from FILE instead of .env in the current folder, also if others may write it.",
)
def cli(env_file: Path | None) -> None:
    """Keep hotels connected to Cloudbeds: obtain their tokens, keep them safe, refresh them, never lose one.

    Settings come from the environment or a .env file. Every command has --help, with examples, and --json.
    Exit status: 0 done, 1 failed, 2 wrong usage.
    """
    if env_file is not None:
        os.environ[ENV_FILE] = str(env_file.absolute())  # for workers of the service too


def run(args: Sequence[str] | None = None) -> int:
    """Run a command line (by default the process's own). Returns 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C."""
    _open_closed_streams()
    given = sys.argv[1:] if args is None else args
    try:
        if not all(one.isascii() or _is_utf8(one) for one in given):
            raise click.UsageError("an argument is not UTF-8")
        status = cli.main(given, "cloudbeds-auth", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        from cloudbeds_auth.cli.output import close_stdout

        close_stdout()
        return FAILED
    except Exception as error:
        from cloudbeds_auth.errors import Error

        if not isinstance(error, Error):
            raise
        return _complain(str(error.diagnosis()), FAILED)
    return status if isinstance(status, int) else 0


def _open_closed_streams() -> None:
    """Open a stream that was closed when the process began (`>&-`) as one from or to /dev/null."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for good


def _is_utf8(argument: str) -> bool:
    """Whether its bytes were: Python stands other bytes for lone surrogates (PEP 383)."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _complain(text: str, status: int) -> int:
    from cloudbeds_auth.cli import output

    output.complain(text)
    return status


def main() -> None:
    """The `cloudbeds-auth` command."""
    sys.exit(run())
