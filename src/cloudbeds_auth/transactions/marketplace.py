"""The transactions of approvals that a hotel began in the Marketplace: nobody's until they are claimed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from cloudbeds_auth.ports.authorizations import Authorization, NewAuthorization, Spending
from cloudbeds_auth.ports.sealer import Sealer
from cloudbeds_auth.rules.lifecycle import Event, State, move
from cloudbeds_auth.rules.model import CredentialKind, Pair, Role
from cloudbeds_auth.transactions.authorizations import (
    SWEPT,
    Ends,
    add_grant,
    covering,
    insert_authorization,
    refer,
    spend_state,
    sweep_states,
)
from cloudbeds_auth.transactions.rows import add_event, grant_of, lasting
from cloudbeds_auth.transactions.statements import Instant, Row, Transaction, query, query_one
from cloudbeds_auth.transactions.upkeep import set_due


class Leaving(NamedTuple):
    """Why tokens leave their connection, who made them, and until when it says so (unix seconds)."""

    why: str
    actor: str
    until: float


def begin_arrival(
    now: Instant, new: NewAuthorization, code_hash: str, most: int
) -> Transaction[Authorization | Spending]:
    """One authorization for one code, spent by it: whoever brings the code again is shown what it led to."""
    yield from query("one_at_a_time", work="arrivals")
    if (yield from query_one("authorization_by_state", state_hash=new.state_hash)) is None:
        for row in (yield from query("parked_too_long", now=now.wall)):  # where no upkeep runs nobody else deletes it
            yield from discard_parked(now, row["id"])
        waiting = yield from query_one("count_parked")
        if waiting is not None and waiting["waiting"] >= most:
            return Spending.FULL
        yield from sweep_states(now, SWEPT)
        yield from insert_authorization(now, new)
    return (yield from spend_state(now, new.state_hash, None, code_hash))


def claim(
    now: Instant, connection_id: str, reference: str | None, grant_id: str, sealer: Sealer
) -> Transaction[str | None]:
    """Somebody's from now on: a candidate where it is, or of the connection that the hotel has already."""
    row = yield from query_one("parked", connection_id=connection_id, now=now.wall)
    if row is None:
        return None
    yield from query("one_at_a_time", work=f"approvals of {row['app']}")  # before any row, as everywhere
    yield from query("connection_locked", connection_id=connection_id)
    row = yield from query_one("parked", connection_id=connection_id, now=now.wall)
    if row is None:  # claimed, sent away or over meanwhile
        return None
    home = yield from covering(row["app"], json.loads(row["property_ids"]))
    if home is None:
        home = connection_id
        state = move(State(row["state"]), Event.CLAIMED)
        yield from query("set_role", grant_id=row["id"], role=Role.CANDIDATE, state=state)
        yield from set_due(row, now, role=Role.CANDIDATE)
        yield from add_event(now, row, Event.CLAIMED, actor="operator")
        if reference is not None:  # its first one, as that of a new connection
            yield from query("set_reference", id=home, reference=reference, trusted=1)
    else:
        leaving = Leaving(f"claimed for {home}", "operator", row["due_at"])
        yield from move_tokens(now, row, json.loads(row["property_ids"]), home, grant_id, leaving, sealer)
        yield from refer(now, home, reference, trusted=True)
    return home


def move_tokens(
    now: Instant, row: Row, property_ids: Iterable[str], home: str, grant_id: str, leaving: Leaving, sealer: Sealer
) -> Transaction[None]:
    """The newest tokens of a grant become a candidate of another connection; sealed again, because a seal names the
    place. What they leave holds none, and takes no late pair: its fence has moved.
    """
    tokens = yield from query("tokens", grant_id=row["id"])
    grant = grant_of(row, tokens, sealer, now)
    refresh = grant.tokens[-1].value if grant.tokens else None
    pair = Pair(
        grant.access, refresh, grant.lifetime, tuple(property_ids), tuple(json.loads(row["scopes"])),
        CredentialKind(row["kind"]), grant.source,
    )  # fmt: skip
    ends = Ends(row["expires_at"], row["lifetime"], row["stale_at"])
    candidate = yield from add_grant(now, home, grant_id, row["app"], pair, ends, sealer)
    state = move(State(row["state"]), Event.SUPERSEDED)
    yield from query("leave_sign", grant_id=row["id"], state=state, problem=leaving.why, due_at=leaving.until)
    yield from query("drop_all_tokens", grant_id=row["id"])
    yield from add_event(now, row, Event.SUPERSEDED, reason=leaving.why)
    yield from add_event(
        now, candidate, "candidate_received", actor=leaving.actor, expires_at=lasting(ends.expires_at),
        property_ids=list(pair.property_ids),
    )  # fmt: skip


def discard_parked(now: Instant, grant_id: str) -> Transaction[bool]:
    """Nothing of its connection stays: it was nobody's, or is somewhere else."""
    row = yield from query_one("grant_locked", grant_id=grant_id)
    if row is None or row["role"] != Role.PARKED:
        return False
    for each in (yield from query("grants_of", connection_id=row["connection_id"])):
        yield from query("drop_all_tokens", grant_id=each["id"])
        yield from query("delete_properties", grant_id=each["id"])
        yield from query("delete_grant", grant_id=each["id"])
    yield from query("delete_events", connection_id=row["connection_id"])
    yield from query("delete_connection", connection_id=row["connection_id"])
    return True
