"""How a secret comes into a command: from a prompt, a file, or the environment.

Never as an argument: arguments are shown to every user of the machine (`ps`) and are kept in the shell's history, so
one that looks like a secret is refused, and not repeated in the refusal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from cloudbeds_auth import errors
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.rules.secret import Secret

STDIN = Path("-")
LONGEST = 64 * 1024  # characters of a secret

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class SecretInput:
    """One kind of secret: what people call it, the option that names a file with it, the variable that may hold it, and
    the options that a person may try to give it by.
    """

    called: str
    option: str
    variable: str
    traps: tuple[str, ...]

    @property
    def _comes_from(self) -> str:
        return f"it is asked for, or comes from {self.option} or {self.variable}"

    @property
    def _exposed(self) -> str:
        return f"a secret is never an argument: others can read it there, so reset it at Cloudbeds; {self._comes_from}"

    def taken(self, run: F) -> F:
        """Give a command the option, as the last of its parameters, and let it refuse what looks like a secret among
        its arguments: the options that people try, and whatever comes behind the arguments that it knows.
        """
        file = click.option(
            self.option,
            "secret_file",
            type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
            help="A file that holds only the secret; - is standard input.",
        )
        trap = click.option(*self.traps, "trap", hidden=True, expose_value=False, callback=self._refuse)
        rest = click.argument("rest", cls=_Rest, nargs=-1, expose_value=False, callback=self._refuse)
        return file(trap(rest(run)))

    def _refuse(self, context: click.Context, parameter: click.Parameter, value: str | tuple[str, ...] | None) -> None:
        if value is not None and value != ():
            raise click.UsageError(self._exposed, context)

    def given(self, out: Output, file: Path | None) -> Secret | None:
        """The secret, where a file or the environment holds one; raises ConfigurationError for an unreadable file."""
        if file == STDIN:
            return Secret(sys.stdin.read(LONGEST).strip())
        if file is not None:
            return self._from_file(out, file)
        held = os.environ.get(self.variable, "").strip()
        return Secret(held) if held else None

    def read(self, out: Output, file: Path | None) -> Secret:
        """As `given`, else a person is asked for it; raises UsageError where there is no one to ask."""
        if (given := self.given(out, file)) is not None:
            return given
        if not sys.stdin.isatty():
            raise click.UsageError(f"no {self.called}, and nobody can be asked here: {self._comes_from}")
        return Secret(click.prompt(self.called, hide_input=True, err=True).strip())

    def _from_file(self, out: Output, file: Path) -> Secret:
        from cloudbeds_auth.settings.loading import Findings, secret_file

        findings = Findings()
        value = secret_file(self.option, file, findings)
        if value is None:
            raise errors.ConfigurationError(
                problems=tuple(findings.problems), next_step="mend the file, then try again"
            )
        for warning in findings.warnings:
            out.note(warning)
        return Secret(value)


class _Rest(click.Argument):
    """What comes behind the arguments of a command, which is refused: its usage does not name it."""

    def get_usage_pieces(self, ctx: click.Context) -> list[str]:
        """None."""
        return []
