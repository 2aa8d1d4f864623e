"""Connections as hotels have them: which one an approval belongs to, how one is created, and their references."""

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
    """Create a connection; `trusted`: its reference comes from a trusted source."""
    made = {"id": connection_id, "app": app, "reference": reference, "reference_trusted": int(trusted)}
    chain = tx.chains[connection_id] = Chain.begun(tx.mac_key, connection_id)
    yield from query(
        "add_connection", id=connection_id, app=app, reference=reference, trusted=int(trusted), now=tx.wall,
        mac=mac_of(tx, "connections", made), chain=chain.text,
    )  # fmt: skip


def set_reference(tx: Tx, connection: Row, reference: str, trusted: int) -> Transaction[None]:
    """Set the reference of the connection in this row, which is locked."""
    mac = changed_mac(tx, "connections", connection, reference=reference, reference_trusted=trusted)
    yield from query("set_reference", id=connection["id"], reference=reference, trusted=trusted, mac=mac)


def refer(tx: Tx, connection_id: str, reference: str | None, *, trusted: bool, by: str | None) -> Transaction[None]:
    """Set the reference of a locked connection: from a trusted source always, else only if it has none (A70). `by`: who
    gave the reference, which may not be who acts now: a hotel brings the one that its link was made with.

    A change from a trusted source is written to the history and reported to the receiver of webhooks; a reference that
    is not taken is only written to the history.
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
    """Check that a caller for some hotels does not change another hotel's connection, whatever it names, and sets no
    reference but its own (A27). `caller` None: for all. Raises Forbidden, the same if there is no such connection.
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
    """The connection of this app that covers one of these properties; None if there is none, or more than one."""
    found: set[str] = set()
    for property_id in property_ids:
        found |= yield from homes_of(tx, app, property_id)
    return found.pop() if len(found) == 1 else None


def homes_of(tx: Tx, app: str, property_id: str) -> Transaction[set[str]]:
    """The connections of this app that cover this property, except altered ones: they take no approval (A76)."""
    rows = yield from query("connections_covering", app=app, property_id=property_id)
    return {row["c_id"] for row in rows if is_linked(tx, row) and property_id in json.loads(row["property_ids"])}


def covered_by(tx: Tx, connection_id: str | None) -> Transaction[tuple[str, ...]]:
    """The properties of the connection's grant that was last in use, if that row is genuine. If the connection points
    to a grant of another one, those of its own grant in use.
    """
    row = yield from query_one("covered", connection_id=connection_id)
    if row is not None and row["connection_id"] != connection_id:
        grants = yield from query("grants_of", connection_id=connection_id)
        row = next((one for one in grants if one["role"] == Role.ACTIVE), None)
    return tuple(json.loads(row["property_ids"])) if row is not None and is_genuine(tx, "grants", row) else ()
