"""Commands that handle many hotels and report on each: `connections refresh`, which also accepts a single one, and
`connections migrate-to-api-key`, from OAuth to API keys.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from cloudbeds_auth import errors
from cloudbeds_auth.cli.commands import ASKING, command, confirm, show_connection, takes_yes, with_vault
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection, CredentialKind
from cloudbeds_auth.rules.presentation import has_tokens

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

RECOVERED, REFRESHED, REFUSED, LOST, LATER, UNPROVEN, NEVER = (
    "recovered", "refreshed", "refused as before", "refused: the hotel has to approve again",
    "could not be tried: run this again", "new tokens that did not work yet: they are tried again by themselves",
    "not refreshed as it is now",
)  # fmt: skip
MOVED, KEYED, WOULD_MOVE, NOT_YET, NOT_MOVED, UNTRIED = (
    "moved", "has a key already", "would be moved", "not moved yet: run this again", "not moved", "not tried"
)  # fmt: skip
DONE = {RECOVERED, REFRESHED, MOVED, KEYED, WOULD_MOVE}  # nothing more to do
MARKED = (State.REAUTHORIZATION_REQUIRED, State.DISCONNECTED)
AT_ONCE = 8  # hotels that are refreshed at the same time
GONE = {State.DISCONNECTED, State.SUPERSEDED, State.PARKED}
NOT_EXCHANGED = "migration_refused"  # the problem of a hotel of which no token was exchanged
OF_ALL = (errors.MigrationRefused, errors.RateLimited, errors.StoreUnavailable, errors.TokenEndpointUnavailable)


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one hotel."""

    hotel: Connection
    outcome: str
    error: errors.Error | None = None

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        found = {
            "id": self.hotel.id,
            "reference": self.hotel.reference,
            "property_ids": list(self.hotel.property_ids),
            "outcome": self.outcome,
        }
        if self.error is not None:
            found |= {"code": self.error.code, "detail": self.error.detail, "next_step": self.error.next_step}
        return found


async def _every(out: Output, vault: TokenVault, **filters: Any) -> list[Connection]:
    """The connections of all pages."""
    found: list[Connection] = []
    cursor: str | None = None
    with out.progress("reading the list") as progress:
        while True:
            page = await vault.connections(cursor=cursor, **filters)
            found += page
            progress("hotels", len(found), None)
            if page.next is None:
                return found
            cursor = page.next


async def _shown(out: Output, doing: str, total: int, reports: AsyncIterator[Tried]) -> list[Tried]:
    """All reports, each shown when it arrives."""
    tried: list[Tried] = []
    with out.progress(doing) as progress:
        async for one in reports:
            tried.append(one)
            progress("hotels", len(tried), total)
            if one.outcome != UNTRIED:
                out.step(one.outcome in DONE, f"{one.hotel.id}: {one.outcome}", one.error.detail if one.error else "")
    return tried


def _summed_up(out: Output, tried: Sequence[Tried], nothing: str, leave_out: Sequence[str] = ()) -> int:
    """Show all results as one document for programs, and the counts for people. Returns the exit status."""
    counts = Counter(one.outcome for one in tried)
    hotels = [{name: value for name, value in one.document().items() if name not in leave_out} for one in tried]
    out.document({"hotels": hotels, "outcomes": counts})
    out.line(", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or nothing)
    return 0 if counts.keys() <= DONE else 1


# --- refresh


@command(
    "refresh",
    "cloudbeds-auth connections refresh con_01J...",
    "cloudbeds-auth connections refresh --marked",
    "cloudbeds-auth connections refresh --all",
)
@click.argument("connection", metavar="[ID]", required=False)
@click.option("--marked", is_flag=True, help="Retry the stored tokens of every hotel that has to approve again.")
@click.option("--all", "everything", is_flag=True, help="Every hotel with OAuth tokens; this ends their former tokens.")
def refresh(out: Output, connection: str | None, marked: bool, everything: bool) -> int:
    """Refresh a connection's tokens now. ID: con_... or a property id.

    Newer approvals of it that are not proven yet are refreshed, too. Exit status 1 if no new tokens came, with --marked
    or --all for any hotel; the report says why, and nothing is lost.

    Hotels that have to approve again are also retried automatically: after 5 minutes, then less and less often, at
    most six hours apart; after 30 days, about once a month.
    """
    if [marked, everything, connection is not None].count(True) != 1:
        raise click.UsageError("give one connection, --marked or --all")
    if connection is not None:
        with out.working(ASKING):
            refreshed = with_vault(lambda vault: vault.refresh(connection))
        show_connection(out, refreshed, "refreshed")
        return 0
    tried = with_vault(lambda vault: _try_many(out, vault, _with_tokens if everything else _marked))
    nothing = "no hotel has OAuth tokens" if everything else "no hotel has to approve again"
    status = _summed_up(out, tried, nothing, leave_out=("property_ids",))
    for one in tried if everything else ():
        if one.error is not None:
            end_it = "; or `cloudbeds-auth connections disconnect`" if isinstance(one.error, errors.Unclaimed) else ""
            out.line(f"{one.hotel.id} still has its former tokens: {one.error.next_step}{end_it}")
    return status


async def _marked(out: Output, vault: TokenVault) -> list[Connection]:
    return [one for state in MARKED for one in await _every(out, vault, state=state) if has_tokens(one)]


async def _with_tokens(out: Output, vault: TokenVault) -> list[Connection]:
    """All connections with OAuth tokens, also parked ones."""
    return [one for one in await _every(out, vault) if one.credential == CredentialKind.OAUTH and has_tokens(one)]


async def _try_many(
    out: Output, vault: TokenVault, chosen: Callable[[Output, TokenVault], Awaitable[list[Connection]]]
) -> list[Tried]:
    hotels = await chosen(out, vault)
    return await _shown(out, "refreshing", len(hotels), _tried(vault, hotels))


async def _tried(vault: TokenVault, hotels: Sequence[Connection]) -> AsyncIterator[Tried]:
    """Refresh a few at a time: while one waits for a response, others can use the turns."""
    for begin in range(0, len(hotels), AT_ONCE):
        for one in await asyncio.gather(*(_try(vault, hotel) for hotel in hotels[begin : begin + AT_ONCE])):
            yield one


async def _try(vault: TokenVault, hotel: Connection) -> Tried:
    was_marked = hotel.state in MARKED
    try:
        found = await vault.refresh(hotel.id)
    except (errors.Unclaimed, errors.NotRefreshable) as error:
        return Tried(hotel, NEVER, error)
    except errors.ConnectionUnusable as error:
        return Tried(hotel, REFUSED if was_marked else LOST, error)
    except errors.Error as error:
        return Tried(hotel, LATER, error)
    if found.state in MARKED:  # only a proof ends the mark, not a new pair
        return Tried(found, UNPROVEN)
    return Tried(found, RECOVERED if was_marked else REFRESHED)


# --- migrate-to-api-key


@command(
    "migrate-to-api-key",
    "cloudbeds-auth connections migrate-to-api-key con_01J... --dry-run",
    "cloudbeds-auth connections migrate-to-api-key con_01J...",
    "cloudbeds-auth connections migrate-to-api-key --all --yes",
    short_help="Move hotels from OAuth to API keys.",
)
@click.argument("connections", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every hotel that is connected by OAuth.")
@click.option("--app", metavar="NAME", help="The app that makes the exchange.  [default: each hotel's own]")
@click.option("--dry-run", is_flag=True, help="Only show what would be moved.")
@takes_yes
def migrate_to_api_key(
    out: Output, connections: tuple[str, ...], everything: bool, app: str | None, dry_run: bool, yes: bool
) -> int:
    """Exchange hotels' refresh tokens for API keys, without a new approval. ID: con_... or a property id.

    This needs an arrangement with Cloudbeds, which issues a second client id and secret for it. Begin with one hotel.
    Once its move begins, a hotel's refresh tokens are never refreshed again: that would kill its key. Until the key is
    seen to work, its current access token is used. If interrupted, run it again.

    Exit status 1 if a hotel was not moved; the report says why, and what to do.
    """
    if everything == bool(connections):
        raise click.UsageError("give connections, or --all")
    hotels = with_vault(lambda vault: _chosen(out, vault, connections))
    movable = [one for one in hotels if _to_move(one)]
    if movable and not dry_run:
        what = movable[0].id if len(movable) == 1 else f"{len(movable)} hotels"
        refusal = "this cannot be undone"
        confirm(f"Move {what} to API keys? Their refresh tokens will never be refreshed again.", refusal, yes=yes)
    tried = with_vault(lambda vault: _shown(out, "moving", len(hotels), _moved(vault, hotels, app, dry_run=dry_run)))
    status = _summed_up(out, tried, "no hotel is connected by OAuth")
    for step in dict.fromkeys(one.error.next_step for one in tried if one.error is not None):
        out.line(f"next: {step}")
    if any(one.outcome == UNTRIED for one in tried):
        out.line("the other hotels were not tried, because they would fail in the same way")
    return status


async def _chosen(out: Output, vault: TokenVault, named: Sequence[str]) -> list[Connection]:
    """The named connections, or all that use OAuth."""
    if named:
        return [await vault.connection(one) for one in dict.fromkeys(named)]
    return [one for one in await _every(out, vault) if _to_move(one)]


def _to_move(one: Connection) -> bool:
    return one.credential == CredentialKind.OAUTH and one.state not in GONE


async def _moved(
    vault: TokenVault, hotels: Sequence[Connection], app: str | None, *, dry_run: bool
) -> AsyncIterator[Tried]:
    """Move one after another, until one fails in a way that would affect the next one, too."""
    moved = stopped = False
    for hotel in hotels:
        if stopped:
            yield Tried(hotel, UNTRIED)
        elif hotel.credential == CredentialKind.API_KEY:
            yield Tried(hotel, KEYED)
        elif dry_run:
            yield Tried(hotel, WOULD_MOVE if _to_move(hotel) else NOT_MOVED)
        else:
            one = await _move(vault, hotel, app)
            moved = moved or one.outcome == MOVED
            stopped = await _hits_all(vault, one, moved=moved)
            yield one


async def _move(vault: TokenVault, hotel: Connection, app: str | None) -> Tried:
    try:
        return Tried(await vault.migrate_to_api_key(hotel.id, app=app), MOVED)
    except errors.TryAgain as error:
        return Tried(hotel, NOT_YET, error)
    except errors.Error as error:
        return Tried(hotel, NOT_MOVED, error)


async def _hits_all(vault: TokenVault, one: Tried, *, moved: bool) -> bool:
    """Whether the next hotel would fail likewise: better to stop than to latch all hotels. If another hotel was `moved`
    before, a refused client or refused tokens concern this hotel alone.
    """
    from cloudbeds_auth.transactions.runner import DoesNotOpen

    if one.error is None or isinstance(one.error, DoesNotOpen):  # which concerns one row
        return False
    if isinstance(one.error, OF_ALL):
        return True
    if isinstance(one.error, errors.ClientRefused):
        return not moved
    found = await vault.connection(one.hotel.id)
    if found.problem == NOT_EXCHANGED:
        return not moved
    return found.moving_under is not None  # the exchange had no usable answer, or its key could not be proven yet
