"""The role of a grant in its connection, and the flag by which lists find the connection's current grant.

Each transaction that changes a role, an ordinal or a connection's pointer then calls `show`; a refresh changes none of
them. Only lists go by the flag; everything else goes by the facts (`current_grants`).
"""

from __future__ import annotations

from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Role
from cloudbeds_auth.transactions.authentic import changed_mac
from cloudbeds_auth.transactions.statements import Row, Rows, Transaction, Tx, as_keys, query


def show(*connection_ids: str) -> Transaction[None]:
    """Have lists find these connections by their current grants."""
    yield from query("show", connection_ids=as_keys(connection_ids))


def set_role(tx: Tx, row: Row, role: Role, state: State) -> Transaction[None]:
    """Change the role and the state of the grant in `row`, and have lists find its connection."""
    mac = changed_mac(tx, "grants", row, role=role)
    yield from query("set_role", grant_id=row["id"], role=role, state=state, mac=mac)
    yield from show(row["connection_id"])


def place(row: Row, grants: Rows) -> tuple[float, float]:
    """Where a grant stands among those of its connection, by approval: a key that was exchanged stands right behind the
    grant that it came from, also if the hotel has approved again before the key was stored.
    """
    approval = next((one for one in grants if one["id"] == row["exchanged_from"]), row)
    return approval["ordinal"], row["ordinal"]
