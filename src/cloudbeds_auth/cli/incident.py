"""`doctor incident`: after a leak, what to rotate, in which order, and what each step would do here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cloudbeds_auth.cli.commands import READING, command, with_vault
from cloudbeds_auth.cli.output import Output

if TYPE_CHECKING:
    from cloudbeds_auth.doctor.incident import Situation
    from cloudbeds_auth.vault import TokenVault

LEAKS = (
    "database", "encryption-key", "admin-token", "caller-key", "client-secret", "webhook-secret", "metrics-token",
    "everything",
)  # fmt: skip


@command(
    "incident",
    "cloudbeds-auth doctor incident",
    "cloudbeds-auth doctor incident admin-token",
    "cloudbeds-auth doctor incident database --json",
    short_help="After a leak: the steps, in order.",
)
@click.argument("leaked", metavar="[LEAKED]", type=click.Choice(LEAKS), default="everything")
def incident(out: Output, leaked: str) -> None:
    """After a leak: what to rotate, in which order, and what each step would do here. Nothing is changed.

    LEAKED is what may be in somebody else's hands: database (or a backup of it), encryption-key, admin-token,
    caller-key, client-secret, webhook-secret, metrics-token; or everything, which is what it is without one.
    """
    from cloudbeds_auth.doctor.incident import Leak, incident_steps, situation_of

    async def look(vault: TokenVault) -> Situation:
        return await situation_of(vault)

    with out.working(READING):
        steps = incident_steps(Leak(leaked), with_vault(look))
    out.document({"leaked": leaked, "steps": [step.document() for step in steps]})
    out.line(f"leaked: {leaked}. Nothing was changed; in this order:")
    for number, step in enumerate(steps, 1):
        out.line()
        out.line(f"{number}. {step.name}")
        out.fields([("   why", step.why), ("   here", step.here), *(("   run", one) for one in step.commands)])
