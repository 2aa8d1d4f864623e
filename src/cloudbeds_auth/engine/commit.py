"""Whatever the vendor has just issued is kept in memory until it is stored, through every failure (rule-7, F57, F102).

A pair in hand is made durable, then published, then proven (rule-1, rule-3, rule-6).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from cloudbeds_auth.engine.client_secrets import ClientSecretChoice, ClientSecrets
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.lease import Lease, Leases
from cloudbeds_auth.engine.proofs import Marks, verdict_on
from cloudbeds_auth.engine.sending import InHand
from cloudbeds_auth.engine.single_flight import Flight, GrantSuperseded, ServedToken
from cloudbeds_auth.errors import ConnectionDisconnected, StateMismatch, StoreUnavailable, VaultClosed
from cloudbeds_auth.rules.api_errors import DeadToken, Proof
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import Fence, Grant, Role
from cloudbeds_auth.rules.refresh import backoff, brake, stale_after
from cloudbeds_auth.rules.schedule import LONG_LIST
from cloudbeds_auth.transactions.grants import Written, commit_pair, read_grant
from cloudbeds_auth.transactions.refusals import note_denied

T = TypeVar("T")
FINAL = (VaultClosed, StateMismatch)
"""The vault was closed; or the database answered, without failing, that nothing is to be stored, which is final."""


async def until_stored(world: World, connection_id: str, attempt: Callable[[], Awaitable[T]]) -> T:
    """Repeat `attempt` for as long as it raises, then return its result: it stores what may be the only living
    credential.

    A full disk, a shortage of descriptors, threads or memory, a mistake in the configuration, a bug: after each of them
    the credential is still good. Only cancellation and FINAL end the loop. `attempt` may have taken effect although it
    raised, so it must be repeatable. Each failure is reported as `commit_waits`.
    """
    failures = 0
    while True:
        try:
            return await attempt()
        except FINAL:
            raise
        except Exception as error:  # noqa: BLE001 - see above
            failures += 1
            reason = type(error).__name__
        world.observer.happened(Happening.COMMIT_WAITS, connection_id=connection_id, failures=failures, error=reason)
        await _pause(world, failures)


async def _pause(world: World, failures: int) -> None:
    """Wait before the next attempt. If the wait fails, too, for lack of some resource, only let other tasks run."""
    with suppress(Exception):
        await world.clock.sleep(backoff(failures, world.timing, world.entropy.unit()))
        return
    await asyncio.sleep(0)  # noqa: TID251 - no time passes


class Committer:
    """Brings a pair from the wire into the store, and from there to callers."""

    def __init__(self, world: World, client_secrets: ClientSecrets, leases: Leases) -> None:
        self._world = world
        self._client_secrets = client_secrets
        self._leases = leases
        self.confirm: Final = Marks(world).proven

    async def commit(
        self, flight: Flight, lease: Lease, row: Grant, hand: InHand, chosen: ClientSecretChoice
    ) -> ServedToken:
        """Make the pair durable, however long that takes; it is not used before that."""
        attempt = partial(self._stored, lease, row, hand, chosen)
        written, stored = await until_stored(self._world, row.connection_id, attempt)
        if stored is None or written is Written.GONE:
            raise ConnectionDisconnected(connection_id=row.connection_id)
        if stored.role is Role.SUPERSEDED:
            raise GrantSuperseded  # kept in its own row, and never lent
        if written is Written.DONE:
            return await self._publish(flight, stored, chosen)
        return ServedToken(stored)  # the generation moved: this pair is not the newest, and is dropped

    async def _stored(
        self, lease: Lease, row: Grant, hand: InHand, chosen: ClientSecretChoice
    ) -> tuple[Written, Grant | None]:
        """One attempt to store the pair, and the row after it."""
        while (written := await self._write(lease, row, hand, chosen)) is Written.EPOCH_MOVED:
            await self._leases.again(lease)
        return written, await self._world.db.read(read_grant(row.id))

    async def _write(self, lease: Lease, row: Grant, hand: InHand, chosen: ClientSecretChoice) -> Written:
        world = self._world
        fence = Fence(row.id, row.generation, lease.epoch)
        age = world.clock.steady() - hand.received
        pair = replace(hand.pair, lifetime=max(1.0, hand.pair.lifetime - age), source=world.source(chosen.app))
        stale = stale_after(pair.lifetime, world.entropy.unit())
        return await world.db.write(commit_pair(fence, hand.sent, pair, stale_after=stale, sent_under=hand.under))

    async def _publish(self, flight: Flight, stored: Grant, chosen: ClientSecretChoice) -> ServedToken:
        """The pair is committed and synced: let callers continue, then prove the new token at once."""
        world = self._world
        served = ServedToken(stored)
        flight.publish(served)
        if len(stored.tokens) > LONG_LIST:
            world.observer.happened(
                Happening.LONG_TOKEN_LIST, connection_id=stored.connection_id, length=len(stored.tokens)
            )
        world.observer.happened(Happening.REFRESHED, connection_id=stored.connection_id, generation=stored.generation)
        await self._client_secrets.accepted(chosen)
        await self._prove(stored, chosen)
        return served

    async def _prove(self, stored: Grant, chosen: ClientSecretChoice) -> None:
        """Ask with the new token at once; if there is no turn for that, the next refresh proves before it spends."""
        verdict = await verdict_on(self._world, chosen.app, stored)
        if isinstance(verdict, Proof):
            await self.confirm(stored)
        elif isinstance(verdict, DeadToken):
            await self.denied(stored)

    async def denied(self, grant: Grant) -> float:
        """Note that the grant's access token or API key was answered 401 without word that the grant is dead. Returns
        the seconds until another 401 may cause anything.
        """
        hold = brake(grant.denied + 1, self._world.timing)
        with suppress(StoreUnavailable):  # then the next 401 has it asked once more
            await self._world.db.write(note_denied(grant.id, grant.generation, hold))
        return hold
