"""The vendor's rate limit, shared by all processes of a client id: a row with the turns of the last window.

Turns are written unsynced: a crash of the machine or of the PostgreSQL server may lose some, so after it no turn is
given for a whole window.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from cloudbeds_auth.rules.rate_limit import WINDOW, Rate, Turns, WindowUse
from cloudbeds_auth.transactions.rows import behind
from cloudbeds_auth.transactions.statements import Row, Transaction, Tx, query, query_one, transaction


@transaction
def reserve_turn(tx: Tx, client_id: str, rate: Rate, patience: float) -> Transaction[float]:
    """Take the next turn of this client id among all processes, unless it is more than `patience` seconds away. Returns
    the seconds until it, taken or not.

    They are measured by the store's steady clock, so turns from before a restart of a process count.
    """
    turns = yield from _turns(tx, client_id)
    moment = turns.next(tx.steady, rate)
    wait = moment - tx.steady
    if wait <= patience:
        yield from _set_turns(tx, client_id, turns.give(moment, tx.steady, rate))
    return wait


@transaction
def pause_turns(tx: Tx, client_id: str, seconds: float) -> Transaction[None]:
    """After a 429: give no process a turn of this client id for `seconds`; those given already stay given."""
    turns = yield from _turns(tx, client_id)
    yield from _set_turns(tx, client_id, turns.paused(tx.steady, seconds))


def _turns(tx: Tx, client_id: str) -> Transaction[Turns]:
    """The turns given so far. After a new start of machine or server, no turn is given for a window from when it is
    found.

    If the clock was set back since, or began anew, the turns are as far ahead as they were when written.
    """
    row = yield from query_one("budget", client_id=client_id, started=tx.started)
    if row is None:
        return Turns()
    turns = _stored(row, tx)
    if row["started"] != tx.started:
        turns = turns.closed(tx.steady + WINDOW)
        yield from _set_turns(tx, client_id, turns)
    return turns


def _stored(row: Row, tx: Tx) -> Turns:
    back = behind(row, tx)
    given = tuple(moment - back for moment in json.loads(row["given"]))
    return Turns(given, row["closed_until"] - back, row["spaced_until"] - back)


@transaction
def read_window_use(tx: Tx, client_ids: Sequence[str]) -> Transaction[Mapping[str, WindowUse]]:
    """How much of the rate is in use, for each of these client ids that was used since the store's start."""
    found = {}
    for client_id in client_ids:
        row = yield from query_one("stored_budget", client_id=client_id)
        if row is not None and row["started"] == tx.started:
            found[client_id] = _stored(row, tx).use(tx.steady)
    return found


def _set_turns(tx: Tx, client_id: str, turns: Turns) -> Transaction[None]:
    yield from query(
        "set_budget", client_id=client_id, given=json.dumps(turns.given), closed_until=turns.closed_until,
        spaced_until=turns.spaced_until, now=tx.steady, started=tx.started,
    )  # fmt: skip
