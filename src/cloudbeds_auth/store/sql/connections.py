"""The transactions of looking and leaving: lists, histories, disconnect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cloudbeds_auth.core.lifecycle import Event, State, move
from cloudbeds_auth.core.notices import Standing
from cloudbeds_auth.core.nouns import Connection, Grant, Role
from cloudbeds_auth.ports.connections import Page
from cloudbeds_auth.ports.sealer import Sealer
from cloudbeds_auth.store.sql.origins import sourced
from cloudbeds_auth.store.sql.outbox import announce, standing_of
from cloudbeds_auth.store.sql.rows import add_event, connection_of, grant_of
from cloudbeds_auth.store.sql.transactions import Instant, Row, Transaction, query, query_one
from cloudbeds_auth.store.sql.upkeep import never_due


def resolve(now: Instant, connection_or_property: str) -> Transaction[Sequence[str]]:
    """Ids of connections begin `con_`; anything else is a property id."""
    if connection_or_property.startswith("con_"):
        rows = yield from query("connection_row", connection_id=connection_or_property)
    else:
        rows = yield from query("covering", property_id=connection_or_property)
    return [row["id"] for row in rows]


def current_grant(now: Instant, connection_id: str, sealer: Sealer) -> Transaction[Grant | None]:
    """The grant that speaks for a connection now."""
    row = yield from query_one("current", connection_id=connection_id)
    if row is None or row["id"] is None:
        return None
    tokens = yield from query("tokens", grant_id=row["id"])
    return grant_of((yield from sourced(row)), tokens, sealer, now)


def read_connection(now: Instant, connection_id: str) -> Transaction[Connection | None]:
    """One connection as people see it."""
    row = yield from query_one("current", connection_id=connection_id)
    return None if row is None else connection_of((yield from sourced(row)), now)


def list_connections(
    now: Instant,
    states: Sequence[State] | None,
    reference: str | None,
    property_id: str | None,
    app: str | None,
    cursor: str | None,
    limit: int,
) -> Transaction[Page]:
    """One page, newest first; one row more is asked for to know whether there is a next page."""
    wanted = None if states is None else f" {' '.join(states)} "
    rows = yield from query(
        "list", cursor=cursor, reference=reference, app=app, property_id=property_id, states=wanted, now=now.wall,
        limit=limit + 1,
    )  # fmt: skip
    found: list[Connection] = []
    for row in rows[:limit]:
        found.append(connection_of((yield from sourced(row)), now))  # noqa: PERF401 - no comprehension may yield
    return Page(tuple(found), found[-1].id if len(rows) > limit else None)


def count_states(now: Instant) -> Transaction[Mapping[State, int]]:
    """How many connections look how; those that were never proven are not counted."""
    rows = yield from query("count_states", now=now.wall)
    return {State(row["look"]): row["connections"] for row in rows}


def disconnect(now: Instant, connection_id: str, actor: str, detail: str) -> Transaction[bool]:
    """Forget every token of every grant; the epoch grows, so an attempt that still runs finds its fence moved."""
    connection = yield from query_one("connection_locked", connection_id=connection_id)
    if connection is None:
        return False
    grants = yield from query("grants_of", connection_id=connection_id)
    for row in grants:
        if row["role"] == Role.DISCONNECTED:
            continue
        yield from end(now, row, actor, detail)
    yield from announce(now, connection_id, standing_of(connection, grants), Standing.AWAY)
    return True


def end(now: Instant, row: Row, actor: str, detail: str) -> Transaction[None]:
    """Forget the tokens of one grant."""
    state = move(State(row["state"]), Event.DISCONNECTED)
    yield from query("forget_access", grant_id=row["id"], state=state)
    yield from query("drop_all_tokens", grant_id=row["id"])
    yield from query("set_ended", grant_id=row["id"], now=now.wall)
    yield from never_due(row["id"])
    yield from add_event(now, row, Event.DISCONNECTED, actor=actor, detail=detail)
