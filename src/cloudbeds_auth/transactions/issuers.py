"""The transactions about where credentials came from: bound once, kept, and moved on an operator's word only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cloudbeds_auth.ports.apps import ORIGIN_MOVED
from cloudbeds_auth.rules.origins import Held, Source, same_service
from cloudbeds_auth.transactions.rows import add_event, locked
from cloudbeds_auth.transactions.statements import Instant, Row, Rows, Transaction, query, query_one


def read_issuer(now: Instant, app: str) -> Transaction[str | None]:
    """The origin that this app's client secret is for."""
    row = yield from query_one("issuer", app=app)
    return None if row is None else str(row["issuer"])


def read_issuers(now: Instant) -> Transaction[Mapping[str, str]]:
    """Of every app that is bound to one."""
    rows = yield from query("issuers")
    return {row["app"]: row["issuer"] for row in rows}


def bind(now: Instant, app: str, issuer: str | None) -> Transaction[None]:
    """From now on this app's secret is for this origin, if it was not for one before."""
    if issuer is not None:
        yield from query("bind_issuer", app=app, issuer=issuer, now=now.wall)


def sourced(row: Row) -> Transaction[Row]:
    """A grant's row. One from before, whose own issuer nobody knows, is of its app's."""
    if row["issuer"] is not None:
        return row
    bound = yield from query_one("issuer", app=row["app"])
    return row if bound is None else {**row, **bound}


def all_sourced(rows: Rows) -> Transaction[Rows]:
    """As `sourced`, of many rows at the cost of one more read."""
    if all(row["issuer"] is not None for row in rows):
        return rows
    bound = {row["app"]: row["issuer"] for row in (yield from query("issuers"))}
    return [{**row, "issuer": row["issuer"] or bound.get(row["app"])} for row in rows]


def read_held(now: Instant) -> Transaction[Sequence[Held]]:
    """The sources of living grants, by app."""
    rows = yield from query("held")
    return [Held(row["app"], Source(row["issuer"], row["client_id"]), row["connections"]) for row in rows]


def move_grants(
    now: Instant, app: str, former: str, issuer: str, actor: str, after: str, limit: int
) -> Transaction[tuple[str | None, int]]:
    """The next `limit` grants of the app behind the id `after`: those of `former` are of `issuer` from now on.

    The last id, None when there are no more; and how many were moved.
    """
    rows = yield from query("issued_after", app=app, after=after, limit=limit)
    moved = 0
    for found in rows:
        if not same_service(found["issuer"], former):
            continue
        row = yield from locked(now, found["id"])
        if row is None or row["issuer"] != found["issuer"]:
            continue
        yield from query("move_grant", grant_id=row["id"], issuer=issuer)
        yield from add_event(now, row, ORIGIN_MOVED, actor=actor, **{"from": row["issuer"], "to": issuer})
        moved += 1
    return (rows[-1]["id"] if len(rows) == limit else None), moved


def move_app(now: Instant, app: str, former: str, issuer: str) -> Transaction[None]:
    """The app's secret too."""
    bound = yield from read_issuer(now, app)
    if bound is not None and same_service(bound, former):
        yield from query("move_issuer", app=app, issuer=issuer, now=now.wall)
