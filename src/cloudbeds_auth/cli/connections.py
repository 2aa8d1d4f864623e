"""`connections`: list, show, refresh, claim, move, disconnect and import hotels."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from cloudbeds_auth.cli import import_command, migrate, refreshing
from cloudbeds_auth.cli.commands import CONTEXT, connection_fields, examples, with_output
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.cli.vaults import with_vault
from cloudbeds_auth.rules.documents import connection_document, event_document, stamp
from cloudbeds_auth.rules.lifecycle import LABELS, State
from cloudbeds_auth.rules.model import Connection, Event
from cloudbeds_auth.transactions.connections import Page

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

HEADINGS = ("connection", "state", "reference", "properties", "approved by", "token expires", "last used")


@click.group(
    name="connections",
    short_help="List, show, refresh, claim, disconnect and import hotels.",
    invoke_without_command=True,
    context_settings=CONTEXT,
    epilog=examples(
        "cloudbeds-auth connections",
        "cloudbeds-auth connections list --state reauthorization_required",
        "cloudbeds-auth connections show 100001",
        "cloudbeds-auth connections disconnect con_01J... --yes",
        "cloudbeds-auth connections migrate-to-api-key con_01J... --dry-run",
    ),
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """The connected hotels; without a subcommand, list them."""
    if context.invoked_subcommand is None:
        context.invoke(list_connections, as_json=as_json)
    elif as_json:
        raise click.UsageError("--json belongs after the subcommand")


@command.command(
    name="list",
    epilog=examples(
        "cloudbeds-auth connections list",
        "cloudbeds-auth connections list --reference tenant-7 --json",
        "cloudbeds-auth connections list --lacking-scopes",
    ),
)
@click.option("--state", type=click.Choice([state.value for state in State]), metavar="STATE", help="Only this state.")
@click.option("--reference", help="Only your own id for them.")
@click.option("--property", "property_id", metavar="ID", help="Only those that cover this property.")
@click.option("--app", help="Only those of this app.")
@click.option("--lacking-scopes", is_flag=True, help="Only those that lack a scope the app asks for now; with links.")
@click.option("--limit", type=click.IntRange(1, 200), default=100, show_default=True, help="At most so many.")
@click.option("--cursor", help="Go on where an earlier page ended.")
@with_output
def list_connections(
    out: Output,
    state: str | None = None,
    reference: str | None = None,
    property_id: str | None = None,
    app: str | None = None,
    lacking_scopes: bool = False,
    limit: int = 100,
    cursor: str | None = None,
) -> None:
    """List connections, newest first."""

    async def ask(vault: TokenVault) -> Page:
        return await vault.connections(
            state=state, reference=reference, property_id=property_id, app=app, cursor=cursor, limit=limit,
            lacking_scopes=lacking_scopes,
        )  # fmt: skip

    page = with_vault(ask)
    if out.as_json:
        out.document({"connections": [connection_document(one) for one in page.connections], "next": page.next})
    elif page.connections:
        out.table(HEADINGS, [_row(one) for one in page.connections])
        for one in page.connections:
            if one.connect_url:
                out.line(f"{one.id}: {one.next_step}: {one.connect_url}")
    else:
        out.line("no connections here; `cloudbeds-auth connect` makes one")
    if page.next and not out.as_json:
        out.note(f"there are more: --cursor {page.next}")


def _row(one: Connection) -> tuple[str, ...]:
    user = one.authorizing_user
    return (
        one.id,
        LABELS[one.state],
        one.reference or "-",
        ", ".join(one.property_ids) or "-",
        user.name if user else "-",
        stamp(one.expires_at) or "-",
        stamp(one.used_at) or "-",
    )


@command.command(
    name="show",
    epilog=examples("cloudbeds-auth connections show con_01J...", "cloudbeds-auth connections show 100001 --json"),
)
@click.argument("connection", metavar="ID")
@click.option("--events", type=click.IntRange(0, 200), default=10, show_default=True, help="How much of its history.")
@with_output
def show(out: Output, connection: str, events: int) -> None:
    """Show one connection and the newest part of its history. ID: con_... or a property id."""

    async def ask(vault: TokenVault) -> tuple[Connection, list[Event]]:
        found = await vault.resolve(connection)
        history = list(await vault.events(found, limit=events)) if events else []
        return await vault.connection(found), history

    one, history = with_vault(ask)
    if out.as_json:
        out.document({**connection_document(one), "events": [event_document(event) for event in history]})
        return
    out.fields(connection_fields(one))
    if history:
        out.line()
        out.table(("when", "what", "generation", "who"), [_event_row(event) for event in history])


def _event_row(event: Event) -> tuple[str, ...]:
    generation = "-" if event.generation is None else str(event.generation)
    return stamp(event.at) or "-", event.kind.replace("_", " "), generation, event.actor


@command.command(name="claim", epilog=examples("cloudbeds-auth connections claim con_01J... --reference tenant-7"))
@click.argument("connection", metavar="ID")
@click.option("--reference", help="Your own name for the hotel.")
@with_output
def claim(out: Output, connection: str, reference: str | None) -> int:
    """Claim an approval that a hotel began in Cloudbeds' Marketplace.

    Until then nobody can use it, and after a day it is deleted. A hotel that is connected already keeps its connection.
    """

    async def ask(vault: TokenVault) -> Connection:
        return await vault.claim(await vault.resolve(connection), reference)

    _show_one(out, with_vault(ask), "claimed")
    return 0


@command.command(
    name="disconnect",
    epilog=examples(
        "cloudbeds-auth connections disconnect con_01J...",
        "cloudbeds-auth connections disconnect con_01J... --yes --forget     also when Cloudbeds cannot be told",
    ),
)
@click.argument("connection", metavar="ID")
@click.option("--forget", is_flag=True, help="Forget the tokens even when Cloudbeds cannot be told.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_output
def disconnect(out: Output, connection: str, forget: bool, yes: bool) -> None:
    """Tell Cloudbeds that the hotel left, then forget its tokens. ID: con_... or a property id.

    Only a new approval by the hotel brings it back.
    """
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("this forgets the hotel's tokens: say --yes where nobody can be asked")
        click.confirm(f"Disconnect {connection}? Only the hotel can bring it back.", abort=True, err=True)

    async def ask(vault: TokenVault) -> Connection:
        return await vault.disconnect(await vault.resolve(connection), forget=forget)

    _show_one(out, with_vault(ask), "disconnected")


@command.command(
    name="forget",
    epilog=examples(
        "cloudbeds-auth connections forget con_01J...", "cloudbeds-auth connections forget con_01J... --yes"
    ),
)
@click.argument("connection", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_output
def forget(out: Output, connection: str, yes: bool) -> None:
    """Delete the personal data of a disconnected hotel: who approved it, and what its calls were. ID: con_...

    The history keeps what happened and when. A hotel that is connected is disconnected first.
    """
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("this deletes personal data for good: say --yes where nobody can be asked")
        click.confirm(f"Delete the personal data of {connection} for good?", abort=True, err=True)

    async def ask(vault: TokenVault) -> Connection:
        return await vault.forget(await vault.resolve(connection))

    _show_one(out, with_vault(ask), "forgotten")


command.add_command(migrate.command)
command.add_command(refreshing.command)


def _show_one(out: Output, one: Connection, done: str) -> None:
    if out.as_json:
        out.document(connection_document(one))
    else:
        out.line(done)
        out.fields(connection_fields(one))


command.add_command(import_command.import_hotels)
