"""The transactions of a history: a connection's events, the lines of counted calls between them, and their deletion.

Lines of calls are stored apart from grants and events, and are merged into fewer as they grow older. Adding them reads
`grants` without a lock; merging touches only lines that no process adds to any more. What is too old is deleted in
small batches; what is stored about one connection, on request.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from heapq import merge
from itertools import islice, pairwise

from cloudbeds_auth.rules.authentic import Verification, event_mac
from cloudbeds_auth.rules.history import (
    AS_COUNTED,
    NEWEST,
    SPANS,
    Calls,
    HistoryPlace,
    beginning,
    merged,
    microseconds,
    span_at,
)
from cloudbeds_auth.rules.lifecycle import CALL_REFUSED, FORGOTTEN
from cloudbeds_auth.rules.model import KEPT_ALIVE, CredentialKind, Event, Role
from cloudbeds_auth.rules.schedule import used_since
from cloudbeds_auth.transactions.audit import sweep_audit
from cloudbeds_auth.transactions.authentic import read_chains, set_chains
from cloudbeds_auth.transactions.authorizations import sweep_states
from cloudbeds_auth.transactions.connections import end
from cloudbeds_auth.transactions.rows import add_event, calls_event_of, event_of
from cloudbeds_auth.transactions.sessions import sweep_sessions
from cloudbeds_auth.transactions.statements import Row, Rows, Transaction, Tx, as_keys, query, query_one, transaction
from cloudbeds_auth.transactions.upkeep import set_due
from cloudbeds_auth.transactions.verification import all_events

KEY = ("connection_id", "span", "first_us", "generation", "line")
TAKEN_OVER = "calls_taken_over"  # in `meta`: the event up to which lines of an earlier version were taken over
NOTED_AT_ONCE = 20  # grants of a batch; the use of the others is noted with their next line
ALL = "all"  # … its value once none are left


@transaction
def add_calls(tx: Tx, calls: Sequence[Calls]) -> Transaction[Mapping[str, float]]:
    """Store lines as they were counted. Returns the grants whose last use is to be noted now, each with its moment.

    For a grant that has ended only the numbers are stored: its connection may have been forgotten meanwhile.
    """
    found = yield from query("grants_called", grants=json.dumps(sorted({line.grant_id for line in calls})))
    grants = {row["id"]: row for row in found}
    known = [line for line in calls if line.grant_id in grants]
    rows = []
    used: dict[str, float] = {}
    for line in known:
        grant = grants[line.grant_id]
        shown = line if grant["role"] in {Role.ACTIVE, Role.CANDIDATE} else replace(line, methods={})
        rows.append(_row_of(shown, grant["connection_id"], AS_COUNTED))
        used[line.grant_id] = max(line.last, used.get(line.grant_id, line.last))
    yield from _add(rows)
    news = [
        grant_id
        for grant_id, at in used.items()
        if used_since(grants[grant_id]["used_at"], at, grants[grant_id]["lifetime"])
    ]
    news.sort(key=lambda grant_id: grants[grant_id]["used_at"] or 0.0)
    return {grant_id: used[grant_id] for grant_id in news[:NOTED_AT_ONCE]}


@transaction
def note_use(tx: Tx, grant_id: str, at: float) -> Transaction[None]:
    """Store when a grant was last used, and plan when it is due; does nothing if another transaction holds the row."""
    row = yield from query_one("grant_unless_locked", grant_id=grant_id)
    if row is None:
        return
    yield from query("set_used", grant_id=grant_id, at=at, now=tx.wall)
    planned = row["due_at"] is not None and row["first_refused"] is None  # a grant refused once is tried again soon
    if row["kind"] == CredentialKind.API_KEY and planned:
        yield from set_due(row, tx)


@transaction
def roll_up(tx: Tx, span: int, coarser: int, age: float, limit: int) -> Transaction[bool]:
    """Merge the oldest lines of one span once the whole period of the `coarser` one is `age` seconds old. True: there
    may be more.
    """
    yield from query("one_at_a_time", work="retention")
    before = beginning(microseconds(tx.wall - age), coarser)
    rows = yield from query("old_calls", span=span, before=before, limit=limit)
    yield from _drop(rows)
    yield from _fold(rows, coarser)
    return len(rows) == limit


@transaction
def take_over(tx: Tx, limit: int) -> Transaction[bool]:
    """Merge lines that an earlier version wrote as events, going through all events once in the order of their key.
    True: there are more.

    The newest event of a connection stays where it is, because the next one is numbered after it.
    """
    yield from query("one_at_a_time", work="retention")
    done = yield from query_one("meta", name=TAKEN_OVER)
    if done is not None and done["value"] == ALL:
        return False
    connection_id, sequence = json.loads(done["value"]) if done is not None else ("", 0)
    events = yield from query("events_from", connection_id=connection_id, sequence=sequence, limit=limit + 1)
    old = [
        event
        for event, newer in pairwise(events)
        if event["kind"] == "calls" and event["connection_id"] == newer["connection_id"]
    ]
    by_span: dict[int, list[Row]] = defaultdict(list)
    for event in old:
        by_span[span_at(tx.wall - event["at"])].append(_row_of_event(event))
    for span, rows in by_span.items():
        yield from _fold(rows, span)
    yield from query("drop_events", events=_listed(old, ("connection_id", "sequence")))
    more = len(events) > limit
    reached = json.dumps([events[-2]["connection_id"], events[-2]["sequence"]]) if more else ALL
    yield from query("set_meta", name=TAKEN_OVER, value=reached)
    return more


def _fold(rows: Rows, span: int) -> Transaction[None]:
    """Merge these lines, and those stored already, into one for each generation and period of `span` seconds."""
    groups: dict[tuple[str, int, int], list[Row]] = defaultdict(list)
    for row in rows:
        groups[_group(row, span)].append(row)
    periods = [
        {"connection_id": connection, "generation": generation, "begins": begins, "ends": begins + microseconds(span)}
        for connection, generation, begins in groups
    ]
    there = yield from query("calls_within", periods=json.dumps(periods), span=span)
    for row in there:
        groups[_group(row, span)].append(row)
    yield from _drop(there)
    yield from _add([_row_of(merged(map(_calls_of, group)), key[0], span) for key, group in groups.items()])


def _group(row: Row, span: int) -> tuple[str, int, int]:
    return row["connection_id"], row["generation"], beginning(row["first_us"], span)


def _add(rows: Rows) -> Transaction[None]:
    yield from query("add_calls", lines=json.dumps(rows))


def _drop(rows: Rows) -> Transaction[None]:
    yield from query("drop_calls", lines=_listed(rows, KEY))


def _listed(rows: Rows, names: Sequence[str]) -> str:
    """These parts of rows, as one parameter."""
    return json.dumps([{name: row[name] for name in names} for row in rows])


def _row_of(line: Calls, connection_id: str, span: int) -> Row:
    return {
        "connection_id": connection_id,
        "first_us": microseconds(line.first),
        "generation": line.generation,
        "span": span,
        "line": line.line,
        "grant_id": line.grant_id,
        "last_us": microseconds(line.last),
        "count": line.count,
        "refused": line.refused,
        "methods": json.dumps(dict(line.methods), separators=(",", ":"), sort_keys=True),
    }


def _calls_of(row: Row) -> Calls:
    return Calls(
        row["grant_id"], row["generation"], row["first_us"] / 1e6, row["last_us"] / 1e6, row["count"], row["refused"],
        json.loads(row["methods"]),
    )  # fmt: skip


def _row_of_event(event: Row) -> Row:
    """The line that such an event holds; for a forgotten hotel it says only that there were calls, and when."""
    data = json.loads(event["data"])
    line = Calls(
        event["grant_id"], event["generation"], data.get("first", event["at"]), data.get("last", event["at"]),
        data.get("count", 0), data.get("refused", 0), data.get("methods", {}),
    )  # fmt: skip
    return _row_of(line, event["connection_id"], AS_COUNTED)


@transaction
def read_history(
    tx: Tx, connection_id: str, *, place: HistoryPlace = NEWEST, limit: int = 100
) -> Transaction[Sequence[Event]]:
    """At most `limit` events and lines of calls, newest first; calls that began at the moment of an event came after
    it.
    """
    events = yield from query("events", connection_id=connection_id, before=place.sequence, limit=limit)
    calls: list[Rows] = []
    for span in SPANS:
        found = yield from query(
            "calls", connection_id=connection_id, span=span, first_us=place.first_us, limit=limit + place.skip
        )
        calls.append(found)
    unread = islice(merge(*calls, key=_newest_first), place.skip, None)
    numbers, passed, read = [*(row["sequence"] for row in events), 0], 0, []
    # `merge` keeps the order of each input: that of the events holds even if the clock was set back.
    for row in islice(merge(unread, events, key=_newest_first), limit):
        if _is_event(row):
            passed += 1
            place = place.after_event(row["sequence"], microseconds(row["at"]))
            read.append(event_of(row, place.cursor))
        else:
            place = place.after_calls(row["first_us"])
            read.append(calls_event_of(row, numbers[passed], place.cursor))
    return read


@transaction
def read_pair_history(
    tx: Tx, connection_id: str, *, place: HistoryPlace = NEWEST, limit: int = 200
) -> Transaction[tuple[Sequence[Event], float | None]]:
    """The data for the picture of token pairs: at most `limit` events, without lines of calls; for each generation the
    sum of its calls in that time; and the unix second at which upkeep is due for the connection next, None if it is
    not.
    """
    events = yield from query("events", connection_id=connection_id, before=place.sequence, limit=limit)
    read = [event_of(row, "") for row in events]
    told = {(one.grant_id, one.generation) for one in read}
    for span in SPANS if events else ():
        carried = yield from query(
            "calls_by_generation", connection_id=connection_id, span=span, since=microseconds(events[-1]["at"]),
            until=place.first_us,
        )  # fmt: skip
        known = (row for row in carried if (row["grant_id"], row["generation"]) in told)
        read.extend(calls_event_of(row, events[0]["sequence"], "") for row in known)
    current = yield from query_one("current", connection_ids=as_keys([connection_id]))
    if current is None or current["role"] not in KEPT_ALIVE:
        return read, None
    planned: float | None = current["due_at"] if current["retry_at"] is None else current["retry_at"]
    return read, planned


def _newest_first(row: Row) -> int:
    return -(microseconds(row["at"]) if _is_event(row) else row["first_us"])


def _is_event(row: Row) -> bool:
    return "sequence" in row


@transaction
def forget(tx: Tx, connection_id: str) -> Transaction[bool]:
    """Delete every token of a connection that has ended or was set aside, who approved it, and what its calls were. The
    history keeps what happened and when. False, and nothing changes: it is unknown, or has neither ended nor been set
    aside.
    """
    connection = yield from query_one("connection_locked", connection_id=connection_id)
    if connection is None:
        return False
    current = yield from query_one("current", connection_ids=as_keys([connection_id]))
    if current is None or current["role"] not in {None, Role.DISCONNECTED, Role.SET_ASIDE}:
        return False
    grants = yield from query("grants_of", connection_id=connection_id)
    for row in grants:
        if row["role"] != Role.DISCONNECTED:
            yield from end(tx, row, FORGOTTEN)
    yield from query("forget_people", connection_id=connection_id)
    yield from _forget_refused_calls(tx, connection_id)
    yield from query("forget_methods", connection_id=connection_id)
    yield from add_event(tx, grants[-1], FORGOTTEN, actor=tx.acting.name)
    return True


def _forget_refused_calls(tx: Tx, connection_id: str) -> Transaction[None]:
    """Delete the details of refused calls from the history. If it was genuine before, its events get new MACs."""
    events = yield from all_events(connection_id)
    chain = (yield from read_chains([connection_id]))[connection_id]
    verification = Verification(tx.mac_key, connection_id, chain)
    for event in events:
        verification.verify(event)
    verification.end()
    yield from query("forget_calls", connection_id=connection_id)
    if verification.problems:
        return
    before, macs = chain.base_mac, []
    for event in events:
        if event["sequence"] > chain.base:
            before = event_mac(tx.mac_key, connection_id, before, without_names(event))
            macs.append({"sequence": event["sequence"], "mac": before})
    yield from query("set_event_macs", connection_id=connection_id, macs=json.dumps(macs))
    tx.chains[connection_id] = chain.changed(tx.mac_key, connection_id, last_mac=before)
    yield from set_chains({connection_id: tx.chains[connection_id]})


def without_names(row: Row) -> Row:
    """A row of `events` as it is once its hotel is forgotten: paths and the vendor's words may name people."""
    return {**row, "data": "{}"} if row["kind"] in {"calls", CALL_REFUSED} else row


@transaction
def sweep(tx: Tx, age: float, limit: int) -> Transaction[int]:
    """Delete events, lines of counted calls, audit entries and sign-ins older than `age` seconds, the names of those
    who approved what ended before that, and states that are over: the oldest first, at most `limit` of each. Returns
    how many.
    """
    yield from query("one_at_a_time", work="retention")
    before = tx.wall - age
    states = yield from sweep_states(tx, limit)
    people = yield from query("sweep_people", before=before, limit=limit)
    events = yield from _sweep_events(tx, before, limit)
    behind = (yield from sweep_sessions(before, limit)) + (yield from sweep_audit(before, limit))
    swept = states + len(people) + len(events) + behind
    for span in SPANS:
        calls = yield from query("sweep_calls", span=span, before=microseconds(before), limit=limit)
        swept += len(calls)
    return swept


def _sweep_events(tx: Tx, before: float, limit: int) -> Transaction[Rows]:
    """Delete the oldest events, and those before them in their histories, which then begin after them. The beginning of
    an altered history is not moved, so verification still finds that events are missing.
    """
    oldest = yield from query("old_events", before=before, limit=limit)
    ends = {event["connection_id"]: event["sequence"] for event in sorted(oldest, key=lambda event: event["sequence"])}
    yield from query("connections_locked", connection_ids=as_keys(ends))
    chains = yield from read_chains(ends)
    rows = [{"connection_id": home, "sequence": sequence} for home, sequence in ends.items()]
    found = yield from query("events_up_to", ends=json.dumps(rows))
    events = sorted(found, key=lambda event: event["sequence"])
    yield from query("drop_events", events=_listed(events, ("connection_id", "sequence")))
    read = {home: Verification(tx.mac_key, home, chain) for home, chain in chains.items()}
    for event in events:
        if event["connection_id"] in read:
            read[event["connection_id"]].verify(event)
    yield from set_chains({home: one.begin_here() for home, one in read.items() if not one.problems})
    return events


@transaction
def read_recent(tx: Tx, seconds: float, limit: int) -> Transaction[frozenset[tuple[str, int]]]:
    """The connections and numbers of the newest events of the last `seconds`, at most `limit`."""
    rows = yield from query("recent_events", since=tx.wall - seconds, until=tx.wall + seconds, limit=limit)
    return frozenset((row["connection_id"], row["sequence"]) for row in rows)
