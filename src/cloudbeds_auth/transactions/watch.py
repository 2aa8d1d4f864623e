"""What whoever watches all hotels reads: the newest lines of every history, over the index of their moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloudbeds_auth.transactions.statements import Transaction, Tx, query, transaction

MOST_LINES = 2_000  # more than one transaction writes


@dataclass(frozen=True, slots=True)
class NewLine:
    """A line of a history: of which connection, at which unix second, and of which kind."""

    connection_id: str
    at: float
    kind: str


@dataclass(frozen=True, slots=True)
class NewLines:
    """Lines of all histories, oldest first; `whole`: there were no more at the unix second `now`."""

    lines: Sequence[NewLine]
    now: float
    whole: bool


@transaction
def read_new_lines(tx: Tx, since: float, limit: int = MOST_LINES) -> Transaction[NewLines]:
    """Lines of this unix second and later. One may still be committed that is some seconds older than those here."""
    rows = yield from query("lines_since", since=since, limit=limit)
    lines = [NewLine(row["connection_id"], row["at"], row["kind"]) for row in rows]
    return NewLines(lines, tx.wall, len(rows) < limit)
