"""The move of a hotel from OAuth to an API key, without a new approval (rule 15; CLOUDBEDS section 4).

    lease → latch → intent → exchange ─┬→ key: stored, proven, and then the connection's grant
                                       ├→ refused: the next older token; all of them, twice: the hotel approves again
                                       ├→ lost: kept in doubt, and the exchange is made again; never a refresh
                                       ├→ not sent: the latch is lifted, if nothing was lost before
                                       └→ not offered: the latch is lifted; if something was lost, ten minutes later

A refresh after the exchange would kill the key, so from the latch on none is sent, from any process. The access token
that is stored serves until the key is proven. A move that was cut off is gone on with by whoever is asked to, and by
upkeep, where the client is known under which it was begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from cloudbeds_auth.engine.candidates import Candidates
from cloudbeds_auth.engine.client_secrets import Chosen, Circuits
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.lease import Lease, Leases
from cloudbeds_auth.engine.lookup import current_grant
from cloudbeds_auth.engine.marks import Marks
from cloudbeds_auth.engine.rate_limiter import BEHIND, Budget
from cloudbeds_auth.engine.single_flight import Flights
from cloudbeds_auth.engine.until_stored import until_stored
from cloudbeds_auth.errors import (
    ClientRefused,
    ConnectionDisconnected,
    Error,
    MigrationRefused,
    RateLimited,
    ReauthorizationRequired,
    RefreshInDoubt,
    RefreshPending,
    StoreReadOnly,
    StoreUnavailable,
    TokenEndpointUnavailable,
    Unclaimed,
    UnknownConnection,
)
from cloudbeds_auth.rules.api_errors import Proof, Verdict
from cloudbeds_auth.rules.credential import GrantType
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import App, CredentialKind, Fence, Grant, Migration, Pair, Role, StoredToken
from cloudbeds_auth.rules.origins import Source
from cloudbeds_auth.rules.refresh import Ask, Timing, backoff, candidates, unresolved
from cloudbeds_auth.rules.token_response import (
    Ambiguous,
    Issued,
    KeyAnswer,
    NotOffered,
    NotSent,
    Refused,
    RefusedClient,
    TooLate,
)
from cloudbeds_auth.transactions.api_keys import add_key, begin_migration, end_migration
from cloudbeds_auth.transactions.apps import read_apps
from cloudbeds_auth.transactions.candidates import read_candidate
from cloudbeds_auth.transactions.connections import read_connection
from cloudbeds_auth.transactions.grants import Attempt, read_grant, settle, write_intent
from cloudbeds_auth.transactions.refusals import Counted

Unmoved = RefusedClient | NotOffered | NotSent | Ambiguous
AGAIN = 0.0  # seconds to wait before the connection is read again
MOST_LOOKS = 8  # times a connection is read again because something about it moved
REFUSED = "migration_refused"  # the reason when Cloudbeds exchanges none of the stored tokens


@dataclass(frozen=True, slots=True)
class Attempting:
    """What one attempt works with; `until` is when its caller gives up, by the steady clock. `named`: the app was named
    for this move, and may be another client than the grant's.
    """

    lease: Lease
    app: App
    chosen: Chosen
    until: float
    named: bool


class Migrator:
    """Moves hotels, one move at a time for each connection of this process; cancelling the caller cancels none.

    `flights`: the refreshes of this process.
    """

    def __init__(self, world: World, circuits: Circuits, candidates: Candidates, flights: Flights) -> None:
        self._world = world
        self._circuits = circuits
        self._candidates = candidates
        self._flights = flights
        self._leases = Leases(world)
        self._budget = Budget(world)
        self._marks = Marks(world)
        self._moves: dict[str, asyncio.Task[None]] = {}

    async def migrate(self, connection_id: str, *, app: str | None = None) -> None:
        """Move the hotel; done already, it is left as it is. `app`: the registration that makes the exchange.

        Raises UnknownConnection, ConnectionDisconnected, ReauthorizationRequired, MigrationRefused, ClientRefused,
        InvalidRequest for an app that there is not, and TryAgain's, after which a later call goes on.
        """
        task = self._moves.get(connection_id)
        if task is None:
            task = asyncio.create_task(self._migrate(connection_id, app), name=f"migrate {connection_id}")
            self._moves[connection_id] = task
            task.add_done_callback(lambda done: self._landed(connection_id, done))
        await asyncio.shield(task)

    async def go_on(self, row: Grant) -> None:
        """Go on with a move that was cut off, if its client is known here: another one's tokens would be refused."""
        known = (*self._world.apps.values(), *await self._world.db.read(read_apps()))
        app = next((one for one in known if one.client_id == row.migration_client), None)
        if app is not None:
            await self.migrate(row.connection_id, app=app.id)

    async def drain(self) -> bool:
        """Wait until what is under way is stored; whether there was any."""
        waited = bool(self._moves)
        while self._moves:
            await asyncio.wait(list(self._moves.values()))
        return waited

    def _landed(self, connection_id: str, done: asyncio.Task[None]) -> None:
        del self._moves[connection_id]
        if not done.cancelled():
            done.exception()  # told to whoever is still there

    # --- one attempt after another

    async def _migrate(self, connection_id: str, app_name: str | None) -> None:
        world = self._world
        if world.db.read_only:
            raise StoreReadOnly
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
        raise RefreshPending(connection_id=connection_id, retry_after=world.timing.backoff_first)

    async def _to_move(self, connection_id: str) -> Grant | None:
        """The OAuth grant that is to be moved; None when the connection's credential is a key that works."""
        await self._resume(connection_id)
        row = await current_grant(self._world.db, connection_id)
        if row is None:
            known = await self._world.db.read(read_connection(connection_id)) is not None
            raise (ConnectionDisconnected if known else UnknownConnection)(connection_id=connection_id)
        if row.role is Role.DISCONNECTED:
            raise ConnectionDisconnected(connection_id=connection_id)
        if row.role is Role.PARKED:
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
        """A key that was stored and not yet proven, or a newer approval, is gone on with first."""
        promoted = await self._candidates.resume(connection_id)
        if promoted is not None and promoted.kind is CredentialKind.API_KEY:
            self._world.observer.happened(Happening.MIGRATED, connection=connection_id)

    async def _attempt(self, row: Grant, app: App, until: float, *, named: bool) -> float:
        """One attempt that did not raise; seconds until the connection is read again, moved or not."""
        chosen = await self._circuits.choose(app)
        self._must_match(row, chosen.app, named=named)
        lease = await self._leases.take(Ask(row.id, seen=row.generation), until)
        if not isinstance(lease, Lease):  # somebody refreshed meanwhile
            return AGAIN
        async with self._leases.keep(lease):
            flight = self._flights.running(row.id)
            if flight is not None and flight.sending:
                # This process stood still for longer than the lease of its refresh, which is sent still: it ends first.
                raise RefreshPending(connection_id=row.connection_id, retry_after=self._world.timing.backoff_first)
            return await self._holding(row.id, Attempting(lease, chosen.app, chosen, until, named))

    def _must_match(self, row: Grant, app: App, *, named: bool) -> None:
        """Credentials that were given for this move may be another client's; never is it made at another origin."""
        self._world.must_match(row, None if named else app)

    # --- under the lease

    async def _holding(self, grant_id: str, at: Attempting) -> float:
        """With the lease no refresh is under way, but for one whose process was killed: that one is waited out."""
        world = self._world
        row = await world.db.read(read_grant(grant_id))
        if (
            row is None
            or row.role is not Role.ACTIVE
            or await world.db.read(read_candidate(row.connection_id)) is not None
        ):
            return AGAIN
        self._must_match(row, at.app, named=at.named)  # another process may have bound it meanwhile
        if row.migration is None and unresolved(row, world.timing):
            raise RefreshInDoubt(
                "the answer of a refresh was lost, and one that arrives late would kill the key",
                connection_id=row.connection_id,
                retry_after=world.timing.unresolved - (row.intent_age or 0.0),
            )
        if row.held_back > 0:
            return row.held_back
        tokens = await self._worth_sending(row, at.app)
        fence = Fence(row.id, row.generation, at.lease.epoch)
        if not await world.db.write(begin_migration(fence, at.app.client_id)):
            return AGAIN
        for token in candidates(tokens):
            answer = await self._exchanged(at, fence, row, token)
            if answer is None:
                return AGAIN
            if isinstance(answer, Issued):
                return await self._keep(row, at.app, answer.pair)
            if not isinstance(answer, Refused):
                return await self._stop(at, fence, row, answer)
            await world.db.write(settle(fence, Attempt.REFUSED, detail=answer.reason))
        return await self._count(at, row)

    async def _worth_sending(self, row: Grant, app: App) -> Sequence[StoredToken]:
        """Which tokens may be exchanged: as with a refresh the child, then the kept ones (rule 4), which a proof drops.

        Of an unproven pair it is not known which refresh token lives, and there are servers that end the grant where
        one is shown that died (V3): so the access token is asked about first, and then only the child is left.
        """
        if not row.kept or row.valid_for <= 0:
            return row.tokens
        verdict = await self._asked(row, app)
        if isinstance(verdict, Proof):
            await self._marks.proven(row)
            return row.tokens[-1:]
        return row.tokens

    async def _exchanged(self, at: Attempting, fence: Fence, row: Grant, token: StoredToken) -> KeyAnswer | None:
        """One exchange of this token; None when the fence moved or this process stood still, and nothing was sent."""
        world = self._world
        try:
            await self._budget.spend(at.app, at.until - world.clock.steady())
        except Error as error:
            error.connection_id = row.connection_id
            raise
        hold, may_send = world.timing.deadline, world.in_time()
        await self._circuits.trying(at.chosen)
        if not await world.db.write(
            write_intent(fence, token.position, lease=world.timing.lease, hold=hold, exchange=True)
        ):
            return None
        begun = world.clock.steady()
        answer = await world.token_endpoint.exchange_for_key(at.app, at.chosen.secret, token.value, may_send)
        world.told_answer(GrantType.EXCHANGE, answer, begun)
        if isinstance(answer, TooLate):
            await world.db.write(settle(fence, Attempt.UNSENT, detail=answer.reason))
            return None
        if isinstance(answer, Issued | Refused):
            await self._circuits.accepted(at.chosen)
        return answer

    async def _keep(self, row: Grant, app: App, key: Pair) -> float:
        """The key is in hand and nowhere else: stored for as long as it takes, and used by nobody before."""
        world, grant_id = self._world, self._world.entropy.identifier("gra_")
        key = replace(key, source=Source(world.issuer, _bound_to(row, app)))
        store = partial(world.db.write, add_key(row.id, grant_id, app.id, key))
        if await until_stored(world, row.connection_id, store):
            world.observer.happened(Happening.KEY_RECEIVED, connection=row.connection_id)
        return AGAIN  # it is proven next; or the hotel left, or approved anew meanwhile

    async def _stop(self, at: Attempting, fence: Fence, row: Grant, answer: Unmoved) -> float:
        """No key came. Where nothing was exchanged for certain, or no key can come any more, the hotel stays as it was;
        else the latch holds.
        """
        db, timing, connection_id = self._world.db, self._world.timing, row.connection_id
        match answer:
            case RefusedClient(reason):
                await db.write(settle(fence, Attempt.CLIENT_REFUSED, detail=reason))
                if await self._circuits.refused(at.chosen):
                    return AGAIN  # with the other secret
                error: Error = ClientRefused(f"Cloudbeds refuses this app's client id or secret ({reason})")
            case NotOffered(reason):
                if _may_still_come(row, timing):  # asked for once more when it cannot any more
                    await db.write(settle(fence, Attempt.NOT_OFFERED, hold=timing.unresolved, detail=reason))
                else:
                    await db.write(settle(fence, Attempt.CLIENT_REFUSED, detail=reason))
                error = MigrationRefused(reason)
            case NotSent(reason):
                hold = self._hold(row)
                await db.write(settle(fence, Attempt.UNSENT, hold=hold, detail=reason))
                error = TokenEndpointUnavailable(f"Cloudbeds could not be reached ({reason})", retry_after=hold)
            case _:
                await self._budget.heed(at.app, answer.pause)
                hold = max(self._hold(row), answer.retry_after or 0.0)
                await db.write(settle(fence, Attempt.LOST, hold=hold, detail=answer.reason))
                raise RefreshInDoubt(
                    f"the exchange had no usable answer, and is made again ({answer.reason})",
                    connection_id=connection_id, retry_after=hold,
                )  # fmt: skip
        # A key that nobody has, and nobody is given, cannot be killed: with the latch the hotel would be out for good.
        await db.write(end_migration(fence, in_doubt=isinstance(answer, NotOffered)))
        error.connection_id = connection_id
        raise error

    def _hold(self, row: Grant) -> float:
        timing = self._world.timing
        return max(timing.deadline, backoff(row.attempts, timing, self._world.entropy.unit()))

    async def _count(self, at: Attempting, row: Grant) -> float:
        """Every stored token was refused: the hotel has to approve again once that happened twice (rule 12)."""
        counted = await self._marks.count(row, at.lease.epoch, REFUSED, partial(self._asked, row, at.app))
        if counted in {Counted.MARKED, Counted.STILL_MARKED}:
            raise ReauthorizationRequired(
                "Cloudbeds exchanged none of this hotel's refresh tokens for an API key",
                connection_id=row.connection_id,
            )
        if counted in {Counted.MOVED, Counted.CANDIDATE, Counted.REPRIEVED}:
            return AGAIN
        raise RefreshInDoubt(
            "Cloudbeds refused every stored token; it is asked again before the hotel is asked to approve anew",
            connection_id=row.connection_id,
            retry_after=self._world.timing.refusal_interval,
        )

    async def _asked(self, row: Grant, app: App) -> Verdict | Error:
        """What `/userinfo` says of the stored access token, in its turn at the rate; the error where there is none."""
        app = await self._world.find(row.app) or app  # its turn counts for the client that it was issued to
        try:
            await self._budget.spend(app, BEHIND)
        except (RateLimited, StoreUnavailable) as error:
            return error
        verdict = await self._world.vendor.userinfo(row.access)
        await self._budget.heed_verdict(app, verdict)
        return verdict


def _may_still_come(row: Grant, timing: Timing) -> bool:
    """Whether an exchange may have been accepted whose answer can still come: made a short while ago, or, where what
    came after it was answered, nobody knows when.
    """
    lost = row.migration is Migration.IN_DOUBT or (row.migration is not None and row.intent is not None)
    return lost and (row.intent_age is None or row.intent_age < timing.unresolved)


def _bound_to(row: Grant, app: App) -> str | None:
    """The client id that a key is of: the grant's own. None where another client was given for the exchange: the
    service, whose settings go on with the former, serves the key.
    """
    return app.client_id if app.client_id == row.source.client_id else None
