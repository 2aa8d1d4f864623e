"""The transactions about where credentials came from: bound once, kept, and moved on an operator's word only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cloudbeds_auth.rules.lifecycle import ORIGIN_MOVED
from cloudbeds_auth.rules.origins import Held, Source, same_service
from cloudbeds_auth.transactions.rows import add_event, locked
from cloudbeds_auth.transactions.statements import Instant, Row, Rows, Transaction, Tx, query, query_one, transaction


@transaction
def read_issuer(tx: Tx, app: str) -> Transaction[str | None]:
    """The vendor's origin that the client secret of this app is for; None: it is not bound to one yet."""
    row = yield from query_one("issuer", app=app)
    return None if row is None else str(row["issuer"])


@transaction
def read_issuers(tx: Tx) -> Transaction[Mapping[str, str]]:
    """The issuer of every app that is bound, by the app's name; apps of the settings are included."""
    rows = yield from query("issuers")
    return {row["app"]: row["issuer"] for row in rows}


def bind(now: Instant, app: str, issuer: str | None) -> Transaction[None]:
    """From now on this app's secret is for this origin, if it was not for one before."""
    if issuer is not None:
        yield from query("bind_issuer", app=app, issuer=issuer, now=now.wall)


def sourced(row: Row) -> Transaction[Row]:
    """A grant's row. One from before issuers were stored gets the issuer that its app is bound to."""
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


@transaction
def read_held(tx: Tx) -> Transaction[Sequence[Held]]:
    """Where the living grants came from, by app."""
    rows = yield from query("held")
    return [Held(row["app"], Source(row["issuer"], row["client_id"]), row["connections"]) for row in rows]


@transaction
def move_grants(
    tx: Tx, app: str, former: str, issuer: str, *, actor: str, after: str, limit: int
) -> Transaction[tuple[str | None, int]]:
    """Of the next `limit` grants of this app behind the id `after`, those that came from `former`, or from another
    origin of the same service, belong to `issuer` from now on; each has a line of history.

    The last id, None when there are no more; and how many were moved.
    """
    rows = yield from query("issued_after", app=app, after=after, limit=limit)
    moved = 0
    for found in rows:
        if not same_service(found["issuer"], former):
            continue
        row = yield from locked(tx, found["id"])
        if row is None or row["issuer"] != found["issuer"]:
            continue
        yield from query("move_grant", grant_id=row["id"], issuer=issuer)
        yield from add_event(tx, row, ORIGIN_MOVED, actor=actor, **{"from": row["issuer"], "to": issuer})
        moved += 1
    return (rows[-1]["id"] if len(rows) == limit else None), moved


@transaction
def move_app(tx: Tx, app: str, former: str, issuer: str) -> Transaction[None]:
    """The client secret of this app is for `issuer` from now on, if it was for `former`."""
    bound = yield from read_issuer(app)(tx)
    if bound is not None and same_service(bound, former):
        yield from query("move_issuer", app=app, issuer=issuer, now=tx.wall)
