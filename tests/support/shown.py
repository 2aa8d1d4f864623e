"""An oracle of which grant of a connection is shown: worked out anew from the roles, for every connection."""

from __future__ import annotations

from cloudbeds_auth.transactions.roles import show
from cloudbeds_auth.transactions.statements import Statement, Transaction, Tx, transaction

ORACLE = """
SELECT g.id, g.shown FROM grants g JOIN connections c ON c.id = g.connection_id
WHERE COALESCE(g.shown, g.app) <> CASE WHEN g.id = COALESCE(
    (SELECT a.id FROM grants a WHERE a.id = c.active_grant AND a.role <> 'disconnected'),
    (SELECT n.id FROM grants n WHERE n.connection_id = c.id AND n.role IN ('candidate', 'parked', 'set_aside')
        ORDER BY n.ordinal DESC LIMIT 1),
    c.active_grant) THEN c.app ELSE '' END
"""


@transaction
def show_no_more(tx: Tx, connection_id: str) -> Transaction[None]:
    """Lists find a connection by none of its grants."""
    sql = "UPDATE grants SET shown = '' WHERE connection_id = :connection_id"
    yield Statement("show_no_more", sql, {"connection_id": connection_id})


@transaction
def show_all(tx: Tx, connection_id: str) -> Transaction[None]:
    """As a process of the schema before leaves the grants of a connection that it makes, or writes about: lists find it
    by every grant that it ever had.
    """
    sql = "UPDATE grants SET shown = NULL WHERE connection_id = :connection_id"
    yield Statement("show_all", sql, {"connection_id": connection_id})


@transaction
def shown(tx: Tx, connection_id: str) -> Transaction[None]:
    """As any change of a role mends it."""
    yield from show(connection_id)


@transaction
def show_twice(tx: Tx, connection_id: str) -> Transaction[None]:
    """A connection as it is read where its current grant changes meanwhile: a former one is marked, too."""
    columns = "connection_id, app, kind, generation, expires_at, lifetime, stale_at, clock_id, received_at, shown"
    sql = (
        f"INSERT INTO grants (id, ordinal, role, state, {columns}) SELECT 'former', 0, 'superseded', 'superseded', "
        f"{columns} FROM grants WHERE connection_id = :connection_id"
    )
    yield Statement("show_twice", sql, {"connection_id": connection_id})


@transaction
def wrongly_shown(tx: Tx) -> Transaction[list[tuple[str, str | None]]]:
    """Grants that are shown and should not be, or the other way round."""
    rows = yield Statement("wrongly_shown", ORACLE, {})
    return [(row["id"], row["shown"]) for row in rows]
