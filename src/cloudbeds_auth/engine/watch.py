"""Changes of hotels, as people see them, read a little at a time from the newest lines of all histories.

What is read each time is as much as was written since the last time, however many hotels there are. A hotel's look is
remembered, and a change is what people would read otherwise: other words, another problem, another next step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.views import MOST_LISTED, Views
from cloudbeds_auth.rules.inputs import Search
from cloudbeds_auth.rules.lifecycle import LifecycleEvent
from cloudbeds_auth.rules.model import Connection, moment
from cloudbeds_auth.rules.presentation import STATES, Badge, Presentation, presentation
from cloudbeds_auth.transactions.watch import NewLine, read_new_lines

LATE = 10.0  # seconds after its moment in which a line is committed at the latest
MOST_KNOWN = 50_000  # hotels whose looks are remembered
ROUTINE = frozenset({LifecycleEvent.INTENT_WRITTEN, LifecycleEvent.PAIR_COMMITTED, LifecycleEvent.PROVED})
"""Kinds of lines that every refresh of a healthy hotel has."""
UNWELL = tuple(state for state, row in STATES.items() if row.badge in {Badge.RECOVERING, Badge.ATTENTION})


@dataclass(frozen=True, slots=True)
class Change:
    """A hotel that looks otherwise than before, since this moment."""

    at: datetime
    connection: Connection


class Watch:
    """Watches the connections of `ids`, or all of them where that is empty."""

    def __init__(self, world: World, views: Views, ids: Sequence[str] = ()) -> None:
        self._world = world
        self._views = views
        self._ids = ids
        self._looks: dict[str, tuple[Presentation, str | None]] = {}
        self._since = 0.0

    async def begin(self) -> list[Connection]:
        """How those that are named look now; of all, those that are not well, of each state the newest."""
        self._since = (await self._world.db.browse(read_new_lines(math.inf))).now - LATE
        touched = await self._touched()
        if self._ids:
            found = await self._views.current(self._ids)
        else:
            pages = [await self._views.connections(Search(state=state, limit=MOST_LISTED)) for state in UNWELL]
            found = [one for page in pages for one in page]
        for one in [*await self._current(touched), *found]:
            self._remember(one)
        return found

    async def news(self) -> list[Change]:
        """What changed since the last time. Named ones are read each time: not every change writes a line."""
        touched = await self._touched()
        changes = list[Change]()
        for one in await self._current(self._ids or touched):
            lines = touched.get(one.id, ())
            if self._is_news(one, lines):
                at = lines[-1].at if lines else self._world.clock.wall()
                changes.append(Change(moment(at), one))
            self._remember(one)
        return sorted(changes, key=lambda change: change.at)

    def _is_news(self, one: Connection, lines: Sequence[NewLine]) -> bool:
        """Of one whose look is not known, a refresh is none where it is healthy now."""
        look = _look_of(one)
        if one.id in self._looks:
            return look != self._looks[one.id]
        return look[0].badge is not Badge.HEALTHY or any(line.kind not in ROUTINE for line in lines)

    def _remember(self, one: Connection) -> None:
        self._looks.pop(one.id, None)
        self._looks[one.id] = _look_of(one)
        if len(self._looks) > MOST_KNOWN:
            del self._looks[next(iter(self._looks))]

    async def _current(self, ids: Iterable[str]) -> list[Connection]:
        """As they look now, a page at a time."""
        wanted = list(ids)
        pages = [wanted[at : at + MOST_LISTED] for at in range(0, len(wanted), MOST_LISTED)]
        return [one for page in pages for one in await self._views.current(page)]

    async def _touched(self) -> Mapping[str, Sequence[NewLine]]:
        """Lines that are new, or may be, by connection."""
        found: dict[str, list[NewLine]] = {}
        while True:
            page = await self._world.db.browse(read_new_lines(self._since))
            for line in page.lines:
                found.setdefault(line.connection_id, []).append(line)
            if page.whole:
                self._since = page.now - LATE
                return found
            self._since = max(page.lines[-1].at, math.nextafter(self._since, math.inf))


def _look_of(one: Connection) -> tuple[Presentation, str | None]:
    return presentation(one), one.problem
