"""The transactions of origins (rule-11): which origin of the vendor an app's secret and its grants are for.

An origin is bound once and kept; only an operator moves it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from cloudbeds_auth.rules.lifecycle import ORIGIN_MOVED
from cloudbeds_auth.rules.origins import Foreign, Source, foreign, foreign_secret, of_hotels, origins_of, same_service
from cloudbeds_auth.transactions.authentic import changed_mac
from cloudbeds_auth.transactions.rows import add_event, locked
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


@transaction
def read_issuer(tx: Tx, app: str) -> Transaction[str | None]:
    """The vendor's origin that the client secret of this app is for; None: it is not bound to one yet."""
    row = yield from query_one("issuer", app=app)
    return None if row is None else str(row["issuer"])


def bind(now: Instant, app: str, issuer: str | None) -> Transaction[None]:
    """Bind this app's secret to this origin, unless it is bound already."""
    if issuer is not None:
        yield from query("bind_issuer", app=app, issuer=issuer, now=now.wall)


def sourced(row: Row) -> Transaction[Row]:
    """A grant's row; if it is from before issuers were stored, with the issuer that its app is bound to."""
    if row["issuer"] is not None:
        return row
    bound = yield from query_one("issuer", app=row["app"])
    return row if bound is None else {**row, "bound_issuer": bound["issuer"]}


def all_sourced(rows: Rows) -> Transaction[Rows]:
    """As `sourced`, for many rows at the cost of one more read."""
    if all(row["issuer"] is not None for row in rows):
        return rows
    found = yield from query("issuers_of", names=as_keys(row["app"] for row in rows if row["app"] is not None))
    bound = {row["app"]: row["issuer"] for row in found}
    return [{**row, "bound_issuer": bound.get(row["app"])} for row in rows]


@transaction
def read_foreign(tx: Tx, here: str, own: Mapping[str, str | None]) -> Transaction[Sequence[Foreign]]:
    """What may not be used while everything is sent to the origin `here`, because it came from another origin or client
    id (rule-11): one finding for each cause. `own`: the client ids of the apps in the settings, by name.
    """
    rows = yield from query("sources")
    found = yield from query("bound_elsewhere", origins=as_keys(origins_of(here)))
    bound = {row["app"]: row["issuer"] for row in found}
    found = yield from query("client_ids", names=as_keys([*bound, *(row["app"] for row in rows)]))
    clients = {**{row["name"]: row["client_id"] for row in found}, **own}
    hotels: Counter[Foreign] = Counter()
    elsewhere: set[str] = set()  # apps with tokens for another origin: their secret needs no finding of its own
    for row in rows:
        app, issuer = row["app"], row["issuer"] or bound.get(row["app"])
        why = foreign(Source(issuer, row["client_id"]), Source(here, clients.get(app)), app, own=app in own)
        if why is not None:
            hotels[why] += yield from _hotels_of(row)
        if issuer and not same_service(issuer, here):
            elsewhere.add(app)
    secrets = (foreign_secret(bound[app], here, app) for app in bound if app in clients and app not in elsewhere)
    return [of_hotels(count, why) for why, count in hotels.items()] + [why for why in secrets if why is not None]


def _hotels_of(source: Row) -> Transaction[int]:
    row = yield from query_one("hotels_of_source", **source)
    assert row is not None  # noqa: S101 - an aggregate has one row
    return int(row["hotels"])


@transaction
def move_grants(
    tx: Tx, app: str, former: str, issuer: str, *, after: str, limit: int
) -> Transaction[tuple[str | None, int]]:
    """Of the next `limit` grants of this app after the id `after`, bind those that came from `former`, or from another
    origin of the same service, to `issuer`; each gets a line of history.

    Returns the last id, None if there are no more grants; and how many were moved.
    """
    rows = yield from query("issued_after", app=app, after=after, limit=limit)
    moved = 0
    for found in rows:
        row = yield from locked(tx, found["id"])
        if row is not None and same_service(row["issuer"], former):
            mac = changed_mac(tx, "grants", row, issuer=issuer)
            yield from query("move_grant", grant_id=row["id"], issuer=issuer, mac=mac)
            moving = {"from": row["issuer"], "to": issuer}
            yield from add_event(tx, row, ORIGIN_MOVED, actor=tx.acting.name, **moving)
            moved += 1
    return (rows[-1]["id"] if len(rows) == limit else None), moved


@transaction
def move_app(tx: Tx, app: str, former: str, issuer: str) -> Transaction[None]:
    """Bind the client secret of this app to `issuer`, if it was bound to `former` or another origin of that service."""
    bound = yield from read_issuer(app)(tx)
    if bound is not None and same_service(bound, former):
        yield from query("move_issuer", app=app, issuer=issuer, now=tx.wall)
