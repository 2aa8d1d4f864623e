"""The refresh of one grant: the only place that sends a refresh token (ROTATION section 3).

`rules.refresh.decide` says the one next thing; this module does it, under the lease:

    lease → read → decide ─┬→ serve, wait, or raise
                           ├→ prove with the stored token → …
                           └→ intent → send → commit → publish → prove → release
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial

from cloudbeds_auth.engine.client_secrets import Chosen, Circuits
from cloudbeds_auth.engine.commit import Committer, InHand
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.lease import Lease, Leases
from cloudbeds_auth.engine.marks import Marks
from cloudbeds_auth.engine.rate_limiter import BEHIND, Budget
from cloudbeds_auth.engine.single_flight import Flight, Flights, GrantSuperseded, Served
from cloudbeds_auth.errors import (
    ClientRefused,
    ConnectionDisconnected,
    Error,
    NotRefreshable,
    RateLimited,
    ReauthorizationRequired,
    RefreshInDoubt,
    RefreshPending,
    StoreReadOnly,
    StoreUnavailable,
    TokenEndpointUnavailable,
    TryAgain,
)
from cloudbeds_auth.rules.api_errors import REVOKED, DeadGrant, DeadToken, Proof, Verdict
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.lifecycle import UNAUTHORIZED_CLIENT
from cloudbeds_auth.rules.model import CredentialKind, Fence, Grant
from cloudbeds_auth.rules.refresh import (
    Ask,
    Next,
    backoff,
    candidates,
    decide,
    may_mark,
    servable,
    settles,
)
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import (
    Issued,
    NotSent,
    Refused,
    RefusedClient,
    TooLate,
    UnauthorizedClient,
    Unissued,
)
from cloudbeds_auth.transactions.candidates import read_candidate
from cloudbeds_auth.transactions.grants import Attempt, Settled, read_grant, settle, write_intent
from cloudbeds_auth.transactions.refusals import Counted


class Turn(Enum):
    """Why an attempt ended without an answer."""

    RESTART = "the fence moved: look again"
    STOOD_STILL = "the lease may be over: nothing was sent, take it anew"


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Too soon after the last attempt: wait this long, or give up with this error."""

    seconds: float
    error: Error


@dataclass(frozen=True, slots=True)
class UnderLease:
    """What an attempt under the lease works with; `until` is when its caller gives up, by the steady clock."""

    flight: Flight
    lease: Lease
    chosen: Chosen
    until: float

    @property
    def ask(self) -> Ask:
        """Why the refresh is wanted."""
        return self.flight.ask


class Refresher:
    """Refreshes grants. `before_sending(connection_id)` is told when the stored access token is about to die."""

    def __init__(self, world: World, circuits: Circuits, before_sending: Callable[[str], None]) -> None:
        self._world = world
        self._circuits = circuits
        self._before_sending = before_sending
        self._leases = Leases(world)
        self._budget = Budget(world)
        self._marks = Marks(world)
        self._committer = Committer(world, circuits, self._leases)
        # By grant, the generation whose access token `/userinfo` has just answered 401, and until when that counts.
        self._dead: dict[str, tuple[int, float]] = {}
        self.flights = Flights(world, self._until_served)

    async def refresh(self, ask: Ask) -> Served:
        """A token newer than what was asked about, or one proven good. See `Flights.ask`."""
        return await self.flights.ask(ask)

    # --- one attempt after another, until there is an answer

    async def _until_served(self, flight: Flight) -> Served:
        world, ask = self._world, flight.ask
        if world.db.read_only:
            raise StoreReadOnly
        until = world.clock.steady() + world.timing.wait
        while True:
            turn = await self._attempt(flight, until)
            if isinstance(turn, Served):
                return turn
            if isinstance(turn, HeldBack):
                if not ask.patient or world.clock.steady() + turn.seconds > until:
                    raise turn.error
                served = await self._leases.wait(ask, turn.seconds, held_back=True)
                if served is not None:
                    return served
            elif turn is Turn.STOOD_STILL:  # whoever asked stood still with this process
                until = world.clock.steady() + world.timing.wait
            elif world.clock.steady() >= until:
                raise RefreshPending(retry_after=world.timing.backoff_first)

    async def _attempt(self, flight: Flight, until: float) -> Served | HeldBack | Turn:
        grant = await self._world.db.read(read_grant(flight.ask.grant_id))
        if grant is None:
            raise ConnectionDisconnected
        try:
            app = await self._world.app_of(grant)
            is_key = grant.kind is CredentialKind.API_KEY  # nothing is ever sent for one but the key itself
            chosen = Chosen(app, Secret(""), "", on_trial=False) if is_key else await self._circuits.choose(app, grant)
            lease = await self._leases.take(flight.ask, until)
        except StoreUnavailable as error:
            return self._serve(grant, flight.ask, error)
        if isinstance(lease, Served):
            return lease
        async with self._leases.keep(lease):
            return await self._holding(UnderLease(flight, lease, chosen, until))

    # --- under the lease

    async def _holding(self, at: UnderLease) -> Served | HeldBack | Turn:
        ask, timing = at.ask, self._world.timing
        row = await self._world.db.read(read_grant(ask.grant_id))
        step = decide(row, ask, timing)
        if row is None or step is Next.GONE:
            raise ConnectionDisconnected
        self._world.must_match(row, at.chosen.app)  # another process may have bound it meanwhile
        if step is Next.RESTART:
            raise GrantSuperseded
        if step is Next.RETURN:
            return Served(row)
        if step in {Next.KEY_RETURN, Next.LATCHED}:
            return await self._serve_or_newer(row, ask, _not_refreshable(row))
        if step is Next.MARKED:
            raise ReauthorizationRequired(connection_id=row.connection_id)
        if step is Next.HELD_BACK:
            return self._held_back(row, ask)
        if step is Next.BRAKED:
            raise _braked(row, row.braked)
        if step is Next.PROBE and self._is_dead(row) and not may_mark(row, timing):
            # It was asked about a moment ago, and the turn at the vendor is better spent on the refresh.
            return await self._send(at, replace(row, valid_for=0.0))
        if step in {Next.PROBE, Next.KEY_PROBE}:
            return await self._probe(at, row, key=step is Next.KEY_PROBE)
        return await self._send(at, row)

    def _serve(self, row: Grant, ask: Ask, error: Error) -> Served:
        """SERVE: the stored token while it is unexpired and nobody named it as rejected, else the error."""
        if self._servable(row, ask):
            return Served(row)
        raise error

    def _servable(self, row: Grant, ask: Ask) -> bool:
        return servable(row, ask) and not self._is_dead(row)

    def _is_dead(self, row: Grant) -> bool:
        """Whether `/userinfo` rejected the stored access token a moment ago. Of an earlier answer it is asked again, or
        the token served: Cloudbeds may have been wrong for a while, and a proof may never be asked for.
        """
        generation, until = self._dead.get(row.id, (0, 0.0))
        return generation == row.generation and self._world.clock.steady() < until

    async def _serve_or_newer(self, row: Grant, ask: Ask, error: Error) -> Served:
        """SERVE, of a grant from which nothing newer comes now. Instead of the error, whoever asked goes on with the
        newer approval, or the key, that waits to be proven.
        """
        if not self._servable(row, ask):
            waiting = await self._world.db.read(read_candidate(row.connection_id))
            if waiting is not None and waiting.id != row.id:
                raise GrantSuperseded
        return self._serve(row, ask, error)

    def _held_back(self, row: Grant, ask: Ask) -> Served | HeldBack:
        if self._servable(row, ask):
            return Served(row)
        kind: type[ClientRefused | TryAgain] = TokenEndpointUnavailable
        if row.problem == UNAUTHORIZED_CLIENT:
            kind = ClientRefused
        elif row.refusals or row.intent is not None:
            kind = RefreshInDoubt
        return HeldBack(row.held_back, kind(connection_id=row.connection_id, retry_after=row.held_back))

    async def _probe(self, at: UnderLease, row: Grant, *, key: bool) -> Served | HeldBack | Turn:
        """Prove before spending (rule 3): ask `/userinfo` with the stored access token first."""
        ask, asked = at.ask, self._world.clock.steady()
        verdict = await self._asked(at, row)
        match verdict:
            case Error():
                return self._serve(row, ask, verdict)
            case Proof():
                await self._committer.confirm(row)
                if key or settles(row, ask, self._world.timing):
                    return Served(replace(row, reauth=None), asked)
                return await self._send(at, replace(row, tokens=row.tokens[-1:]))
            case DeadToken(documented=False) if key:
                raise _braked(row, await self._committer.denied(row))
            case DeadToken() if key:
                return await self._count(at, replace(row, valid_for=0.0), REVOKED)
            case DeadToken():
                return await self._send(at, replace(row, valid_for=0.0))
            case DeadGrant(reason):
                return await self._count(at, replace(row, valid_for=0.0), reason)
            case _:
                return self._serve(row, ask, RefreshInDoubt(
                    f"Cloudbeds could not be asked whether the token works ({verdict.reason})",
                    connection_id=row.connection_id, retry_after=self._world.timing.backoff_first,
                ))  # fmt: skip

    async def _asked(self, at: UnderLease, row: Grant) -> Verdict | Error:
        """What `/userinfo` says of the stored access token, in its turn at the rate; the error where there is none."""
        short = await self._no_turn(at, row)
        if short is not None:
            return short
        verdict = await self._world.vendor.userinfo(row.access)
        self._world.observer.happened(Happening.PROOF, verdict=type(verdict).__name__)
        await self._budget.heed_verdict(at.chosen.app, verdict)
        if isinstance(verdict, DeadToken):
            # Neither served again, nor asked about by the next refresh.
            self._dead[row.id] = row.generation, self._world.clock.steady() + self._world.timing.refusal_interval
        elif isinstance(verdict, Proof):
            self._dead.pop(row.id, None)
        return verdict

    async def _send(self, at: UnderLease, row: Grant) -> Served | HeldBack | Turn:
        """The child first, then the kept ones newest to oldest; only a definitive refusal moves on (rules 4, 5)."""
        world, timing = self._world, self._world.timing
        for token in candidates(row.tokens):
            # Before the intent: what it holds back and the lease that it takes are for the answer, not for the queue.
            short = await self._no_turn(at, row)
            if short is not None:
                return self._serve(row, at.ask, short)
            fence = Fence(row.id, row.generation, at.lease.epoch)
            at.flight.sending = True
            may_send = world.in_time()
            try:
                await self._circuits.trying(at.chosen)
                written = await world.db.write(
                    write_intent(fence, token.position, lease=timing.lease, hold=timing.deadline)
                )
            except (StoreUnavailable, ClientRefused) as error:
                at.flight.sending = False
                return self._serve(row, at.ask, error)  # nothing was sent
            if not written:
                at.flight.sending = False
                return Turn.RESTART
            self._before_sending(row.connection_id)
            begun = world.clock.steady()
            answer = await world.token_endpoint.refresh(at.chosen.app, at.chosen.secret, token.value, may_send)
            world.told_answer("refresh_token", answer, begun)
            if isinstance(answer, Issued):
                hand = InHand(answer.pair, token, world.clock.steady())
                return await self._committer.commit(at.flight, at.lease, row, hand, at.chosen)
            ended = await self._settle(at, fence, row, answer)
            at.flight.sending = False
            if ended is not None:
                return ended
        return await self._count(at, row, REVOKED)

    async def _no_turn(self, at: UnderLease, row: Grant) -> Error | None:
        """Wait for the next request's turn at the vendor; why not, when it does not come in time. Nothing was sent."""
        world = self._world
        patience = at.until - world.clock.steady() if at.ask.patient else BEHIND
        try:
            await self._budget.spend(at.chosen.app, patience)
        except (RateLimited, StoreUnavailable) as error:
            error.connection_id = row.connection_id
            return error
        return None

    async def _settle(self, at: UnderLease, fence: Fence, row: Grant, answer: Unissued) -> Served | Turn | None:
        """Record an answer without a pair. None: this token is refused, go on with the next."""
        db = self._world.db
        match answer:
            case Refused(reason):
                await self._circuits.accepted(at.chosen)  # the client was not refused
                settled = await db.write(settle(fence, Attempt.REFUSED, detail=reason))
                return Turn.RESTART if settled is Settled.MOVED else None
            case UnauthorizedClient(reason, says):
                hold = self._hold(row)
                await db.write(settle(fence, Attempt.UNAUTHORIZED, hold=hold, detail=reason))
                # One that is held alone already says nothing new of the client.
                if says and row.problem != UNAUTHORIZED_CLIENT and self._circuits.agreed(at.chosen, row.id):
                    await self._circuits.refused(at.chosen)
                error: Error = ClientRefused(
                    f"Cloudbeds does not let this client id use the hotel's tokens ({reason})",
                    connection_id=row.connection_id,
                    retry_after=hold,
                )
            case RefusedClient(reason):
                await db.write(settle(fence, Attempt.CLIENT_REFUSED, detail=reason))
                await self._circuits.refused(at.chosen)
                return Turn.RESTART  # with the other secret, or to find the circuit open
            case TooLate(reason):
                await db.write(settle(fence, Attempt.UNSENT, detail=reason))
                return Turn.STOOD_STILL
            case NotSent(reason):
                hold = self._hold(row)
                await db.write(settle(fence, Attempt.UNSENT, hold=hold, detail=reason))
                error = TokenEndpointUnavailable(
                    f"Cloudbeds could not be reached ({reason})", connection_id=row.connection_id, retry_after=hold
                )
            case _:
                hold = max(self._hold(row), answer.retry_after or 0.0)
                settled = await db.write(
                    settle(fence, Attempt.LOST, hold=hold, detail=answer.reason, unrecognized=answer.unrecognized)
                )
                if settled is Settled.UNRECOGNIZED:
                    self._world.observer.happened(
                        Happening.UNRECOGNIZED_REFUSAL, connection=row.connection_id, answer=answer.unrecognized
                    )
                await self._budget.heed(at.chosen.app, answer.pause)
                error = RefreshInDoubt(
                    f"Cloudbeds' token endpoint gave no usable answer ({answer.reason})",
                    connection_id=row.connection_id,
                    retry_after=hold,
                )
        return self._serve(row, at.ask, error)

    def _hold(self, row: Grant) -> float:
        timing = self._world.timing
        return max(timing.deadline, backoff(row.attempts, timing, self._world.entropy.unit()))

    async def _count(self, at: UnderLease, row: Grant, reason: str) -> Served | Turn:
        """A whole pass was refused, or `/userinfo` named a dead grant (rule 12)."""
        counted = await self._marks.count(row, at.lease.epoch, reason, partial(self._asked, at, row))
        if counted is Counted.MOVED:
            return Turn.RESTART
        if counted in {Counted.MARKED, Counted.STILL_MARKED}:
            raise ReauthorizationRequired(connection_id=row.connection_id)
        return await self._serve_or_newer(row, at.ask, RefreshInDoubt(
            "Cloudbeds refused every stored token; it is asked again before the hotel is asked to reconnect",
            connection_id=row.connection_id, retry_after=self._world.timing.refusal_interval,
        ))  # fmt: skip


def _braked(row: Grant, seconds: float) -> RefreshInDoubt:
    return RefreshInDoubt(
        "Cloudbeds answers 401 to whatever it is asked with: nothing is sent for another 401 yet",
        connection_id=row.connection_id,
        retry_after=seconds,
    )


def _not_refreshable(row: Grant) -> Error:
    """A key is never refreshed; of a hotel that is being moved to one, what is in the way."""
    if row.reauth is not None:
        return ReauthorizationRequired(
            f"Cloudbeds refuses every stored token ({row.reauth})", connection_id=row.connection_id
        )
    if row.migration is not None:
        return NotRefreshable(
            "this hotel is being moved to an API key, and its last access token is not good any more",
            connection_id=row.connection_id,
            next_step="upkeep goes on with it, and `cloudbeds-auth connections migrate-to-api-key` does at once",
        )
    return NotRefreshable(connection_id=row.connection_id)
