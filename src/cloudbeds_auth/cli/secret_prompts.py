"""How a client secret comes in: from a prompt, a file, or the environment; never as an argument.

Arguments are shown to every user of the machine (`ps`) and rest in the shell's history, so one that looks like a
secret is refused, and not repeated in the refusal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cloudbeds_auth import errors
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.rules.secret import Secret

VARIABLE = "CLOUDBEDS_AUTH_APP_SECRET"
STDIN = Path("-")
LONGEST = 64 * 1024  # characters
SAY = f"it is asked for, or comes from --secret-file or {VARIABLE}"
EXPOSED = f"a secret is never an argument: others can read it there, so reset it at Cloudbeds; {SAY}"

F = TypeVar("F", bound=Callable[..., Any])


def takes_secret(command: F) -> F:
    """Give a command `--secret-file`, and let it refuse what looks like a secret among its arguments."""
    file = click.option(
        "--secret-file",
        type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
        help="A file that holds only the secret; - is standard input.",
    )
    trap = click.option("--client-secret", "--secret", hidden=True, expose_value=False, callback=_refuse)
    return trap(file(command))


def refuse_extras(context: click.Context) -> None:
    """What came besides the known arguments is likely the secret. Raises UsageError."""
    if context.args:
        raise click.UsageError(EXPOSED, context)


def client_secret(out: Output, file: Path | None) -> Secret:
    """The secret. Raises ConfigurationError for a file that cannot be read, UsageError where nobody can be asked."""
    if file == STDIN:
        return Secret(sys.stdin.read(LONGEST).strip())
    if file is not None:
        return _from_file(out, file)
    if given := os.environ.get(VARIABLE, "").strip():
        return Secret(given)
    if not sys.stdin.isatty():
        raise click.UsageError(f"no client secret, and nobody can be asked here: {SAY}")
    return Secret(click.prompt("client secret", hide_input=True, err=True).strip())


def _from_file(out: Output, file: Path) -> Secret:
    from cloudbeds_auth.settings.loading import Findings, secret_file

    findings = Findings()
    value = secret_file("--secret-file", file, findings)
    if value is None:
        raise errors.ConfigurationError(problems=tuple(findings.problems), next_step="mend the file, then try again")
    for warning in findings.warnings:
        out.note(warning)
    return Secret(value)


def _refuse(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(EXPOSED, context)
