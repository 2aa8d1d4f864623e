"""The transactions of a hotel's move to an API key (rule 15): the latch, and the key that comes for it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from cloudbeds_auth.ports.migration import MIGRATION_BEGUN, MIGRATION_ENDED
from cloudbeds_auth.ports.sealer import Sealer
from cloudbeds_auth.rules.lifecycle import Event, State, move
from cloudbeds_auth.rules.model import Fence, Pair, Role
from cloudbeds_auth.transactions.authorizations import Ends, add_grant
from cloudbeds_auth.transactions.grants import MOVED, holds
from cloudbeds_auth.transactions.rows import add_event, locked
from cloudbeds_auth.transactions.statements import Instant, Transaction, query, query_one
from cloudbeds_auth.transactions.upkeep import set_due


def begin_migration(now: Instant, fence: Fence, client_id: str) -> Transaction[bool]:
    """From here on no refresh token of this grant is refreshed, by anybody."""
    row = yield from locked(now, fence.grant_id)
    if row is None or not holds(row, fence) or row["role"] != Role.ACTIVE or row["latched"] > 1:
        return False
    if row["migration"] is not None and row["migration_client"] == client_id:
        return True
    yield from query(
        "begin_migration", grant_id=row["id"], generation=fence.generation, epoch=fence.epoch, client_id=client_id
    )
    yield from set_due(row, now, migration="begun")  # whoever is killed now leaves it to the background
    yield from add_event(now, row, MIGRATION_BEGUN, client_id=client_id)
    return True


def end_migration(now: Instant, fence: Fence, in_doubt: bool) -> Transaction[bool]:
    """The hotel stays what it was; `in_doubt`: also where an exchange may have been accepted, whose key nobody has."""
    row = yield from locked(now, fence.grant_id)
    if row is None or not holds(row, fence) or row["migration"] is None or row["intent_position"] is not None:
        return False
    if row["migration"] == "in_doubt" and not in_doubt:
        return False
    yield from query("end_migration", grant_id=row["id"], generation=fence.generation, epoch=fence.epoch)
    yield from set_due(row, now, migration=None)
    yield from add_event(now, row, MIGRATION_ENDED)
    return True


def add_key(now: Instant, old_grant_id: str, grant_id: str, app: str, pair: Pair, sealer: Sealer) -> Transaction[bool]:
    """A candidate row for the key, for the old grant's properties; the old grant serves until the key is proven."""
    row = yield from locked(now, old_grant_id)
    if row is None or row["role"] != Role.ACTIVE or row["latched"] >= MOVED:
        return (yield from query_one("grant", grant_id=grant_id)) is not None
    if (yield from query_one("grant", grant_id=grant_id)) is not None:
        return True  # a commit whose answer was lost: it is here
    key = replace(
        pair,
        property_ids=tuple(dict.fromkeys((*json.loads(row["property_ids"]), *pair.property_ids))),
        scopes=tuple(json.loads(row["scopes"])),
    )
    never = Ends(math.inf, math.inf, math.inf)
    made = yield from add_grant(now, row["connection_id"], grant_id, app, key, never, sealer)
    yield from query("key_received", grant_id=row["id"], state=move(State(row["state"]), Event.KEY_RECEIVED))
    yield from add_event(now, row, Event.KEY_RECEIVED)
    yield from add_event(
        now, made, "candidate_received", expires_at=None, property_ids=list(key.property_ids), exchanged=True
    )
    return True
