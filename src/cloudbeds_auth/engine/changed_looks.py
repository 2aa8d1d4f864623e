"""Hotels whose presentation to people has changed: other words, another problem, another next step.

This process's watcher finds those that may have changed, by reading only what was written since, however many hotels
there are. How each one looked is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.views import MOST_LISTED, Views
from cloudbeds_auth.engine.watching import MOST_EVENTS, WITHIN, Viewer
from cloudbeds_auth.rules.inputs import Search
from cloudbeds_auth.rules.model import Connection, moment
from cloudbeds_auth.rules.presentation import STATES, Badge, Presentation, presentation
from cloudbeds_auth.transactions.history import read_recent

MOST_KNOWN = 50_000  # hotels whose presentation is remembered
UNWELL = tuple(state for state, row in STATES.items() if row.badge in {Badge.RECOVERING, Badge.ATTENTION})


class ChangedLooks:
    """Changes of the connections of `ids`, or of all if empty; `viewer` is notified which may have changed."""

    def __init__(self, world: World, views: Views, viewer: Viewer, ids: Sequence[str] = ()) -> None:
        self._world = world
        self._views = views
        self._viewer = viewer
        self._ids = ids
        self._looks: dict[str, tuple[Presentation, str | None]] = {}
        self._begun = moment(world.clock.wall())

    async def begin(self) -> list[Connection]:
        """How the named ones look now; where none are named, the newest of each state that is not healthy."""
        recent = await self._world.db.browse(read_recent(WITHIN, MOST_EVENTS))
        if self._ids:
            found = await self._current(self._ids)
        else:
            pages = [await self._views.connections(Search(state=state, limit=MOST_LISTED)) for state in UNWELL]
            found = [one for page in pages for one in page]
        for one in [*await self._current({home for home, _ in recent}), *found]:
            self._remember(one)
        return found

    async def news(self, at_most: float) -> list[Connection]:
        """Those that changed since the last call, waiting at most so many seconds. Named ones are read each time: a
        refusal of their app's credentials writes no event of theirs. Raises StoreUnavailable.
        """
        touched = await self._viewer.changes(at_most)
        found = await self._current(self._ids or touched)
        changed = [one for one in found if self._is_news(one)]
        for one in found:
            self._remember(one)
        return changed

    def _is_news(self, one: Connection) -> bool:
        """Whether the connection looks new. One that is not remembered was healthy, so a refresh of it is no news."""
        look = _look_of(one)
        if one.id in self._looks:
            return look != self._looks[one.id]
        is_new = one.connected_at is not None and one.connected_at >= self._begun
        return is_new or look[0].badge is not Badge.HEALTHY

    def _remember(self, one: Connection) -> None:
        self._looks.pop(one.id, None)
        self._looks[one.id] = _look_of(one)
        if len(self._looks) > MOST_KNOWN:
            del self._looks[next(iter(self._looks))]

    async def _current(self, ids: Iterable[str]) -> list[Connection]:
        """These connections as they look now, read a page at a time."""
        wanted = list(ids)
        pages = [wanted[at : at + MOST_LISTED] for at in range(0, len(wanted), MOST_LISTED)]
        return [one for page in pages for one in await self._views.current(page)]


def _look_of(one: Connection) -> tuple[Presentation, str | None]:
    return presentation(one), one.problem
