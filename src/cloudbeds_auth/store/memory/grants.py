"""Lease, intent, outcome, commit, proof, refusal (ROTATION section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cloudbeds_auth.core.lifecycle import Event, State, move
from cloudbeds_auth.core.nouns import CredentialKind, Fence, Grant, Migration, Pair, Role, StoredToken
from cloudbeds_auth.core.upkeep import PROVED_AGAIN
from cloudbeds_auth.ports.grants import CALL_REFUSED, ENDINGS, Attempt, Busy, Calls, Counted, Leased, Written
from cloudbeds_auth.store.memory.announcing import Announcing
from cloudbeds_auth.store.memory.importing import settle_property
from cloudbeds_auth.store.memory.rows import grant_of, lasting, left, set_due, set_due_in
from cloudbeds_auth.store.memory.shelf import Shelf
from cloudbeds_auth.store.memory.tables import GrantRow


class Grants(Announcing):
    """`ports.grants.GrantStore`."""

    async def grant(self, grant_id: str) -> Grant | None:
        """See ports.grants."""
        row = self._tables.grants.get(grant_id)
        return None if row is None else grant_of(row, self._instant())

    async def take_lease(self, grant_id: str, owner: str, seconds: float) -> Leased | Busy | None:
        """See ports.grants."""
        now = self._write()
        row = self._locked(now, grant_id)
        if row is None:
            return None
        remaining = left(row.lease_until, row.clock_id, now)
        if row.lease_owner is not None and remaining > 0 and not self._is_dead(row.lease_owner, now.clock_id):
            return Busy(remaining)
        row.lease_owner, row.lease_until = owner, now.steady + seconds
        row.lease_epoch += 1
        return Leased(row.lease_epoch)

    async def renew_lease(self, grant_id: str, epoch: int, seconds: float) -> bool:
        """See ports.grants."""
        now = self._write()
        row = self._locked(now, grant_id)
        if row is None or row.lease_epoch != epoch or row.lease_owner is None:
            return False
        row.lease_until = now.steady + seconds
        return True

    async def release_lease(self, grant_id: str, epoch: int) -> None:
        """See ports.grants."""
        self._write()
        row = self._tables.grants.get(grant_id)
        if row is not None and row.lease_epoch == epoch:
            row.lease_owner = row.lease_until = None

    async def write_intent(
        self, fence: Fence, position: int, *, lease: float, hold: float, exchange: bool = False
    ) -> bool:
        """See ports.grants."""
        now = self._write()
        row = self._locked(now, fence.grant_id)
        if row is None or not holds(row, fence) or row.latched is not exchange:
            return False
        row.state = move(row.state, Event.INTENT_WRITTEN)
        if row.intent is not None and row.migration is not None:
            row.migration = Migration.IN_DOUBT
        row.intent, row.intent_at = position, now.steady
        row.not_before, row.lease_until = now.steady + hold, now.steady + lease
        set_due_in(row, now, hold)  # whoever is killed now leaves it to the background
        self._tell(now, row, Event.INTENT_WRITTEN, position=position, exchange=exchange)
        return True

    async def settle(self, fence: Fence, attempt: Attempt, *, hold: float = 0.0, detail: str = "") -> bool:
        """See ports.grants."""
        now, event = self._write(), ENDINGS[attempt]
        before = self._tables.grants.get(fence.grant_id)
        if before is not None and holds(before, fence):
            move(before.state, event)  # an outcome without an attempt raises, and then nothing is changed
        row = self._locked(now, fence.grant_id)
        if row is None or not holds(row, fence):
            return False
        row.state = move(row.state, event)
        self._tell(now, row, event, position=row.intent, detail=detail)
        row.not_before = now.steady + hold if hold > 0 else None
        row.attempts += attempt in {Attempt.UNSENT, Attempt.LOST}
        row.problem = None if attempt is Attempt.REFUSED else str(event)
        if attempt is not Attempt.LOST:
            row.no_intent()
        elif row.migration is not None:
            row.migration = Migration.IN_DOUBT
        if hold > 0:
            set_due_in(row, now, hold)
        return True

    async def commit_pair(self, fence: Fence, sent: StoredToken, pair: Pair, *, stale_after: float) -> Written:
        """See ports.grants."""
        now = self._write()
        row = self._locked(now, fence.grant_id)
        if row is None or row.role in {Role.DISCONNECTED, Role.PARKED}:
            return Written.GONE
        if row.generation != fence.generation:
            # One lease commits one pair: what this epoch committed is this pair.
            return Written.DONE if row.committed_epoch == fence.epoch else Written.GENERATION_MOVED
        if row.lease_epoch != fence.epoch:
            return Written.EPOCH_MOVED
        stood = self._standing(self._tables.connections[row.connection_id])
        row.state = move(row.state, Event.PAIR_COMMITTED)
        # Unique over the connection: a program that names a rejected generation never means another grant's.
        row.generation = max(other.generation for other in self._of_connection(row.connection_id)) + 1
        row.tokens = _appended(row.tokens, sent, pair)
        row.access, row.lifetime, row.committed_epoch = pair.access, pair.lifetime, fence.epoch
        row.expires_at, row.stale_at = now.wall + pair.lifetime, now.wall + stale_after
        row.proven, row.refreshed_at, row.not_before = False, now.wall, None
        row.no_intent()
        row.no_refusals()
        settle_property(row, pair.property_ids)
        set_due(row, now)
        self._tell(
            now, row, Event.PAIR_COMMITTED, expires_at=lasting(row.expires_at), kept=len(row.tokens) - 1,
            same_refresh_token=_is_same(pair, sent), refresh_token_named=pair.refresh is not None,
        )  # fmt: skip
        self._announce(now, row.connection_id, stood)
        return Written.DONE

    async def confirm(self, grant_id: str, generation: int) -> bool:
        """See ports.grants."""
        now = self._write()
        row = self._locked(now, grant_id)
        if row is None or row.generation != generation or row.role is Role.DISCONNECTED:
            return False
        before, stood = row.state, self._standing(self._tables.connections[row.connection_id])
        row.state = move(row.state, Event.PROVED)
        news = not row.proven or row.state is not before
        row.tokens = row.tokens[-1:]
        row.proven = True
        of_its_calls = row.problem if before is State.FRESH else None  # a proof says nothing of it
        row.no_refusals()
        row.problem = of_its_calls
        if row.state is not before or row.kind is CredentialKind.API_KEY:  # out of a backoff or a mark; a key was used
            set_due(row, now, after=PROVED_AGAIN)
        if news:
            self._tell(now, row, Event.PROVED)
        self._announce(now, row.connection_id, stood)
        return True

    async def count_refusal(self, fence: Fence, reason: str, *, may_mark: bool, interval: float) -> Counted:
        """See ports.grants."""
        now = self._write()
        row = self._locked(now, fence.grant_id)
        if row is None or not holds(row, fence):
            return Counted.MOVED
        if row.first_refused is None or row.first_reason != reason:
            self._hold(row, now.steady + interval, reason)
            row.refusals, row.first_refused, row.first_reason = 1, now.steady, reason
            set_due_in(row, now, interval)
            self._tell(now, row, Event.PASS_REFUSED, reason=reason)
            return Counted.FIRST
        if not may_mark:
            return Counted.EARLY
        of_connection = self._of_connection(row.connection_id)
        if any(other.role is Role.CANDIDATE and other.ordinal > row.ordinal for other in of_connection):
            self._hold(row, now.steady + interval, reason)
            set_due_in(row, now, interval)
            return Counted.CANDIDATE
        stood = self._standing(self._tables.connections[row.connection_id])
        row.state = move(row.state, Event.REAUTHORIZATION_REQUIRED)
        row.refusals += 1
        row.reauth = row.problem = reason
        row.not_before = row.due_at = None
        row.no_intent()
        self._tell(now, row, Event.REAUTHORIZATION_REQUIRED, reason=reason)
        self._announce(now, row.connection_id, stood)
        return Counted.MARKED

    @staticmethod
    def _hold(row: GrantRow, until: float, reason: str) -> None:
        row.state = move(row.state, Event.PASS_REFUSED)
        row.not_before, row.problem = until, reason
        row.no_intent()

    async def note_problem(self, grant_id: str, generation: int, problem: str, said: Mapping[str, str]) -> bool:
        """See ports.grants."""
        now = self._write()
        row = self._locked(now, grant_id)
        if row is None or row.generation != generation or row.role is not Role.ACTIVE or row.state is not State.FRESH:
            return False
        if row.problem == problem:
            return False
        row.problem = problem
        self._tell(now, row, CALL_REFUSED, actor="cloudbeds", reason=problem, said=dict(said))
        return True

    async def record_calls(self, calls: Sequence[Calls]) -> None:
        """See ports.grants."""
        now = self._write()
        for entry in calls:
            row = self._tables.grants.get(entry.grant_id)
            if row is None:
                continue
            if row.used_at is None or row.used_at < entry.last:
                row.used_at = entry.last
                if row.role is Role.ACTIVE and _turns_stale_first(row, now.wall):
                    row.due_at = row.stale_at
            if row.kind is CredentialKind.API_KEY and row.due_at is not None:
                set_due(row, now)
            self._tell(
                now, row, "calls", generation=entry.generation, actor="caller", first=entry.first, last=entry.last,
                count=entry.count, refused=entry.refused, methods=dict(entry.methods),
            )  # fmt: skip


class Circuits(Shelf):
    """`ports.grants.CircuitStore`."""

    async def open_circuits(self, app: str) -> Mapping[str, float]:
        """See ports.grants."""
        now = self._instant()
        return {
            fingerprint: left(trial_at, clock_id, now)
            for (of, fingerprint), (trial_at, clock_id) in self._tables.circuits.items()
            if of == app
        }

    async def open_circuit(self, app: str, fingerprint: str, *, trial_after: float) -> None:
        """See ports.grants."""
        now = self._write()
        self._tables.circuits[app, fingerprint] = (now.steady + trial_after, now.clock_id)

    async def close_circuit(self, app: str, fingerprint: str) -> None:
        """See ports.grants."""
        self._write()
        self._tables.circuits.pop((app, fingerprint), None)


def holds(row: GrantRow, fence: Fence) -> bool:
    """Whether nobody committed and nobody took the lease since, and the grant is looked after still."""
    return (
        row.generation == fence.generation
        and row.lease_epoch == fence.epoch
        and row.role in {Role.ACTIVE, Role.CANDIDATE}
    )


def _appended(tokens: tuple[StoredToken, ...], sent: StoredToken, pair: Pair) -> tuple[StoredToken, ...]:
    """`tokens[..sent] + [received]`, equal neighbours once.

    A proof may have emptied the list while the request was under way. What is left then stays, and the sent token,
    which the server has just accepted, is stored again behind it.
    """
    if any(token.position == sent.position for token in tokens):
        tokens = tuple(token for token in tokens if token.position <= sent.position)
    else:
        tokens = (*tokens, StoredToken(tokens[-1].position + 1 if tokens else 1, sent.value))
    if _is_same(pair, sent):
        return tokens
    assert pair.refresh is not None  # noqa: S101 - else it is the same
    return (*tokens, StoredToken(tokens[-1].position + 1, pair.refresh))


def _is_same(pair: Pair, sent: StoredToken) -> bool:
    """V6: the refresh token that came is the one that was sent; also when none was named."""
    return pair.refresh is None or pair.refresh == sent.value


def _turns_stale_first(row: GrantRow, wall: float) -> bool:
    """A grant that is used is due when it turns stale. One that recovers, or is stale already, is somebody's by now."""
    return row.state is State.FRESH and row.due_at is not None and wall < row.stale_at < row.due_at
