"""An oracle of which grant of a connection is shown: worked out anew from the roles, for every connection."""

from __future__ import annotations

from cloudbeds_auth.transactions.statements import Statement, Transaction, Tx, transaction

ORACLE = """
SELECT g.id, g.shown FROM grants g JOIN connections c ON c.id = g.connection_id
WHERE g.shown <> CASE WHEN g.id = COALESCE(
    (SELECT a.id FROM grants a WHERE a.id = c.active_grant AND a.role <> 'disconnected'),
    (SELECT n.id FROM grants n WHERE n.connection_id = c.id AND n.role IN ('candidate', 'parked', 'set_aside')
        ORDER BY n.ordinal DESC LIMIT 1),
    c.active_grant) THEN 1 ELSE 0 END
"""


@transaction
def wrongly_shown(tx: Tx) -> Transaction[list[tuple[str, int]]]:
    """Grants that are shown and should not be, or the other way round."""
    rows = yield Statement("wrongly_shown", ORACLE, {})
    return [(row["id"], row["shown"]) for row in rows]
