"""The transactions of a hotel's move to an API key (rule-15): the latch, and the key that the exchange brings."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from cloudbeds_auth.rules.lifecycle import MIGRATION_BEGUN, MIGRATION_ENDED, LifecycleEvent, State, move
from cloudbeds_auth.rules.model import Fence, Pair, Role
from cloudbeds_auth.transactions.candidates import Ends, add_grant
from cloudbeds_auth.transactions.grants import MOVED, holds
from cloudbeds_auth.transactions.rows import add_event, locked
from cloudbeds_auth.transactions.statements import Row, Transaction, Tx, query, query_one, transaction
from cloudbeds_auth.transactions.upkeep import set_due


@transaction
def begin_migration(tx: Tx, fence: Fence, client_id: str) -> Transaction[bool]:
    """Latch the grant; a migration that is under way continues, under this client id. False: the fence moved."""
    row = yield from locked(tx, fence.grant_id)
    if row is None or not holds(row, fence) or row["role"] != Role.ACTIVE or row["latched"] > 1:
        return False
    if row["migration"] is not None and row["migration_client"] == client_id:
        return True
    yield from query(
        "begin_migration", grant_id=row["id"], generation=fence.generation, epoch=fence.epoch, client_id=client_id
    )
    yield from set_due(row, tx, migration="begun")  # if this process is killed now, upkeep resumes it
    yield from add_event(tx, row, MIGRATION_BEGUN, actor=tx.acting.name, client_id=client_id)
    return True


@transaction
def end_migration(tx: Tx, fence: Fence, *, in_doubt: bool = False) -> Transaction[bool]:
    """Give the migration up and lift the latch. False, and nothing changes: an exchange may have been accepted, or its
    key waits for its proof.

    `in_doubt`: lift it nevertheless, because the answer to that exchange can no longer come.
    """
    row = yield from locked(tx, fence.grant_id)
    if row is None or not holds(row, fence) or row["migration"] is None or row["intent_position"] is not None:
        return False
    if row["migration"] == "in_doubt" and not in_doubt:
        return False
    if not (yield from query("end_migration", grant_id=row["id"], generation=fence.generation, epoch=fence.epoch)):
        return False  # a key of this move waits
    yield from set_due(row, tx, migration=None)
    yield from add_event(tx, row, MIGRATION_ENDED)
    return True


@transaction
def add_key(tx: Tx, fence: Fence, grant_id: str, app: str, pair: Pair) -> Transaction[bool]:
    """Store the key that an exchange of this grant's token brought, as a candidate of its connection.

    No fence keeps it out: even if the grant moved meanwhile, or another key of the same move superseded it, the key in
    hand may be the hotel's only living credential, and the proof decides. The fence tells whose exchange is over: one
    that another process has begun since stays pending. Repeating it is harmless. False: the hotel was disconnected, or
    approved anew, or its grants live in another database now.
    """
    row = yield from locked(tx, fence.grant_id)
    if (yield from query_one("grant", grant_id=grant_id)) is not None:
        return True  # a commit whose answer was lost: it is here
    if row is None or row["latched"] >= MOVED or not (yield from _in_use(row)):
        return False
    key = replace(
        pair,
        property_ids=tuple(dict.fromkeys((*json.loads(row["property_ids"]), *pair.property_ids))),
        scopes=tuple(json.loads(row["scopes"])),
    )
    never = Ends(math.inf, math.inf, math.inf)
    made = yield from add_grant(tx, row["connection_id"], grant_id, app, key, never, tx.sealer)
    yield from query("mark_exchanged", grant_id=grant_id, former=row["id"])
    if row["intent_epoch"] == fence.epoch:
        state = move(State(row["state"]), LifecycleEvent.KEY_RECEIVED)
        yield from query("key_received", grant_id=row["id"], epoch=fence.epoch, state=state)
    yield from add_event(tx, row, LifecycleEvent.KEY_RECEIVED)
    yield from add_event(
        tx, made, "candidate_received", expires_at=None, property_ids=list(key.property_ids), exchanged=True
    )  # fmt: skip
    return True


def _in_use(row: Row) -> Transaction[bool]:
    """Whether the connection uses this grant, or a key that one of its tokens was exchanged for."""
    if row["role"] == Role.ACTIVE:
        return True
    grants = yield from query("grants_of", connection_id=row["connection_id"])
    return any(one["role"] == Role.ACTIVE and one["exchanged_from"] == row["id"] for one in grants)
