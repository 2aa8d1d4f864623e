"""`connections`: list, show, claim, disconnect and forget hotels; its other commands have their own modules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cloudbeds_auth.cli import add_key, fleet, import_command, watch
from cloudbeds_auth.cli.commands import (
    ASKING,
    READING,
    command,
    confirm,
    connection_fields,
    group,
    show_connection,
    takes_yes,
    with_vault,
)
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.cli.pair_picture import picture
from cloudbeds_auth.cli.secret_prompts import SecretInput
from cloudbeds_auth.cli.tables import with_badge
from cloudbeds_auth.rules.audit import actor_words
from cloudbeds_auth.rules.documents import connection_document, event_document, stamp
from cloudbeds_auth.rules.event_words import event_words
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection, Event
from cloudbeds_auth.rules.pair_drawing import Timeline
from cloudbeds_auth.rules.presentation import presentation

if TYPE_CHECKING:
    from cloudbeds_auth.transactions.verification import VerifiedHistory
    from cloudbeds_auth.vault import TokenVault

HEADINGS = ("connection", "state", "reference", "properties", "approved by", "token expires", "last used")
EVENT = ("when", "what", "pair", "who")
VERIFIED: Final = {True: "unaltered", False: "altered", None: "older"}  # than the authentication of histories


@group(
    "connections",
    "cloudbeds-auth connections",
    "cloudbeds-auth connections list --state reauthorization_required",
    "cloudbeds-auth connections show 100001",
    "cloudbeds-auth connections watch",
    "cloudbeds-auth connections disconnect con_01J... --yes",
    "cloudbeds-auth connections migrate-to-api-key con_01J... --dry-run",
    short_help="List, show, watch, refresh, claim, disconnect and import hotels.",
    default="list",
)
def connections() -> None:
    """Connected hotels; without a subcommand, list them."""


connections.add_command(fleet.refresh)
connections.add_command(fleet.migrate_to_api_key)
connections.add_command(import_command.import_hotels)
connections.add_command(add_key.add_key)
connections.add_command(watch.watch)


@command(
    "list",
    "cloudbeds-auth connections list",
    "cloudbeds-auth connections list --reference tenant-7 --json",
    "cloudbeds-auth connections list --lacking-scopes",
    group=connections,
)
@click.option("--state", type=click.Choice([state.value for state in State]), metavar="STATE", help="Only this state.")
@click.option("--reference", help="Only connections with this reference (your own id).")
@click.option("--property", "property_id", metavar="ID", help="Only connections that cover this property.")
@click.option("--app", help="Only connections of this app.")
@click.option("--lacking-scopes", is_flag=True, help="Only those that lack a scope the app now asks for; with links.")
@click.option("--limit", type=click.IntRange(1, 200), default=100, show_default=True, help="List at most this many.")
@click.option("--cursor", help="Continue where an earlier page ended.")
def list_connections(out: Output, **filters: Any) -> None:
    """List connections, newest first."""
    with out.working(READING):
        page = with_vault(lambda vault: vault.connections(**filters))
    out.document({"connections": [connection_document(one) for one in page], "next": page.next})
    if page:
        out.table(HEADINGS, [_row(one) for one in page])
    else:
        out.line("no connections; add one with `cloudbeds-auth connect` or `connections add-key`")
    for one in page:
        if one.connect_url:
            out.line(f"{one.id}: {one.next_step}: {one.connect_url}")
    if page.next:
        out.hint(f"for the next page: --cursor {page.next}")


def _row(one: Connection) -> tuple[str, ...]:
    user, shown = one.authorizing_user, presentation(one)
    return (
        one.id,
        with_badge(shown.words, shown.badge),
        one.reference or "-",
        ", ".join(one.property_ids) or "-",
        user.name if user else "-",
        stamp(one.expires_at) or "-",
        stamp(one.used_at) or "-",
    )


@command(
    "show",
    "cloudbeds-auth connections show con_01J...",
    "cloudbeds-auth connections show 100001 --json",
    "cloudbeds-auth connections show 100001 --picture",
    group=connections,
)
@click.argument("connection", metavar="ID")
@click.option("--events", type=click.IntRange(0, 200), default=10, show_default=True, help="How many events to show.")
@click.option("--picture", "drawn", is_flag=True, help="Draw the newest token pairs over time.")
def show(out: Output, connection: str, events: int, drawn: bool) -> None:
    """Show one connection and its newest events. ID: con_... or a property id.

    --picture draws a bar for each of the newest token pairs, with how long it lived, what ended it, its calls, and each
    refresh that failed.
    """

    async def ask(vault: TokenVault) -> tuple[Connection, list[Event], Timeline | None]:
        one = await vault.connection(connection)
        history = list(await vault.events(one.id, limit=events)) if events else []
        return one, history, await vault.engine.views.timeline(one.id) if drawn else None

    one, history, timeline = with_vault(ask)
    told = {} if timeline is None else {"pairs": [line.document() for line in timeline.lines]}
    out.document({**connection_document(one), "events": [event_document(event) for event in history], **told})
    out.fields(connection_fields(one))
    for line in () if timeline is None else ("", *picture(timeline, width=out.width, plain=not out.unicode)):
        out.line(line)
    if history:
        out.line()
        out.table(EVENT, [_event_row(event) for event in history])


@command(
    "events",
    "cloudbeds-auth connections events con_01J...",
    "cloudbeds-auth connections events con_01J... --verify --json > history.json",
    group=connections,
)
@click.argument("connection", metavar="ID")
@click.option("--verify", is_flag=True, help="Verify that each event is unaltered; exit with 1 if not.")
def events(out: Output, connection: str, verify: bool) -> int:
    """Print the whole history of a connection, oldest event first. ID: con_... or a property id.

    With --verify, each event is marked: unaltered, altered, or older than the authentication of histories (in --json,
    `verified` is true, false or null). Missing events are named on standard error. Counted calls are not included.
    """

    async def ask(vault: TokenVault) -> VerifiedHistory:
        one = await vault.connection(connection)
        return await vault.engine.views.verified_history(one.id)

    with out.working(READING):
        history = with_vault(ask)
    rows = [(str(event.sequence), *_event_row(event)) for event, _ in history.events]
    if not verify:
        out.document({"events": [event_document(event) for event, _ in history.events]})
        out.table(("event", *EVENT), rows)
        return 0
    lines = [{**event_document(event), "verified": verified} for event, verified in history.events]
    out.document({"events": lines, "problems": list(history.problems)})
    verdicts = [VERIFIED[verified] for _, verified in history.events]
    out.table(("event", *EVENT, "verified"), [(*row, verdict) for row, verdict in zip(rows, verdicts, strict=True)])
    for problem in history.problems:
        out.note(problem)
    return 1 if history.problems else 0


def _event_row(event: Event) -> tuple[str, ...]:
    generation = "-" if event.generation is None else str(event.generation)
    return stamp(event.at) or "-", event_words(event), generation, actor_words(event.actor)


VERIFIER: Final = SecretInput(
    "code verifier", "--verifier-file", "CLOUDBEDS_CODE_VERIFIER", ("--code-verifier", "--verifier")
)


@command(
    "claim",
    "cloudbeds-auth connections claim con_01J... --reference tenant-7",
    "cloudbeds-auth connections claim con_01J... --verifier-file /run/secrets/verifier",
    group=connections,
)
@click.argument("connection", metavar="ID")
@click.option("--reference", help="Your own id for the hotel.")
@VERIFIER.taken
def claim(out: Output, connection: str, reference: str | None, secret_file: Path | None) -> None:
    """Claim a parked approval: one that a hotel began in Cloudbeds' Marketplace, one that began with a code challenge,
    or one by another hotel than expected.

    No caller can use it before. After a day it is deleted, unless it is another hotel's. A hotel that is already
    connected keeps its connection.

    The code verifier for a challenge is read from --verifier-file or from CLOUDBEDS_CODE_VERIFIER.
    """
    verifier = VERIFIER.given(out, secret_file)
    secret = None if verifier is None else verifier.reveal()
    with out.working(ASKING):
        one = with_vault(lambda vault: vault.claim(connection, reference, code_verifier=secret))
    show_connection(out, one, "claimed")


@command(
    "disconnect",
    "cloudbeds-auth connections disconnect con_01J...",
    "cloudbeds-auth connections disconnect con_01J... --yes --forget     even if Cloudbeds cannot be reached",
    group=connections,
)
@click.argument("connection", metavar="ID")
@click.option("--forget", is_flag=True, help="Forget the tokens even if Cloudbeds cannot be reached.")
@takes_yes
def disconnect(out: Output, connection: str, forget: bool, yes: bool) -> None:
    """Notify Cloudbeds that the hotel disconnects, then forget its tokens. ID: con_... or a property id.

    Only a new approval by the hotel can undo this.
    """
    question = f"Disconnect {connection}? Only a new approval by the hotel can undo this."
    confirm(question, "this forgets the hotel's tokens", yes=yes)
    with out.working(ASKING):
        one = with_vault(lambda vault: vault.disconnect(connection, forget=forget))
    show_connection(out, one, "disconnected")


@command(
    "forget",
    "cloudbeds-auth connections forget con_01J...",
    "cloudbeds-auth connections forget con_01J... --yes",
    group=connections,
)
@click.argument("connection", metavar="ID")
@takes_yes
def forget(out: Output, connection: str, yes: bool) -> None:
    """Delete the personal data of a disconnected hotel: who approved it, and the record of its calls. ID: con_...

    For an approval that was set aside (by another hotel than expected), delete its tokens, too. The history keeps what
    happened and when. A connected hotel has to be disconnected first.
    """
    question = f"Delete the personal data of {connection} permanently?"
    confirm(question, "this deletes personal data permanently", yes=yes)
    one = with_vault(lambda vault: vault.forget(connection))
    show_connection(out, one, "forgotten")
