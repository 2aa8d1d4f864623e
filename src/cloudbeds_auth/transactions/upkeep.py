"""The transactions of upkeep in the background: what is due, and which process does it."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from cloudbeds_auth.rules.model import CredentialKind, Role
from cloudbeds_auth.rules.schedule import PULLED, SLACK, Life, due, retry_in
from cloudbeds_auth.rules.subscriptions import FIRST_OF_ALL
from cloudbeds_auth.rules.webhooks import FIRST, POLL
from cloudbeds_auth.transactions.statements import Instant, Row, Transaction, Tx, query, query_one, transaction

LOOKED_AT = 1_000  # due grants at most that one claim reads
MOST_COUNTED = 10_000  # entries of a queue
SOON = 3600.0  # seconds


class Queue(StrEnum):
    """The kinds of background work, a queue each; the value is the query that counts it."""

    UPKEEP = "upkeep_queue"
    RETRIES = "retry_queue"
    APP_STATES = "poll_queue"
    LISTINGS = "listing_queue"
    COMPARISONS = "comparison_queue"


@dataclass(frozen=True, slots=True)
class Queued:
    """How many entries wait now, and how many more will within an hour, each counted up to MOST_COUNTED; and for how
    many seconds the first has waited, 0 if none does or it is not known.
    """

    waiting: int
    soon: int
    late: float


@transaction
def claim_due(
    tx: Tx, limit: int, hold: float, *, of_one: int = 1_000, full: Collection[str] = (), since: float = 0.0
) -> Transaction[Sequence[str]]:
    """Ids of at most `limit` grants that are due, the first to expire first; no other process is given them for `hold`
    seconds. When a grant is due again depends on what becomes of it.

    At most `of_one` of each app, none of the apps that are `full`, and only of the first `LOOKED_AT` that became due at
    or after the unix second `since`: the number of rows read is bounded, however many are due.
    """
    yield from _pulled(tx)
    rows = yield from query(
        "claim_due", now=tx.wall, until=tx.wall + hold, limit=limit, of_one=of_one, full=json.dumps([*full]),
        since=since, looked_at=LOOKED_AT,
    )  # fmt: skip
    # A database returns them in any order.
    return [row["id"] for row in sorted(rows, key=lambda row: (row["expires_at"], row["id"]))]


@transaction
def due_beyond(tx: Tx, since: float) -> Transaction[float]:
    """The `since` for the next `claim_due` if no app of the grants that it read had room; 0: from the beginning."""
    row = yield from query_one("due_beyond", now=tx.wall, since=since, looked_at=LOOKED_AT)
    return 0.0 if row is None else math.nextafter(row["due_at"], math.inf)


def _pulled(now: Instant) -> Transaction[None]:
    """Move what was planned before the clock was set back: it is as far ahead as it was then."""
    yield from query("pull_due", now=now.wall, steady=now.steady, clock_id=now.clock_id, limit=PULLED)


@transaction
def claim_retries(tx: Tx, limit: int, hold: float) -> Transaction[Sequence[str]]:
    """As `claim_due`, for marked grants, which have a queue of their own (rule-12)."""
    yield from _pulled(tx)
    rows = yield from query("claim_retries", now=tx.wall, until=tx.wall + hold, limit=limit)
    return sorted(row["id"] for row in rows)


@transaction
def retry_all(tx: Tx, app: str, limit: int) -> Transaction[int]:
    """Make marked grants of this app due now, at most `limit`, the newest marks first; returns how many."""
    return len((yield from query("retry_all", app=app, now=tx.wall, limit=limit)))


@transaction
def claim_polls(tx: Tx, limit: int, every: float) -> Transaction[Sequence[str]]:
    """Ids of at most `limit` connections in use whose app state is to be read, those that have waited longest.

    They are due again `every` seconds later, whatever the answer.
    """
    yield from query("pull_polls", now=tx.wall, horizon=tx.wall + POLL + SLACK, limit=PULLED)
    rows = yield from query("claim_polls", now=tx.wall, until=tx.wall + every, limit=limit)
    return sorted(row["connection_id"] for row in rows)


def set_poll(now: Instant, grant_id: str) -> Transaction[None]:
    """Plan the first reading of the app state of a grant that just connected: soon."""
    yield from query("set_poll", grant_id=grant_id, poll_at=now.wall + FIRST)


def set_comparison(now: Instant, grant_id: str, *, after: float = FIRST_OF_ALL) -> Transaction[None]:
    """Plan the next comparison of the grant's subscriptions, in `after` seconds. The default is for a grant that has
    just connected, recovered or changed its properties: at once, and before a fleet that waits because the settings are
    new.
    """
    yield from query("set_comparison", grant_id=grant_id, subscribe_at=now.wall + after)


@transaction
def next_due(tx: Tx) -> Transaction[float | None]:
    """Seconds until a grant is due (0: one is), marked ones included; None if none ever is."""
    found = ((yield from query_one("next_due")), (yield from query_one("next_retry")))
    return min((max(0.0, row["due_at"] - tx.wall) for row in found if row is not None), default=None)


@transaction
def read_overdue(tx: Tx) -> Transaction[float]:
    """For how many seconds the first due grant has waited for a process to begin with it; 0 if none is due."""
    row = yield from query_one("next_due")
    return 0.0 if row is None else max(0.0, tx.wall - row["due_at"])


@transaction
def read_queues(tx: Tx) -> Transaction[Mapping[Queue, Queued]]:
    """The background work that waits for any process, by queue."""
    found = {}
    for queue in Queue:
        (row,) = yield from query(queue, now=tx.wall, horizon=tx.wall + SOON, most=MOST_COUNTED)
        # The moment of a comparison says how soon it comes, not since when it has waited (`set_comparison`).
        known = row["first"] is not None and queue is not Queue.COMPARISONS
        late = max(0.0, tx.wall - row["first"]) if known else 0.0
        found[queue] = Queued(row["waiting"], row["soon"], late)
    return found


def set_due(row: Row, now: Instant, *, after: float = -math.inf, **changed: object) -> Transaction[None]:
    """Plan anew when a grant is due, from its row and what has just `changed` in it; not within `after` seconds."""
    life = {**row, **changed}
    if life["marked_at"] is not None:
        yield from set_retry(now, life)
        return
    decided = due(
        Life(
            grant_id=life["id"],
            kind=CredentialKind(life["kind"]),
            role=Role(life["role"]),
            stale_at=life["stale_at"],
            lifetime=life["lifetime"],
            used_at=life["used_at"],
            migrating=life["migration"] is not None,
        ),
        now.wall,
    )
    yield from set_due_at(now, life["id"], None if decided is None else max(decided, now.wall + after))


def set_due_in(row: Row, now: Instant, seconds: float) -> Transaction[None]:
    """Make a grant due in `seconds`; a marked one has its own schedule."""
    if row["marked_at"] is not None:
        yield from set_retry(now, row)
    else:
        yield from set_due_at(now, row["id"], now.wall + seconds)


def set_retry(now: Instant, row: Row) -> Transaction[None]:
    """Plan the next retry of a marked grant."""
    yield from set_retry_in(now, row, retry_in(row["retries"], row["id"]))


def set_retry_in(now: Instant, row: Row, seconds: float) -> Transaction[None]:
    """Retry a marked grant in `seconds`."""
    yield from query("set_retry", grant_id=row["id"], due_at=now.wall + seconds, now=now.wall)


def never_due(grant_id: str) -> Transaction[None]:
    """Plan nothing more for this grant."""
    yield from query("never_due", grant_id=grant_id)


def set_due_at(now: Instant, grant_id: str, due_at: float | None) -> Transaction[None]:
    """Make a grant due at this unix second; None: never."""
    yield from query("set_due", grant_id=grant_id, due_at=due_at, now=now.wall)
