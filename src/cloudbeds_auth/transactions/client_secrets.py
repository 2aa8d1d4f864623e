"""Which client secrets Cloudbeds refuses, by app and fingerprint of the secret (F35, F36)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from cloudbeds_auth.transactions.rows import behind
from cloudbeds_auth.transactions.statements import Transaction, Tx, query, transaction


@transaction
def open_circuits(tx: Tx, app: str) -> Transaction[Mapping[str, float]]:
    """Refused secrets by fingerprint, and seconds until a trial; below zero where it is due, and for how long.

    For ever, where the clock was set back since, or is another one.
    """
    rows = yield from query("circuits", app=app)
    return {
        row["fingerprint"]: row["trial_at"] - tx.steady
        if row["clock_id"] == tx.clock_id and behind(row, tx) == 0
        else -math.inf
        for row in rows
    }


@transaction
def open_circuit(tx: Tx, app: str, fingerprint: str, *, trial_after: float) -> Transaction[None]:
    """The vendor refused this secret; also claims a trial: nobody else tries before `trial_after` seconds."""
    yield from query(
        "open_circuit", app=app, fingerprint=fingerprint, trial_at=tx.steady + trial_after, now=tx.steady,
        clock_id=tx.clock_id,
    )  # fmt: skip


@transaction
def close_circuit(tx: Tx, app: str, fingerprint: str) -> Transaction[None]:
    """The vendor accepted this secret."""
    yield from query("close_circuit", app=app, fingerprint=fingerprint)
