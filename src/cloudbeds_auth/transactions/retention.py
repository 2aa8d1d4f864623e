"""The transactions of forgetting: one connection on request, and what is too old in small batches."""

from __future__ import annotations

from cloudbeds_auth.ports.retention import FORGOTTEN
from cloudbeds_auth.rules.calls import SPANS
from cloudbeds_auth.rules.history import microseconds
from cloudbeds_auth.rules.model import Role
from cloudbeds_auth.transactions.authorizations import sweep_states
from cloudbeds_auth.transactions.connections import end
from cloudbeds_auth.transactions.rows import add_event
from cloudbeds_auth.transactions.statements import Instant, Transaction, as_keys, query, query_one


def forget(now: Instant, connection_id: str, actor: str) -> Transaction[bool]:
    """Tokens of dropped and replaced grants, who approved, and what the calls were."""
    connection = yield from query_one("connection_locked", connection_id=connection_id)
    if connection is None:
        return False
    current = yield from query_one("current", connection_ids=as_keys([connection_id]))
    if current is None or current["role"] not in {None, Role.DISCONNECTED}:
        return False
    grants = yield from query("grants_of", connection_id=connection_id)
    for row in grants:
        if row["role"] != Role.DISCONNECTED:
            yield from end(now, row, actor, FORGOTTEN)
    yield from query("forget_people", connection_id=connection_id)
    yield from query("forget_calls", connection_id=connection_id)
    yield from query("forget_methods", connection_id=connection_id)
    if grants:
        yield from add_event(now, grants[-1], FORGOTTEN, actor=actor)
    return True


def sweep(now: Instant, age: float, limit: int) -> Transaction[int]:
    """By an index for each; processes take turns."""
    yield from query("one_at_a_time", work="retention")
    before = now.wall - age
    states = yield from sweep_states(now, limit)
    people = yield from query("sweep_people", before=before, limit=limit)
    events = yield from query("sweep_events", before=before, limit=limit)
    swept = states + len(people) + len(events)
    for span in SPANS:
        calls = yield from query("sweep_calls", span=span, before=microseconds(before), limit=limit)
        swept += len(calls)
    return swept
