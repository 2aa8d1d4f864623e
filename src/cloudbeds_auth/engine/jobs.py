"""What no caller waits for: one table of jobs, and one loop that runs each of them while the vault is open.

A job does a few of what is due, and says when it is worth while to come again. What it claims in the database is its
own for a while, so processes never do the same work; a process that is killed loses nothing but that while.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from cloudbeds_auth.engine.api_keys import Migrator
from cloudbeds_auth.engine.candidates import Candidates
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.disconnect import AppStates
from cloudbeds_auth.engine.history import EVERY, CallRecorder, Retention
from cloudbeds_auth.engine.properties import PropertyLists
from cloudbeds_auth.engine.refresh import Refresher
from cloudbeds_auth.engine.single_flight import GrantSuperseded
from cloudbeds_auth.engine.subscriptions import Subscriber
from cloudbeds_auth.engine.tasks import Tasks, Work, each
from cloudbeds_auth.engine.webhooks import WebhookSender
from cloudbeds_auth.errors import ReauthorizationRequired
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import KEPT_ALIVE, CredentialKind, Grant, Role
from cloudbeds_auth.rules.refresh import Ask
from cloudbeds_auth.rules.schedule import PAUSE
from cloudbeds_auth.transactions.grants import read_grant
from cloudbeds_auth.transactions.marketplace import discard_parked
from cloudbeds_auth.transactions.upkeep import claim_due, claim_retries, next_due

AT_ONCE = 4  # grants of one tick; together they queue for two turns each
MARKED_AT_ONCE = 2  # of these, grants that were marked: those that serve do not wait behind them
AFTER_FAILURE = 1.0  # seconds between two ticks when one could not do all it took


@dataclass(frozen=True, slots=True)
class Job:
    """A row of the table. `tick` does some of the work; it returns the seconds until the next tick, and may raise.

    `always`: also without upkeep, and over a copy of another installation's database (rule-16). Of all seconds the loop
    waits between half and all, so that fifty processes do not wake together.
    """

    name: str
    tick: Work[float]
    first: float = PAUSE  # seconds until the first tick
    after_failure: float = PAUSE  # seconds until the next tick after one that raised
    always: bool = False


class Upkeep:
    """Refreshes grants that are due, keeps alive those that are idle or set aside, tries marked ones again, resumes
    candidates and moves to API keys, and deletes approvals that were not claimed: a few grants a tick, the first to
    expire first.
    """

    def __init__(self, world: World, refresher: Refresher, candidates: Candidates, migrator: Migrator) -> None:
        self._world = world
        self._refresher = refresher
        self._candidates = candidates
        self._migrator = migrator
        self._homes: dict[str, str] = {}  # the connections of the grants that a tick looks after

    async def tick(self) -> float:
        """Do at most `AT_ONCE` of what is due, within the rate limit and by the one refresh that there is.

        What goes wrong with one grant is an event and leaves the others alone. Raises StoreUnavailable.
        """
        world = self._world
        # Longer than the longest wait for a lease, an answer and a proof: then another process may try.
        hold = 2 * world.timing.lease
        marked = await world.db.write(claim_retries(MARKED_AT_ONCE, hold))
        self._homes.clear()
        claimed = [*await world.db.write(claim_due(AT_ONCE - len(marked), hold)), *marked]
        if not await each(claimed, self._look_after, self._failed):
            return AFTER_FAILURE
        if claimed:
            return 0.0
        due_in = await world.db.read(next_due())
        # One that is due already is so since a moment ago.
        return PAUSE if due_in is None else min(max(due_in, AFTER_FAILURE), PAUSE)

    def _failed(self, grant_id: str, error: Exception) -> None:
        self._world.observer.happened(
            Happening.UPKEEP_FAILED, connection_id=self._homes.get(grant_id), grant=grant_id, error=type(error).__name__
        )

    async def _look_after(self, grant_id: str) -> None:
        row = await self._world.db.read(read_grant(grant_id))
        if row is None:
            return
        self._homes[grant_id] = row.connection_id
        if row.role is Role.PARKED:
            if await self._world.db.write(discard_parked(row.id)):
                self._world.observer.happened(Happening.ARRIVAL_DISCARDED, connection_id=row.connection_id)
        elif row.role is Role.CANDIDATE:
            await self._candidates.prove(row)
        elif row.migration is not None:
            await self._migrator.go_on(row)
        elif row.role in KEPT_ALIVE and not self._world.streams.put_off(row, self._world.timing):
            await self._refresh(row)

    async def _refresh(self, row: Grant) -> None:
        """A new pair, or a proof; an API key has no pair to renew, so it is asked about as if it had been rejected."""
        rejected = row.generation if row.kind is CredentialKind.API_KEY else None
        ask = Ask(row.id, seen=row.generation, rejected=rejected, upkeep=True, patient=False)
        try:
            served = await self._refresher.refresh(ask)
        except GrantSuperseded:
            served = None
        except ReauthorizationRequired:
            if row.reauth is None:
                raise
            return  # refused as before: it is tried again later
        if served is None or (served.grant.generation == row.generation and rejected is None):
            # Nothing newer came of it: a newer approval that waits is seen to, where there is one.
            await self._candidates.resume(row.connection_id)
        # Callers continue already; a proof that still runs is one of the `AT_ONCE`.
        await self._refresher.flights.over(row.id)


def table(
    calls: CallRecorder,
    upkeep: Upkeep,
    retention: Retention,
    app_states: AppStates,
    property_lists: PropertyLists,
    subscriber: Subscriber,
    webhooks: WebhookSender | None,
) -> list[Job]:
    """Every job of a vault; without an address, messages wait in the outbox."""
    jobs = [
        Job("write calls", calls.tick, first=EVERY, after_failure=EVERY, always=True),
        Job("upkeep", upkeep.tick, first=AFTER_FAILURE),
        Job("retention", retention.tick),
        Job("app states", app_states.tick),
        Job("groups", property_lists.tick),
        Job("subscriptions", subscriber.tick),
    ]
    return jobs if webhooks is None else [*jobs, Job("webhooks", webhooks.tick, first=0.0)]


class Jobs:
    """Runs the jobs of one open vault, each beside the others."""

    def __init__(self, world: World, jobs: Sequence[Job]) -> None:
        self._world = world
        self._jobs = jobs
        self._running = Tasks()

    def start(self, *, upkeep: bool) -> None:
        """Begin with all of them, or without upkeep with those that always run."""
        for job in self._jobs:
            if upkeep or job.always:
                self._running.begin(job.name, partial(self.run, job))

    async def stop(self) -> None:
        """End all of them. What a tick has begun to send continues, and is waited for where the engine is drained."""
        await self._running.stop()

    async def run(self, job: Job) -> None:
        """Tick for ever. A tick that fails is an event, and does not end the loop."""
        world, seconds = self._world, job.first
        while True:
            await world.clock.sleep(seconds * (0.5 + 0.5 * world.entropy.unit()))
            seconds = PAUSE
            if job.always or not world.db.read_only:
                seconds = await self._safely(job)

    async def _safely(self, job: Job) -> float:
        try:
            return await job.tick()
        except Exception as error:  # noqa: BLE001 - the loop outlives every failure in it
            self._world.observer.happened(Happening.BACKGROUND_FAILED, error=type(error).__name__)
            return job.after_failure
