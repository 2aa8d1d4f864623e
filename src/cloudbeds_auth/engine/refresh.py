"""The refresh of one grant: the only place that sends a refresh token (docs/rotation.md#algorithm).

`rules.refresh.decide` names the next step; this module takes it, under the lease:

    lease → read → decide ─┬→ serve, wait, or raise
                           ├→ prove with the stored token → …
                           └→ intent → send → commit → publish → prove → release
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from cloudbeds_auth.engine.client_secrets import ClientSecretChoice, ClientSecrets
from cloudbeds_auth.engine.commit import Committer
from cloudbeds_auth.engine.context import World, refused_for_good
from cloudbeds_auth.engine.lease import Leases
from cloudbeds_auth.engine.proofs import Marks, verdict_on
from cloudbeds_auth.engine.sending import Again, InHand, Refreshing, Sender, Stopped
from cloudbeds_auth.engine.single_flight import Flight, Flights, GrantSuperseded, ServedToken
from cloudbeds_auth.errors import (
    ClientRefused,
    ConnectionDisconnected,
    Error,
    NotRefreshable,
    RefreshInDoubt,
    RefreshPending,
    StoreReadOnly,
    StoreUnavailable,
    TokenEndpointUnavailable,
    TryAgain,
)
from cloudbeds_auth.rules.api_errors import REVOKED, DeadGrant, DeadToken, Proof, Verdict
from cloudbeds_auth.rules.lifecycle import MIGRATION_UNDER_WAY, UNAUTHORIZED_CLIENT
from cloudbeds_auth.rules.model import CredentialKind, Grant
from cloudbeds_auth.rules.presentation import SERVING
from cloudbeds_auth.rules.refresh import (
    Ask,
    Next,
    decide,
    may_mark,
    servable,
    settles,
    unresolved,
)
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.candidates import read_candidate
from cloudbeds_auth.transactions.grants import read_grant
from cloudbeds_auth.transactions.refusals import Counted


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Too soon after the last attempt: wait this long, or give up with this error."""

    seconds: float
    error: Error


class Refresher:
    """Refreshes grants. `before_sending(connection_id)` is called before the stored access token may die."""

    def __init__(self, world: World, client_secrets: ClientSecrets, before_sending: Callable[[str], None]) -> None:
        self._world = world
        self._client_secrets = client_secrets
        self._leases = Leases(world)
        self._sender = Sender(world, client_secrets, before_sending)
        self._marks = Marks(world)
        self._committer = Committer(world, client_secrets, self._leases)
        # By grant, the generation whose access token `/userinfo` has just answered 401, and until when that counts.
        self._dead: dict[str, tuple[int, float]] = {}
        self.flights: Final = Flights(world, self._until_served)

    async def refresh(self, ask: Ask) -> ServedToken:
        """A token newer than the one asked about, or one proven good. See `Flights.ask`."""
        return await self.flights.ask(ask)

    # --- one attempt after another, until there is an answer

    async def _until_served(self, flight: Flight) -> ServedToken:
        world, ask = self._world, flight.ask
        if world.db.read_only:
            raise StoreReadOnly(connection_id=ask.connection_id)
        until = world.clock.steady() + world.timing.wait
        while True:
            turn = await self._attempt(flight, until)
            if isinstance(turn, ServedToken):
                return turn
            if isinstance(turn, HeldBack):
                if not ask.patient or world.clock.steady() + turn.seconds > until:
                    raise turn.error
                served = await self._leases.wait(ask, turn.seconds, held_back=True)
                if served is not None:
                    return served
            elif turn is Again.STOOD_STILL:  # so did the caller, in this process
                until = world.clock.steady() + world.timing.wait
            elif world.clock.steady() >= until:
                raise RefreshPending(connection_id=ask.connection_id)

    async def _attempt(self, flight: Flight, until: float) -> ServedToken | HeldBack | Again:
        read = self._world.clock.steady()
        grant = await self._world.db.read(read_grant(flight.ask.grant_id))
        if grant is None:
            raise ConnectionDisconnected(connection_id=flight.ask.connection_id)
        flight.connection_id = grant.connection_id
        try:
            app = await self._world.app_of(grant)
            is_key = grant.kind is CredentialKind.API_KEY  # for a key nothing but the key itself is ever sent
            chosen = (
                ClientSecretChoice(app, Secret(""), "", on_trial=False)
                if is_key
                else await self._client_secrets.choose(app, grant)
            )
            lease = await self._leases.take(flight.ask, until)
        except StoreUnavailable as error:
            return self._serve(self._aged(grant, read), flight.ask, error)
        if isinstance(lease, ServedToken):
            return lease
        async with self._leases.keep(lease):
            return await self._holding(Refreshing(lease, chosen, until, flight, self._world.clock.steady()))

    # --- under the lease

    async def _holding(self, at: Refreshing) -> ServedToken | HeldBack | Again:
        ask, timing = at.ask, self._world.timing
        row = await self._world.db.read(read_grant(ask.grant_id))
        step = decide(row, ask, timing)
        if row is None or step is Next.GONE:
            raise ConnectionDisconnected(connection_id=ask.connection_id)
        self._world.must_match(row, at.chosen.app)  # another process may have bound the grant to a client meanwhile
        if step is Next.RESTART:
            raise GrantSuperseded
        if step is Next.RETURN:
            return ServedToken(row)
        if step in {Next.KEY_RETURN, Next.LATCHED}:
            return await self._serve_or_newer(row, ask, _not_refreshable(row))
        if step is Next.MARKED:
            raise refused_for_good(row)
        if step is Next.HELD_BACK:
            return self._held_back(row, ask)
        if step is Next.BRAKED:
            raise _braked(row, row.braked)
        if step is Next.PROBE and self._is_dead(row) and not may_mark(row, timing):
            # Its token was asked about a moment ago, and the turn at the vendor is better spent on the refresh.
            return await self._send(at, replace(row, valid_for=0.0))
        if step in {Next.PROBE, Next.KEY_PROBE}:
            return await self._probe(at, row, key=step is Next.KEY_PROBE)
        return await self._send(at, row)

    def _aged(self, row: Grant, read: float) -> Grant:
        """The row as it is now: waiting for a lease, a turn and an answer may have taken time since it was read."""
        return row.aged(self._world.clock.steady() - read)

    def _serve(self, row: Grant, ask: Ask, error: Error) -> ServedToken:
        """SERVE: the stored token if it is unexpired and the caller did not name it as rejected; else the error."""
        if self._servable(row, ask):
            return ServedToken(row)
        raise error

    def _servable(self, row: Grant, ask: Ask) -> bool:
        return servable(row, ask) and not self._is_dead(row)

    def _is_dead(self, row: Grant) -> bool:
        """Whether `/userinfo` rejected the stored access token a moment ago. An older answer does not count: the token
        is asked about again, or served. Cloudbeds may have been wrong for a while, and may never be asked for a proof.
        """
        generation, until = self._dead.get(row.id, (0, 0.0))
        return generation == row.generation and self._world.clock.steady() < until

    async def _serve_or_newer(self, row: Grant, ask: Ask, error: Error) -> ServedToken:
        """SERVE, for a grant that yields nothing newer now. Instead of getting the error, the caller continues with the
        newer approval, or the key, that waits to be proven, if there is one.
        """
        if not self._servable(row, ask):
            waiting = await self._world.db.read(read_candidate(row.connection_id))
            if waiting is not None and waiting.id != row.id:
                raise GrantSuperseded
        return self._serve(row, ask, error)

    def _held_back(self, row: Grant, ask: Ask) -> ServedToken | HeldBack:
        if self._servable(row, ask):
            return ServedToken(row)
        kind: type[ClientRefused | TryAgain] = TokenEndpointUnavailable
        if row.problem == UNAUTHORIZED_CLIENT:
            kind = ClientRefused
        elif row.refusals or unresolved(row, self._world.timing):
            kind = RefreshInDoubt
        return HeldBack(row.held_back, kind(connection_id=row.connection_id, retry_after=row.held_back))

    async def _probe(self, at: Refreshing, row: Grant, *, key: bool) -> ServedToken | HeldBack | Again:
        """Prove before spending (rule-3): ask `/userinfo` with the stored access token first."""
        ask, asked = at.ask, self._world.clock.steady()
        verdict = await self._asked(at, row)
        match verdict:
            case Error():
                return self._serve(self._aged(row, at.read), ask, verdict)
            case Proof():
                await self._committer.confirm(row)
                if key or settles(row, ask, self._world.timing):
                    return ServedToken(self._aged(row, at.read), asked)
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
                return self._serve(self._aged(row, at.read), ask, RefreshInDoubt(
                    f"Cloudbeds could not be asked whether the token works ({verdict.reason})",
                    connection_id=row.connection_id,
                ))  # fmt: skip

    async def _asked(self, at: Refreshing, row: Grant) -> Verdict | Error:
        """What `/userinfo` says about the stored access token, asked in turn; the error if there was no turn."""
        verdict = await verdict_on(self._world, at.chosen.app, row, self._sender.patience(at))
        if isinstance(verdict, DeadToken):
            # So the token is neither served again, nor asked about by the next refresh.
            self._dead[row.id] = row.generation, self._world.clock.steady() + self._world.timing.refusal_interval
        elif isinstance(verdict, Proof):
            self._dead.pop(row.id, None)
        return verdict

    async def _send(self, at: Refreshing, row: Grant) -> ServedToken | HeldBack | Again:
        """Send every stored token, in order, until one brings a pair."""
        sent = await self._sender.send(at, row, row.tokens)
        match sent:
            case InHand():
                return await self._committer.commit(at.flight, at.lease, row, sent, at.chosen)
            case Stopped(error):
                return self._serve(self._aged(row, at.read), at.ask, error)
            case None:
                return await self._count(at, row, REVOKED)
        return sent

    async def _count(self, at: Refreshing, row: Grant, reason: str) -> ServedToken | Again:
        """A whole pass was refused, or `/userinfo` named a dead grant (rule-12)."""
        counted = await self._marks.count(row, at.lease.epoch, reason, partial(self._asked, at, row))
        if counted is Counted.MOVED:
            return Again.RESTART
        if counted in {Counted.MARKED, Counted.STILL_MARKED}:
            raise refused_for_good(row)
        return await self._serve_or_newer(self._aged(row, at.read), at.ask, RefreshInDoubt(
            "Cloudbeds refused every stored token; it is asked again before the hotel is asked to reconnect",
            connection_id=row.connection_id, retry_after=self._world.timing.refusal_interval,
        ))  # fmt: skip


def _braked(row: Grant, seconds: float) -> RefreshInDoubt:
    return RefreshInDoubt(
        "Cloudbeds answers 401 to every question: another 401 causes no request yet",
        connection_id=row.connection_id,
        retry_after=seconds,
    )


def _not_refreshable(row: Grant) -> Error:
    """The error for a key, which is never refreshed; for a hotel that is being moved to one, what is in the way."""
    if row.reauth is not None:
        return refused_for_good(row, f"Cloudbeds refuses every stored token ({row.reauth})")
    if row.migration is not None:
        return NotRefreshable(
            "this hotel is being moved to an API key, and its last access token is not good any more",
            connection_id=row.connection_id,
            next_step=SERVING[MIGRATION_UNDER_WAY].text,
        )
    return NotRefreshable(connection_id=row.connection_id)
