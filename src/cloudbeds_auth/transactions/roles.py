"""Which part a grant plays in its connection, and the mark by which lists find the connection's current one.

Whatever changes a role, an ordinal or the pointer of a connection calls `show` behind it; a refresh never does. All but
lists goes by the facts (`current_grants`).
"""

from __future__ import annotations

from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Role
from cloudbeds_auth.transactions.authentic import changed_mac
from cloudbeds_auth.transactions.statements import Row, Transaction, Tx, as_keys, query


def show(*connection_ids: str) -> Transaction[None]:
    """Lists find these connections by their current grants from now on."""
    yield from query("show", connection_ids=as_keys(connection_ids))


def set_role(tx: Tx, row: Row, role: Role, state: State) -> Transaction[None]:
    """The grant of `row` plays another part from now on."""
    mac = changed_mac(tx, "grants", row, role=role)
    yield from query("set_role", grant_id=row["id"], role=role, state=state, mac=mac)
    yield from show(row["connection_id"])
