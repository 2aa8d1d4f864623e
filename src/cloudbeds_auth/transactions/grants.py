"""The transactions of a refresh: lease, intent, outcome, commit, proof, refusal (ROTATION section 3).

Each reads the row first and writes second, inside one transaction, and names the fence again in the statement's WHERE.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from cloudbeds_auth.ports.grants import (
    CALL_REFUSED,
    DISABLED_SAID,
    DISABLED_WITHDRAWN,
    ENDINGS,
    MARK_DELAYED,
    PAIR_DENIED,
    RECOVERED,
    REPRIEVED,
    UNAUTHORIZED_CLIENT,
    UNRECOGNIZED,
    UNRECOGNIZED_FOR,
    Attempt,
    Busy,
    Counted,
    Leased,
    Settled,
    Written,
)
from cloudbeds_auth.ports.sealer import Sealer
from cloudbeds_auth.rules.api_errors import DISABLED
from cloudbeds_auth.rules.lifecycle import Event, State, move
from cloudbeds_auth.rules.model import CredentialKind, Fence, Grant, Pair, Role, StoredToken
from cloudbeds_auth.rules.schedule import CANDIDATE, DELAYED, MARKS_AT_ONCE, PROVED_AGAIN, RETRY_FIRST, STORM
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.imports import settle_property
from cloudbeds_auth.transactions.issuers import bind, sourced
from cloudbeds_auth.transactions.outbox import announce_grant
from cloudbeds_auth.transactions.rows import (
    access_place,
    add_event,
    behind,
    grant_of,
    lasting,
    left,
    locked,
    token_place,
)
from cloudbeds_auth.transactions.statements import Instant, Row, Transaction, query, query_one
from cloudbeds_auth.transactions.upkeep import set_due, set_due_in, set_retry, set_retry_in

LATCHED = 1  # of `latched`: a move to an API key; more is a copy's, which the other database takes off
MOVED = 4  # … and the grant lives there now
APART = 1.0  # seconds by which two clocks of one host may differ over the minutes between two looks
IsDead = Callable[[str, str], bool]


def read_grant(now: Instant, grant_id: str, sealer: Sealer) -> Transaction[Grant | None]:
    """The grant with its tokens opened."""
    row = yield from query_one("grant", grant_id=grant_id)
    if row is None:
        return None
    tokens = yield from query("tokens", grant_id=grant_id)
    return grant_of((yield from sourced(row)), tokens, sealer, now)


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
    yield from query(
        "take_lease", grant_id=grant_id, owner=owner, until=now.steady + seconds, now=now.steady, epoch=epoch
    )
    return Leased(epoch + 1)


def renew_lease(now: Instant, grant_id: str, epoch: int, seconds: float) -> Transaction[bool]:
    """Another `seconds`, unless somebody took it."""
    row = yield from locked(now, grant_id)
    if row is None:
        return False
    renewed = yield from query_one(
        "renew_lease", grant_id=grant_id, epoch=epoch, until=now.steady + seconds, now=now.steady
    )
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


def settle(
    now: Instant, fence: Fence, attempt: Attempt, hold: float, detail: str, unrecognized: str | None
) -> Transaction[Settled]:
    """How a sending ended without a pair. While an answer may still come the intent stays pending."""
    row = yield from locked(now, fence.grant_id)
    if row is None or not holds(row, fence):
        return Settled.MOVED
    event = ENDINGS[attempt]
    since, for_long = _unrecognized_since(now, row, unrecognized)
    yield from query(
        "settle",
        grant_id=fence.grant_id,
        generation=fence.generation,
        epoch=fence.epoch,
        state=move(State(row["state"]), event),
        now=now.steady,
        not_before=now.steady + hold if hold > 0 else None,
        failed=int(attempt in {Attempt.UNSENT, Attempt.LOST, Attempt.UNAUTHORIZED}),
        keep=int(attempt in {Attempt.LOST, Attempt.NOT_OFFERED}),
        problem=UNRECOGNIZED if for_long else PROBLEMS.get(attempt, str(event)),
        unrecognized=unrecognized,
        unrecognized_at=since,
    )
    if hold > 0:
        yield from set_due_in(row, now, hold)
    yield from add_event(now, row, event, position=row["intent_position"], detail=detail)
    if for_long and row["problem"] != UNRECOGNIZED:
        yield from add_event(now, row, UNRECOGNIZED, answer=unrecognized)
        return Settled.UNRECOGNIZED
    return Settled.DONE


PROBLEMS = {Attempt.REFUSED: None, Attempt.UNAUTHORIZED: UNAUTHORIZED_CLIENT}
"""What a connection shows of an ending, where it is not the event's own name."""


def _unrecognized_since(now: Instant, row: Row, unrecognized: str | None) -> tuple[float | None, bool]:
    """Since when (unix seconds) the token endpoint has refused in these very words, which are in no table; and whether
    that is a problem by now: for a day, with the access token over.
    """
    if unrecognized is None:
        return None, False
    same = row["unrecognized"] == unrecognized and row["unrecognized_at"] is not None
    since = min(row["unrecognized_at"], now.wall) if same else now.wall
    return since, now.wall - max(since, row["expires_at"]) >= UNRECOGNIZED_FOR


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
        kind=pair.kind,
        wall=now.wall,
        client_id=pair.source.client_id,
    )
    yield from settle_property(row, pair.property_ids)
    if row["marked_at"] is None:
        yield from set_due(row, now, stale_at=stale_at, lifetime=pair.lifetime, kind=pair.kind)
    else:  # a process that is killed now leaves the proof, which ends the mark, to the background
        yield from set_retry_in(now, row, CANDIDATE)
    yield from add_event(
        now, row, Event.PAIR_COMMITTED, generation=generation, expires_at=lasting(expires_at), kept=kept,
        same_refresh_token=same, refresh_token_named=pair.refresh is not None, credential=str(pair.kind),
    )  # fmt: skip
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


def confirm(now: Instant, grant_id: str, generation: int, issuer: str | None) -> Transaction[bool]:
    """Seen to work: nothing older is needed. Fenced on the generation alone; losing it is harmless.

    A grant from before is bound to the origin where that was seen; an app, to that of its first proof at the latest.
    """
    row = yield from locked(now, grant_id)
    if row is None or row["generation"] != generation or row["role"] == Role.DISCONNECTED:
        return False
    yield from query("drop_kept_tokens", grant_id=grant_id)
    state = move(State(row["state"]), Event.PROVED)
    yield from query("confirm", grant_id=grant_id, generation=generation, state=state, issuer=issuer)
    if row["issuer"] is None or not row["proven"]:
        yield from bind(now, row["app"], issuer)
    if row["state"] != state or row["kind"] == CredentialKind.API_KEY:  # out of a backoff or a mark; a key was used
        # A stale token that works while an attempt is unresolved stays in use (rule 3): no loop asks about it.
        yield from set_due(row, now, after=PROVED_AGAIN, marked_at=None)
    if not row["proven"] or row["state"] != state:
        yield from add_event(now, row, Event.PROVED)
    if row["disabled_at"] is not None:
        yield from add_event(now, row, DISABLED_WITHDRAWN)
    if row["marked_at"] is not None:
        yield from add_event(now, row, RECOVERED, reason=row["reauth"])
    yield from announce_grant(now, row, reauth=None)
    return True


def note_denied(now: Instant, grant_id: str, generation: int, hold: float) -> Transaction[bool]:
    """The proof of this pair was answered 401: the next refresh that a 401 causes waits."""
    row = yield from locked(now, grant_id)
    if row is None or row["generation"] != generation or row["role"] == Role.DISCONNECTED:
        return False
    yield from query("note_denied", grant_id=grant_id, generation=generation, until=now.steady + hold, now=now.steady)
    if row["marked_at"] is not None:  # its commit planned a proof in a minute, and it was this one
        yield from set_retry_in(now, row, max(hold, CANDIDATE))
    yield from add_event(now, row, PAIR_DENIED, hold=hold)
    return True


def note_disabled(now: Instant, grant_id: str, generation: int) -> Transaction[bool]:
    """Cloudbeds said that the app is disabled: a hint, until the grant is dead or its token works."""
    row = yield from locked(now, grant_id)
    if row is None or row["generation"] != generation or row["role"] != Role.ACTIVE or row["disabled_at"] is not None:
        return False
    yield from query("note_disabled", grant_id=grant_id, generation=generation, now=now.wall)
    yield from add_event(now, row, DISABLED_SAID, actor="cloudbeds")
    return True


def reprieve(now: Instant, fence: Fence, reason: str, hold: float, issuer: str | None) -> Transaction[bool]:
    """Every refresh token was refused twice, and the access token works: it is proven, and the next pass waits."""
    row = yield from locked(now, fence.grant_id)
    if row is None or not holds(row, fence):
        return False
    yield from confirm(now, row["id"], fence.generation, issuer)
    state = move(State(row["state"]), Event.PASS_REFUSED)
    yield from query(
        "reprieve", grant_id=row["id"], generation=fence.generation, epoch=fence.epoch, reason=reason, state=state,
        not_before=now.steady + hold, now=now.steady,
    )  # fmt: skip
    yield from set_due_in(row, now, hold)
    yield from add_event(now, row, REPRIEVED, reason=reason, hold=hold)
    return True


def count_refusal(now: Instant, fence: Fence, reason: str, may_mark: bool, interval: float) -> Transaction[Counted]:
    """The first time it is noted; the second, late enough and with no newer grant waiting, it is the last word."""
    row = yield from locked(now, fence.grant_id)
    if row is None or not holds(row, fence):
        return Counted.MOVED
    fenced = {"grant_id": fence.grant_id, "generation": fence.generation, "epoch": fence.epoch, "reason": reason}
    if row["marked_at"] is not None:
        state = move(State(row["state"]), Event.PASS_REFUSED)
        yield from query("marked_still", **fenced, state=state)
        yield from set_retry(now, {**row, "retries": row["retries"] + 1})
        yield from add_event(now, row, Event.PASS_REFUSED, reason=reason)
        return Counted.STILL_MARKED
    if row["first_refused"] is None or row["first_reason"] != reason:
        state = move(State(row["state"]), Event.PASS_REFUSED)
        yield from query("count_first", **fenced, now=now.steady, not_before=now.steady + interval, state=state)
        yield from set_due_in(row, now, interval)
        yield from add_event(now, row, Event.PASS_REFUSED, reason=reason)
        return Counted.FIRST
    held: Counted | None = None if may_mark else Counted.EARLY
    if held is None and (yield from _newer_waits(row)):
        held = Counted.CANDIDATE
    if held is None and (yield from _storm(now, row)):
        held, interval = Counted.DELAYED, RETRY_FIRST
    if held is not None:
        state = move(State(row["state"]), Event.PASS_REFUSED)
        yield from query("hold", **fenced, now=now.steady, not_before=now.steady + interval, state=state)
        yield from set_due_in(row, now, interval)
        return held
    yield from _mark(now, row, fence, reason)
    return Counted.MARKED


def _newer_waits(row: Row) -> Transaction[bool]:
    """Whether a newer approval, or a key, waits to be proven; not one that was refused as well."""
    waiting = yield from query("candidates", connection_id=row["connection_id"])
    return any(other["ordinal"] > row["ordinal"] and other["marked_at"] is None for other in waiting)


def _storm(now: Instant, row: Row) -> Transaction[bool]:
    """Whether this mark waits: a third hotel of one app within ten minutes is rather the vendor's fault, or ours."""
    yield from query("one_at_a_time", work=f"marks of {row['app']}")
    after = row["mark_after"]
    if after is not None:
        if after > now.wall + DELAYED:  # the clock was set back since: it waits no longer than from now
            yield from query("delay_mark", grant_id=row["id"], mark_after=now.wall + DELAYED)
        return bool(now.wall < after)
    found = yield from query_one("marks_since", app=row["app"], since=now.wall - STORM)
    if found is None or found["marks"] < MARKS_AT_ONCE:
        return False
    yield from query("delay_mark", grant_id=row["id"], mark_after=now.wall + DELAYED)
    yield from add_event(now, row, MARK_DELAYED, marks=found["marks"])
    return True


def _mark(now: Instant, row: Row, fence: Fence, reason: str) -> Transaction[None]:
    """The hotel has to approve again. Where Cloudbeds had said that it disabled the app, that is why."""
    disabled = _seen_dead_since_disabled(now, row)
    event, shown = (Event.DISABLED, DISABLED) if disabled else (Event.REAUTHORIZATION_REQUIRED, reason)
    state = move(State(row["state"]), event)
    yield from query(
        "mark", grant_id=fence.grant_id, generation=fence.generation, epoch=fence.epoch, reason=shown, now=now.wall,
        state=state,
    )  # fmt: skip
    yield from set_retry(now, {**row, "retries": 0})
    yield from add_event(now, row, event, reason=reason)
    yield from announce_grant(now, row, reauth=shown)


def _seen_dead_since_disabled(now: Instant, row: Row) -> bool:
    """Whether Cloudbeds said that the app is disabled, and the grant was found dead twice after that (rule 12): what
    was refused before it says nothing of it. The one moment is a wall clock's and the other a steady one's.
    """
    if row["disabled_at"] is None:
        return False
    first_look, said = now.steady - row["first_refused"], now.wall - row["disabled_at"]  # seconds ago
    return bool(first_look <= said + APART)


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


def open_circuits(now: Instant, app: str) -> Transaction[Mapping[str, float]]:
    """Refused secrets by fingerprint, and seconds until a trial; below zero where it is due, and for how long.

    For ever, where the clock was set back since, or is another one.
    """
    rows = yield from query("circuits", app=app)
    return {
        row["fingerprint"]: row["trial_at"] - now.steady
        if row["clock_id"] == now.clock_id and behind(row, now) == 0
        else -math.inf
        for row in rows
    }


def open_circuit(now: Instant, app: str, fingerprint: str, trial_after: float) -> Transaction[None]:
    """This secret is refused; the next trial not before."""
    yield from query(
        "open_circuit", app=app, fingerprint=fingerprint, trial_at=now.steady + trial_after, now=now.steady,
        clock_id=now.clock_id,
    )  # fmt: skip


def close_circuit(now: Instant, app: str, fingerprint: str) -> Transaction[None]:
    """This secret is accepted."""
    yield from query("close_circuit", app=app, fingerprint=fingerprint)
