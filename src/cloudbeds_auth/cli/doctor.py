"""`doctor`: checks everything and says what to fix; and `doctor incident`: after a leak, what to rotate, in which
order, and what each step would do here.
"""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path

import click

from cloudbeds_auth.cli.commands import READING, command, group, read_settings, with_vault
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.cli.tables import Look, Painted, with_badge
from cloudbeds_auth.rules.presentation import Badge

MARKS = {
    "ok": with_badge("ok", Badge.HEALTHY),
    "skipped": with_badge("skipped", Badge.ENDED),
    "warning": Painted("warning", Look("yellow", "!", "!")),
    "problem": Painted("PROBLEM", Look("red", "✗", "x")),
}
"""The result of a check, by its level."""
LEAKS = (
    "database", "encryption-key", "admin-token", "caller-key", "client-secret", "webhook-secret", "metrics-token",
    "everything",
)  # fmt: skip


@group(
    "doctor",
    "cloudbeds-auth doctor",
    "cloudbeds-auth doctor --json",
    "cloudbeds-auth doctor incident",
    short_help="Check everything and say what to fix.",
    default="check",
)
def doctor() -> None:
    """Check the settings, keys, database, port and the network path to Cloudbeds; say what to fix.

    Secrets are never shown or sent. Exit status 1 if there is a problem.
    """


@command("check", "cloudbeds-auth doctor", group=doctor)
def check(out: Output) -> int:
    """Check everything, as `doctor` alone does."""
    return examine(out)


def examine(out: Output, dotenv: Path | None = None) -> int:
    """Run all checks and show the findings; returns 0 if there is no problem. The settings come from the environment
    and `dotenv`, as in `read_settings`.
    """
    from cloudbeds_auth.doctor import CHECKS
    from cloudbeds_auth.doctor.examination import examine as run
    from cloudbeds_auth.system import SystemClock

    with out.progress("checking") as progress:
        done = count()
        report = asyncio.run(
            run(
                lambda need: read_settings(need, dotenv),
                SystemClock(),
                CHECKS,
                lambda name: progress("checks", next(done), len(CHECKS)),
            )
        )
    out.document(report.document())
    rows = [
        (MARKS[one.level.value], name, f"{one.what}; to fix it: {one.mend}" if one.mend else one.what)
        for name, found in report.checks.items()
        for one in found
    ]
    out.table(("result", "check", "finding"), rows)
    out.line("no problem found" if report.healthy else "fix what is marked PROBLEM, then run this again")
    return 0 if report.healthy else 1


@command(
    "incident",
    "cloudbeds-auth doctor incident",
    "cloudbeds-auth doctor incident admin-token",
    "cloudbeds-auth doctor incident database --json",
    group=doctor,
    short_help="After a leak: the steps, in order.",
)
@click.argument("leaked", metavar="[LEAKED]", type=click.Choice(LEAKS), default="everything")
def incident(out: Output, leaked: str) -> None:
    """After a leak: what to rotate, in which order, and what each step would do here. Nothing is changed.

    LEAKED is what others may have obtained: database (or a backup of it), encryption-key, admin-token, caller-key,
    client-secret, webhook-secret, metrics-token, or everything, which is the default.
    """
    from cloudbeds_auth.doctor.incident import Leak, incident_steps, situation_of

    with out.working(READING):
        steps = incident_steps(Leak(leaked), with_vault(situation_of))
    out.document({"leaked": leaked, "steps": [step.document() for step in steps]})
    out.line(f"leaked: {leaked}. Nothing was changed; in this order:")
    for number, step in enumerate(steps, 1):
        out.line()
        out.line(f"{number}. {step.name}")
        out.fields([("   why", step.why), ("   here", step.here), *(("   run", one) for one in step.commands)])
