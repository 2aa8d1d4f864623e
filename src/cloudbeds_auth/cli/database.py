"""`database`: see to the database itself."""

from __future__ import annotations

import asyncio

import click

from cloudbeds_auth.cli.commands import CONTEXT, examples, with_output
from cloudbeds_auth.cli.output import Output


@click.group(
    name="database",
    short_help="See to the database itself.",
    context_settings=CONTEXT,
    epilog=examples("cloudbeds-auth database adopt --yes"),
)
def command() -> None:
    """See to the database itself."""


@command.command(name="adopt", epilog=examples("cloudbeds-auth database adopt", "cloudbeds-auth database adopt --yes"))
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_output
def adopt(out: Output, yes: bool) -> None:
    """Make a copied or restored database this installation's own.

    A copy holds the same tokens as its original. If both refresh them, each kills the other's, so a copy is read-only
    until it is adopted. Adopt it only when the original is gone for good, and restart the service afterwards.
    """
    from cloudbeds_auth import compose
    from cloudbeds_auth.settings import Need, load_from_environment

    settings = load_from_environment(Need.NOTHING)
    question = f"Is the installation that {settings.database_path} was copied from gone for good?"
    if not yes and not click.confirm(question, err=True):
        raise click.Abort
    asyncio.run(compose.adopt(settings))
    if out.as_json:
        out.document({"database": str(settings.database_path), "adopted": True})
    else:
        out.line(f"{settings.database_path} is this installation's own now; restart what uses it")
