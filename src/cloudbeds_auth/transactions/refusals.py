"""The transactions after a proof or a refusal: kept tokens dropped, passes counted, a grant marked (rule-12).

Each reads the row, then writes, inside one transaction, and repeats the fence in the statement's WHERE.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from cloudbeds_auth.rules.api_errors import DISABLED
from cloudbeds_auth.rules.lifecycle import (
    CALL_REFUSED,
    DISABLED_SAID,
    DISABLED_WITHDRAWN,
    MARK_DELAYED,
    PAIR_DENIED,
    RECOVERED,
    REPRIEVED,
    LifecycleEvent,
    State,
    move,
)
from cloudbeds_auth.rules.model import CredentialKind, Fence, Role
from cloudbeds_auth.rules.risks import CALLS_LACK_SCOPE, NOT_RENEWABLE
from cloudbeds_auth.rules.schedule import CANDIDATE, DELAYED, MARKS_AT_ONCE, PROVED_AGAIN, RETRY_FIRST, STORM
from cloudbeds_auth.transactions.authentic import changed_mac
from cloudbeds_auth.transactions.grants import holds
from cloudbeds_auth.transactions.origins import bind
from cloudbeds_auth.transactions.outbox import announce_grant
from cloudbeds_auth.transactions.risks import change_risks
from cloudbeds_auth.transactions.roles import place
from cloudbeds_auth.transactions.rows import add_event, locked
from cloudbeds_auth.transactions.statements import Row, Transaction, Tx, query, query_one, transaction
from cloudbeds_auth.transactions.upkeep import set_comparison, set_due, set_due_in, set_retry, set_retry_in


class Counted(Enum):
    """What followed from a refused pass."""

    FIRST = "counted; asked again later"
    EARLY = "too soon after the first to count, or the access token could not be asked about"
    DELAYED = "the mark waits: several hotels of the app were marked a moment ago"
    REPRIEVED = "no mark: the access token works"
    MARKED = "reauthorization required"
    STILL_MARKED = "as it was marked before"
    CANDIDATE = "a newer grant waits to be proven"
    MOVED = "the fence moved"


APART = 1.0  # seconds by which two clocks of one host may differ over the minutes between two readings


@transaction
def confirm(tx: Tx, grant_id: str, generation: int, *, issuer: str | None = None) -> Transaction[bool]:
    """Record a proof: no older refresh token is needed. Fenced on the generation alone; losing it is harmless.

    A grant from before issuers were stored is bound to the origin that proved it; an app, at the latest, to that of its
    first proof.
    """
    row = yield from locked(tx, grant_id)
    if row is None or row["generation"] != generation or row["role"] in {Role.DISCONNECTED, Role.PARKED}:
        return False
    yield from query("drop_kept_tokens", grant_id=grant_id)
    state = move(State(row["state"]), LifecycleEvent.PROVED)
    mac = changed_mac(tx, "grants", row, issuer=issuer if row["issuer"] is None else row["issuer"])
    yield from query("confirm", grant_id=grant_id, generation=generation, state=state, issuer=issuer, mac=mac)
    if row["issuer"] is None or not row["proven"]:
        yield from bind(tx, row["app"], issuer)
    marked, is_key = row["marked_at"] is not None, row["kind"] == CredentialKind.API_KEY
    if row["state"] != state or marked or is_key:  # out of a backoff or a mark; a key was used
        # A stale token that works while an attempt is unresolved stays in use (rule-3); it is not probed in a loop.
        yield from set_due(row, tx, after=PROVED_AGAIN, marked_at=None)
    if not row["proven"] or row["state"] != state:
        yield from add_event(tx, row, LifecycleEvent.PROVED)
    if row["disabled_at"] is not None:
        yield from add_event(tx, row, DISABLED_WITHDRAWN)
    if row["marked_at"] is not None:
        yield from add_event(tx, row, RECOVERED, reason=row["reauth"])
    if row["disabled_at"] is not None or row["marked_at"] is not None:  # Cloudbeds may have deleted its subscriptions
        yield from set_comparison(tx, grant_id)
    yield from announce_grant(tx, row, reauth=None)
    return True


@transaction
def note_denied(tx: Tx, grant_id: str, generation: int, hold: float) -> Transaction[bool]:
    """The proof of this generation was answered 401: a 401 causes no refresh for `hold` seconds. Needs no lease."""
    row = yield from locked(tx, grant_id)
    if row is None or row["generation"] != generation or row["role"] == Role.DISCONNECTED:
        return False
    yield from query("note_denied", grant_id=grant_id, generation=generation, until=tx.steady + hold, now=tx.steady)
    if row["marked_at"] is not None:  # the proof that its commit planned for a minute later was this one
        yield from set_retry_in(tx, row, max(hold, CANDIDATE))
    yield from add_event(tx, row, PAIR_DENIED, hold=hold)
    return True


@transaction
def note_disabled(tx: Tx, grant_id: str, generation: int) -> Transaction[bool]:
    """Cloudbeds reported that the app is disabled. False: not the grant in use, a newer generation, or known."""
    row = yield from locked(tx, grant_id)
    if row is None or row["generation"] != generation or row["role"] != Role.ACTIVE or row["disabled_at"] is not None:
        return False
    yield from query("note_disabled", grant_id=grant_id, generation=generation, now=tx.wall)
    yield from add_event(tx, row, DISABLED_SAID, actor="cloudbeds")
    return True


@transaction
def reprieve(tx: Tx, fence: Fence, reason: str, hold: float, *, issuer: str | None = None) -> Transaction[bool]:
    """Every refresh token was refused twice, but the access token works: record the proof; the next pass waits."""
    row = yield from locked(tx, fence.grant_id)
    if row is None or not holds(row, fence):
        return False
    yield from confirm(row["id"], fence.generation, issuer=issuer)(tx)
    state = move(State(row["state"]), LifecycleEvent.PASS_REFUSED)
    yield from query(
        "reprieve", grant_id=row["id"], generation=fence.generation, epoch=fence.epoch, reason=reason, state=state,
        not_before=tx.steady + hold, now=tx.steady,
    )  # fmt: skip
    yield from set_due_in(row, tx, hold)
    yield from add_event(tx, row, REPRIEVED, reason=reason, hold=hold)
    yield from change_risks(tx, {**row, "reauth": None}, {NOT_RENEWABLE: "every refresh token is refused"})
    return True


@transaction
def count_refusal(tx: Tx, fence: Fence, reason: str, *, may_mark: bool, interval: float) -> Transaction[Counted]:
    """Count a refused pass; the second one marks the grant (rule-12), unless a newer grant waits to be proven.
    `may_mark`: whether it came late enough, `rules.refresh.may_mark` of the row that was read under this fence's lease
    before the pass began. The next pass is due `interval` seconds from now.
    """
    row = yield from locked(tx, fence.grant_id)
    if row is None or not holds(row, fence):
        return Counted.MOVED
    fenced = {"grant_id": fence.grant_id, "generation": fence.generation, "epoch": fence.epoch, "reason": reason}
    if row["marked_at"] is not None:
        state = move(State(row["state"]), LifecycleEvent.PASS_REFUSED)
        yield from query("marked_still", **fenced, state=state)
        yield from set_retry(tx, {**row, "retries": row["retries"] + 1})
        yield from add_event(tx, row, LifecycleEvent.PASS_REFUSED, reason=reason)
        return Counted.STILL_MARKED
    if row["first_refused"] is None or row["first_reason"] != reason:
        state = move(State(row["state"]), LifecycleEvent.PASS_REFUSED)
        yield from query("count_first", **fenced, now=tx.steady, not_before=tx.steady + interval, state=state)
        yield from set_due_in(row, tx, interval)
        yield from add_event(tx, row, LifecycleEvent.PASS_REFUSED, reason=reason)
        return Counted.FIRST
    held: Counted | None = None if may_mark else Counted.EARLY
    if held is None and (yield from _newer_waits(row)):
        held = Counted.CANDIDATE
    if held is None and (yield from _storm(tx, row)):
        held, interval = Counted.DELAYED, RETRY_FIRST
    if held is not None:
        state = move(State(row["state"]), LifecycleEvent.PASS_REFUSED)
        yield from query("hold", **fenced, now=tx.steady, not_before=tx.steady + interval, state=state)
        yield from set_due_in(row, tx, interval)
        yield from add_event(tx, row, LifecycleEvent.PASS_REFUSED, reason=reason)
        return held
    yield from _mark(tx, row, fence, reason)
    return Counted.MARKED


def _newer_waits(row: Row) -> Transaction[bool]:
    """Whether a newer approval or key waits to be proven, and was not refused itself."""
    grants = yield from query("grants_of", connection_id=row["connection_id"])
    waiting = [other for other in grants if other["role"] == Role.CANDIDATE and other["marked_at"] is None]
    return any(place(other, grants) > place(row, grants) for other in waiting)


def _storm(tx: Tx, row: Row) -> Transaction[bool]:
    """Whether this mark waits: a third hotel of one app within ten minutes points to a fault elsewhere."""
    yield from query("one_at_a_time", work=f"marks of {row['app']}")
    after = row["mark_after"]
    if after is not None:
        if after > tx.wall + DELAYED:  # the clock was set back since: the delay is counted anew from now
            yield from query("delay_mark", grant_id=row["id"], mark_after=tx.wall + DELAYED)
        return bool(tx.wall < after)
    found = yield from query_one("marks_since", app=row["app"], since=tx.wall - STORM)
    if found is None or found["marks"] < MARKS_AT_ONCE:
        return False
    yield from query("delay_mark", grant_id=row["id"], mark_after=tx.wall + DELAYED)
    yield from add_event(tx, row, MARK_DELAYED, marks=found["marks"])
    return True


def _mark(tx: Tx, row: Row, fence: Fence, reason: str) -> Transaction[None]:
    """Mark the grant: the hotel has to approve again. If Cloudbeds reported that it disabled the app, that is why."""
    disabled = _seen_dead_since_disabled(tx, row)
    event, shown = (
        (LifecycleEvent.DISABLED, DISABLED) if disabled else (LifecycleEvent.REAUTHORIZATION_REQUIRED, reason)
    )
    state = move(State(row["state"]), event)
    yield from query(
        "mark", grant_id=fence.grant_id, generation=fence.generation, epoch=fence.epoch, reason=shown, now=tx.wall,
        state=state,
    )  # fmt: skip
    yield from set_retry(tx, {**row, "retries": 0})
    yield from add_event(tx, row, event, reason=reason)
    yield from announce_grant(tx, row, reauth=shown)


def _seen_dead_since_disabled(tx: Tx, row: Row) -> bool:
    """Whether Cloudbeds reported that the app is disabled, and the grant was found dead twice after that (rule-12): an
    earlier refusal proves nothing about it. One of the moments is a wall clock's, the other a steady clock's.
    """
    if row["disabled_at"] is None:
        return False
    first_look, said = tx.steady - row["first_refused"], tx.wall - row["disabled_at"]  # seconds ago
    return bool(first_look <= said + APART)


@transaction
def note_problem(
    tx: Tx, grant_id: str, generation: int, problem: str, said: Mapping[str, str]
) -> Transaction[str | None]:
    """The hotel is connected, but its calls are refused: show `problem`, and write a line of history.

    Returns the connection's id. None, and nothing changes: the problem is shown already, or the grant is not in use,
    not healthy, or has a newer generation. The next pair clears the problem.
    """
    row = yield from locked(tx, grant_id)
    if row is None or row["generation"] != generation or row["role"] != Role.ACTIVE or row["state"] != State.FRESH:
        return None
    if row["problem"] == problem:
        return None
    yield from query("note_problem", grant_id=grant_id, generation=generation, problem=problem)
    yield from add_event(tx, row, CALL_REFUSED, actor="cloudbeds", reason=problem, said=dict(said))
    if problem == CALLS_LACK_SCOPE:  # the next pair clears the problem, although it lacks the scope as well
        yield from change_risks(tx, row, {CALLS_LACK_SCOPE: said.get("path", "")})
    connection_id: str = row["connection_id"]
    return connection_id
