"""Background work: a table of jobs, each of which runs in a loop of its own while the vault is open.

A tick of a job does some of what is due, and says when to come again. What a job claims in the database is its own for
a while, so two processes never do the same work; if a process is killed, only that while is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from cloudbeds_auth.engine.api_keys import Migrator
from cloudbeds_auth.engine.audit import Audit
from cloudbeds_auth.engine.caller_keys import CallerKeys
from cloudbeds_auth.engine.candidates import Candidates
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.disconnect import AppStates
from cloudbeds_auth.engine.history import EVERY, CallRecorder, Retention
from cloudbeds_auth.engine.properties import PropertyLists
from cloudbeds_auth.engine.refresh import Refresher
from cloudbeds_auth.engine.single_flight import GrantSuperseded
from cloudbeds_auth.engine.subscriptions import Subscriber
from cloudbeds_auth.engine.tasks import Tasks, Work
from cloudbeds_auth.engine.webhooks import WebhookSender
from cloudbeds_auth.errors import ReauthorizationRequired, StoreUnavailable
from cloudbeds_auth.ports import ACTING
from cloudbeds_auth.rules.audit import VAULT
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import KEPT_ALIVE, CredentialKind, Grant, Role
from cloudbeds_auth.rules.refresh import Ask
from cloudbeds_auth.rules.schedule import PAUSE
from cloudbeds_auth.transactions.grants import read_grant
from cloudbeds_auth.transactions.marketplace import discard_parked
from cloudbeds_auth.transactions.runner import DoesNotOpen
from cloudbeds_auth.transactions.seals import SEEN_EVERY, note_seen
from cloudbeds_auth.transactions.upkeep import claim_due, claim_retries, due_beyond, next_due, read_overdue

AT_ONCE = 4  # grants of one client id begun together; as many requests waiting for a turn hold back further grants
OF_ONE = 32  # grants of one client id in progress: at Cloudbeds' limit, enough while answers take four seconds
IN_ALL = 256  # grants in progress
MARKED_AT_ONCE = 2  # of these, marked grants: those that serve do not wait behind them
LOOK_AGAIN = 0.25  # seconds after which there may be room for more
AFTER_FAILURE = 1.0  # seconds until more is begun after a failure


@dataclass(frozen=True, slots=True)
class Job:
    """A row of the table. `tick` does some of the work and returns the seconds until the next tick; it may raise.

    `always`: also without upkeep, and over a copy of another installation's database (rule-16). The loop waits between
    half and all of the seconds, so that fifty processes do not wake together.
    """

    name: str
    tick: Work[float]
    first: float = PAUSE  # seconds until the first tick
    after_failure: float = PAUSE  # seconds until the next tick after one that raised
    always: bool = False


@dataclass(slots=True)
class JobRecord:
    """How a job went in this process: unix seconds of its last success and its last failure (None: none so far), how
    often it failed, and the kind of the last error.
    """

    succeeded_at: float | None = None
    failed_at: float | None = None
    failures: int = 0
    error: str = ""


class Upkeep:
    """Refreshes grants that are due, keeps alive those that are idle or set aside, retries marked ones, resumes
    candidates and moves to API keys, and deletes approvals that were not claimed: those that expire first come first.

    While some are in progress more are begun, as fast as their client id gets turns; a client id that gets none, or
    whose answers are slow, does not delay the others.
    """

    def __init__(self, world: World, refresher: Refresher, candidates: Candidates, migrator: Migrator) -> None:
        self._world = world
        self._refresher = refresher
        self._candidates = candidates
        self._migrator = migrator
        self._running = Tasks()
        self._under_way: dict[str, Grant] = {}  # each as it was at the start
        self._marked: set[str] = set()  # those of them that are marked
        self._passed = 0.0  # everything due until then belongs to apps that have no room
        self._failed = False

    async def tick(self) -> float:
        """Do what is due, within the rate limit and through the common refresh, until nothing is due.

        A failure of one grant is reported and does not affect the others. Raises StoreUnavailable once nothing is in
        progress any more.
        """
        try:
            while await self._begin_more() or self._running:
                await self._running.one_ended(LOOK_AGAIN)
                if self._failed:
                    self._failed = False
                    if not self._running:
                        return AFTER_FAILURE
                    await self._world.clock.sleep(AFTER_FAILURE)
        finally:
            await self._running.stop()
        due_in = await self._world.db.read(next_due())
        # A grant that is due already became due a moment ago.
        return PAUSE if due_in is None else min(max(due_in, AFTER_FAILURE), PAUSE)

    async def note_key(self) -> float:
        """Record the key that this service seals with (`transactions.seals`); seconds until the next time."""
        await self._world.db.write(note_seen())
        return SEEN_EVERY

    async def overdue(self) -> float:
        """How many seconds the longest waiting grant, of any process, has been due; 0 if none is."""
        return await self._world.db.read(read_overdue())

    async def _begin_more(self) -> bool:
        """Begin what is due and has room; returns whether there was any."""
        try:
            claimed = await self._claim()
        except StoreUnavailable:
            if not self._running:
                raise
            self._failed = True
            return False
        for grant_id in claimed:
            self._running.begin(grant_id, partial(self._safely, grant_id))
        return bool(claimed)

    async def _claim(self) -> Sequence[str]:
        # Held longer than the longest wait for a lease, an answer and a proof; after that another process may try.
        db, hold, room = self._world.db, 2 * self._world.timing.lease, IN_ALL - len(self._running)
        self._marked = {one for one in self._marked if one in self._running}
        marked = await db.write(claim_retries(min(MARKED_AT_ONCE - len(self._marked), room), hold))
        self._marked.update(marked)
        full = self._full()
        since = self._passed if full else 0.0
        claimed = await db.write(claim_due(room - len(marked), hold, of_one=AT_ONCE, full=full, since=since))
        self._passed = since if claimed or not full else await db.read(due_beyond(since))
        return [*claimed, *marked]

    def _full(self) -> list[str]:
        """The apps for which no more is begun now."""
        waiting = self._world.limiters.shared.waiting
        under_way = Counter(row.app for row in self._under_way.values())
        return sorted(app for app, count in under_way.items() if count >= OF_ONE or waiting[app] >= AT_ONCE)

    async def _safely(self, grant_id: str) -> None:
        try:
            await self._look_after(grant_id)
        except Exception as error:  # noqa: BLE001 - reported, and the others go on
            # Any other failure is this grant's own, and delays only this grant.
            self._failed |= isinstance(error, StoreUnavailable) and not isinstance(error, DoesNotOpen)
            kind, home = type(error).__name__, self._home(grant_id)
            self._world.observer.happened(Happening.UPKEEP_FAILED, connection_id=home, grant=grant_id, error=kind)
        else:
            home = self._home(grant_id)
            self._world.observer.happened(Happening.UPKEEP_DONE, connection_id=home, grant=grant_id)
        finally:
            self._under_way.pop(grant_id, None)

    def _home(self, grant_id: str) -> str | None:
        """The connection of a grant in progress; None: its row could not be read."""
        row = self._under_way.get(grant_id)
        return None if row is None else row.connection_id

    async def _look_after(self, grant_id: str) -> None:
        row = await self._world.db.read(read_grant(grant_id))
        if row is None:
            return
        self._under_way[grant_id] = row
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
        """Get a new pair, or a proof. An API key has no pair to renew: it is asked about as if it had been rejected."""
        rejected = row.generation if row.kind is CredentialKind.API_KEY else None
        ask = Ask(row.id, row.generation, rejected, upkeep=True, patient=False, connection_id=row.connection_id)
        try:
            served = await self._refresher.refresh(ask)
        except GrantSuperseded:
            served = None
        except ReauthorizationRequired:
            if row.reauth is None:
                raise
            return  # refused as before: it is tried again later
        if served is None or (served.grant.generation == row.generation and rejected is None):
            # It brought nothing newer: resume a newer approval, if one waits.
            await self._candidates.resume(row.connection_id)
        # Callers have continued already, but the proof may still be running.
        await self._refresher.flights.over(row.id)


def table(
    calls: CallRecorder,
    keys: CallerKeys,
    audit: Audit,
    upkeep: Upkeep,
    retention: Retention,
    app_states: AppStates,
    property_lists: PropertyLists,
    subscriber: Subscriber,
    webhooks: WebhookSender | None,
) -> list[Job]:
    """Every job of a vault; without an address for webhooks, messages wait in the outbox."""
    jobs = [
        Job("write calls", calls.tick, first=EVERY, after_failure=EVERY, always=True),
        Job("write uses of keys", keys.tick, always=True),
        Job("write failures", audit.tick, always=True),
        Job("upkeep", upkeep.tick, first=AFTER_FAILURE),
        Job("key in use", upkeep.note_key, first=0.0),
        Job("retention", retention.tick),
        Job("app states", app_states.tick),
        Job("groups", property_lists.tick),
        Job("subscriptions", subscriber.tick),
    ]
    return jobs if webhooks is None else [*jobs, Job("webhooks", webhooks.tick, first=0.0)]


class Jobs:
    """Runs the jobs of one open vault concurrently; `records` say how each went."""

    def __init__(self, world: World, jobs: Sequence[Job]) -> None:
        self._world = world
        self._jobs = jobs
        self._running = Tasks()
        self.records: dict[str, JobRecord] = {job.name: JobRecord() for job in jobs}

    def start(self, *, upkeep: bool) -> None:
        """Start all of them, or, without upkeep, those that always run."""
        for job in self._jobs:
            if upkeep or job.always:
                self._running.begin(job.name, partial(self.run, job))

    async def stop(self) -> None:
        """End all of them. What a tick has begun to send continues; draining the engine waits for it."""
        await self._running.stop()

    async def run(self, job: Job) -> None:
        """Tick forever. A tick that fails is reported, and does not end the loop."""
        world, seconds = self._world, job.first
        ACTING.set(VAULT)
        while True:
            await world.clock.sleep(seconds * (0.5 + 0.5 * world.entropy.unit()))
            seconds = PAUSE
            if job.always or not world.db.read_only:
                seconds = await self._safely(job)

    async def _safely(self, job: Job) -> float:
        record, now = self.records[job.name], self._world.clock.wall
        try:
            seconds = await job.tick()
        except Exception as error:  # noqa: BLE001 - the loop outlives every failure in it
            record.failed_at, record.error = now(), type(error).__name__
            record.failures += 1
            self._world.observer.happened(Happening.BACKGROUND_FAILED, error=record.error)
            return job.after_failure
        record.succeeded_at = now()
        return seconds
