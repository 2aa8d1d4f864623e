"""What nobody waits for: grants that are due are refreshed, idle ones kept alive, marked ones tried again, candidates
and moves to API keys gone on with, and approvals that nobody claimed deleted.

`tick` does a few of what is due, the first to expire first, each within the rate limit and by the one refresh that
there is. Whoever claims a grant in the store has it for a while, so processes never do the same work; a process that
is killed loses nothing but that while.
"""

from __future__ import annotations

import asyncio

from cloudbeds_auth.engine.api_keys import Migrator
from cloudbeds_auth.engine.candidates import Candidates
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.refresh import Refresher
from cloudbeds_auth.engine.single_flight import GrantSuperseded
from cloudbeds_auth.errors import ReauthorizationRequired
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import CredentialKind, Grant, Role
from cloudbeds_auth.rules.refresh import Ask
from cloudbeds_auth.transactions.grants import read_grant
from cloudbeds_auth.transactions.marketplace import discard_parked
from cloudbeds_auth.transactions.upkeep import claim_due, claim_retries, next_due

AT_ONCE = 4  # grants of one tick; together they queue for two turns each
MARKED_AT_ONCE = 2  # of these, grants that were marked: those that serve do not wait behind them
LONGEST = 30.0  # seconds between two ticks, at most
AFTER_FAILURE = 1.0  # seconds between two ticks when one could not do all it took


class Upkeep:
    """Does what is due, a few grants a tick."""

    def __init__(self, world: World, refresher: Refresher, candidates: Candidates, migrator: Migrator) -> None:
        self._world = world
        self._refresher = refresher
        self._candidates = candidates
        self._migrator = migrator

    def pause(self, seconds: float) -> float:
        """At most `LONGEST` seconds and at least half of what was asked: fifty processes do not wake together."""
        return min(seconds, LONGEST) * (0.5 + 0.5 * self._world.entropy.unit())

    async def tick(self) -> float:
        """Do at most `AT_ONCE` of what is due; seconds until the next tick is worth while.

        What goes wrong with one grant is told to the observer and leaves the others alone. Raises StoreUnavailable.
        """
        world = self._world
        if world.db.read_only:
            return LONGEST
        # Longer than the longest wait for a lease, an answer and a proof: then somebody else may try.
        hold = 2 * world.timing.lease
        marked = await world.db.write(claim_retries(MARKED_AT_ONCE, hold))
        claimed = [*await world.db.write(claim_due(AT_ONCE - len(marked), hold)), *marked]
        done = await asyncio.gather(*(self._safely(grant_id) for grant_id in claimed))
        if not all(done):
            return self.pause(AFTER_FAILURE)
        if claimed:
            return 0.0
        due_in = await world.db.read(next_due())
        # One that is due already is so since a moment ago.
        return self.pause(LONGEST if due_in is None else max(due_in, AFTER_FAILURE))

    async def _safely(self, grant_id: str) -> bool:
        """Whether it went as it should."""
        try:
            await self._look_after(grant_id)
        except Exception as error:  # noqa: BLE001 - one grant never stops the others
            self._world.observer.happened(Happening.UPKEEP_FAILED, grant=grant_id, error=type(error).__name__)
            return False
        return True

    async def _look_after(self, grant_id: str) -> None:
        row = await self._world.db.read(read_grant(grant_id))
        if row is None:
            return
        if row.role is Role.PARKED:
            if await self._world.db.write(discard_parked(row.id)):
                self._world.observer.happened(Happening.ARRIVAL_DISCARDED, connection=row.connection_id)
        elif row.role is Role.CANDIDATE:
            await self._candidates.prove(row)
        elif row.migration is not None:
            await self._migrator.go_on(row)
        elif row.role is Role.ACTIVE and not self._world.streams.put_off(row, self._world.timing):
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
        flight = self._refresher.flights.running(row.id)
        if flight is not None:  # callers go on already; the proof still runs, and is one of the few at once
            await asyncio.wait([flight.task])
