"""The transactions of the audit: an entry is written in the transaction of its act, read, and deleted when old."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from cloudbeds_auth.rules.audit import STRANGERS, Acting, AuditEntry, entry_id, first_id
from cloudbeds_auth.rules.model import moment
from cloudbeds_auth.transactions.statements import Instant, Transaction, Tx, query, transaction

BEYOND = "z"  # sorts after every entry's id in any collation


def audit(
    now: Instant, action: str, subject: str | None, data: Mapping[str, object], by: Acting | None = None
) -> Transaction[None]:
    """Write an entry about an act, in the transaction that performs it; `by`: who did it, None: who acts now."""
    name, address = by or now.acting
    text = json.dumps(data, separators=(",", ":"), sort_keys=True)
    yield from query(
        "add_audit", id=entry_id(now.wall, action, name, subject, address, text), at=now.wall, action=action,
        actor=name, subject=subject, address=address, data=text,
    )  # fmt: skip


@transaction
def add_audit(
    tx: Tx, action: str, subject: str | None, data: Mapping[str, object], by: Acting | None = None
) -> Transaction[None]:
    """Write an entry about an act outside this database."""
    yield from audit(tx, action, subject, data, by)


@transaction
def add_failures(tx: Tx, times: Mapping[tuple[str, str], int]) -> Transaction[None]:
    """Write how often each of these actions failed from each of these addresses since the last call."""
    for (action, address), count in sorted(times.items()):
        yield from audit(tx, action, None, {"times": count}, Acting(STRANGERS, address))


@transaction
def read_audit(tx: Tx, *, before: str | None, limit: int) -> Transaction[Sequence[AuditEntry]]:
    """At most `limit`, newest first; `before`: the last id seen."""
    rows = yield from query("audit", before=before or BEYOND, limit=limit)
    return [
        AuditEntry(
            row["id"], moment(row["at"]), row["action"], row["actor"], row["subject"], row["address"],
            json.loads(row["data"]),
        )
        for row in rows
    ]  # fmt: skip


def sweep_audit(before: float, limit: int) -> Transaction[int]:
    """Delete at most `limit` entries from before that moment, the oldest first; returns how many."""
    rows = yield from query("sweep_audit", before=first_id(before), limit=limit)
    return len(rows)
