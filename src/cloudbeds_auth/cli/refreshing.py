"""`connections refresh`: one hotel now, or every hotel that has to approve again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from cloudbeds_auth import errors
from cloudbeds_auth.cli.commands import connection_fields, examples, with_output
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.cli.vaults import with_vault
from cloudbeds_auth.rules.api_errors import DISABLED
from cloudbeds_auth.rules.documents import connection_document
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

RECOVERED, REFUSED, LATER = "recovered", "refused as before", "could not be tried: run this again"
UNPROVEN = "new tokens that did not work yet: they are tried again by themselves"
MARKED = (State.REAUTHORIZATION_REQUIRED, State.DISCONNECTED)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one marked hotel."""

    hotel: Connection
    outcome: str
    error: errors.Error | None = None

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        found: dict[str, Any] = {"id": self.hotel.id, "reference": self.hotel.reference, "outcome": self.outcome}
        if self.error is not None:
            found |= {"code": self.error.code, "detail": self.error.detail}
        return found


@click.command(
    name="refresh",
    epilog=examples("cloudbeds-auth connections refresh con_01J...", "cloudbeds-auth connections refresh --marked"),
)
@click.argument("connection", metavar="[ID]", required=False)
@click.option("--marked", is_flag=True, help="Every hotel that has to approve again: try what is stored once more.")
@with_output
def command(out: Output, connection: str | None, marked: bool) -> int:
    """Refresh a connection's tokens now. ID: con_... or a property id.

    Exit status 1 when no new tokens came, with --marked when any hotel did not recover; it is said why, and nothing is
    lost. Marked hotels are tried again by themselves, too: after 5 minutes, then less and less often, at least every
    six hours.
    """
    if marked == (connection is not None):
        raise click.UsageError("name a connection, or say --marked")
    if connection is not None:
        one = with_vault(lambda vault: _refresh(vault, connection))
        if out.as_json:
            out.document(connection_document(one))
        else:
            out.line("refreshed")
            out.fields(connection_fields(one))
        return 0
    with out.progress("trying") as progress:
        tried = with_vault(lambda vault: _try_all(out, vault, progress))
    counts = Counter(one.outcome for one in tried)
    if out.as_json:
        out.document({"hotels": [one.document() for one in tried], "outcomes": counts})
    else:
        out.line(", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "no hotel is marked")
    return 0 if set(counts) <= {RECOVERED} else 1


async def _refresh(vault: TokenVault, connection: str) -> Connection:
    return await vault.refresh(await vault.resolve(connection))


async def _try_all(out: Output, vault: TokenVault, progress: Progress) -> list[Tried]:
    hotels = [one for state in MARKED for one in await _all(vault, state)]
    tried: list[Tried] = []
    for at, hotel in enumerate(hotels, 1):
        tried.append(await _try(vault, hotel))
        progress("hotels", at, len(hotels))
        why = tried[-1].error
        out.step(tried[-1].outcome == RECOVERED, f"{hotel.id}: {tried[-1].outcome}", "" if why is None else why.detail)
    return tried


async def _try(vault: TokenVault, hotel: Connection) -> Tried:
    try:
        found = await vault.refresh(hotel.id)
    except errors.ConnectionUnusable as error:
        return Tried(hotel, REFUSED, error)
    except errors.Error as error:
        return Tried(hotel, LATER, error)
    return Tried(found, UNPROVEN if found.state in MARKED else RECOVERED)  # a pair alone ends no mark, a proof does


async def _all(vault: TokenVault, state: State) -> list[Connection]:
    """The marked connections of one state; what an operator disconnected is not among them."""
    found: list[Connection] = []
    cursor: str | None = None
    while True:
        page = await vault.connections(state=state, cursor=cursor)
        found += [one for one in page.connections if state is not State.DISCONNECTED or one.problem == DISABLED]
        if page.next is None:
            return found
        cursor = page.next
