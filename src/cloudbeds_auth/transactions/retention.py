"""The transactions of forgetting: one connection on request, and what is too old in small batches."""

from __future__ import annotations

from cloudbeds_auth.rules.history import SPANS, microseconds
from cloudbeds_auth.rules.lifecycle import FORGOTTEN
from cloudbeds_auth.rules.model import Role
from cloudbeds_auth.transactions.authorizations import sweep_states
from cloudbeds_auth.transactions.connections import end
from cloudbeds_auth.transactions.rows import add_event
from cloudbeds_auth.transactions.statements import Transaction, Tx, as_keys, query, query_one, transaction


@transaction
def forget(tx: Tx, connection_id: str, *, actor: str) -> Transaction[bool]:
    """Of a connection that has ended: every token, who approved, and what its calls were. The history keeps what
    happened and when. False, and nothing changes: unknown, or it has not ended.
    """
    connection = yield from query_one("connection_locked", connection_id=connection_id)
    if connection is None:
        return False
    current = yield from query_one("current", connection_ids=as_keys([connection_id]))
    if current is None or current["role"] not in {None, Role.DISCONNECTED}:
        return False
    grants = yield from query("grants_of", connection_id=connection_id)
    for row in grants:
        if row["role"] != Role.DISCONNECTED:
            yield from end(tx, row, actor, FORGOTTEN)
    yield from query("forget_people", connection_id=connection_id)
    yield from query("forget_calls", connection_id=connection_id)
    yield from query("forget_methods", connection_id=connection_id)
    if grants:
        yield from add_event(tx, grants[-1], FORGOTTEN, actor=actor)
    return True


@transaction
def sweep(tx: Tx, age: float, limit: int) -> Transaction[int]:
    """Delete events and lines of counted calls older than `age` seconds, who approved what ended longer ago, and
    states that are over; the oldest first, at most `limit` of each. How many there were.
    """
    yield from query("one_at_a_time", work="retention")
    before = tx.wall - age
    states = yield from sweep_states(tx, limit)
    people = yield from query("sweep_people", before=before, limit=limit)
    events = yield from query("sweep_events", before=before, limit=limit)
    swept = states + len(people) + len(events)
    for span in SPANS:
        calls = yield from query("sweep_calls", span=span, before=microseconds(before), limit=limit)
        swept += len(calls)
    return swept
