"""The engine's parts, wired together: the only place that knows which part needs which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from cloudbeds_auth.engine.access import Access
from cloudbeds_auth.engine.api_keys import Migrator
from cloudbeds_auth.engine.apps import Apps
from cloudbeds_auth.engine.audit import Audit
from cloudbeds_auth.engine.authorize import Authorizer
from cloudbeds_auth.engine.caller_keys import CallerKeys
from cloudbeds_auth.engine.candidates import Candidates
from cloudbeds_auth.engine.client_secrets import ClientSecrets
from cloudbeds_auth.engine.connection_ids import ConnectionIds
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.disconnect import AppStates, Disconnecter
from cloudbeds_auth.engine.history import CallRecorder, Retention
from cloudbeds_auth.engine.imports import Importer
from cloudbeds_auth.engine.jobs import Jobs, Upkeep, table
from cloudbeds_auth.engine.outage import Outage
from cloudbeds_auth.engine.pasted_keys import PastedKeys
from cloudbeds_auth.engine.properties import PropertyLists
from cloudbeds_auth.engine.rate_limiter import CALL
from cloudbeds_auth.engine.refresh import Refresher
from cloudbeds_auth.engine.refused_calls import RefusedCalls
from cloudbeds_auth.engine.risks import Risks
from cloudbeds_auth.engine.sessions import Sessions
from cloudbeds_auth.engine.subscriptions import Subscriber
from cloudbeds_auth.engine.tasks import drained
from cloudbeds_auth.engine.views import Views
from cloudbeds_auth.engine.watching import Watcher
from cloudbeds_auth.engine.webhooks import WebhookSender
from cloudbeds_auth.engine.workload import Workloads
from cloudbeds_auth.ports import Deliverer
from cloudbeds_auth.rules.model import App
from cloudbeds_auth.rules.permissions import Caller
from cloudbeds_auth.rules.rate_limit import TurnLine
from cloudbeds_auth.rules.subscriptions import Wanted


class Engine:
    """The parts over one `world`. A process with further parts derives a class of its own.

    `checked` makes an App of what an operator gave, and raises InvalidRequest; `wanted` is what hotels are subscribed
    to, and nothing else if the settings are `decided`; without a `deliverer`, webhooks wait in the outbox.
    """

    def __init__(
        self,
        world: World,
        checked: Callable[..., App],
        *,
        retention_days: int,
        wanted: Sequence[Wanted] = (),
        decided: bool = True,
        deliverer: Deliverer | None = None,
    ) -> None:
        self.world = world
        outage = Outage(world)
        self.ids: Final = ConnectionIds(world, outage)
        self.access: Final = Access(world, outage, self.ids.recent)
        self.client_secrets: Final = ClientSecrets(world)
        self.refresher: Final = Refresher(world, self.client_secrets, self.access.forget)
        self.candidates: Final = Candidates(world, self.refresher, self._promoted)
        self.access.attach(self.refresher, self.candidates)
        self.authorizer: Final = Authorizer(world, self.client_secrets, self.candidates)
        self.migrator: Final = Migrator(world, self.client_secrets, self.candidates, self.refresher.flights)
        self.views: Final = Views(world, self.client_secrets, self.authorizer)
        self.importer: Final = Importer(world, self.refresher, self.candidates, self.views)
        self.pasted_keys: Final = PastedKeys(world, self._promoted)
        self.refused_calls: Final = RefusedCalls(world, self.access, self.refresher, self.candidates)
        self.subscriber: Final = Subscriber(
            world, self.access, self.refused_calls, Risks(world), wanted, decided=decided
        )
        self.disconnecter: Final = Disconnecter(world, self.access, self.subscriber)
        self.apps: Apps = Apps(world, checked)
        self.keys: CallerKeys = CallerKeys(world, outage)
        self.sessions: Final = Sessions(world, outage)
        self.audit: Final = Audit(world)
        self.calls: Final = CallRecorder(world)
        self.retention: Final = Retention(world, retention_days)
        self.app_states: Final = AppStates(world, self.access, self.refused_calls)
        self.property_lists: Final = PropertyLists(world, self.access, self.refused_calls)
        self.upkeep: Final = Upkeep(world, self.refresher, self.candidates, self.migrator)
        webhooks = None if deliverer is None else WebhookSender(world, deliverer)
        jobs = table(
            self.calls, self.keys, self.audit, self.upkeep, self.retention, self.app_states, self.property_lists,
            self.subscriber, webhooks,
        )  # fmt: skip
        self.jobs: Final = Jobs(world, jobs)
        self.watcher: Final = Watcher(world)
        self.workloads: Final = Workloads(world, self.jobs)

    async def find_to_relay(self, named: str) -> str:
        """As `ConnectionIds.find_to_call`; what was read within a minute will do while its fresh token is in memory:
        whatever ends the token's use has the property read again, too.
        """
        recent = self.ids.recent(named)
        if recent is not None and self.access.cached(recent, 0.0) is not None:
            return recent
        return await self.ids.find_to_call(named)

    async def turn_of_key(self, caller: Caller, connection_id: str, sharing: str) -> float:
        """Wait for a turn of this caller's key, if the key has a rate; returns the seconds left to wait for the client
        id's turn. If that is known to come too late, the key's turn is not used up. Raises RateLimited.
        """
        if caller.root.rate is None:
            return CALL
        app, begun = await self.access.apps.of(connection_id), self.world.clock.steady()
        if app is not None:
            self.world.limiter(app).foresee(CALL, TurnLine(sharing, connection_id))
        await self.keys.turn(caller, connection_id)
        return begun + CALL - self.world.clock.steady()

    def _promoted(self, connection_id: str) -> None:
        """Another credential of this connection is in use: read its token anew, and what property ids stand for."""
        self.access.forget(connection_id)
        self.ids.look_again()

    async def idle(self) -> None:
        """Wait until everything that was begun for a grant is finished and committed: exchanges, refreshes, moves."""
        await drained(self.world.tasks, self.migrator.moves, self.refresher.flights)

    async def drain(self) -> None:
        """Begin nothing more, wait until `idle`, and write what was counted. Even if that cannot be written, the caller
        has to close what is open.
        """
        await self.jobs.stop()
        await self.app_states.stop()
        await self.idle()
        self.refresher.flights.close()  # a read that has begun is not waited for, and may still ask for a refresh
        with suppress(Exception):
            await self.calls.flush(everything=True)
        with suppress(Exception):
            await self.audit.flush()
        await self.idle()
