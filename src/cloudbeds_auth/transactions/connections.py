"""The transactions that read connections, change the properties that they cover, and end them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from cloudbeds_auth.rules.lifecycle import PROPERTIES_CHANGED, PROPERTY_ELSEWHERE, LifecycleEvent, State, move
from cloudbeds_auth.rules.model import Connection, Grant, Page, Role
from cloudbeds_auth.rules.origins import Cohort
from cloudbeds_auth.rules.properties import EVERY, FIRST, PropertyChanges
from cloudbeds_auth.rules.properties import relist as decide
from cloudbeds_auth.rules.proxy_policy import property_of
from cloudbeds_auth.rules.schedule import PULLED, SLACK, spread
from cloudbeds_auth.rules.webhooks import Standing
from cloudbeds_auth.transactions.authentic import changed_mac
from cloudbeds_auth.transactions.newest import must_be_newest
from cloudbeds_auth.transactions.origins import all_sourced, sourced
from cloudbeds_auth.transactions.outbox import announce, standing_of
from cloudbeds_auth.transactions.roles import show
from cloudbeds_auth.transactions.rows import (
    add_event,
    connection_of,
    grant_of,
    listed,
    locked,
    properties_in,
    subscriptions_text,
)
from cloudbeds_auth.transactions.statements import (
    Row,
    Rows,
    Transaction,
    Tx,
    as_keys,
    query,
    query_one,
    transaction,
)
from cloudbeds_auth.transactions.upkeep import never_due, set_comparison

Sealed = Callable[[], Grant]  # raises SealBroken when one of the grant's secrets does not open
BEYOND = "z"  # sorts after every connection id


@dataclass(frozen=True, slots=True)
class StateCount:
    """Connections by the state that they are shown in, counted up to the connection `connection_id` in the stored state
    `state`; `whole`: there are no more.
    """

    connections: Mapping[State, int] = field(default_factory=dict)
    state: str = ""
    connection_id: str = ""
    whole: bool = False


NOTHING = StateCount()
COUNTED_AT_ONCE = 20_000


@transaction
def read_ids(tx: Tx, connections_or_properties: Sequence[str]) -> Transaction[Mapping[str, Sequence[str]]]:
    """The ids of connections, by the id that was asked for: `con_…` is a connection's, anything else a property's."""
    connection_ids = [one for one in connections_or_properties if property_of(one) is None]
    property_ids = [one for one in connections_or_properties if property_of(one) is not None]
    found: dict[str, list[str]] = {}
    if connection_ids:
        for row in (yield from query("known", connection_ids=as_keys(connection_ids))):
            found[row["id"]] = [row["id"]]
    for property_id, home in (yield from _covering(property_ids)):
        found.setdefault(property_id, []).append(home)
    return found


def _covering(property_ids: Sequence[str]) -> Transaction[Sequence[tuple[str, str]]]:
    """Properties with the connections that cover them now. A property row that its grant does not name is ignored."""
    rows = (yield from query("covering", property_ids=as_keys(property_ids))) if property_ids else ()
    return [(row["property_id"], row["id"]) for row in rows if row["property_id"] in properties_in(row)]


@transaction
def read_current_grants(tx: Tx, connection_ids: Sequence[str]) -> Transaction[Mapping[str, Sealed]]:
    """The current grant by connection; its secrets are opened when the caller calls it."""
    rows = yield from all_sourced((yield from query("current", connection_ids=as_keys(connection_ids))))
    tokens: dict[str, list[Row]] = {row["id"]: [] for row in rows if row["id"] is not None}
    for token in (yield from query("tokens_of", grant_ids=as_keys(tokens))):
        tokens[token["grant_id"]].append(token)
    return {row["c_id"]: partial(_opened, row, tokens[row["id"]], tx) for row in rows if row["id"]}


def _opened(row: Row, tokens: Rows, tx: Tx) -> Grant:
    return grant_of(row, tokens, tx)


@transaction
def read_connection(tx: Tx, connection_id: str) -> Transaction[Connection | None]:
    """One connection as people see it."""
    row = yield from query_one("current", connection_ids=as_keys([connection_id]))
    return None if row is None else connection_of((yield from sourced(row)), tx)


@transaction
def list_connections(
    tx: Tx,
    *,
    states: Sequence[State] = (),
    reference: str | None = None,
    property_id: str | None = None,
    app: str | None = None,
    either: str | None = None,
    cohorts: Sequence[Cohort] | None = None,
    oldest: bool = False,
    cursor: str | None = None,
    limit: int = 100,
) -> Transaction[Page]:
    """One page, newest first, of the connections that match everything given; one more is read to know whether there is
    a next page. `app`: the connection's. `either`: the id of a connection or property, or a reference. `cohorts` needs
    `states`, and is ignored if a property or a reference is given. `oldest`: oldest first, with states alone.

    A page by state may lack a connection that a process of an earlier version changed (`current_grants`), or include
    one that is in another state by now.
    """
    asked: dict[str, object] = {
        "cursor": cursor or ("" if oldest else BEYOND), "limit": limit + 1, "now": tx.wall, "app": app,
        "either": either, "reference": reference, "property_id": property_id,
        "states": f" {' '.join(states)} " if states else None,
    }  # fmt: skip
    ids: dict[str, None] = {}
    for name, more in _searches(states, cohorts, tx.wall, asked):
        rows = yield from query(f"{name}_oldest" if oldest else name, **{**asked, **more})
        ids |= dict.fromkeys(row["id"] for row in rows)
    return (yield from _page(tx, ids, limit, "oldest" if oldest else "newest"))


class Trouble(StrEnum):
    """What may be wrong with connections that serve; each value is the name of a query."""

    PROBLEM = "page_of_problem"
    RISK = "page_of_risk"


@transaction
def list_troubled(tx: Tx, trouble: Trouble, *, cursor: str | None, limit: int) -> Transaction[Page]:
    """One page of the connections that may have this trouble, newest first."""
    rows = yield from query(trouble, cursor=cursor or BEYOND, limit=limit + 1)
    return (yield from _page(tx, (row["id"] for row in rows), limit))


def _page(tx: Tx, ids: Iterable[str], limit: int, order: str = "newest") -> Transaction[Page]:
    """The page of the first `limit` of these connections, as the database orders ids."""
    rows = yield from query(order, connection_ids=as_keys(ids), limit=limit + 1)
    page = [row["id"] for row in rows[:limit]]
    found = yield from read_connections(page)(tx)
    return Page(tuple(found[one] for one in page), page[-1] if len(rows) > limit else None)


def _searches(
    states: Sequence[State], cohorts: Sequence[Cohort] | None, now: float, asked: Mapping[str, object]
) -> Iterator[tuple[str, Mapping[str, object]]]:
    """The queries that together find a page, with their parameters: over the index that leaves least to read."""
    of_app = asked["app"] is not None
    if asked["either"] is not None:
        yield "page_of_id", {}
        yield "page_of_property", {"property_id": asked["either"]}
        yield "page_of_reference", {"reference": asked["either"]}
    elif asked["property_id"] is not None:
        yield "page_of_property", {}
    elif asked["reference"] is not None:
        yield "page_of_reference", {}
    elif not states:
        yield "page_of_app" if of_app else "page", {}
    elif cohorts is not None:
        keys = as_keys(one.key for one in cohorts if asked["app"] in {None, one.app})
        yield from (("page_of_cohorts", {**stored, "cohorts": keys}) for stored in _stored(states, now))
    else:
        yield from (("page_of_app_and_state" if of_app else "page_of_state", one) for one in _stored(states, now))
        if State.DISCONNECTED in states:
            yield "page_of_unproven", {}


def _stored(states: Sequence[State], now: float) -> Iterator[Mapping[str, object]]:
    """The stored states that are shown as these, each with the bounds of when the access tokens turn stale."""
    for state in dict.fromkeys(State.FRESH if one is State.STALE else one for one in states):
        one_of_two = state is State.FRESH and not {State.FRESH, State.STALE} <= {*states}
        yield {
            "state": state,
            "after": now if one_of_two and State.FRESH in states else -math.inf,
            "until": now if one_of_two and State.STALE in states else math.inf,
        }


@transaction
def read_connections(tx: Tx, connection_ids: Sequence[str]) -> Transaction[Mapping[str, Connection]]:
    """Connections as people see them, by id."""
    rows = yield from all_sourced((yield from query("current", connection_ids=as_keys(connection_ids))))
    return {row["c_id"]: connection_of(row, tx) for row in rows}


@transaction
def read_cohorts(tx: Tx, after: str = "", limit: int = 1_000) -> Transaction[Sequence[Cohort]]:
    """The next cohorts after the one with this key, of all connections that lists show; an unknown source counts as the
    app's.
    """
    rows = yield from query("cohorts", after=after, limit=limit)
    return [Cohort.parse(row["cohort"]) for row in rows]


@transaction
def count_states(tx: Tx, after: StateCount = NOTHING, limit: int = COUNTED_AT_ONCE) -> Transaction[StateCount]:
    """Count the next `limit` connections behind `after` by the state that they are shown in. Those that were never
    connected are left out.
    """
    rows = yield from query("count_shown", state=after.state, after=after.connection_id, limit=limit, now=tx.wall)
    counted = dict(after.connections)
    for row in rows:
        of_clock = row["stale"] if row["state"] == State.FRESH else 0
        for look, number in ((State(row["state"]), row["connections"] - of_clock), (State.STALE, of_clock)):
            counted[look] = counted.get(look, 0) + number
    whole = sum(row["connections"] for row in rows) < limit
    state, connection_id = (rows[-1]["state"], rows[-1]["last"]) if rows else (after.state, after.connection_id)
    return StateCount(counted, state, connection_id, whole)


@transaction
def count_cohorts(tx: Tx, cohorts: Sequence[Cohort], limit: int) -> Transaction[Mapping[State, int]]:
    """The number of living connections of these cohorts by stored state, at most `limit` in all."""
    rows = yield from query("count_cohorts", cohorts=as_keys(one.key for one in cohorts), limit=limit)
    return {State(row["state"]): row["connections"] for row in rows}


@transaction
def count_of_apps(tx: Tx, names: Sequence[str], most: int) -> Transaction[Mapping[str, int]]:
    """The number of connections of each of these apps, at most `most` each."""
    found = {}
    for name in names:
        (row,) = yield from query("count_of_app", app=name, most=most)
        found[name] = row["connections"]
    return found


@transaction
def disconnect(tx: Tx, connection_id: str, *, detail: str = "", newest: float = math.inf) -> Transaction[bool]:
    """Forget every token of every grant; the epoch grows, so that a running attempt finds its fence moved.

    `newest`: the `newest_ordinal` when the disconnect began. Raises InvalidRequest, and nothing changes, if there is a
    newer approval: it came afterwards, and the vendor was not notified about it. An exchanged key is none, and ends.
    """
    connection = yield from query_one("connection_locked", connection_id=connection_id)
    if connection is None:
        return False
    yield from must_be_newest(connection_id, newest)(tx)
    grants = yield from query("grants_of", connection_id=connection_id)
    for row in grants:
        if row["role"] == Role.DISCONNECTED:
            continue
        yield from end(tx, row, detail)
    yield from query("set_subscriptions", connection_id=connection_id, subscriptions=subscriptions_text(()))
    yield from query("set_risks", connection_id=connection_id, risks="{}")
    yield from announce(tx, connection_id, standing_of(connection, grants), Standing.AWAY)
    return True


def end(tx: Tx, row: Row, detail: str) -> Transaction[None]:
    """Forget the tokens of one grant."""
    state = move(State(row["state"]), LifecycleEvent.DISCONNECTED)
    mac = changed_mac(tx, "grants", row, role=Role.DISCONNECTED)
    yield from query("forget_access", grant_id=row["id"], state=state, mac=mac)
    yield from show(row["connection_id"])
    yield from query("drop_all_tokens", grant_id=row["id"])
    yield from query("set_ended", grant_id=row["id"], now=tx.wall)
    yield from never_due(row["id"])
    yield from add_event(tx, row, LifecycleEvent.DISCONNECTED, actor=tx.acting.name, detail=detail)


@transaction
def claim_listings(tx: Tx, limit: int, hold: float) -> Transaction[Sequence[str]]:
    """Ids of at most `limit` connections in use whose properties are to be listed, those that wait longest. No other
    process is given them for `hold` seconds; then they are due again, unless `relist` sets a later moment.
    """
    yield from query("pull_listings", now=tx.wall, horizon=tx.wall + EVERY + SLACK, limit=PULLED)
    rows = yield from query("claim_listings", now=tx.wall, until=tx.wall + hold, limit=limit)
    return sorted(row["connection_id"] for row in rows)


def set_listing(tx: Tx, grant_id: str, *, learnt: bool) -> Transaction[None]:
    """Plan the first listing of a grant that just connected: soon, unless its properties were `learnt` just now."""
    after = spread(EVERY, grant_id) if learnt else FIRST
    yield from query("set_listing", grant_id=grant_id, list_at=tx.wall + after)


@transaction
def relist(tx: Tx, grant_id: str, named: tuple[str, ...]) -> Transaction[PropertyChanges | None]:
    """Apply the vendor's whole answer: the connection covers the properties `named`, except those that another living
    connection covers (`rules.properties.relist`); the history has a line about each change. An empty answer changes
    nothing. The next listing is due about a day later.

    The result's `elsewhere` has only what was not reported before. None: the grant is not in use.
    """
    found = yield from query_one("grant", grant_id=grant_id)
    if found is None:
        return None
    yield from query("one_at_a_time", work=f"approvals of {found['app']}")
    row = yield from locked(tx, grant_id)
    if row is None or row["role"] != Role.ACTIVE:
        return None
    yield from set_listing(tx, grant_id, learnt=True)
    yield from show(row["connection_id"])  # once a day, because a process of an earlier version does not call it
    known = json.loads(row["property_ids"])
    if not named:
        return PropertyChanges(tuple(known))
    taken: dict[str, str] = {}
    for one in dict.fromkeys(named):
        if one not in known:
            homes = yield from _covering([one])
            others = [home for _, home in homes if home != row["connection_id"]]
            taken |= {one: others[0]} if others else {}
    change = decide(known, tuple(dict.fromkeys(named)), taken)
    reported = json.loads(row["named_elsewhere"])
    news = tuple(one for one in change.elsewhere if one not in reported)
    yield from _write(tx, row, change)
    if news:
        yield from add_event(tx, row, PROPERTY_ELSEWHERE, properties={one: taken[one] for one in news})
    return PropertyChanges(change.property_ids, change.added, change.dropped, news)


def _write(tx: Tx, row: Row, change: PropertyChanges) -> Transaction[None]:
    for one in change.dropped:
        yield from query("drop_property", grant_id=row["id"], property_id=one)
    for one in change.added:
        yield from query("add_property", grant_id=row["id"], property_id=one)
    named = listed(change.property_ids)
    mac = changed_mac(tx, "grants", row, property_ids=named)
    yield from query(
        "set_properties", grant_id=row["id"], property_ids=named, elsewhere=listed(change.elsewhere), mac=mac
    )
    yield from note_changes(tx, row, change)


def note_changes(tx: Tx, row: Row, change: PropertyChanges) -> Transaction[None]:
    """If properties were added to the connection of this grant or dropped, have its subscriptions compared, and write a
    line of history.
    """
    if change.count:
        yield from set_comparison(tx, row["id"])
        yield from add_event(tx, row, PROPERTIES_CHANGED, added=list(change.added), dropped=list(change.dropped))
