"""Changes, for live pages: one watcher for each process, which runs only while a page is live.

Once a second it reads the newest events of all histories, over their index, however many viewers and hotels there are.
Viewers are given the ids of connections, and read what they show themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.errors import RateLimited, StoreUnavailable
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.transactions.history import read_recent

EVERY = 1.0  # seconds between two reads
WITHIN = 10.0  # seconds of events in one read: a long transaction commits an event that is not the newest
MOST_EVENTS = 500  # in one read
MOST_VIEWERS = 50  # of one process


class Viewer:
    """One viewer, such as a live page."""

    def __init__(self) -> None:
        self._changed: set[str] = set()
        self._news = asyncio.Event()

    def notice(self, connection_ids: Collection[str]) -> None:
        """These changed."""
        self._changed.update(connection_ids)
        if self._changed:
            self._news.set()

    async def changes(self, at_most: float) -> list[str]:
        """The ids of connections that changed since the last call, waiting at most so many seconds; empty: none did."""
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most):
                await self._news.wait()
        self._news.clear()
        changed, self._changed = sorted(self._changed), set()
        return changed


class Watcher:
    """Reads for all viewers of this process."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._viewers: set[Viewer] = set()
        self._watching: asyncio.Task[None] | None = None
        self._recent: frozenset[tuple[str, int]] = frozenset()

    @contextmanager
    def viewing(self) -> Iterator[Viewer]:
        """A context with a new viewer, which is given at once what changed within the last seconds. Raises RateLimited
        if there are too many viewers.
        """
        if len(self._viewers) >= MOST_VIEWERS:
            raise RateLimited("too many pages are live already", next_step="load the page again", retry_after=60)
        viewer = Viewer()
        viewer.notice(_homes(self._recent))
        self._viewers.add(viewer)
        if self._watching is None:
            # It serves all viewers, so it runs in an empty context.
            self._watching = asyncio.create_task(self._watch(), name="watch for viewers", context=Context())
        try:
            yield viewer
        finally:
            self._viewers.remove(viewer)
            if not self._viewers:
                self._watching.cancel()
                self._watching, self._recent = None, frozenset()

    async def _watch(self) -> None:
        while True:
            try:
                with suppress(StoreUnavailable):  # it was reported where it failed
                    await self._look()
            except Exception as error:  # noqa: BLE001 - if the watcher ended, pages would still say that they are live
                self._world.observer.happened(Happening.BACKGROUND_FAILED, error=type(error).__name__)
            await self._world.clock.sleep(EVERY)

    async def _look(self) -> None:
        found = await self._world.db.browse(read_recent(WITHIN, MOST_EVENTS))
        changed = _homes(found - self._recent)
        self._recent = found
        for viewer in self._viewers:
            viewer.notice(changed)


def _homes(events: Collection[tuple[str, int]]) -> set[str]:
    return {connection_id for connection_id, _ in events}
