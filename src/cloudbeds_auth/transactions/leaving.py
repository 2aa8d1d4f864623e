"""The transactions of a connection whose tokens moved elsewhere: it shows this for a day, and is then deleted."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from cloudbeds_auth.rules.lifecycle import LifecycleEvent, State, move
from cloudbeds_auth.rules.model import Role
from cloudbeds_auth.rules.schedule import PARKED
from cloudbeds_auth.transactions.authentic import changed_mac
from cloudbeds_auth.transactions.roles import show
from cloudbeds_auth.transactions.rows import add_event, locked
from cloudbeds_auth.transactions.statements import Row, Transaction, Tx, query


def leave(tx: Tx, row: Row, why: str) -> Transaction[None]:
    """Delete the tokens of a grant, which shows `why` from now on; it takes no late pair, because its fence moves."""
    state = move(State(row["state"]), LifecycleEvent.SUPERSEDED)
    mac = changed_mac(tx, "grants", row, role=Role.PARKED)
    yield from query("leave_sign", grant_id=row["id"], state=state, problem=why, due_at=tx.wall + PARKED, mac=mac)
    yield from query("drop_all_tokens", grant_id=row["id"])
    yield from show(row["connection_id"])
    yield from add_event(tx, row, LifecycleEvent.SUPERSEDED, reason=why)


def end_set_aside(tx: Tx, app: str, named: Collection[str], home: str, received_at: float) -> Transaction[None]:
    """The approval of these properties that came in at `received_at` is in the connection `home`: end what was set
    aside before it for them and for no other property. The caller holds the lock on the approvals of this app, so no
    other one is stored meanwhile.
    """
    where: dict[str, object] = {"app": app, "connection_id": home, "received_at": received_at}
    for property_id in named:
        for found in (yield from query("set_aside", property_id=property_id, **where)):
            row = yield from locked(tx, found["id"])
            still = row is not None and row["role"] == Role.SET_ASIDE
            if row is not None and still and {*json.loads(row["property_ids"])} <= {*named}:
                yield from leave(tx, row, f"replaced by {home}")


def newer_set_aside(tx: Tx, app: str, named: Sequence[str], home: str, received_at: float) -> Transaction[str | None]:
    """The connection, other than `home`, of an approval of all these properties that came in after `received_at` and
    was set aside, and that Cloudbeds does not refuse. None: there is none.
    """
    for property_id in named[:1]:  # one that covers all of them covers the first
        where: dict[str, object] = {"app": app, "connection_id": home, "received_at": received_at, "now": tx.wall}
        for found in (yield from query("set_aside_since", property_id=property_id, **where)):
            if {*named} <= {*json.loads(found["property_ids"])}:
                newer: str = found["connection_id"]
                return newer
    return None
