"""The transactions of subscriptions to Cloudbeds' webhooks: which are compared next, and which there are."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cloudbeds_auth.rules.lifecycle import SUBSCRIPTIONS_CHANGED
from cloudbeds_auth.rules.model import Role
from cloudbeds_auth.rules.schedule import PULLED, SLACK, spread
from cloudbeds_auth.rules.subscriptions import EVERY, HOLD, LEFT, Subscription, SubscriptionChanges, changes, takes_over
from cloudbeds_auth.transactions.rows import add_event, locked, subscriptions_of, subscriptions_text
from cloudbeds_auth.transactions.statements import Transaction, Tx, query, query_one, transaction
from cloudbeds_auth.transactions.upkeep import set_comparison

WANTED = "subscriptions"  # in `meta`: the fingerprint of the settings that comparisons go by


@transaction
def want_subscriptions(tx: Tx, wanted: str) -> Transaction[bool]:
    """Note that a process begins to compare by settings with this fingerprint: if they take over (`takes_over`), every
    hotel is due now. False: only a part of a large fleet is so far, so call it again.

    What a process with the former settings compares meanwhile is due later, and so made due by a later call.
    """
    former = yield from query_one("meta", name=WANTED)
    if takes_over(None if former is None else former["value"], wanted):
        if len((yield from query("compare_all", now=tx.wall, limit=PULLED))) == PULLED:
            return False
        yield from query("set_meta", name=WANTED, value=wanted)
    return True


@transaction
def claim_subscriptions(tx: Tx, wanted: str, limit: int, hold: float) -> Transaction[Sequence[str]]:
    """Ids of at most `limit` connections in use whose subscriptions are to be compared, those that have waited longest.
    No other process is given them for `hold` seconds; then they are due again, unless `subscriptions_compared` was
    called.

    A process whose `wanted` is not the newest leaves them to processes with the newest, as long as there are any.
    """
    newest = yield from query_one("meta", name=WANTED)
    late = 0.0 if newest is not None and newest["value"] == wanted else LEFT
    yield from query("pull_comparisons", now=tx.wall, horizon=tx.wall + EVERY + SLACK, limit=PULLED)
    rows = yield from query("claim_subscriptions", now=tx.wall - late, until=tx.wall + hold, limit=limit)
    return sorted(row["connection_id"] for row in rows)


@transaction
def note_subscriptions(
    tx: Tx, grant_id: str, property_id: str, subscriptions: Sequence[Subscription]
) -> Transaction[SubscriptionChanges | None]:
    """Store this property's subscriptions as they are now or are about to be made; the history has a line of what
    changed. They are compared again soon, unless `subscriptions_compared` is called.

    Those of properties that the connection no longer covers are deleted. None: the grant is not in use.
    """
    row = yield from locked(tx, grant_id)
    if row is None or row["role"] != Role.ACTIVE:
        return None
    connection = yield from query_one("connection_locked", connection_id=row["connection_id"])
    assert connection is not None  # noqa: S101 - a grant has one
    known = subscriptions_of(connection["subscriptions"])
    covered = json.loads(row["property_ids"]) or [""]
    others = [one for one in known if one.property_id != property_id and one.property_id in covered]
    text = subscriptions_text((*others, *subscriptions))
    yield from query("set_subscriptions", connection_id=row["connection_id"], subscriptions=text)
    yield from set_comparison(tx, grant_id, after=HOLD)
    changed = changes([one for one in known if one.property_id == property_id], subscriptions)
    if changed:
        yield from add_event(
            tx, row, SUBSCRIPTIONS_CHANGED, actor="vault", property_id=property_id, made=list(changed.made),
            ended=list(changed.ended), refused=changed.refused,
        )  # fmt: skip
    return changed


@transaction
def subscriptions_compared(tx: Tx, grant_id: str) -> Transaction[None]:
    """Plan the next comparison about a day later: the subscriptions are as they should be, or were refused."""
    yield from set_comparison(tx, grant_id, after=spread(EVERY, grant_id))
