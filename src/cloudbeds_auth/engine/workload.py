"""The workload, for people: what waits in the background, how much of each client id's rate is in use, how the jobs of
this process went, and what waits to be delivered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.jobs import JobRecord, Jobs
from cloudbeds_auth.rules.model import App
from cloudbeds_auth.rules.rate_limit import Limit, WindowUse
from cloudbeds_auth.transactions.apps import read_apps
from cloudbeds_auth.transactions.outbox import Outbox, read_outbox
from cloudbeds_auth.transactions.rate_limit import read_window_use
from cloudbeds_auth.transactions.upkeep import Queue, Queued, read_queues

MOST_APPS = 20  # further apps whose window is shown, the first by name
UNUSED = WindowUse(0, 0, 0.0, spaced=False)


@dataclass(frozen=True, slots=True)
class ClientWindow:
    """How much of one client id's rate is in use; `waiting`: requests of our own that wait in this process."""

    app: App
    limit: Limit
    use: WindowUse
    waiting: int

    @property
    def share(self) -> float:
        """The share of the rate in use, from 0 to 1."""
        return self.use.taken / self.limit.rate.most


@dataclass(frozen=True, slots=True)
class Workload:
    """The whole workload at one moment."""

    queues: Mapping[Queue, Queued]
    windows: Sequence[ClientWindow]
    outbox: Outbox
    jobs: Mapping[str, JobRecord]


class Workloads:
    """Reads it."""

    def __init__(self, world: World, jobs: Jobs) -> None:
        self._world = world
        self._jobs = jobs

    async def read(self) -> Workload:
        """The workload now. Raises StoreUnavailable."""
        db, own = self._world.db, self._world.apps.values()
        queues, outbox = await db.browse(read_queues()), await db.browse(read_outbox())
        windows = await self._windows([*own, *await db.browse(read_apps(limit=MOST_APPS))])
        return Workload(queues, windows, outbox, self._jobs.records)

    async def shares(self) -> Mapping[str, float]:
        """The share of its rate that each of the settings' own apps uses now; further apps may be too many for a
        metric. Raises StoreUnavailable.
        """
        return {one.app.id: one.share for one in await self._windows(self._world.apps.values())}

    async def _windows(self, apps: Iterable[App]) -> Sequence[ClientWindow]:
        """The windows of these apps, except those without a rate limit."""
        world = self._world
        limited = [(app, limit) for app in apps if (limit := world.limit_of(app))]
        used = await world.db.browse(read_window_use([app.client_id for app, _ in limited]))
        return [ClientWindow(app, limit, used.get(app.client_id, UNUSED), self._waiting(app)) for app, limit in limited]

    def _waiting(self, app: App) -> int:
        limiter = self._world.limiters.get((app.id, app.client_id))
        return 0 if limiter is None else limiter.waiting
