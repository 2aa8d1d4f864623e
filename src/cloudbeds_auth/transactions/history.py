"""The transaction of reading a history: a connection's events, with lines of counted calls between them."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import merge
from itertools import islice

from cloudbeds_auth.rules.calls import SPANS
from cloudbeds_auth.rules.history import NEWEST, HistoryPlace, microseconds
from cloudbeds_auth.rules.model import Event
from cloudbeds_auth.transactions.rows import calls_event_of, event_of
from cloudbeds_auth.transactions.statements import Row, Rows, Transaction, Tx, query, transaction


@transaction
def read_history(
    tx: Tx, connection_id: str, *, place: HistoryPlace = NEWEST, limit: int = 100
) -> Transaction[Sequence[Event]]:
    """At most `limit` of both, newest first; calls that began at the moment of an event came after it."""
    events = yield from query("events", connection_id=connection_id, before=place.sequence, limit=limit)
    calls: list[Rows] = []
    for span in SPANS:
        found = yield from query(
            "calls", connection_id=connection_id, span=span, first_us=place.first_us, limit=limit + place.skip
        )
        calls.append(found)
    unread = islice(merge(*calls, key=_newest_first), place.skip, None)
    numbers, passed, read = [*(row["sequence"] for row in events), 0], 0, []
    # Each keeps its own order: a clock that was set back does not change that of the events.
    for row in islice(merge(unread, events, key=_newest_first), limit):
        if _is_event(row):
            passed += 1
            place = place.after_event(row["sequence"], microseconds(row["at"]))
            read.append(event_of(row, place.cursor))
        else:
            place = place.after_calls(row["first_us"])
            read.append(calls_event_of(row, numbers[passed], place.cursor))
    return read


def _newest_first(row: Row) -> int:
    return -(microseconds(row["at"]) if _is_event(row) else row["first_us"])


def _is_event(row: Row) -> bool:
    return "sequence" in row
