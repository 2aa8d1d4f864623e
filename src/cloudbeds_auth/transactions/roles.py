"""Which part a grant plays in its connection, and which one people are shown: lists and counts go by that mark alone.

Whatever changes a role, an ordinal or the pointer of a connection calls `show` behind it; a refresh never does.
"""

from __future__ import annotations

from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Role
from cloudbeds_auth.transactions.statements import Row, Transaction, query


def show(connection_id: str) -> Transaction[None]:
    """Mark the grant of this connection that is shown from now on; the query says which one."""
    yield from query("show", connection_id=connection_id)


def set_role(row: Row, role: Role, state: State) -> Transaction[None]:
    """The grant of `row` plays another part from now on."""
    yield from query("set_role", grant_id=row["id"], role=role, state=state)
    yield from show(row["connection_id"])
