"""The newest approval of a connection: a disconnect ends nothing that was approved after it began (rule-13)."""

from __future__ import annotations

from cloudbeds_auth.errors import InvalidRequest
from cloudbeds_auth.transactions.statements import Transaction, Tx, query_one, transaction


@transaction
def newest_ordinal(tx: Tx, connection_id: str) -> Transaction[float]:
    """The ordinal of the connection's newest grant that is no exchanged key: one that is approved, claimed, imported or
    pasted later has a higher.
    """
    row = yield from query_one("last_approved", connection_id=connection_id)
    return 0 if row is None else row["ordinal"]


@transaction
def must_be_newest(tx: Tx, connection_id: str, ordinal: float) -> Transaction[None]:
    """Check that the connection has no approval newer than this. Raises InvalidRequest."""
    if (yield from newest_ordinal(connection_id)(tx)) > ordinal:
        raise InvalidRequest(
            "the hotel approved again after this disconnect began: the newer approval is kept, and nothing was deleted",
            connection_id=connection_id,
            next_step="disconnect the hotel again if it is to be disconnected all the same",
        )
