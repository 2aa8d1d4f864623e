"""`sign-in`: prints a one-time link to the dashboard, or ends every session."""

from __future__ import annotations

import click

from cloudbeds_auth.cli.commands import command, with_vault
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.rules.documents import stamp


@command(
    "sign-in",
    "cloudbeds-auth sign-in",
    "cloudbeds-auth sign-in --end-all      sign every browser out, and void unused links",
    short_help="Print a one-time link to the dashboard.",
)
@click.option("--end-all", is_flag=True, help="End every session instead, and void every unused link.")
def sign_in(out: Output, end_all: bool) -> None:
    """Print a link that signs one browser in to the dashboard of the running service, once, within ten minutes.

    It signs in the first browser that opens it. The link is the only line on standard output.
    """
    if end_all:
        ended = with_vault(lambda vault: vault.engine.sessions.end_all())
        out.document({"ended": ended})
        out.line("1 session was ended" if ended == 1 else f"{ended} sessions were ended")
        return
    link = with_vault(lambda vault: vault.engine.sessions.create_link())
    out.document({"url": link.url.reveal(), "expires_at": stamp(link.expires_at)})
    out.line(link.url.reveal())
    out.hint("it signs in one browser, once, within ten minutes")
