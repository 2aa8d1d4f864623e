"""The vendor's rate, shared by all processes of a client id: one arrival time in a row."""

from __future__ import annotations

from cloudbeds_auth.rules.rate_limit import Rate, Turn, closed, reserve
from cloudbeds_auth.transactions.rows import behind
from cloudbeds_auth.transactions.statements import Transaction, Tx, query, query_one, transaction


@transaction
def reserve_turn(tx: Tx, client_id: str, rate: Rate, patience: float) -> Transaction[Turn]:
    """The next turn of this client id among all processes; not taken when it is more than `patience` seconds off.

    By the store's steady clock, so restarts count; after a restart of the machine it begins afresh.
    """
    turn = reserve((yield from _arrival(tx, client_id)), tx.steady, rate.interval, patience)
    if turn.taken:
        yield from _set_arrival(tx, client_id, turn.arrival)
    return turn


@transaction
def pause_turns(tx: Tx, client_id: str, seconds: float) -> Transaction[None]:
    """Give no turn of this client id for `seconds`, in any process; those given already stay given."""
    arrival = closed((yield from _arrival(tx, client_id)), tx.steady, seconds)
    yield from _set_arrival(tx, client_id, arrival)


def _arrival(tx: Tx, client_id: str) -> Transaction[float]:
    """The arrival time that the last request left; now, where a clock that is gone left it.

    Where the clock was set back since, it is as far ahead as it was then.
    """
    row = yield from query_one("budget", client_id=client_id)
    if row is None or row["clock_id"] != tx.clock_id:
        return tx.steady
    arrival: float = row["arrival"]
    return arrival - behind(row, tx)


def _set_arrival(tx: Tx, client_id: str, arrival: float) -> Transaction[None]:
    yield from query("set_budget", client_id=client_id, arrival=arrival, now=tx.steady, clock_id=tx.clock_id)
