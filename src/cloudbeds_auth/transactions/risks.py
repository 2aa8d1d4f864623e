"""The transactions of risks: stored with the connection; messages report new ones, and the end of the last."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from cloudbeds_auth.rules.lifecycle import RISK_FOUND, RISK_OVER
from cloudbeds_auth.rules.model import Role
from cloudbeds_auth.rules.risks import Found, after
from cloudbeds_auth.rules.webhooks import Notice, Standing, standing
from cloudbeds_auth.transactions.outbox import send
from cloudbeds_auth.transactions.rows import add_event, locked
from cloudbeds_auth.transactions.statements import Row, Transaction, Tx, query, query_one, transaction


@dataclass(frozen=True, slots=True)
class RiskChanges:
    """The risks that were found, and those that are over."""

    found: Sequence[str] = ()
    over: Sequence[str] = ()


def change_risks(tx: Tx, row: Row, found: Found) -> Transaction[RiskChanges]:
    """Store what was found about the connection of a locked grant, `row` as it is now; the history has a line for each
    change. While the hotel is connected, a message reports new risks, and the end of the last one.
    """
    connection = yield from query_one("connection_row", connection_id=row["connection_id"])
    assert connection is not None  # noqa: S101 - a grant has one
    before = json.loads(connection["risks"])
    risks = after(before, found)
    if risks == before:
        return RiskChanges()
    yield from query("set_risks", connection_id=row["connection_id"], risks=json.dumps(risks))
    changes = RiskChanges(sorted(risks.keys() - before.keys()), sorted(before.keys() - risks.keys()))
    for risk in changes.found:
        yield from add_event(tx, row, RISK_FOUND, risk=risk, why=risks[risk])
    for risk in changes.over:
        yield from add_event(tx, row, RISK_OVER, risk=risk)
    if standing(row["role"], row["reauth"]) is Standing.CONNECTED:
        if changes.found:
            yield from send(tx, row["connection_id"], Notice.AT_RISK)
        elif not risks:
            yield from send(tx, row["connection_id"], Notice.RISK_OVER)
    return changes


@transaction
def note_risks(tx: Tx, grant_id: str, found: Found) -> Transaction[RiskChanges]:
    """As `change_risks`, if the grant is the one in use."""
    row = yield from locked(tx, grant_id)
    if row is None or row["role"] != Role.ACTIVE:
        return RiskChanges()
    return (yield from change_risks(tx, row, found))
