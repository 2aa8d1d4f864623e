"""How a command gets a secret: from a prompt, a file, or the environment.

Never as an argument: every user of the machine can see arguments (`ps`), and the shell keeps them in its history. So an
argument that looks like a secret is refused, without repeating it.
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
from cloudbeds_auth.rules.inputs import is_text
from cloudbeds_auth.rules.secret import Secret

STDIN = Path("-")
LONGEST = 64 * 1024  # bytes on standard input

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class SecretInput:
    """One kind of secret: its name for people, the option for a file that contains it, the variable that may contain
    it, and the options with which a person may try to pass it.
    """

    called: str
    option: str
    variable: str
    traps: tuple[str, ...]

    @property
    def _comes_from(self) -> str:
        return f"enter it at a prompt, or give it by {self.option} or {self.variable}"

    @property
    def _exposed(self) -> str:
        return f"a secret must not be an argument, where others can read it: reset it at Cloudbeds; {self._comes_from}"

    def taken(self, run: F) -> F:
        """Give a command the option, as the last of its parameters, and make it refuse what may be a secret among its
        arguments: the options that people try, and any surplus arguments.
        """
        file = click.option(
            self.option,
            "secret_file",
            type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
            help="A file that contains only the secret; - is standard input.",
        )
        trap = click.option(*self.traps, "trap", hidden=True, expose_value=False, callback=self._refuse)
        rest = click.argument("rest", cls=_Rest, nargs=-1, expose_value=False, callback=self._refuse)
        return file(trap(rest(run)))

    def _refuse(self, context: click.Context, parameter: click.Parameter, value: str | tuple[str, ...] | None) -> None:
        if value is not None and value != ():
            raise click.UsageError(self._exposed, context)

    def given(self, out: Output, file: Path | None) -> Secret | None:
        """The secret from a file or the environment, if any; raises ConfigurationError for what is none."""
        if file == STDIN:
            return self._one_line(self._from_stdin(), f"{self.option}: standard input")
        if file is not None:
            return self._one_line(self._from_file(out, file), f"{self.option}: the file")
        held = os.environ.get(self.variable, "").strip()
        return self._one_line(held, f"{self.variable}: the value") if held else None

    def read(self, out: Output, file: Path | None) -> Secret:
        """As `given`, else from a prompt; raises UsageError if there is no terminal."""
        if (given := self.given(out, file)) is not None:
            return given
        if not sys.stdin.isatty():
            raise click.UsageError(f"no {self.called}, and there is no terminal: {self._comes_from}")
        return Secret(click.prompt(self.called, hide_input=True, err=True).strip())

    def _one_line(self, value: str, where: str) -> Secret:
        """The secret, if it can be one: a file with more than the secret in it would be stored as a whole."""
        if len(value.splitlines()) > 1 or not is_text(value):
            raise _refused(f"{where} has several lines, or a control character: it must contain only the {self.called}")
        return Secret(value)

    def _from_stdin(self) -> str:
        """All of standard input, decoded here: in some locales Python would let other bytes through."""
        given = sys.stdin.buffer.read(LONGEST + 1)
        if len(given) > LONGEST:
            raise _refused(f"{self.option}: standard input is too large: it must contain only the {self.called}")
        try:
            return given.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise _refused(f"{self.option}: standard input is not UTF-8 text") from None

    def _from_file(self, out: Output, file: Path) -> str:
        from cloudbeds_auth.settings.loading import Findings, secret_file

        findings = Findings()
        value = secret_file(self.option, file, findings)
        if value is None:
            raise errors.ConfigurationError(
                problems=tuple(findings.problems), next_step="correct the file, then try again"
            )
        for warning in findings.warnings:
            out.note(warning)
        return value


def _refused(problem: str) -> errors.ConfigurationError:
    return errors.ConfigurationError(problems=(problem,), next_step="correct it, then try again")


class _Rest(click.Argument):
    """Surplus arguments of a command, which are refused; its usage line does not show them."""

    def get_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Nothing."""
        return []
