"""The engine's parts, wired: the one place that knows which part needs which."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from cloudbeds_auth.engine.access import Access
from cloudbeds_auth.engine.api_keys import Migrator
from cloudbeds_auth.engine.apps import Apps
from cloudbeds_auth.engine.authorize import Authorizer
from cloudbeds_auth.engine.candidates import Candidates
from cloudbeds_auth.engine.client_secrets import Circuits
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.disconnect import Disconnecter, Inbound
from cloudbeds_auth.engine.history import CallRecorder, Retention
from cloudbeds_auth.engine.imports import Importer
from cloudbeds_auth.engine.jobs import Jobs, Upkeep, table
from cloudbeds_auth.engine.properties import Groups
from cloudbeds_auth.engine.refresh import Refresher
from cloudbeds_auth.engine.refused_calls import Health
from cloudbeds_auth.engine.tasks import drained
from cloudbeds_auth.engine.views import Views
from cloudbeds_auth.engine.webhooks import Outbound
from cloudbeds_auth.ports import Deliverer, Hook
from cloudbeds_auth.rules.model import App


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The parts over one `world`. A process that has more around them derives a class of its own."""

    world: World
    access: Access
    refresher: Refresher
    candidates: Candidates
    circuits: Circuits
    authorizer: Authorizer
    migrator: Migrator
    health: Health
    disconnecter: Disconnecter
    views: Views
    apps: Apps
    importer: Importer
    calls: CallRecorder
    retention: Retention
    inbound: Inbound
    groups: Groups
    upkeep: Upkeep
    jobs: Jobs

    async def idle(self) -> None:
        """Wait until everything that was begun for a grant is finished and committed: exchanges, refreshes, moves."""
        await drained(self.world.tasks, self.migrator.moves, self.refresher.flights)

    async def drain(self) -> None:
        """Begin nothing more, wait until `idle`, and write the counted calls. If these cannot be written, what is open
        is still to be closed.
        """
        await self.jobs.stop()
        await self.inbound.stop()
        await self.idle()
        with suppress(Exception):
            await self.calls.flush(everything=True)


E = TypeVar("E", bound=Engine)


def wire(
    kind: Callable[..., E],
    world: World,
    checked: Callable[..., App],
    *,
    retention_days: int,
    hook: Hook | None = None,
    deliverer: Deliverer | None = None,
) -> E:
    """The engine over this world: `kind` is called with its parts, and is `Engine` or derived from it.

    `checked` makes an App of what an operator gave, and raises InvalidRequest; `hook` is where hotels are subscribed;
    without a `deliverer` webhooks wait in the outbox.
    """
    access, circuits = Access(world), Circuits(world)
    refresher = Refresher(world, circuits, access.forget)
    candidates = Candidates(world, refresher, access.forget)
    access.attach(refresher, candidates)
    authorizer = Authorizer(world, circuits, candidates)
    migrator, views = Migrator(world, circuits, candidates, refresher.flights), Views(world, circuits, authorizer)
    health, upkeep = Health(world, access, refresher, candidates), Upkeep(world, refresher, candidates, migrator)
    calls, retention = CallRecorder(world), Retention(world, retention_days)
    inbound, groups = Inbound(world, access, health, hook), Groups(world, access, health)
    outbound = None if deliverer is None else Outbound(world, deliverer)
    return kind(
        world=world,
        access=access,
        refresher=refresher,
        candidates=candidates,
        circuits=circuits,
        authorizer=authorizer,
        migrator=migrator,
        health=health,
        disconnecter=Disconnecter(world, access),
        views=views,
        apps=Apps(world, checked),
        importer=Importer(world, refresher, candidates, views),
        calls=calls,
        retention=retention,
        inbound=inbound,
        groups=groups,
        upkeep=upkeep,
        jobs=Jobs(world, table(calls, upkeep, retention, inbound, groups, outbound)),
    )
