"""The transactions of groups that grow and shrink: whose turn it is to be asked about, and what the answer changes."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cloudbeds_auth.rules.lifecycle import PROPERTIES_CHANGED, PROPERTY_ELSEWHERE
from cloudbeds_auth.rules.model import Role
from cloudbeds_auth.rules.properties import EVERY, FIRST, Relisted
from cloudbeds_auth.rules.properties import relist as decide
from cloudbeds_auth.rules.schedule import PULLED, SLACK, spread
from cloudbeds_auth.transactions.rows import add_event, listed, locked
from cloudbeds_auth.transactions.statements import Instant, Row, Transaction, Tx, as_keys, query, query_one, transaction


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
def relist(tx: Tx, grant_id: str, named: tuple[str, ...]) -> Transaction[Relisted | None]:
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
        return Relisted(tuple(known))
    taken: dict[str, str] = {}
    for one in dict.fromkeys(named):
        if one not in known:
            homes = yield from query("covering", property_ids=as_keys([one]))
            others = [home["id"] for home in homes if home["id"] != row["connection_id"]]
            taken |= {one: others[0]} if others else {}
    change = decide(known, tuple(dict.fromkeys(named)), taken)
    told = json.loads(row["named_elsewhere"])
    news = tuple(one for one in change.elsewhere if one not in told)
    yield from _write(tx, row, change)
    if news:
        yield from add_event(tx, row, PROPERTY_ELSEWHERE, properties={one: taken[one] for one in news})
    return Relisted(change.property_ids, change.added, change.dropped, news)


def _write(now: Instant, row: Row, change: Relisted) -> Transaction[None]:
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
        yield from add_event(now, row, PROPERTIES_CHANGED, added=list(change.added), dropped=list(change.dropped))
