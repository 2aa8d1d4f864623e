"""`connections add-key`: an API key that a hotel created at Cloudbeds itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cloudbeds_auth.cli.commands import ASKING, command, show_connection, with_vault
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.cli.secret_prompts import SecretInput
from cloudbeds_auth.rules.documents import stamp

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

API_KEY: Final = SecretInput("API key", "--key-file", "CLOUDBEDS_API_KEY", ("--api-key", "--key"))


@command(
    "add-key",
    "cloudbeds-auth connections add-key --reference tenant-7                asks for the key",
    "cloudbeds-auth connections add-key --property 100001 --key-file /run/secrets/hotel",
    "cloudbeds-auth connections add-key --reference tenant-7 --link         the hotel pastes it",
    "pass show hotel | cloudbeds-auth connections add-key --connection con_01J... --key-file -",
)
@click.option("--reference", help="Your own id for the hotel.")
@click.option("--property", "properties", metavar="ID", multiple=True, help="The property that the key must be for.")
@click.option("--connection", metavar="ID", help="The connection that the key must be for.")
@click.option("--app", metavar="NAME", help="Keep the hotel under this app.  [default: its own, else default]")
@click.option("--link", is_flag=True, help="Print a one-time link instead, where the hotel pastes its key itself.")
@API_KEY.taken
def add_key(
    out: Output,
    reference: str | None,
    properties: tuple[str, ...],
    connection: str | None,
    app: str | None,
    link: bool,
    secret_file: Path | None,
) -> None:
    """Add an API key (cbat_...) that a hotel created at Cloudbeds itself.

    The key is checked with Cloudbeds first; nothing is stored if Cloudbeds does not accept it, or if it belongs to
    another hotel. A connected hotel keeps its connection: the key replaces its credential, and any OAuth tokens are
    never refreshed again.

    The key is read from a hidden prompt, from --key-file, or from CLOUDBEDS_API_KEY. It is never an argument, and is
    never printed.
    """
    if link:
        if properties or secret_file:
            raise click.UsageError("--link takes neither a key nor a property")
        _print_link(out, reference, connection, app)
        return
    key = API_KEY.read(out, secret_file)
    with out.working(ASKING):
        found = with_vault(
            lambda vault: vault.add_api_key(
                key, app=app, reference=reference, connection_id=connection, expected_properties=properties
            )
        )
    show_connection(out, found, "connected")


def _print_link(out: Output, reference: str | None, connection: str | None, app: str | None) -> None:
    async def made(vault: TokenVault) -> tuple[str, str | None]:
        link = await vault.create_link(reference=reference, connection_id=connection, app=app)
        return vault.engine.world.key_url(link.token), stamp(link.expires_at)

    url, expires_at = with_vault(made)
    out.document({"key_url": url, "expires_at": expires_at})
    out.line(url)
    out.hint(f"for one hotel, until {expires_at}; it needs a running `cloudbeds-auth serve`")
