"""The move of a hotel from OAuth to an API key, without a new approval (rule-15; cloudbeds-facts.md section 4).

    lease → latch → intent → exchange ─┬→ key: stored, proven, and then the connection's grant
                                       ├→ refused: the next older token; all of them, twice: the hotel approves again
                                       ├→ lost: kept in doubt, and the exchange is made again; never a refresh
                                       ├→ not sent, or no turn for it: the latch is lifted, if nothing was lost before
                                       └→ not offered: the latch is lifted; if something was lost, ten minutes later

A refresh after the exchange would kill the key, so from the latch on no process sends one. The stored access token
serves until the key is proven. An interrupted move is resumed by a later call, in any process, and by upkeep where the
client is known under which the move was begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from cloudbeds_auth.engine.candidates import Candidates
from cloudbeds_auth.engine.client_secrets import ClientSecrets
from cloudbeds_auth.engine.commit import until_stored
from cloudbeds_auth.engine.context import World, current_grant
from cloudbeds_auth.engine.lease import Lease, Leases
from cloudbeds_auth.engine.proofs import Marks, verdict_on
from cloudbeds_auth.engine.sending import InHand, Sender, Stopped, UnderLease, may_still_come
from cloudbeds_auth.engine.single_flight import Flights, GrantSuperseded, ServedToken
from cloudbeds_auth.engine.tasks import Tasks
from cloudbeds_auth.errors import (
    ConnectionDisconnected,
    Error,
    ReauthorizationRequired,
    RefreshInDoubt,
    RefreshPending,
    StoreReadOnly,
    Unclaimed,
)
from cloudbeds_auth.rules.api_errors import Proof, Verdict
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import App, CredentialKind, Fence, Grant, Pair, Role, StoredToken
from cloudbeds_auth.rules.origins import Source
from cloudbeds_auth.rules.refresh import Ask, may_arrive
from cloudbeds_auth.rules.token_response import (
    NotOffered,
    NotSent,
    RefusedClient,
)
from cloudbeds_auth.transactions.api_keys import add_key, begin_migration, end_migration
from cloudbeds_auth.transactions.candidates import read_candidate
from cloudbeds_auth.transactions.grants import read_grant
from cloudbeds_auth.transactions.refusals import Counted

AGAIN = 0.0  # seconds to wait before the connection is read again
MOST_LOOKS = 8  # times a connection is read again because it changed meanwhile
REFUSED = "migration_refused"  # the reason when Cloudbeds exchanges none of the stored tokens


@dataclass(frozen=True, slots=True)
class Exchanging(UnderLease):
    """One attempt. `named`: the app was named for this move, and may be a client other than the grant's."""

    named: bool


class Migrator:
    """Moves hotels, one move at a time for each connection of this process; cancelling a caller cancels no move.

    `flights`: the refreshes of this process.
    """

    def __init__(self, world: World, client_secrets: ClientSecrets, candidates: Candidates, flights: Flights) -> None:
        self._world = world
        self._client_secrets = client_secrets
        self._candidates = candidates
        self._flights = flights
        self._leases = Leases(world)
        self._sender = Sender(world, client_secrets, lambda _: None)
        self._marks = Marks(world)
        self.moves: Final = Tasks()  # by connection

    async def migrate(self, connection_id: str, *, app: str | None = None) -> None:
        """Move the hotel; one that was already moved is left as it is. `app`: the registration that makes the exchange.

        Raises UnknownConnection, ConnectionDisconnected, ReauthorizationRequired, MigrationRefused, ClientRefused,
        InvalidRequest for an unknown app, and subclasses of TryAgain, after which a later call resumes.
        """
        await self.moves.join(connection_id, partial(self._migrate, connection_id, app))

    async def go_on(self, row: Grant) -> None:
        """Resume an interrupted move, if its client is known here: under another client the tokens would be refused."""
        client_id = row.migration_client or ""
        app = (await self._world.names_of([client_id])).get(client_id)
        if app is not None:
            await self.migrate(row.connection_id, app=app)

    # --- one attempt after another

    async def _migrate(self, connection_id: str, app_name: str | None) -> None:
        world = self._world
        if world.db.read_only:
            raise StoreReadOnly(connection_id=connection_id)
        until = world.clock.steady() + world.timing.wait
        for _ in range(MOST_LOOKS):
            row = await self._to_move(connection_id)
            if row is None:
                return
            app = await (world.app_of(row) if app_name is None else world.app(app_name))
            seconds = await self._attempt(row, app, until, named=app_name is not None)
            if seconds > AGAIN and world.clock.steady() + seconds > until:
                raise RefreshInDoubt(
                    "too soon after the last attempt", connection_id=connection_id, retry_after=seconds
                )
            await world.clock.sleep(seconds)
        raise RefreshPending(connection_id=connection_id)

    async def _to_move(self, connection_id: str) -> Grant | None:
        """The OAuth grant that is to be moved; None when the connection's credential is a key that works."""
        await self._resume(connection_id)
        row = await current_grant(self._world.db, connection_id)
        if row is None:
            await self._world.known(connection_id)
            raise ConnectionDisconnected(connection_id=connection_id)
        if row.role is Role.DISCONNECTED:
            raise ConnectionDisconnected(connection_id=connection_id)
        if row.role in {Role.PARKED, Role.SET_ASIDE}:
            raise Unclaimed(connection_id=connection_id)
        await self._candidates.must_not_wait(connection_id)
        if row.kind is CredentialKind.API_KEY:
            return None
        if row.reauth is not None and row.migration is None:
            raise ReauthorizationRequired(
                f"Cloudbeds refuses every stored token ({row.reauth})", connection_id=connection_id
            )
        return row

    async def _resume(self, connection_id: str) -> None:
        """First resume a key that was stored but not proven, or a newer approval; or both, where the key came later."""
        while (promoted := await self._candidates.resume(connection_id)) is not None:
            if promoted.kind is CredentialKind.API_KEY:
                self._world.observer.happened(Happening.MIGRATED, connection_id=connection_id)

    async def _attempt(self, row: Grant, app: App, until: float, *, named: bool) -> float:
        """One attempt that did not raise; seconds until the connection is read again, moved or not."""
        chosen = await self._client_secrets.choose(app)
        self._must_match(row, chosen.app, named=named)
        lease: Lease | ServedToken | None = None
        with suppress(GrantSuperseded):
            lease = await self._leases.take(Ask(row.id, row.generation, connection_id=row.connection_id), until)
        if not isinstance(lease, Lease):  # a refresh was committed meanwhile, or a newer approval promoted
            return AGAIN
        async with self._leases.keep(lease):
            flight = self._flights.running(row.id)
            if flight is not None and flight.sending:
                # This process stood still for longer than the lease of a refresh that it is still sending: that first.
                raise RefreshPending(connection_id=row.connection_id)
            return await self._holding(row.id, Exchanging(lease, chosen, until, named))

    def _must_match(self, row: Grant, app: App, *, named: bool) -> None:
        """The client may differ from the grant's if it was named for this move; the origin may not."""
        self._world.must_match(row, None if named else app)

    # --- under the lease

    async def _holding(self, grant_id: str, at: Exchanging) -> float:
        """Under the lease no refresh is running, except one whose process was killed: that one is waited out."""
        world = self._world
        row = await world.db.read(read_grant(grant_id))
        if (
            row is None
            or row.role is not Role.ACTIVE
            or await world.db.read(read_candidate(row.connection_id)) is not None
        ):
            return AGAIN
        self._must_match(row, at.chosen.app, named=at.named)  # another process may have bound the grant meanwhile
        if row.migration is None and may_arrive(row, world.timing):
            raise RefreshInDoubt(
                "the answer of a refresh was lost, and a refresh that arrives late would kill the key",
                connection_id=row.connection_id,
                retry_after=world.timing.unresolved - (row.sent_ago or 0.0),
            )
        if row.held_back > 0:
            return row.held_back
        tokens = await self._worth_sending(row, at.chosen.app)
        fence = Fence(row.id, row.generation, at.lease.epoch)
        if not await world.db.write(begin_migration(fence, at.chosen.app.client_id)):
            return AGAIN
        sent = await self._sender.send(at, row, tokens)
        match sent:
            case InHand():
                return await self._keep(at, row, sent.pair)
            case Stopped():
                await self._give_up(fence, sent, too_late=not may_still_come(row, world.timing))
                raise sent.error
            case None:
                return await self._count(at, row)
        return AGAIN

    async def _worth_sending(self, row: Grant, app: App) -> Sequence[StoredToken]:
        """The tokens to exchange: as for a refresh, the child, then the kept ones (rule-4), which a proof drops.

        While a pair is unproven, it is not known which refresh token lives, and some servers revoke the grant when a
        dead one is presented (V3). So the access token is asked about first; if it works, only the child is left.
        """
        if not row.kept or row.valid_for <= 0:
            return row.tokens
        verdict = await self._asked(row, app)
        if isinstance(verdict, Proof):
            await self._marks.proven(row)
            return row.tokens[-1:]
        return row.tokens

    async def _keep(self, at: Exchanging, row: Grant, key: Pair) -> float:
        """The key is only in memory: storing it is retried for as long as it takes, and it is not used before that."""
        world, app, grant_id = self._world, at.chosen.app, self._world.entropy.identifier("gra_")
        key = replace(key, source=Source(world.issuer, _bound_to(row, app)))
        fence = Fence(row.id, row.generation, at.lease.epoch)
        store = partial(world.db.write, add_key(fence, grant_id, app.id, key))
        if await until_stored(world, row.connection_id, store):
            world.observer.happened(Happening.KEY_RECEIVED, connection_id=row.connection_id)
        await self._client_secrets.accepted(at.chosen)
        return AGAIN  # the key is proven next; or the hotel left, or approved again meanwhile

    async def _give_up(self, fence: Fence, stopped: Stopped, *, too_late: bool) -> None:
        """If certainly nothing was exchanged, or it is `too_late` for a key to come, lift the latch: with it, the hotel
        would be out for good. Otherwise the latch holds, and the exchange is made again.
        """
        if stopped.answer is None or isinstance(stopped.answer, RefusedClient | NotOffered | NotSent):
            in_doubt = too_late and isinstance(stopped.answer, NotOffered)  # a key that was not issued cannot be killed
            await self._world.db.write(end_migration(fence, in_doubt=in_doubt))

    async def _count(self, at: Exchanging, row: Grant) -> float:
        """Every stored token was refused: once that has happened twice, the hotel has to approve again (rule-12)."""
        counted = await self._marks.count(row, at.lease.epoch, REFUSED, partial(self._asked, row, at.chosen.app))
        if counted in {Counted.MARKED, Counted.STILL_MARKED}:
            raise ReauthorizationRequired(
                "Cloudbeds exchanged none of this hotel's refresh tokens for an API key",
                connection_id=row.connection_id,
            )
        if counted in {Counted.MOVED, Counted.CANDIDATE, Counted.REPRIEVED}:
            return AGAIN
        raise RefreshInDoubt(
            "Cloudbeds refused every stored token; it is asked again before the hotel is asked to approve again",
            connection_id=row.connection_id,
            retry_after=self._world.timing.refusal_interval,
        )

    async def _asked(self, row: Grant, app: App) -> Verdict | Error:
        """What `/userinfo` says about the stored access token; the turn counts for the client it was issued to."""
        return await verdict_on(self._world, await self._world.find(row.app) or app, row)


def _bound_to(row: Grant, app: App) -> str | None:
    """The client id that a key belongs to: the grant's own. None if another client was named for the exchange, so that
    the service, whose settings still have the grant's client, serves the key.
    """
    return app.client_id if app.client_id == row.source.client_id else None
