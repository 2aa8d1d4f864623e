"""`connections import`: takes over hotels from an old script, one by one, within the rate limit."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, TextIO

import click

from cloudbeds_auth import errors
from cloudbeds_auth.cli import commands, import_reader
from cloudbeds_auth.cli.commands import command, confirm, with_vault
from cloudbeds_auth.cli.import_reader import Line
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.cli.progress import Show
from cloudbeds_auth.rules.imports import Outcome
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection
from cloudbeds_auth.rules.secret import Secret

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

AT_ONCE = 4  # hotels; more would only wait for their turns at Cloudbeds
ROUNDS = 3  # a refused token is tried twice, a minute apart; one more round for a lost answer
HEADINGS = ("line", "property", "reference", "outcome", "connection", "what it means")
WARNING = (
    "Stop the old script before you continue: every refresh token in the file is renewed here, and a refresh by the "
    "old script may kill the new one."
)
AFTERWARDS = (
    "The old script must stay stopped: its tokens are dead, or die with the first call made from here. "
    "If a program that uses them cannot be changed yet, let it request access tokens instead of refreshing: "
    "GET {url}/api/v1/connections/ID/access-token, or `cloudbeds-auth access-token ID`."
)
THEN_DELETE = "Then delete FILE."
# What was not stored is in FILE alone, and what is to be corrected there is imported again.
KEEP = "Keep FILE while hotels in it are left to connect; delete it afterwards: it contains valid tokens or keys."
AGAIN = (
    "run the same command again later, or leave it to `cloudbeds-auth serve`: nothing is lost, no token is sent twice"
)
KEYS_AGAIN = "not stored: run the same command again; keep FILE, which alone contains"
NEW = "would be connected"
REFUSED = "imported before and refused for good: nothing is sent, the hotel has to approve again"
FINE = (Outcome.CONNECTED, Outcome.ALREADY_CONNECTED)

MOVES = "the key takes the place of what there is"
KEYED = "the key works, and belongs to the named hotel"
KEYS = "A hotel that has tokens here moves to its key: its tokens are never refreshed again."
KEYS_DONE = "Delete FILE: it contains valid keys."


@dataclass(frozen=True, slots=True)
class Result:
    """The result for one hotel; without a connection, nothing was stored. `retry_after`: as in `Imported`."""

    line: Line
    outcome: Outcome
    detail: str
    connection: Connection | None = None
    retry_after: float | None = None


@command(
    "import",
    "cloudbeds-auth connections import hotels.csv --dry-run",
    "cloudbeds-auth connections import hotels.csv",
    "old-script --dump | cloudbeds-auth connections import - --yes --json",
)
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option("--dry-run", is_flag=True, help="Only show what would happen: nothing is sent or written.")
@click.option("--yes", is_flag=True, help="Confirm that the old script is stopped: do not ask.")
def import_hotels(out: Output, file: TextIO, dry_run: bool, yes: bool) -> int:
    """Take over the hotels of an old script. FILE: CSV with a header, JSON, or JSON lines; - is standard input.

    Columns: property and refresh_token; if known, also reference, access_token with expires_at, scopes, app. Each token
    is stored, refreshed once and seen to work. If interrupted or repeated, the import resumes. Instead of a
    refresh_token, a hotel may have an api_key that it created: it is checked with Cloudbeds, then stored.

    Exit status 1 if a hotel is not connected afterwards; the report says why.
    """
    try:
        lines = import_reader.read(file.read())
    except UnicodeDecodeError:
        raise errors.InvalidRequest("the file is not UTF-8 text") from None
    if dry_run:
        _report_plan(out, lines)
        return 0
    keys_only = all(line.api_key for line in lines)
    warning, asked = (KEYS, "Should") if keys_only else (WARNING, "Is it stopped, and should")
    question = f"{warning}\n{asked} {len(lines)} hotels be imported?"
    confirm(question, warning.removesuffix("."), yes=yes)
    with out.progress("importing") as progress:
        results, url = with_vault(lambda vault: _import(vault, lines, progress))
    return _report(out, results, _afterwards(results, url, keys_only=keys_only))


# --- what would happen


def _report_plan(out: Output, lines: Sequence[Line]) -> None:
    with out.progress("looking") as progress:
        planned = list(zip(lines, _plan(lines, progress), strict=True))
    out.document({"dry_run": True, "hotels": [{**_named(line), "would": plan} for line, plan in planned]})
    out.table(("line", "property", "reference", "what would happen"), [(*_cells(line), plan) for line, plan in planned])
    warning = KEYS if all(line.api_key for line in lines) else WARNING
    out.hint(f"{len(lines)} hotel{'s' if len(lines) > 1 else ''} read; nothing was sent. {warning}")


def _plan(lines: Sequence[Line], progress: Show) -> list[str]:
    """What would happen to each hotel. If there is no database yet, none is created."""
    if commands.database_exists():
        return with_vault(lambda vault: _foreseen(vault, lines, progress))
    import_reader.refuse_unknown_apps(lines, ("default",))
    return [NEW for _ in lines]


async def _foreseen(vault: TokenVault, lines: Sequence[Line], progress: Show) -> list[str]:
    await _refuse_unknown_apps(vault, lines)
    plans = list[str]()
    for line in lines:
        progress("hotels", len(plans), len(lines))
        page = await vault.connections(property_id=line.hotel.property_id, app=line.hotel.app)
        states = {one.state for one in page if one.connected_at is not None}
        if line.api_key is None and await vault.engine.importer.was_refused(line.hotel):
            plans.append(REFUSED)
        elif states and line.api_key:
            plans.append(MOVES)
        elif states - {State.REAUTHORIZATION_REQUIRED, State.DISCONNECTED}:
            plans.append("already connected, nothing is sent")
        else:
            plans.append("would mend the connection that there is" if states else NEW)
    return plans


async def _refuse_unknown_apps(vault: TokenVault, lines: Sequence[Line]) -> None:
    import_reader.refuse_unknown_apps(lines, [app.id for app in await vault.apps.list()])


# --- what happens


async def _import(vault: TokenVault, lines: Sequence[Line], progress: Show) -> tuple[list[Result], str]:
    await _refuse_unknown_apps(vault, lines)
    results: dict[int, Result] = {}
    waiting = list(lines)
    for again in range(ROUNDS):
        if again:
            await vault.engine.world.clock.sleep(max(results[line.number].retry_after or 0.0 for line in waiting))
        await _round(vault, waiting, results, progress, "asked again" if again else "hotels")
        waiting = [line for line in waiting if results[line.number].outcome is Outcome.IN_DOUBT]
        if not waiting:
            break
    return [results[line.number] for line in lines], vault.settings.public_url


async def _round(
    vault: TokenVault, lines: Sequence[Line], results: dict[int, Result], progress: Show, what: str
) -> None:
    """Import each hotel once, a few at a time."""
    left, done = iter(lines), count(1)

    async def work() -> None:
        for line in left:  # shared by all workers
            results[line.number] = await _bring_in(vault, line)
            progress(what, next(done), len(lines))

    progress(what, 0, len(lines))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


async def _bring_in(vault: TokenVault, line: Line) -> Result:
    if line.api_key is not None:
        return await _bring_key(vault, line, line.api_key)
    told = await vault.import_hotel(line.hotel)
    return Result(line, told.outcome, told.detail, told.connection, told.retry_after)


async def _bring_key(vault: TokenVault, line: Line, key: Secret) -> Result:
    """Import one API key. Raises only what would also affect the next hotel."""
    hotel = line.hotel
    try:
        found = await vault.add_api_key(
            key,
            app=None if hotel.app == "default" else hotel.app,  # else the one that the hotel has
            reference=hotel.reference,
            expected_properties=(hotel.property_id,),
        )
    except errors.KeyRefused as error:
        return Result(line, Outcome.REFUSED, f"{error.detail}; {error.next_step}")
    except errors.PropertyMismatch as error:
        return Result(line, Outcome.OTHER_PROPERTY, error.detail)
    except (errors.StoreUnavailable, errors.StoreReadOnly):
        raise
    except errors.TryAgain as error:
        return Result(line, Outcome.IN_DOUBT, f"not stored: {error.detail}", retry_after=error.retry_after)
    return Result(line, Outcome.CONNECTED, KEYED, found)


def _afterwards(results: Sequence[Result], url: str, *, keys_only: bool) -> str:
    """What is left to do with the old script and FILE, which may be deleted only if nothing in it is needed again."""
    fine = all(one.outcome in FINE for one in results)
    if keys_only:
        return KEYS_DONE if fine else KEEP
    return f"{AFTERWARDS.format(url=url.rstrip('/'))} {THEN_DELETE if fine else KEEP}"


def _report(out: Output, results: Sequence[Result], afterwards: str) -> int:
    counts = Counter(one.outcome for one in results)
    failed = len(results) - sum(counts[fine] for fine in FINE)
    counted = {outcome.value: counts[outcome] for outcome in Outcome}
    out.document({"hotels": [_document(one) for one in results], "counts": counted, "old_script": afterwards})
    out.table(HEADINGS, [_row(one) for one in results])
    for one in results:
        if one.connection is not None and one.connection.connect_url:
            out.line(f"link for property {one.line.hotel.property_id}: {one.connection.connect_url}")
    out.line(", ".join(f"{number} {_spoken(outcome)}" for outcome, number in counts.items()))
    out.hint(afterwards)
    doubted = Counter(one.line.api_key is not None for one in results if one.outcome is Outcome.IN_DOUBT)
    if doubted[False]:
        out.note(f"{doubted[False]} in doubt: {AGAIN}")
    if keys := doubted[True]:
        out.note(f"{keys} API key{'s' if keys > 1 else ''} in doubt, {KEYS_AGAIN} {'them' if keys > 1 else 'it'}")
    return 1 if failed else 0


def _row(one: Result) -> tuple[str, ...]:
    return (*_cells(one.line), _spoken(one.outcome), one.connection.id if one.connection else "-", one.detail)


def _cells(line: Line) -> tuple[str, str, str]:
    return str(line.number), line.hotel.property_id, line.hotel.reference or "-"


def _spoken(outcome: Outcome) -> str:
    return outcome.value.replace("_", " ")


def _named(line: Line) -> dict[str, object]:
    return {"line": line.number, "property": line.hotel.property_id, "reference": line.hotel.reference}


def _document(one: Result) -> dict[str, object]:
    connection = one.connection
    return {
        **_named(one.line),
        "outcome": one.outcome.value,
        "detail": one.detail,
        "connection_id": connection and connection.id,
        "state": connection and connection.state.value,
        "connect_url": connection and connection.connect_url,
    }
