"""`doctor`: checks everything and says what to mend."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloudbeds_auth.cli.commands import examples, with_output
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.cli.reading import tell_source

if TYPE_CHECKING:
    from cloudbeds_auth.doctor.findings import Finding
    from cloudbeds_auth.settings import Need, Settings

MARKS = {"ok": "ok", "skipped": "-", "warning": "!", "problem": "PROBLEM"}


@click.command(
    name="doctor",
    short_help="Check everything and say what to mend.",
    epilog=examples("cloudbeds-auth doctor", "cloudbeds-auth doctor --json"),
)
@with_output
def command(out: Output) -> int:
    """Check settings, keys, database, port, and the way to Cloudbeds; say what to mend.

    Secrets are never shown or sent. Exit status 1 when there is a problem.
    """
    from cloudbeds_auth.settings import env_file

    return examine(out, *env_file())


def examine(out: Output, dotenv: Path, named: bool = True) -> int:
    """Run all checks on the settings of the environment and `dotenv`, show the findings; 0 when there is no problem.

    `named`: the operator named the file.
    """
    import os

    from cloudbeds_auth.doctor.registry import examine as run
    from cloudbeds_auth.settings import load
    from cloudbeds_auth.system import SystemClock

    def read(need: Need) -> Settings:
        found = load(os.environ, dotenv, need=need, named=named)
        tell_source(found)
        return found

    with out.waiting("checking"):
        report = asyncio.run(run(read, SystemClock()))
    if out.as_json:
        out.document(report.document())
    else:
        out.table(
            ("", "check", "finding"),
            [(MARKS[one.level.value], name, _words(one)) for name, found in report.checks for one in found],
        )
        out.line("no problem found" if report.healthy else "mend what is marked PROBLEM, then run this again")
    return 0 if report.healthy else 1


def _words(finding: Finding) -> str:
    return f"{finding.what}; to mend: {finding.mend}" if finding.mend else finding.what
