"""Connections as what hotels have: which one an approval belongs to, a new one, and the reference of each."""

from __future__ import annotations

import json
from collections.abc import Iterable

from cloudbeds_auth.rules.audit import UNKNOWN_MAKER
from cloudbeds_auth.rules.authentic import Chain
from cloudbeds_auth.rules.lifecycle import REFERENCE_CHANGED, REFERENCE_NOT_TAKEN
from cloudbeds_auth.rules.model import Role
from cloudbeds_auth.rules.permissions import (
    Caller,
    OfConnection,
    Scope,
    may,
    may_change,
    not_for_connection,
    not_for_whole,
    of_connection,
)
from cloudbeds_auth.rules.webhooks import Notice, Standing
from cloudbeds_auth.transactions.authentic import changed_mac, is_genuine, is_linked, mac_of
from cloudbeds_auth.transactions.connections import read_connection
from cloudbeds_auth.transactions.outbox import send, standing_of
from cloudbeds_auth.transactions.rows import add_event
from cloudbeds_auth.transactions.statements import Row, Transaction, Tx, query, query_one


def add_connection(tx: Tx, connection_id: str, app: str, reference: str | None, *, trusted: bool) -> Transaction[None]:
    """A new connection; `trusted`: its reference came by a trusted way."""
    made = {"id": connection_id, "app": app, "reference": reference, "reference_trusted": int(trusted)}
    chain = tx.chains[connection_id] = Chain.begun(tx.mac_key, connection_id)
    yield from query(
        "add_connection", id=connection_id, app=app, reference=reference, trusted=int(trusted), now=tx.wall,
        mac=mac_of(tx, "connections", made), chain=chain.text,
    )  # fmt: skip


def set_reference(tx: Tx, connection: Row, reference: str, trusted: int) -> Transaction[None]:
    """Give the connection of this row, which is locked, this reference."""
    mac = changed_mac(tx, "connections", connection, reference=reference, reference_trusted=trusted)
    yield from query("set_reference", id=connection["id"], reference=reference, trusted=trusted, mac=mac)


def refer(tx: Tx, connection_id: str, reference: str | None, *, trusted: bool, by: str | None) -> Transaction[None]:
    """Give a connection that is locked this reference: by a trusted way always, else only where it has none (A70).
    `by`: who gave it, not who acts now: a hotel brings what its link was made with.

    A change by a trusted way is written to the history and reported to the receiver of webhooks; a reference that is
    not taken is written to the history.
    """
    connection = yield from query_one("connection_row", connection_id=connection_id)
    if connection is None or reference is None:
        return
    former, about = connection["reference"], {"connection_id": connection_id, "id": None, "generation": None}
    if former == reference and (connection["reference_trusted"] or not trusted):
        return
    if former is not None and not trusted:
        yield from add_event(tx, about, REFERENCE_NOT_TAKEN, actor="hotel", reference=reference)
        return
    yield from set_reference(tx, connection, reference, int(trusted))
    if former != reference and trusted:
        changed = {"from": former, "to": reference}
        yield from add_event(tx, about, REFERENCE_CHANGED, actor=by or UNKNOWN_MAKER, **changed)
        if standing_of(connection, (yield from query("grants_of", connection_id=connection_id))) is not Standing.AWAY:
            yield from send(tx, connection_id, Notice.REFERENCE_CHANGED)


def must_be_allowed(tx: Tx, caller: Caller | None, connection_id: str, reference: str | None) -> Transaction[None]:
    """A caller for some hotels changes no other's connection, whatever it brings, and gives no reference but its own
    (A27). `caller` None: for all. Raises Forbidden, the same where there is no such connection.
    """
    if caller is None or caller.for_all:
        return
    found = yield from read_connection(connection_id)(tx)
    hotel = OfConnection(connection_id) if found is None else of_connection(found)
    if not may(caller, Scope.CONNECT, hotel):
        raise not_for_connection()
    if not may_change(caller, Scope.CONNECT, hotel, reference):
        raise not_for_whole()


def covering(tx: Tx, app: str, property_ids: Iterable[str]) -> Transaction[str | None]:
    """The one connection of this app that covers one of these properties."""
    found: set[str] = set()
    for property_id in property_ids:
        found |= yield from homes_of(tx, app, property_id)
    return found.pop() if len(found) == 1 else None


def homes_of(tx: Tx, app: str, property_id: str) -> Transaction[set[str]]:
    """The connections of this app that cover this property. No approval goes to one that was altered (A76)."""
    rows = yield from query("connections_covering", app=app, property_id=property_id)
    return {row["c_id"] for row in rows if is_linked(tx, row) and property_id in json.loads(row["property_ids"])}


def covered_by(tx: Tx, connection_id: str | None) -> Transaction[tuple[str, ...]]:
    """The properties of the grant that was last in use there, as it was written. Where the connection names another
    one's, they are those of its own that is in use.
    """
    row = yield from query_one("covered", connection_id=connection_id)
    if row is not None and row["connection_id"] != connection_id:
        grants = yield from query("grants_of", connection_id=connection_id)
        row = next((one for one in grants if one["role"] == Role.ACTIVE), None)
    return tuple(json.loads(row["property_ids"])) if row is not None and is_genuine(tx, "grants", row) else ()
