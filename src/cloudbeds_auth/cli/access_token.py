"""`access-token`: the bare access token of a connection, for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cloudbeds_auth.cli.commands import GENERATION, examples, seconds, with_output
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.cli.vaults import with_vault
from cloudbeds_auth.rules.documents import access_token_document
from cloudbeds_auth.rules.model import AccessToken

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault


@click.command(
    name="access-token",
    short_help="Print a connection's access token.",
    epilog=examples(
        'curl -H "Authorization: Bearer $(cloudbeds-auth access-token con_01J...)" \\',
        "     https://api.cloudbeds.com/api/v1.3/userinfo",
        "cloudbeds-auth access-token 100001 --json                      with expiry and generation",
        "cloudbeds-auth access-token 100001 --rejected-generation 3     after a 401 with that one",
    ),
)
@click.argument("connection", metavar="ID")
@click.option(
    "--min-valid",
    type=seconds(),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long it must still be valid.",
)
@click.option("--rejected-generation", type=GENERATION, metavar="N", help="The generation that was answered 401.")
@with_output
def command(out: Output, connection: str, min_valid: float, rejected_generation: int | None) -> None:
    """Print the access token of a connection, refreshed if need be.

    ID is a connection id (con_...) or a property id. Getting the rejected generation back means that it was proven
    good: the endpoint itself refuses.
    """

    async def ask(vault: TokenVault) -> AccessToken:
        found = await vault.resolve(connection)
        return await vault.access_token(found, min_valid, rejected=rejected_generation)

    token = with_vault(ask)
    if out.as_json:
        out.document(access_token_document(token))
    else:
        out.bare(token.reveal())
