"""`connections import`: hotels that an old script kept, taken over one by one, each within the rate limit."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

import click

from cloudbeds_auth import errors
from cloudbeds_auth.cli import commands, import_reader
from cloudbeds_auth.cli.commands import command, confirm, with_vault
from cloudbeds_auth.cli.import_reader import Line
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import FINE, Imported, Outcome

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

AT_ONCE = 4  # hotels; more would only queue for their turns at Cloudbeds
ROUNDS = 3  # a token that is refused is asked about twice, a minute apart; one more for an answer that was lost
HEADINGS = ("line", "property", "reference", "outcome", "connection", "what it means")
WARNING = (
    "Stop the old script before you go on: from the first hotel on, each of its refresh tokens is renewed here, and a "
    "refresh by the old script may kill the new one."
)
AFTERWARDS = (
    "The old script must stay stopped: the tokens that it holds are dead, or die with the first call made from here. "
    "Where a program of its cannot be changed yet, let it ask for access tokens instead of refreshing: "
    "GET {url}/api/v1/connections/ID/access-token, or `cloudbeds-auth access-token ID`. Then delete FILE."
)
AGAIN = (
    "run the same command again later, or leave it to `cloudbeds-auth serve`: nothing is lost, and none is sent twice"
)
NEW = "would be connected"

Progress = Callable[[str, int, int], None]


@command(
    "import",
    "cloudbeds-auth connections import hotels.csv --dry-run",
    "cloudbeds-auth connections import hotels.csv",
    "old-script --dump | cloudbeds-auth connections import - --yes --json",
)
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option("--dry-run", is_flag=True, help="Only say what would happen: nothing is sent or written.")
@click.option("--yes", is_flag=True, help="The old script is stopped: do not ask.")
def import_hotels(out: Output, file: TextIO, dry_run: bool, yes: bool) -> int:
    """Take over the hotels of an old script. FILE: CSV with a header, JSON, or JSON lines; - is standard input.

    Columns: property and refresh_token; where known reference, access_token with expires_at, scopes, app. Each token
    is stored, refreshed once and seen to work. Interrupted or repeated, it goes on where it ended.

    Exit status 1 when a hotel is not connected afterwards; the report says why.
    """
    try:
        found = import_reader.read(file.read())
    except UnicodeDecodeError:
        raise errors.InvalidRequest("the file is not UTF-8 text") from None
    _without(found.problems)
    if dry_run:
        return _report_plan(out, found.lines, _planned(found.lines))
    question = f"{WARNING}\nIs it stopped, and shall {len(found.lines)} hotels be imported?"
    confirm(question, f"{WARNING} Say --yes where nobody can be asked.", yes=yes)
    with out.progress("importing") as progress:
        results, url = with_vault(lambda vault: _import(vault, found.lines, progress))
    return _report(out, results, AFTERWARDS.format(url=url.rstrip("/")))


def _without(problems: Sequence[str]) -> None:
    if problems:
        raise errors.InvalidRequest("\n".join(problems), next_step="correct the file; nothing was sent or written")


# --- what would happen


def _planned(lines: Sequence[Line]) -> list[str]:
    """Where there is no database yet, looking makes none either."""
    if commands.database_exists():
        return with_vault(lambda vault: _plan(vault, lines))
    _without(import_reader.of_unknown_apps(lines, ("default",)))
    return [NEW for _ in lines]


async def _plan(vault: TokenVault, lines: Sequence[Line]) -> list[str]:
    _without(import_reader.of_unknown_apps(lines, [app.id for app in await vault.apps.list()]))
    return [await _foreseen(vault, line) for line in lines]


async def _foreseen(vault: TokenVault, line: Line) -> str:
    page = await vault.connections(property_id=line.hotel.property_id, app=line.hotel.app)
    states = {one.state for one in page.connections if one.connected_at is not None}
    if states - {State.REAUTHORIZATION_REQUIRED, State.DISCONNECTED}:
        return "already connected, nothing is sent"
    return "would mend the connection that there is" if states else NEW


def _report_plan(out: Output, lines: Sequence[Line], plans: Sequence[str]) -> int:
    planned = list(zip(lines, plans, strict=True))
    out.document({"dry_run": True, "hotels": [{**_named(line), "would": plan} for line, plan in planned]})
    out.table(("line", "property", "reference", "what would happen"), [(*_cells(line), plan) for line, plan in planned])
    out.hint(f"{len(lines)} hotels read; nothing was sent. {WARNING}")
    return 0


# --- what happens


@dataclass(frozen=True, slots=True)
class Result:
    """A line and what became of it."""

    line: Line
    imported: Imported


async def _import(vault: TokenVault, lines: Sequence[Line], progress: Progress) -> tuple[list[Result], str]:
    _without(import_reader.of_unknown_apps(lines, [app.id for app in await vault.apps.list()]))
    results: dict[int, Imported] = {}
    waiting = list(lines)
    for again in range(ROUNDS):
        if again:
            await vault.engine.world.clock.sleep(max(results[line.number].retry_after or 0.0 for line in waiting))
        await _round(vault, waiting, results, progress, "asked again" if again else "hotels")
        waiting = [line for line in waiting if results[line.number].outcome is Outcome.IN_DOUBT]
        if not waiting:
            break
    return [Result(line, results[line.number]) for line in lines], vault.settings.public_url


async def _round(
    vault: TokenVault, lines: Sequence[Line], results: dict[int, Imported], progress: Progress, what: str
) -> None:
    """Each once, a few at a time."""
    left, done = list(reversed(lines)), 0

    async def work() -> None:
        nonlocal done
        while left:
            line = left.pop()
            results[line.number] = await vault.import_hotel(line.hotel)
            done += 1
            progress(what, done, len(lines))

    progress(what, 0, len(lines))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


def _report(out: Output, results: Sequence[Result], afterwards: str) -> int:
    counts = Counter(one.imported.outcome for one in results)
    failed = len(results) - sum(counts[fine] for fine in FINE)
    counted = {outcome.value: counts[outcome] for outcome in Outcome}
    out.document({"hotels": [_document(one) for one in results], "counts": counted, "old_script": afterwards})
    out.table(HEADINGS, [_row(one) for one in results])
    for one in results:
        if one.imported.connection.connect_url:
            out.line(f"link for property {one.line.hotel.property_id}: {one.imported.connection.connect_url}")
    out.line(", ".join(f"{number} {_spoken(outcome)}" for outcome, number in counts.items()))
    out.hint(afterwards)
    if counts[Outcome.IN_DOUBT]:
        out.note(f"{counts[Outcome.IN_DOUBT]} in doubt: {AGAIN}")
    return 1 if failed else 0


def _row(one: Result) -> tuple[str, ...]:
    imported = one.imported
    return (*_cells(one.line), _spoken(imported.outcome), imported.connection.id, imported.detail)


def _cells(line: Line) -> tuple[str, str, str]:
    return str(line.number), line.hotel.property_id, line.hotel.reference or "-"


def _spoken(outcome: Outcome) -> str:
    return outcome.value.replace("_", " ")


def _named(line: Line) -> dict[str, object]:
    return {"line": line.number, "property": line.hotel.property_id, "reference": line.hotel.reference}


def _document(one: Result) -> dict[str, object]:
    connection = one.imported.connection
    return {
        **_named(one.line),
        "outcome": one.imported.outcome.value,
        "detail": one.imported.detail,
        "connection_id": connection.id,
        "state": connection.state.value,
        "connect_url": connection.connect_url,
    }
