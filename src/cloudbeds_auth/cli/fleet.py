"""`connections migrate-to-api-key`: move hotels from OAuth to API keys, with a report of each."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from cloudbeds_auth import errors
from cloudbeds_auth.cli.commands import examples, with_output
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.cli.vaults import with_vault
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection, CredentialKind

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

MOVED, KEYED, WOULD, LATER, FAILED, UNTRIED = (
    "moved", "has a key already", "would be moved", "not moved yet: run this again", "not moved", "not tried"
)  # fmt: skip
DONE = {MOVED, KEYED, WOULD}
GONE = {State.DISCONNECTED, State.SUPERSEDED, State.PARKED}
REFUSED = "migration_refused"  # the problem of a hotel of which no token was exchanged
Told = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class MoveReport:
    """What became of one hotel."""

    hotel: Connection
    outcome: str
    error: errors.Error | None = None

    @property
    def done(self) -> bool:
        """Whether there is nothing more to do."""
        return self.outcome in DONE

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        found = {
            "id": self.hotel.id,
            "reference": self.hotel.reference,
            "property_ids": list(self.hotel.property_ids),
            "outcome": self.outcome,
        }
        if self.error is not None:
            said = self.error.diagnosis()
            found |= {"code": self.error.code, "detail": said.what, "next_step": said.next_step}
        return found


@click.command(
    name="migrate-to-api-key",
    short_help="Move hotels from OAuth to API keys.",
    epilog=examples(
        "cloudbeds-auth connections migrate-to-api-key con_01J... --dry-run",
        "cloudbeds-auth connections migrate-to-api-key con_01J...",
        "cloudbeds-auth connections migrate-to-api-key --all --yes",
    ),
)
@click.argument("connections", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every hotel that is connected by OAuth.")
@click.option("--app", metavar="NAME", help="The registration that makes the exchange; else each hotel's own.")
@click.option("--dry-run", is_flag=True, help="Only say what would be moved.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_output
def command(
    out: Output, connections: tuple[str, ...], everything: bool, app: str | None, dry_run: bool, yes: bool
) -> int:
    """Exchange hotels' refresh tokens for API keys, which the hotels need not approve. ID: con_... or a property id.

    It is by arrangement with Cloudbeds, which gives out a second set of client id and secret for it: begin with one
    hotel. From the first moment on a hotel's refresh tokens are never refreshed again, because that would kill its
    key; until the key is seen to work, the hotel is served with the access token it has. Interrupted, it is simply run
    again.

    Exit status 1 when a hotel was not moved; the report says why, and what to do.
    """
    if everything == bool(connections):
        raise click.UsageError("name connections, or say --all")
    hotels = with_vault(lambda vault: _chosen(vault, connections))
    if not dry_run and any(_to_move(one) for one in hotels):
        _confirm([one for one in hotels if _to_move(one)], yes)
    with out.progress("moving") as told:
        reports = with_vault(lambda vault: _move_all(out, vault, hotels, app, told, dry_run=dry_run))
    _tell(out, reports)
    return 0 if all(one.done for one in reports) else 1


def _confirm(hotels: Sequence[Connection], yes: bool) -> None:
    what = hotels[0].id if len(hotels) == 1 else f"{len(hotels)} hotels"
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("this cannot be taken back: say --yes where nobody can be asked")
    click.confirm(f"Move {what} to API keys? Refresh tokens are not refreshed any more.", abort=True, err=True)


async def _chosen(vault: TokenVault, named: Sequence[str]) -> list[Connection]:
    """The connections named, or all of OAuth."""
    if named:
        return [await vault.connection(await vault.resolve(one)) for one in dict.fromkeys(named)]
    found: list[Connection] = []
    cursor: str | None = None
    while True:
        page = await vault.connections(cursor=cursor)
        found += [one for one in page.connections if _to_move(one)]
        if page.next is None:
            return found
        cursor = page.next


def _to_move(one: Connection) -> bool:
    return one.credential == CredentialKind.OAUTH and one.state not in GONE


async def _move_all(
    out: Output, vault: TokenVault, hotels: Sequence[Connection], app: str | None, told: Told, *, dry_run: bool
) -> list[MoveReport]:
    """One after another: what goes wrong with the client goes wrong with all, so the first shows it."""
    reports: list[MoveReport] = []
    stopped = False
    for at, hotel in enumerate(hotels, 1):
        if stopped:
            report = MoveReport(hotel, UNTRIED)
        elif dry_run or hotel.credential == CredentialKind.API_KEY:
            report = MoveReport(hotel, WOULD if _to_move(hotel) else _left_alone(hotel))
        else:
            report = await _move(vault, hotel, app)
            stopped = not any(one.outcome == MOVED for one in reports) and await _hits_all(vault, report)
        reports.append(report)
        told("hotels", at, len(hotels))
        if not stopped or report.error is not None:
            why = report.error.detail if report.error else ""
            out.step(report.done, f"{hotel.id}: {report.outcome}", why)
    return reports


def _left_alone(hotel: Connection) -> str:
    return KEYED if hotel.credential == CredentialKind.API_KEY else FAILED


async def _move(vault: TokenVault, hotel: Connection, app: str | None) -> MoveReport:
    try:
        return MoveReport(await vault.migrate_to_api_key(hotel.id, app=app), MOVED)
    except errors.TryAgain as error:
        return MoveReport(hotel, LATER, error)
    except errors.Error as error:
        return MoveReport(hotel, FAILED, error)


async def _hits_all(vault: TokenVault, report: MoveReport) -> bool:
    """Whether the next hotel would fare alike: better to look than to latch a fleet."""
    if report.error is None:
        return False
    if isinstance(report.error, errors.MigrationRefused | errors.ClientRefused | errors.StoreUnavailable):
        return True
    return (await vault.connection(report.hotel.id)).problem == REFUSED


def _tell(out: Output, reports: Sequence[MoveReport]) -> None:
    """The whole, for programs as one document; for people the counts, and what to do."""
    counts = Counter(one.outcome for one in reports)
    if out.as_json:
        out.document({"hotels": [one.document() for one in reports], "outcomes": counts})
        return
    out.line(", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "no hotel is connected by OAuth")
    for step in dict.fromkeys(one.error.diagnosis().next_step for one in reports if one.error is not None):
        out.line(f"next: {step}")
    if any(one.outcome == UNTRIED for one in reports):
        out.line("the others were not tried, because it would go the same way")
