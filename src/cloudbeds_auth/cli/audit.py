"""`audit`: who did what, to which connection, key or app, and from which address."""

from __future__ import annotations

import click

from cloudbeds_auth.cli.commands import command, with_vault
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.rules.audit import AuditEntry
from cloudbeds_auth.rules.documents import audit_document, stamp


@command(
    "audit",
    "cloudbeds-auth audit",
    "cloudbeds-auth audit --limit 200 --json",
    short_help="Show who did what.",
)
@click.option("--limit", type=click.IntRange(1, 200), default=100, show_default=True, help="Show at most this many.")
@click.option("--cursor", help="Continue where an earlier page ended.")
def audit(out: Output, limit: int, cursor: str | None) -> None:
    """Show who did what to connections, keys and apps, and who signed in, newest first.

    "who" is `admin` for the admin token, else the id of a key, a session, a command, or a program with the library.
    """
    entries = with_vault(lambda vault: vault.audit(cursor, limit))
    following = entries[-1].id if len(entries) == limit else None
    out.document({"entries": [audit_document(one) for one in entries], "next": following})
    if entries:
        out.table(("when", "who", "what", "about", "from"), [_row(one) for one in entries])
    else:
        out.line("no entries yet")
    if following is not None:
        out.hint(f"there may be more: --cursor {following}")


def _row(one: AuditEntry) -> tuple[str, ...]:
    return (
        stamp(one.at) or "-", one.actor, one.action.replace("_", " "), one.subject or "-", one.address or "-",
    )  # fmt: skip
