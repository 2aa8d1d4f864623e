"""The transactions that read connections, change which properties they cover, and end them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from cloudbeds_auth.rules.lifecycle import PROPERTIES_CHANGED, PROPERTY_ELSEWHERE, LifecycleEvent, State, move
from cloudbeds_auth.rules.model import Connection, Grant, Page, Role
from cloudbeds_auth.rules.properties import EVERY, FIRST, PropertyChanges
from cloudbeds_auth.rules.properties import relist as decide
from cloudbeds_auth.rules.proxy_policy import property_of
from cloudbeds_auth.rules.schedule import PULLED, SLACK, spread
from cloudbeds_auth.rules.webhooks import Standing
from cloudbeds_auth.transactions.apps import all_sourced, sourced
from cloudbeds_auth.transactions.outbox import announce, standing_of
from cloudbeds_auth.transactions.rows import add_event, connection_of, grant_of, listed, locked, subscriptions_text
from cloudbeds_auth.transactions.statements import (
    Instant,
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


@transaction
def read_ids(tx: Tx, connections_or_properties: Sequence[str]) -> Transaction[Mapping[str, Sequence[str]]]:
    """By what was asked for, the ids of connections. Those begin `con_`; anything else is a property id."""
    connection_ids = [one for one in connections_or_properties if property_of(one) is None]
    property_ids = [one for one in connections_or_properties if property_of(one) is not None]
    found: dict[str, list[str]] = {}
    if connection_ids:
        for row in (yield from query("known", connection_ids=as_keys(connection_ids))):
            found[row["id"]] = [row["id"]]
    if property_ids:
        for row in (yield from query("covering", property_ids=as_keys(property_ids))):
            found.setdefault(row["property_id"], []).append(row["id"])
    return found


@transaction
def read_current_grants(tx: Tx, connection_ids: Sequence[str]) -> Transaction[Mapping[str, Sealed]]:
    """By connection, the grant that speaks for it now; the caller that asked for it opens its secrets."""
    rows = yield from all_sourced((yield from query("current", connection_ids=as_keys(connection_ids))))
    tokens: dict[str, list[Row]] = {row["id"]: [] for row in rows if row["id"] is not None}
    for token in (yield from query("tokens_of", grant_ids=as_keys(tokens))):
        tokens[token["grant_id"]].append(token)
    return {row["connection_id"]: partial(_opened, row, tokens[row["id"]], tx) for row in rows if row["id"]}


def _opened(row: Row, tokens: Rows, tx: Tx) -> Grant:
    return grant_of(row, tokens, tx.sealer, tx)


@transaction
def read_connection(tx: Tx, connection_id: str) -> Transaction[Connection | None]:
    """One connection as people see it."""
    row = yield from query_one("current", connection_ids=as_keys([connection_id]))
    return None if row is None else connection_of((yield from sourced(row)), tx)


@transaction
def list_connections(
    tx: Tx,
    *,
    states: Sequence[State] | None = None,
    reference: str | None = None,
    property_id: str | None = None,
    app: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Transaction[Page]:
    """One page, newest first; one row more is asked for to know whether there is a next page."""
    wanted = None if states is None else f" {' '.join(states)} "
    rows = yield from query(
        "list", cursor=cursor, reference=reference, app=app, property_id=property_id, states=wanted, now=tx.wall,
        limit=limit + 1,
    )  # fmt: skip
    found: list[Connection] = []
    for row in rows[:limit]:
        found.append(connection_of((yield from sourced(row)), tx))  # noqa: PERF401 - no comprehension may yield
    return Page(tuple(found), found[-1].id if len(rows) > limit else None)


@transaction
def count_states(tx: Tx) -> Transaction[Mapping[State, int]]:
    """How many connections are shown in each state; those that were never proven are not counted."""
    rows = yield from query("count_states", now=tx.wall)
    return {State(row["look"]): row["connections"] for row in rows}


@transaction
def disconnect(tx: Tx, connection_id: str, *, actor: str, detail: str = "") -> Transaction[bool]:
    """Forget every token of every grant; the epoch grows, so an attempt that still runs finds its fence moved."""
    connection = yield from query_one("connection_locked", connection_id=connection_id)
    if connection is None:
        return False
    grants = yield from query("grants_of", connection_id=connection_id)
    for row in grants:
        if row["role"] == Role.DISCONNECTED:
            continue
        yield from end(tx, row, actor, detail)
    yield from query("set_subscriptions", connection_id=connection_id, subscriptions=subscriptions_text(()))
    yield from query("set_risks", connection_id=connection_id, risks="{}")
    yield from announce(tx, connection_id, standing_of(connection, grants), Standing.AWAY)
    return True


def end(now: Instant, row: Row, actor: str, detail: str) -> Transaction[None]:
    """Forget the tokens of one grant."""
    state = move(State(row["state"]), LifecycleEvent.DISCONNECTED)
    yield from query("forget_access", grant_id=row["id"], state=state)
    yield from query("drop_all_tokens", grant_id=row["id"])
    yield from query("set_ended", grant_id=row["id"], now=now.wall)
    yield from never_due(row["id"])
    yield from add_event(now, row, LifecycleEvent.DISCONNECTED, actor=actor, detail=detail)


@transaction
def claim_listings(tx: Tx, limit: int, hold: float) -> Transaction[Sequence[str]]:
    """Ids of at most `limit` connections in use whose properties are to be asked for, those that wait longest; no
    other process is given them for `hold` seconds. They are asked about again then unless `relist` says later.
    """
    yield from query("pull_listings", now=tx.wall, horizon=tx.wall + EVERY + SLACK, limit=PULLED)
    rows = yield from query("claim_listings", now=tx.wall, until=tx.wall + hold, limit=limit)
    return sorted(row["connection_id"] for row in rows)


def set_listing(now: Instant, grant_id: str, *, learnt: bool) -> Transaction[None]:
    """Connected a moment ago: asked about soon, unless that was done just now."""
    after = spread(EVERY, grant_id) if learnt else FIRST
    yield from query("set_listing", grant_id=grant_id, list_at=now.wall + after)


@transaction
def relist(tx: Tx, grant_id: str, named: tuple[str, ...]) -> Transaction[PropertyChanges | None]:
    """The vendor's whole answer: the connection covers these properties, but for those that another living one
    covers (`rules.properties.relist`); the history has a line of what changed. An empty one changes nothing. It is
    asked again about a day later.

    Of `elsewhere` only what was not reported before is returned. None: the grant is not in use.
    """
    found = yield from query_one("grant", grant_id=grant_id)
    if found is None:
        return None
    yield from query("one_at_a_time", work=f"approvals of {found['app']}")
    row = yield from locked(tx, grant_id)
    if row is None or row["role"] != Role.ACTIVE:
        return None
    yield from set_listing(tx, grant_id, learnt=True)
    known = json.loads(row["property_ids"])
    if not named:
        return PropertyChanges(tuple(known))
    taken: dict[str, str] = {}
    for one in dict.fromkeys(named):
        if one not in known:
            homes = yield from query("covering", property_ids=as_keys([one]))
            others = [home["id"] for home in homes if home["id"] != row["connection_id"]]
            taken |= {one: others[0]} if others else {}
    change = decide(known, tuple(dict.fromkeys(named)), taken)
    reported = json.loads(row["named_elsewhere"])
    news = tuple(one for one in change.elsewhere if one not in reported)
    yield from _write(tx, row, change)
    if news:
        yield from add_event(tx, row, PROPERTY_ELSEWHERE, properties={one: taken[one] for one in news})
    return PropertyChanges(change.property_ids, change.added, change.dropped, news)


def _write(now: Instant, row: Row, change: PropertyChanges) -> Transaction[None]:
    for one in change.dropped:
        yield from query("drop_property", grant_id=row["id"], property_id=one)
    for one in change.added:
        yield from query("add_property", grant_id=row["id"], property_id=one)
    yield from query(
        "set_properties",
        grant_id=row["id"],
        property_ids=listed(change.property_ids),
        elsewhere=listed(change.elsewhere),
    )
    if change.added or change.dropped:
        yield from set_comparison(now, row["id"])
        yield from add_event(now, row, PROPERTIES_CHANGED, added=list(change.added), dropped=list(change.dropped))
