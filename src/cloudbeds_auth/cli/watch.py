"""`connections watch`: shows hotels as they change, until Ctrl-C."""

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
AROUND, OF_A_ROW = 6, 2  # lines of a terminal: those around the rows, and of a row on average
MOST_ROWS = 1_000  # that are remembered, in case the terminal becomes taller
AWAY = "the database does not answer; trying again"

Show = Callable[[Sequence[Connection], str], None]  # what changed, and what prevents reading the database


@command(
    "watch",
    "cloudbeds-auth connections watch                     all hotels: each change, as it happens",
    "cloudbeds-auth connections watch con_01J... 100001   only these hotels",
    "cloudbeds-auth connections watch --json              one JSON document per line",
    short_help="Show hotels as they change, until Ctrl-C.",
)
@click.argument("connections", metavar="[ID]...", nargs=-1)
def watch(out: Output, connections: tuple[str, ...]) -> int:
    """Show hotels as they change, until Ctrl-C: since when, their state, and what to do. ID: con_... or a property id.

    On a terminal this is a table that is kept up to date: it begins with the named hotels, or with those that are not
    well, and puts each change on top. Elsewhere each change is one line, with --json a JSON document: the connection as
    in `connections list --json`, and `at`. A refresh of a healthy hotel is not a change. The database is only read; no
    running service is needed.
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
        what = f"{len(found)} hotel(s)" if named else f"every hotel; {len(found)} are not well now"
        out.note(f"watching {what}; Ctrl-C ends it")
        await _follow(looks, _in_lines(out, found if named else (), clock))


async def _follow(looks: ChangedLooks, show: Show) -> None:
    """Show each change, and say so when the database does not answer."""
    show((), "")
    while True:
        try:
            changed, trouble = await looks.news(LOOK_EVERY), ""
        except errors.StoreUnavailable:
            changed, trouble = [], AWAY
        show(changed, trouble)


def _row(since: str | None, one: Connection) -> tuple[str, ...]:
    """One row under HEADINGS."""
    shown, properties = presentation(one), ", ".join(one.property_ids)
    words = f"{shown.words}: {one.problem}" if one.problem else shown.words
    hotel = f"{one.reference} ({properties})" if one.reference and properties else one.reference or properties
    return since or "-", with_badge(words, shown.badge), one.id, hotel or "-", shown.next_step or "-"


# --- a line for each change


def _in_lines(out: Output, found: Sequence[Connection], clock: Clock) -> Show:
    """Shows those that were `found` first, then each change."""
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


# --- a table that is redrawn in place


class _Board:
    """The hotels that are named or not well, and those that changed since, newest change on top."""

    def __init__(self, draw: Draw, found: Sequence[Connection], clock: Clock) -> None:
        self._draw = draw
        self._clock = clock
        self._rows = {one.id: _row(None, one) for one in reversed(found)}  # the newest change last

    def show(self, changed: Sequence[Connection], trouble: str) -> None:
        """Draw the table as it is now, as far as the terminal has room."""
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
