"""`connections watch`: hotels as they change, until Ctrl-C."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from cloudbeds_auth import errors
from cloudbeds_auth.cli.commands import command, with_vault
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.cli.tables import Draw, in_place, with_badge
from cloudbeds_auth.rules.documents import connection_document, stamp
from cloudbeds_auth.rules.model import Connection, moment
from cloudbeds_auth.rules.presentation import presentation

if TYPE_CHECKING:
    from cloudbeds_auth.engine.changed_looks import ChangedLooks
    from cloudbeds_auth.ports import Clock
    from cloudbeds_auth.vault import TokenVault

LOOK_EVERY = 1.0  # seconds, at least
HEADINGS = ("since", "state", "connection", "hotel", "what to do")
AROUND, OF_A_ROW = 6, 2  # lines of a terminal: those that are no row, and what a row takes on an average
MOST_ROWS = 1_000  # that are remembered, for a terminal that becomes taller
AWAY = "the database does not answer; it is asked again"

Show = Callable[[Sequence[Connection], str], None]  # what changed, and what keeps us from seeing it


@command(
    "watch",
    "cloudbeds-auth connections watch                     all hotels: each change, as it happens",
    "cloudbeds-auth connections watch con_01J... 100001   these alone",
    "cloudbeds-auth connections watch --json              a JSON document in each line",
    short_help="Show hotels as they change, until Ctrl-C.",
)
@click.argument("connections", metavar="[ID]...", nargs=-1)
def watch(out: Output, connections: tuple[str, ...]) -> int:
    """Show hotels as they change, until Ctrl-C: since when, how each is, and what to do. ID: con_... or a property id.

    At a terminal it is a table that stays up to date: first those that are named, or those that are not well, then the
    newest change on top. Elsewhere each change is a line, and with --json a line of JSON: the connection, as
    `connections list --json` has it, and `at`. A refresh of a healthy hotel is no change. Nothing is written, and no
    service is asked.
    """
    with suppress(KeyboardInterrupt):
        with_vault(lambda vault: _watch(out, vault, connections))
    return 0


async def _watch(out: Output, vault: TokenVault, named: Sequence[str]) -> None:
    from cloudbeds_auth.engine.changed_looks import ChangedLooks

    engine, ids = vault.engine, [await vault.resolve(one) for one in dict.fromkeys(named)]
    clock = engine.world.clock
    with engine.watcher.viewing() as viewer:
        looks = ChangedLooks(engine.world, engine.views, viewer, ids)
        found = await looks.begin()
        if out.live is not None:
            with in_place(out.live) as draw:
                await _follow(looks, _Board(draw, found, clock).show)
        what = f"{len(found)} hotel(s)" if named else f"every hotel, of which {len(found)} are not well now"
        out.note(f"watching {what}; Ctrl-C ends it")
        await _follow(looks, _in_lines(out, found if named else (), clock))


async def _follow(looks: ChangedLooks, show: Show) -> None:
    """Show what changed, again and again; and where the database is away, that."""
    show((), "")
    while True:
        try:
            changed, trouble = await looks.news(LOOK_EVERY), ""
        except errors.StoreUnavailable:
            changed, trouble = [], AWAY
        show(changed, trouble)


def _row(since: str | None, one: Connection) -> tuple[str, ...]:
    """Under HEADINGS."""
    shown, properties = presentation(one), ", ".join(one.property_ids)
    words = f"{shown.words}: {one.problem}" if one.problem else shown.words
    hotel = f"{one.reference} ({properties})" if one.reference and properties else one.reference or properties
    return since or "-", with_badge(words, shown.badge), one.id, hotel or "-", shown.next_step or "-"


# --- a line for each change


def _in_lines(out: Output, found: Sequence[Connection], clock: Clock) -> Show:
    """Those that were `found` first, and then each that changes."""
    before = ""

    def show(changed: Sequence[Connection], trouble: str) -> None:
        nonlocal before
        at = stamp(moment(clock.wall()))
        for one in changed:
            out.json_line({"at": at, **connection_document(one)})
            out.cells(*(cell for cell in _row(at, one) if cell != "-"))
        if trouble and trouble != before:
            out.note(trouble)
        before = trouble

    show(found, "")
    return show


# --- a table that is drawn again in its place


class _Board:
    """Those that are named or not well, and what changed since, the newest change on top."""

    def __init__(self, draw: Draw, found: Sequence[Connection], clock: Clock) -> None:
        self._draw = draw
        self._clock = clock
        self._rows = {one.id: _row(None, one) for one in reversed(found)}  # the newest change last

    def show(self, changed: Sequence[Connection], trouble: str) -> None:
        """The table as it is now, as much of it as the terminal has room for."""
        at = stamp(moment(self._clock.wall()))
        for one in changed:
            self._rows.pop(one.id, None)
            self._rows[one.id] = _row(at, one)
        room = max(1, (shutil.get_terminal_size().lines - AROUND) // OF_A_ROW)
        rows = list(reversed(self._rows.values()))[:MOST_ROWS]
        self._rows = {row[2]: row for row in reversed(rows)}
        below = [f"{trouble or 'as of'} {at}", "" if rows else "every hotel is well", "Ctrl-C ends it"]
        if len(rows) > room:
            below.insert(1, f"{len(rows) - room} more are not shown")
        self._draw(HEADINGS, rows[:room], "; ".join(filter(None, below)))
