"""The transactions of a refresh: lease, intent, outcome, commit, proof, refusal (ROTATION section 3).

Each reads the row first and writes second, inside one transaction, and names the fence again in the statement's WHERE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cloudbeds_auth.core.lifecycle import Event, State, move
from cloudbeds_auth.core.nouns import CredentialKind, Fence, Grant, Pair, Role, StoredToken
from cloudbeds_auth.core.secret import Secret
from cloudbeds_auth.core.upkeep import PROVED_AGAIN
from cloudbeds_auth.ports.grants import CALL_REFUSED, ENDINGS, Attempt, Busy, Calls, Counted, Leased, Written
from cloudbeds_auth.ports.sealer import Sealer
from cloudbeds_auth.store.sql.importing import settle_property
from cloudbeds_auth.store.sql.outbox import announce_grant
from cloudbeds_auth.store.sql.rows import access_place, add_event, grant_of, lasting, left, locked, token_place
from cloudbeds_auth.store.sql.transactions import Instant, Row, Transaction, query, query_one
from cloudbeds_auth.store.sql.upkeep import never_due, set_due, set_due_in

MOVED = 4  # of `latched`: the grant lives in another database now
IsDead = Callable[[str, str], bool]


def read_grant(now: Instant, grant_id: str, sealer: Sealer) -> Transaction[Grant | None]:
    """The grant with its tokens opened."""
    row = yield from query_one("grant", grant_id=grant_id)
    if row is None:
        return None
    tokens = yield from query("tokens", grant_id=grant_id)
    return grant_of(row, tokens, sealer, now)


def take_lease(
    now: Instant, grant_id: str, owner: str, seconds: float, is_dead: IsDead
) -> Transaction[Leased | Busy | None]:
    """Free, ended, of another boot, or of a dead process: ours under the next epoch."""
    row = yield from locked(now, grant_id)
    if row is None:
        return None
    holder, remaining = row["lease_owner"], left(row["lease_until"], row, now)
    if holder is not None and remaining > 0 and not is_dead(holder, now.clock_id):
        return Busy(remaining)
    epoch = row["lease_epoch"]
    yield from query("take_lease", grant_id=grant_id, owner=owner, until=now.steady + seconds, epoch=epoch)
    return Leased(epoch + 1)


def renew_lease(now: Instant, grant_id: str, epoch: int, seconds: float) -> Transaction[bool]:
    """Another `seconds`, unless somebody took it."""
    row = yield from locked(now, grant_id)
    if row is None:
        return False
    renewed = yield from query_one("renew_lease", grant_id=grant_id, epoch=epoch, until=now.steady + seconds)
    return renewed is not None


def release_lease(now: Instant, grant_id: str, epoch: int) -> Transaction[None]:
    """Back, if it is still ours."""
    yield from query("release_lease", grant_id=grant_id, epoch=epoch)


def holds(row: Row | None, fence: Fence) -> bool:
    """Whether nobody committed and nobody took the lease since, and the grant is looked after still."""
    return (
        row is not None
        and row["generation"] == fence.generation
        and row["lease_epoch"] == fence.epoch
        and row["role"] in {Role.ACTIVE, Role.CANDIDATE}
    )


def write_intent(
    now: Instant, fence: Fence, position: int, lease: float, hold: float, exchange: bool
) -> Transaction[bool]:
    """Which token is about to be sent; the latch is part of the fence (rule 15)."""
    row = yield from locked(now, fence.grant_id)
    if row is None or not holds(row, fence) or row["latched"] != int(exchange):
        return False
    yield from query(
        "write_intent",
        grant_id=fence.grant_id,
        generation=fence.generation,
        epoch=fence.epoch,
        position=position,
        now=now.steady,
        not_before=now.steady + hold,
        until=now.steady + lease,
        latched=int(exchange),
        state=move(State(row["state"]), Event.INTENT_WRITTEN),
    )
    yield from set_due_in(row, now, hold)  # whoever is killed now leaves it to the background
    yield from add_event(now, row, Event.INTENT_WRITTEN, position=position, exchange=exchange)
    return True


def settle(now: Instant, fence: Fence, attempt: Attempt, hold: float, detail: str) -> Transaction[bool]:
    """How a sending ended without a pair. Only a lost answer leaves the intent pending."""
    row = yield from locked(now, fence.grant_id)
    if row is None or not holds(row, fence):
        return False
    event = ENDINGS[attempt]
    yield from query(
        "settle",
        grant_id=fence.grant_id,
        generation=fence.generation,
        epoch=fence.epoch,
        state=move(State(row["state"]), event),
        not_before=now.steady + hold if hold > 0 else None,
        failed=int(attempt in {Attempt.UNSENT, Attempt.LOST}),
        keep=int(attempt is Attempt.LOST),
        problem=None if attempt is Attempt.REFUSED else str(event),
    )
    if hold > 0:
        yield from set_due_in(row, now, hold)
    yield from add_event(now, row, event, position=row["intent_position"], detail=detail)
    return True


def commit_pair(
    now: Instant, fence: Fence, sent: StoredToken, pair: Pair, stale_after: float, sealer: Sealer
) -> Transaction[Written]:
    """The next generation: tokens up to the one that was sent, then the one received."""
    row = yield from locked(now, fence.grant_id)
    if row is None or row["role"] in {Role.DISCONNECTED, Role.PARKED} or row["latched"] >= MOVED:
        return Written.GONE
    if row["generation"] != fence.generation:
        # One lease commits one pair: what this epoch committed is this pair.
        return Written.DONE if row["committed_epoch"] == fence.epoch else Written.GENERATION_MOVED
    if row["lease_epoch"] != fence.epoch:
        return Written.EPOCH_MOVED
    # Unique over the connection: a program that names a rejected generation never means another grant's.
    highest = yield from query_one("last_ordinal", connection_id=row["connection_id"])
    generation = (highest["generation"] if highest else fence.generation) + 1
    kept, same = yield from _append(fence.grant_id, generation, sent, pair, sealer)
    expires_at, stale_at = now.wall + pair.lifetime, now.wall + stale_after
    yield from query(
        "commit_pair",
        grant_id=fence.grant_id,
        generation=fence.generation,
        epoch=fence.epoch,
        next_generation=generation,
        access_sealed=sealer.seal(pair.access, access_place(fence.grant_id, generation)),
        expires_at=expires_at,
        lifetime=pair.lifetime,
        stale_at=stale_at,
        state=move(State(row["state"]), Event.PAIR_COMMITTED),
        wall=now.wall,
    )
    yield from settle_property(row, pair.property_ids)
    yield from set_due(row, now, stale_at=stale_at, lifetime=pair.lifetime)
    yield from add_event(
        now, row, Event.PAIR_COMMITTED, generation=generation, expires_at=lasting(expires_at), kept=kept,
        same_refresh_token=same, refresh_token_named=pair.refresh is not None,
    )  # fmt: skip
    yield from announce_grant(now, row, reauth=None)
    return Written.DONE


def _append(
    grant_id: str, generation: int, sent: StoredToken, pair: Pair, sealer: Sealer
) -> Transaction[tuple[int, bool]]:
    """Leave the tokens up to the sent one and add the received one; how many are kept, and whether it is the same (V6).

    A proof may have emptied the list while the request was under way. What is left then stays, and the sent token,
    which the server has just accepted, is stored again behind it.
    """
    rows = yield from query("tokens", grant_id=grant_id)
    positions = [row["position"] for row in rows]
    last = sent.position
    if sent.position in positions:
        yield from query("drop_tokens_after", grant_id=grant_id, position=sent.position)
    else:
        last = max(positions, default=0) + 1
        yield from _add_token(grant_id, last, generation, sent.value, sealer)
    kept = sum(position < last for position in positions)
    if pair.refresh is None or pair.refresh == sent.value:
        return kept, True
    yield from _add_token(grant_id, last + 1, generation, pair.refresh, sealer)
    return kept + 1, False


def _add_token(grant_id: str, position: int, generation: int, value: Secret, sealer: Sealer) -> Transaction[None]:
    sealed = sealer.seal(value, token_place(grant_id, position, generation))
    yield from query("add_token", grant_id=grant_id, position=position, generation=generation, sealed=sealed)


def confirm(now: Instant, grant_id: str, generation: int) -> Transaction[bool]:
    """Seen to work: nothing older is needed. Fenced on the generation alone; losing it is harmless."""
    row = yield from locked(now, grant_id)
    if row is None or row["generation"] != generation or row["role"] == Role.DISCONNECTED:
        return False
    yield from query("drop_kept_tokens", grant_id=grant_id)
    state = move(State(row["state"]), Event.PROVED)
    yield from query("confirm", grant_id=grant_id, generation=generation, state=state)
    if row["state"] != state or row["kind"] == CredentialKind.API_KEY:  # out of a backoff or a mark; a key was used
        # A stale token that works while an attempt is unresolved stays in use (rule 3): no loop asks about it.
        yield from set_due(row, now, after=PROVED_AGAIN)
    if not row["proven"] or row["state"] != state:
        yield from add_event(now, row, Event.PROVED)
    yield from announce_grant(now, row, reauth=None)
    return True


def count_refusal(now: Instant, fence: Fence, reason: str, may_mark: bool, interval: float) -> Transaction[Counted]:
    """The first time it is noted; the second, late enough and with no newer grant waiting, it is the last word."""
    row = yield from locked(now, fence.grant_id)
    if row is None or not holds(row, fence):
        return Counted.MOVED
    fenced = {"grant_id": fence.grant_id, "generation": fence.generation, "epoch": fence.epoch, "reason": reason}
    if row["first_refused"] is None or row["first_reason"] != reason:
        state = move(State(row["state"]), Event.PASS_REFUSED)
        yield from query("count_first", **fenced, now=now.steady, not_before=now.steady + interval, state=state)
        yield from set_due_in(row, now, interval)
        yield from add_event(now, row, Event.PASS_REFUSED, reason=reason)
        return Counted.FIRST
    if not may_mark:
        return Counted.EARLY
    waiting = yield from query("candidates", connection_id=row["connection_id"])
    if any(other["ordinal"] > row["ordinal"] for other in waiting):
        state = move(State(row["state"]), Event.PASS_REFUSED)
        yield from query("hold", **fenced, not_before=now.steady + interval, state=state)
        yield from set_due_in(row, now, interval)
        return Counted.CANDIDATE
    state = move(State(row["state"]), Event.REAUTHORIZATION_REQUIRED)
    yield from query("mark", **fenced, state=state)
    yield from never_due(row["id"])
    yield from add_event(now, row, Event.REAUTHORIZATION_REQUIRED, reason=reason)
    yield from announce_grant(now, row, reauth=reason)
    return Counted.MARKED


def note_problem(
    now: Instant, grant_id: str, generation: int, problem: str, said: Mapping[str, str]
) -> Transaction[bool]:
    """What the calls of a healthy hotel run into; a state that is not healthy has a problem of its own."""
    row = yield from locked(now, grant_id)
    if row is None or row["generation"] != generation or row["role"] != Role.ACTIVE or row["state"] != State.FRESH:
        return False
    if row["problem"] == problem:
        return False
    yield from query("note_problem", grant_id=grant_id, generation=generation, problem=problem)
    yield from add_event(now, row, CALL_REFUSED, actor="cloudbeds", reason=problem, said=dict(said))
    return True


def record_calls(now: Instant, calls: Sequence[Calls]) -> Transaction[None]:
    """Aggregated calls as lines of history; calls of a grant that is gone are dropped."""
    for entry in sorted(calls, key=lambda entry: entry.grant_id):  # every process locks them in the same order
        row = yield from query_one("grant_locked", grant_id=entry.grant_id)
        if row is None:
            continue
        yield from query("set_used", grant_id=entry.grant_id, at=entry.last, now=now.wall)
        if row["kind"] == CredentialKind.API_KEY and row["due_at"] is not None:
            yield from set_due(row, now)
        yield from add_event(
            now, row, "calls", generation=entry.generation, actor="caller", first=entry.first, last=entry.last,
            count=entry.count, refused=entry.refused, methods=dict(entry.methods),
        )  # fmt: skip


def open_circuits(now: Instant, app: str) -> Transaction[Mapping[str, float]]:
    """Refused secrets by fingerprint, and seconds until a trial."""
    rows = yield from query("circuits", app=app)
    return {row["fingerprint"]: left(row["trial_at"], row, now) for row in rows}


def open_circuit(now: Instant, app: str, fingerprint: str, trial_after: float) -> Transaction[None]:
    """This secret is refused; the next trial not before."""
    yield from query(
        "open_circuit", app=app, fingerprint=fingerprint, trial_at=now.steady + trial_after, clock_id=now.clock_id
    )


def close_circuit(now: Instant, app: str, fingerprint: str) -> Transaction[None]:
    """This secret is accepted."""
    yield from query("close_circuit", app=app, fingerprint=fingerprint)
