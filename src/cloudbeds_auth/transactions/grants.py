"""The transactions of a refresh: lease, intent, outcome, commit (docs/rotation.md#algorithm).

Each reads the row, then writes, inside one transaction, and repeats the fence in the statement's WHERE.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from cloudbeds_auth.ports import Sealer
from cloudbeds_auth.rules.lifecycle import (
    UNAUTHORIZED_CLIENT,
    UNRECOGNIZED,
    UNRECOGNIZED_FOR,
    LifecycleEvent,
    State,
    move,
)
from cloudbeds_auth.rules.model import KEPT_ALIVE, Fence, Grant, Pair, Role, StoredToken
from cloudbeds_auth.rules.risks import NOT_RENEWABLE
from cloudbeds_auth.rules.schedule import CANDIDATE
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.authentic import changed_mac, is_genuine
from cloudbeds_auth.transactions.imports import settle_property
from cloudbeds_auth.transactions.origins import sourced
from cloudbeds_auth.transactions.risks import change_risks
from cloudbeds_auth.transactions.rows import (
    access_place,
    add_event,
    grant_of,
    lasting,
    left,
    locked,
    sent_ago,
    token_place,
)
from cloudbeds_auth.transactions.seals import MOST_SEALS, SEALS, spent
from cloudbeds_auth.transactions.statements import Instant, Row, Transaction, Tx, query, query_one, transaction
from cloudbeds_auth.transactions.upkeep import set_due, set_due_in, set_retry_in


@dataclass(frozen=True, slots=True)
class Leased:
    """The refresh lease is ours under `epoch`. `sent_ago`: seconds since the newest sending began whose answer nobody
    has seen; None: there is none.
    """

    epoch: int
    sent_ago: float | None = None


@dataclass(frozen=True, slots=True)
class Busy:
    """Another process holds the lease for another `left` seconds."""

    left: float


class Written(Enum):
    """The result of a fenced write."""

    DONE = "written"
    GENERATION_MOVED = "another process committed since"
    EPOCH_MOVED = "only the lease was taken by another process"
    GONE = "the grant was disconnected or superseded"


class AttemptEnd(Enum):
    """How one sending ended without a pair; see `settle`."""

    REFUSED = "the token was refused"
    CLIENT_REFUSED = "the client was refused"
    UNAUTHORIZED = "the client was refused, for this grant alone"
    UNSENT = "nothing was sent"
    LOST = "no usable answer"


class Settled(Enum):
    """The result of recording how a sending ended."""

    DONE = "written"
    UNRECOGNIZED = "written; and for a day the vendor has refused in words that are in no table"
    MOVED = "the fence moved"


ENDINGS = {
    AttemptEnd.REFUSED: LifecycleEvent.TOKEN_REFUSED,
    AttemptEnd.CLIENT_REFUSED: LifecycleEvent.CLIENT_REFUSED,
    AttemptEnd.UNAUTHORIZED: LifecycleEvent.CLIENT_REFUSED,
    AttemptEnd.UNSENT: LifecycleEvent.NOTHING_SENT,
    AttemptEnd.LOST: LifecycleEvent.ANSWER_LOST,
}
"""The event of each ending in the history and in the table of states."""

LATCHED = 1  # value of `latched`: a move to an API key; higher values are a copy's, and the other database lifts them
MOVED = 4  # … and the grant lives there now


@transaction
def read_grant(tx: Tx, grant_id: str) -> Transaction[Grant | None]:
    """The row, with durations measured by the store's clock; None if it is gone."""
    row = yield from query_one("grant", grant_id=grant_id)
    if row is None:
        return None
    tokens = yield from query("tokens", grant_id=grant_id)
    return grant_of((yield from sourced(row)), tokens, tx)


@transaction
def take_lease(tx: Tx, grant_id: str, owner: str, seconds: float) -> Transaction[Leased | Busy | None]:
    """Take the lease if it is free or expired, or its owner is known dead; the epoch grows. None: no such grant."""
    row = yield from locked(tx, grant_id)
    if row is None:
        return None
    holder, remaining = row["lease_owner"], left(row["lease_until"], row, tx)
    if holder is not None and remaining > 0 and not tx.is_dead(holder, tx.clock_id):
        return Busy(remaining)
    epoch = row["lease_epoch"]
    yield from query(
        "take_lease", grant_id=grant_id, owner=owner, until=tx.steady + seconds, now=tx.steady, epoch=epoch
    )
    return Leased(epoch + 1, sent_ago(row, tx))


@transaction
def renew_lease(tx: Tx, grant_id: str, epoch: int, seconds: float) -> Transaction[bool]:
    """Hold the lease for another `seconds`; False if another process took it."""
    row = yield from locked(tx, grant_id)
    if row is None:
        return False
    renewed = yield from query_one(
        "renew_lease", grant_id=grant_id, epoch=epoch, until=tx.steady + seconds, now=tx.steady
    )
    return renewed is not None


@transaction
def release_lease(tx: Tx, grant_id: str, epoch: int) -> Transaction[None]:
    """Give the lease back; does nothing if it is no longer held under `epoch`."""
    yield from query("release_lease", grant_id=grant_id, epoch=epoch)


def holds(row: Row | None, fence: Fence) -> bool:
    """Whether no process has committed or taken the lease since, and the grant is still one to be refreshed."""
    return (
        row is not None
        and row["generation"] == fence.generation
        and row["lease_epoch"] == fence.epoch
        and row["role"] in KEPT_ALIVE
    )


@transaction
def write_intent(
    tx: Tx, fence: Fence, position: int, *, lease: float, hold: float, exchange: bool = False, asked: bool = False
) -> Transaction[bool]:
    """Record which refresh token is about to be sent, and extend the lease over the answer. False: the fence moved, the
    token is no longer in the list because a late proof has confirmed a newer one, or the row was altered behind the
    service.

    Raises StoreUnavailable if the key that seals has sealed as much as it may; a pair in hand is still committed.

    The latch is part of the fence (rule-15): a latched grant's token is sent for an `exchange` and for nothing else.
    A migration whose earlier attempt is still pending becomes in doubt. `asked`: the acting caller asked for it.
    """
    row = yield from locked(tx, fence.grant_id)
    if row is None or not holds(row, fence) or row["latched"] != int(exchange) or not is_genuine(tx, "grants", row):
        return False
    written = yield from query_one(
        "write_intent",
        grant_id=fence.grant_id,
        generation=fence.generation,
        epoch=fence.epoch,
        position=position,
        now=tx.steady,
        not_before=tx.steady + hold,
        until=tx.steady + lease,
        latched=int(exchange),
        state=move(State(row["state"]), LifecycleEvent.INTENT_WRITTEN),
        seals=SEALS + tx.sealer.key_id,
        most_seals=MOST_SEALS,
    )
    if written is None:
        kept = yield from query("tokens", grant_id=fence.grant_id)
        if position not in {each["position"] for each in kept}:
            return False
        raise spent(tx.sealer.key_id)
    yield from set_due_in(row, tx, hold)  # if this process is killed now, upkeep resumes it
    actor = tx.acting.name if asked else "vault"
    yield from add_event(tx, row, LifecycleEvent.INTENT_WRITTEN, actor=actor, position=position, exchange=exchange)
    return True


@transaction
def settle(
    tx: Tx, fence: Fence, attempt: AttemptEnd, *, hold: float = 0.0, detail: str = "", unrecognized: str | None = None
) -> Transaction[Settled]:
    """Record how a sending ended, and clear its intent. After LOST it is remembered when that sending began, because it
    may still arrive. `unrecognized`: a refusal in words that are in no table, abbreviated.
    """
    row = yield from locked(tx, fence.grant_id)
    if row is None or not holds(row, fence):
        return Settled.MOVED
    event = ENDINGS[attempt]
    since, for_long = _unrecognized_since(tx, row, unrecognized)
    yield from query(
        "settle",
        grant_id=fence.grant_id,
        generation=fence.generation,
        epoch=fence.epoch,
        state=move(State(row["state"]), event),
        now=tx.steady,
        not_before=tx.steady + hold if hold > 0 else None,
        failed=int(attempt in {AttemptEnd.UNSENT, AttemptEnd.LOST, AttemptEnd.UNAUTHORIZED}),
        lost=int(attempt is AttemptEnd.LOST),
        problem=UNRECOGNIZED if for_long else PROBLEMS.get(attempt, str(event)),
        unrecognized=unrecognized,
        unrecognized_at=since,
    )
    if hold > 0:
        yield from set_due_in(row, tx, hold)
    yield from add_event(tx, row, event, position=row["intent_position"], detail=detail)
    if for_long and row["problem"] != UNRECOGNIZED:
        yield from add_event(tx, row, UNRECOGNIZED, answer=unrecognized)
        return Settled.UNRECOGNIZED
    return Settled.DONE


PROBLEMS = {AttemptEnd.REFUSED: None, AttemptEnd.UNAUTHORIZED: UNAUTHORIZED_CLIENT}
"""The problem that a connection shows after an ending, if it is not the event's own name."""


def _unrecognized_since(now: Instant, row: Row, unrecognized: str | None) -> tuple[float | None, bool]:
    """Since when (unix seconds) the token endpoint has refused in exactly these words, which are in no table; and
    whether that is a problem by now: it has lasted a day, with the access token expired.
    """
    if unrecognized is None:
        return None, False
    same = row["unrecognized"] == unrecognized and row["unrecognized_at"] is not None
    since = min(row["unrecognized_at"], now.wall) if same else now.wall
    return since, now.wall - max(since, row["expires_at"]) >= UNRECOGNIZED_FOR


@transaction
def commit_pair(
    tx: Tx, fence: Fence, sent: StoredToken, pair: Pair, *, stale_after: float, sent_under: int | None = None
) -> Transaction[Written]:
    """Make `pair` the next generation: the tokens up to `sent`, then the new one. Repeating it is harmless.

    `sent_under`: the lease epoch under which `sent` was sent, if that of the fence is newer because the lease was lost.

    Generations grow within a grant and are unique within a connection. A grant without a known client id is bound to
    that of `pair.source`.
    """
    row = yield from locked(tx, fence.grant_id)
    if row is None or row["role"] in {Role.DISCONNECTED, Role.PARKED} or row["latched"] >= MOVED:
        return Written.GONE
    if row["generation"] != fence.generation:
        # One lease commits one pair: if this epoch committed, it was this pair.
        return Written.DONE if row["committed_epoch"] == fence.epoch else Written.GENERATION_MOVED
    if row["lease_epoch"] != fence.epoch:
        return Written.EPOCH_MOVED
    # Unique over the connection: a rejected generation that a program names is never another grant's.
    highest = yield from query_one("last_ordinal", connection_id=row["connection_id"])
    generation = (highest["generation"] if highest else fence.generation) + 1
    kept, same = yield from _append(fence.grant_id, generation, sent, pair, tx.sealer)
    expires_at, stale_at = tx.wall + pair.lifetime, tx.wall + stale_after
    link = {"kind": pair.kind, "client_id": pair.source.client_id if row["client_id"] is None else row["client_id"]}
    mac = changed_mac(tx, "grants", row, **link)
    yield from query(
        "commit_pair", grant_id=fence.grant_id, generation=fence.generation, epoch=fence.epoch,
        next_generation=generation, expires_at=expires_at, lifetime=pair.lifetime, stale_at=stale_at,
        access_sealed=tx.sealer.seal(pair.access, access_place(fence.grant_id, generation)),
        state=move(State(row["state"]), LifecycleEvent.PAIR_COMMITTED), kind=pair.kind, wall=tx.wall,
        client_id=pair.source.client_id, mac=mac,
        sent_under=fence.epoch if sent_under is None else sent_under,
    )  # fmt: skip
    yield from settle_property(tx, {**row, **link, "mac": mac}, pair.property_ids)
    if row["marked_at"] is None:
        yield from set_due(row, tx, stale_at=stale_at, lifetime=pair.lifetime, kind=pair.kind)
    else:  # if this process is killed now, upkeep makes the proof that ends the mark
        yield from set_retry_in(tx, row, CANDIDATE)
    yield from add_event(
        tx, row, LifecycleEvent.PAIR_COMMITTED, generation=generation, expires_at=lasting(expires_at), kept=kept,
        same_refresh_token=same, refresh_token_named=pair.refresh is not None, credential=str(pair.kind),
    )  # fmt: skip
    if row["reprieves"] > 0:
        yield from change_risks(tx, row, {NOT_RENEWABLE: None})
    return Written.DONE


def _append(
    grant_id: str, generation: int, sent: StoredToken, pair: Pair, sealer: Sealer
) -> Transaction[tuple[int, bool]]:
    """Keep the tokens up to the sent one and add the received one; returns how many are kept, and whether the received
    token is the sent one (V6).

    A proof may have removed the sent token from the list while the request was under way. Then the list stays as it is,
    and the sent token, which the server has just accepted, is stored again at its end.
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
