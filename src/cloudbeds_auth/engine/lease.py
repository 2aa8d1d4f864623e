"""The refresh lease: taken, kept, waited for, taken again (rule-6).

The lease is an optimization: it makes a single refresh the normal case. What makes it safe is the generation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.single_flight import GrantSuperseded, ServedToken
from cloudbeds_auth.errors import ConnectionDisconnected, RefreshPending
from cloudbeds_auth.ports import Clock
from cloudbeds_auth.rules.model import Role
from cloudbeds_auth.rules.refresh import Ask, arrives_within, reference
from cloudbeds_auth.transactions.grants import Busy, Leased, read_grant, release_lease, renew_lease, take_lease


@dataclass(slots=True)
class Lease:
    """A lease that is held here; its epoch changes when it was lost and is taken again with a pair in hand."""

    grant_id: str
    epoch: int


class Polling:
    """ports.Wakeups where other processes send no notifications: the row is polled."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    @contextmanager
    def hearing(self, grant_id: str, poll: float) -> Iterator[Poll]:
        """See ports."""
        yield Poll(self._clock, poll)


@dataclass(frozen=True, slots=True)
class Poll:
    """ports.Heard, without notifications."""

    clock: Clock
    poll: float

    async def wait(self, seconds: float) -> None:
        """See ports."""
        await self.clock.sleep(min(self.poll, seconds))


class Leases:
    """Takes leases for this process."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._wakeups = world.wakeups or Polling(world.clock)

    async def take(self, ask: Ask, until: float) -> Lease | ServedToken:
        """Take the lease, or wait for the pair of its holder. Without the lease nothing may be sent."""
        world = self._world
        while True:
            taken = await world.db.write(take_lease(ask.grant_id, world.owner, world.timing.lease))
            if isinstance(taken, Leased):
                return Lease(ask.grant_id, taken.epoch)
            if taken is None:
                raise ConnectionDisconnected(connection_id=ask.connection_id)
            left = until - world.clock.steady()
            if not ask.patient or left <= 0:
                raise RefreshPending(connection_id=ask.connection_id)
            # Asking for the lease again also notices that its holder was killed.
            served = await self.wait(ask, min(taken.left, left, world.timing.backoff_first), held_back=False)
            if served is not None:
                return served

    async def wait(self, ask: Ask, seconds: float, *, held_back: bool) -> ServedToken | None:
        """Wait until another holder commits a pair; None if the wait ends without one.

        The wait ends early when the lease is free and, with `held_back`, the next attempt is allowed. Raises
        GrantSuperseded: a late pair of a superseded grant is never lent.
        """
        world = self._world
        until = world.clock.steady() + seconds
        with self._wakeups.hearing(ask.grant_id, world.timing.poll) as heard:
            while True:
                await heard.wait(max(0.0, until - world.clock.steady()))
                grant = await world.db.read(read_grant(ask.grant_id))
                if grant is None:
                    raise ConnectionDisconnected(connection_id=ask.connection_id)
                if grant.role is Role.SUPERSEDED:
                    raise GrantSuperseded
                if grant.generation != reference(ask) and grant.valid_for > 0:
                    return ServedToken(grant)
                free = grant.lease_left <= 0 and not (held_back and grant.held_back > 0)
                if free or world.clock.steady() >= until:
                    return None

    @asynccontextmanager
    async def keep(self, lease: Lease) -> AsyncIterator[None]:
        """Renew the lease while it is needed, and give it back."""
        renewal = asyncio.create_task(self._renew(lease))
        try:
            yield
        finally:
            renewal.cancel()
            # What was done under the lease counts, even if it cannot be released: it expires by itself.
            with suppress(asyncio.CancelledError, Exception):
                await renewal
            with suppress(Exception):
                await self._world.db.write(release_lease(lease.grant_id, lease.epoch))

    async def again(self, lease: Lease) -> None:
        """Take the lease again after only the epoch has moved: the pair in hand may be the only living one.

        What the other process sent may still arrive, unless it was answered. Until then the pair is not stored, and so
        not used: behind a first use, a late request may revoke the grant (V3, rule-7). The lease counts as taken once
        that is over: if the wait fails, nothing is stored under it.
        """
        world = self._world
        taken = await world.db.write(take_lease(lease.grant_id, world.owner, world.timing.lease))
        if isinstance(taken, Leased):
            if (wait := arrives_within(taken.sent_ago, world.timing)) > 0:
                await world.clock.sleep(wait)
            lease.epoch = taken.epoch
        elif isinstance(taken, Busy):
            await world.clock.sleep(min(taken.left, world.timing.poll))

    async def _renew(self, lease: Lease) -> None:
        world = self._world
        while True:
            await world.clock.sleep(world.timing.renew)
            with suppress(Exception):  # the fence decides, not the lease; the next renewal may succeed
                await world.db.write(renew_lease(lease.grant_id, lease.epoch, world.timing.lease))
