"""Sending refresh tokens under the lease, for a pair or for an API key: no other code does it.

for the child, then the kept tokens, newest to oldest (rule-4, rule-5, rule-7, rule-15):
turn at the rate → intent → send ─┬→ issued: in hand, stored by the caller
├→ the token is refused: the next one
└→ anything else: noted, and no other token is tried
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial

from cloudbeds_auth.engine.client_secrets import ClientSecretChoice, ClientSecrets
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.lease import Lease
from cloudbeds_auth.engine.rate_limiter import BEHIND
from cloudbeds_auth.engine.single_flight import Flight
from cloudbeds_auth.errors import (
    ClientRefused,
    Error,
    MigrationRefused,
    RateLimited,
    RefreshInDoubt,
    StoreUnavailable,
    TokenEndpointUnavailable,
)
from cloudbeds_auth.rules.credential import GrantType
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.lifecycle import UNAUTHORIZED_CLIENT
from cloudbeds_auth.rules.model import Fence, Grant, Migration, Pair, StoredToken
from cloudbeds_auth.rules.refresh import Ask, Timing, backoff, candidates, may_arrive
from cloudbeds_auth.rules.token_response import (
    Ambiguous,
    Answer,
    Issued,
    KeyAnswer,
    NotOffered,
    NotSent,
    Refused,
    RefusedClient,
    TooLate,
    UnauthorizedClient,
)
from cloudbeds_auth.transactions.grants import AttemptEnd, Settled, settle, write_intent
from cloudbeds_auth.transactions.statements import Call

Unissued = Refused | RefusedClient | UnauthorizedClient | NotOffered | NotSent | Ambiguous
Ended = partial[Call[Settled]]
"""`settle` for one answer, without how the attempt ended and for how long the next one is held back."""


class Again(Enum):
    """Why an attempt ended without an answer."""

    RESTART = "the fence moved, or another secret may be accepted: the row is read again"
    STOOD_STILL = "the lease may be over: nothing was sent, and it is taken anew"


@dataclass(frozen=True, slots=True)
class InHand:
    """What Cloudbeds issued for `sent`, not yet durable. `under`: the lease epoch under which it was sent; `received`:
    when the pair came, by the steady clock.
    """

    pair: Pair
    sent: StoredToken
    under: int
    received: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why nothing was issued and no other token is tried. `answer`: the endpoint's; None where nothing was sent."""

    error: Error
    answer: Unissued | None = None


@dataclass(frozen=True, slots=True)
class UnderLease:
    """What one attempt works with. `until`: when its caller gives up, by the steady clock."""

    lease: Lease
    chosen: ClientSecretChoice
    until: float


@dataclass(frozen=True, slots=True)
class Refreshing(UnderLease):
    """What one refresh works with; its callers wait in `flight`. `read`: when the row was read, in steady seconds."""

    flight: Flight
    read: float

    @property
    def ask(self) -> Ask:
        """Why the refresh is wanted."""
        return self.flight.ask


class Sender:
    """Sends refresh tokens, for a pair (`Refreshing`) or for an API key (any other attempt).

    `before_sending(connection_id)` is called when the stored access token is about to die.
    """

    def __init__(self, world: World, client_secrets: ClientSecrets, before_sending: Callable[[str], None]) -> None:
        self._world = world
        self._client_secrets = client_secrets
        self._before_sending = before_sending

    async def send(self, at: UnderLease, row: Grant, tokens: Sequence[StoredToken]) -> InHand | Again | Stopped | None:
        """Send one token after the other until Cloudbeds issues something; None: each was refused (see rule-12)."""
        world = self._world
        fence = Fence(row.id, row.generation, at.lease.epoch)
        for token in candidates(tokens):
            # Before the intent, whose hold and lease are meant for the answer, not for the wait in the queue.
            stopped = await self._no_turn(at, row)
            if stopped is not None:
                return stopped
            _sending(at, True)
            answer = await self._answer(at, fence, row, token)
            if isinstance(answer, Issued):  # the flight counts as sending until the pair is published
                return InHand(answer.pair, token, fence.epoch, world.clock.steady())
            ended = answer if isinstance(answer, Again | Stopped) else await self._settle(at, fence, row, answer)
            _sending(at, False)
            if ended is not None:
                return ended
        return None

    async def _no_turn(self, at: UnderLease, row: Grant) -> Stopped | None:
        """Wait for the next request's turn at Cloudbeds; the reason, if the turn does not come in time."""
        try:
            await self._world.limiter(at.chosen.app).spend(self.patience(at))
        except (RateLimited, StoreUnavailable) as error:
            error.connection_id = row.connection_id
            return Stopped(error)
        return None

    def patience(self, at: UnderLease) -> float:
        """The seconds that a request of this attempt may wait for its turn."""
        patient = not isinstance(at, Refreshing) or at.ask.patient
        return at.until - self._world.clock.steady() if patient else BEHIND

    async def _answer(
        self, at: UnderLease, fence: Fence, row: Grant, token: StoredToken
    ) -> Answer | KeyAnswer | Again | Stopped:
        """Write the intent, then send the request; without an intent nothing is sent."""
        world, timing, exchange = self._world, self._world.timing, not isinstance(at, Refreshing)
        may_send = world.in_time()
        asked = isinstance(at, Refreshing) and at.ask.operator
        intent = write_intent(
            fence, token.position, lease=timing.lease, hold=timing.deadline, exchange=exchange, asked=asked
        )
        try:
            await self._client_secrets.trying(at.chosen)
            written = await world.db.write(intent)
        except (StoreUnavailable, ClientRefused) as error:
            return Stopped(error)
        if not written:
            return Again.RESTART
        begun, app, secret = world.clock.steady(), at.chosen.app, at.chosen.secret
        if exchange:
            key = await world.token_endpoint.exchange_for_key(app, secret, token.value, may_send)
            world.report_answer(GrantType.EXCHANGE, key, begun, row.connection_id)
            return key
        self._before_sending(row.connection_id)
        answer = await world.token_endpoint.refresh(app, secret, token.value, may_send)
        world.report_answer("refresh_token", answer, begun, row.connection_id)
        return answer

    async def _settle(self, at: UnderLease, fence: Fence, row: Grant, answer: Unissued) -> Again | Stopped | None:
        """Record an answer that issued nothing. None: this token was refused, and the next one is tried."""
        db, timing, ended = self._world.db, self._world.timing, partial(settle, fence, detail=answer.reason)
        match answer:
            case Refused():
                await self._client_secrets.accepted(at.chosen)  # the client was not refused
                settled = await db.write(ended(AttemptEnd.REFUSED))
                return Again.RESTART if settled is Settled.MOVED else None
            case TooLate():
                await db.write(ended(AttemptEnd.UNSENT))
                return Again.STOOD_STILL
            case RefusedClient(reason):
                await db.write(ended(AttemptEnd.CLIENT_REFUSED))
                if await self._client_secrets.refused(at.chosen) or isinstance(at, Refreshing):
                    return Again.RESTART  # with the other secret, or to find the circuit open then
                error: Error = ClientRefused(f"Cloudbeds refuses this app's client id or secret ({reason})")
            case UnauthorizedClient():
                error = await self._unauthorized(at, row, answer, ended)
            case NotOffered(reason):
                hold = timing.unresolved if may_still_come(row, timing) else 0.0  # then it is sent once more
                await db.write(ended(AttemptEnd.CLIENT_REFUSED, hold=hold))
                error = MigrationRefused(reason)
            case NotSent(reason):
                hold = self._hold(row)
                await db.write(ended(AttemptEnd.UNSENT, hold=hold))
                error = TokenEndpointUnavailable(f"Cloudbeds could not be reached ({reason})", retry_after=hold)
            case _:
                error = await self._lost(at, row, answer, ended)
        error.connection_id = row.connection_id
        return Stopped(error, answer)

    async def _unauthorized(self, at: UnderLease, row: Grant, answer: UnauthorizedClient, ended: Ended) -> Error:
        hold = self._hold(row)
        await self._world.db.write(ended(AttemptEnd.UNAUTHORIZED, hold=hold))
        # A grant that is already held back on its own says nothing new about the client.
        if answer.agrees and row.problem != UNAUTHORIZED_CLIENT and self._client_secrets.agreed(at.chosen, row.id):
            await self._client_secrets.refused(at.chosen)
        return ClientRefused(
            f"Cloudbeds does not let this client id use the hotel's tokens ({answer.reason})", retry_after=hold
        )

    async def _lost(self, at: UnderLease, row: Grant, answer: Ambiguous, ended: Ended) -> Error:
        await self._world.limiter(at.chosen.app).pause(answer.pause)
        hold = max(self._hold(row), answer.retry_after)
        unknown = answer.unrecognized if isinstance(at, Refreshing) else None  # an exchange's are not counted
        settled = await self._world.db.write(ended(AttemptEnd.LOST, hold=hold, unrecognized=unknown))
        if settled is Settled.UNRECOGNIZED:
            self._world.observer.happened(
                Happening.UNRECOGNIZED_REFUSAL, connection_id=row.connection_id, answer=answer.unrecognized
            )
        return RefreshInDoubt(f"Cloudbeds' token endpoint gave no usable answer ({answer.reason})", retry_after=hold)

    def _hold(self, row: Grant) -> float:
        timing = self._world.timing
        return max(timing.deadline, backoff(row.attempts, timing, self._world.entropy.unit()))


def _sending(at: UnderLease, value: bool) -> None:
    """Note whether a refresh token is being sent: the flight may not be cancelled then, and the access token dies."""
    if isinstance(at, Refreshing):
        at.flight.sending = value


def may_still_come(row: Grant, timing: Timing) -> bool:
    """Whether the answer of an exchange that may have been accepted can still come: it was sent a short while ago."""
    lost = row.migration is Migration.IN_DOUBT or (row.migration is not None and row.intent is not None)
    return lost and may_arrive(row, timing)
