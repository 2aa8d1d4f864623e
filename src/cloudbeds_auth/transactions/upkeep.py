"""The transactions behind the callers: what is due, who does it, and whose turn it is at the vendor."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cloudbeds_auth.rules.model import CredentialKind, Role
from cloudbeds_auth.rules.rate_limit import Rate, Turn, closed, reserve
from cloudbeds_auth.rules.schedule import PULLED, SLACK, Life, due, retry_in
from cloudbeds_auth.rules.webhooks import FIRST, POLL
from cloudbeds_auth.transactions.rows import behind
from cloudbeds_auth.transactions.statements import Instant, Row, Transaction, query, query_one


def reserve_turn(now: Instant, client_id: str, rate: Rate, patience: float) -> Transaction[Turn]:
    """The client's next turn, written down; one that would come after `patience` seconds is nobody's."""
    turn = reserve((yield from _arrival(now, client_id)), now.steady, rate.interval, patience)
    if turn.taken:
        yield from _set_arrival(now, client_id, turn.arrival)
    return turn


def pause_turns(now: Instant, client_id: str, seconds: float) -> Transaction[None]:
    """No turn for so long; who was given one already keeps it."""
    arrival = closed((yield from _arrival(now, client_id)), now.steady, seconds)
    yield from _set_arrival(now, client_id, arrival)


def _arrival(now: Instant, client_id: str) -> Transaction[float]:
    """The arrival time that the last request left; now, where a clock that is gone left it.

    Where the clock was set back since, it is as far ahead as it was then.
    """
    row = yield from query_one("budget", client_id=client_id)
    if row is None or row["clock_id"] != now.clock_id:
        return now.steady
    arrival: float = row["arrival"]
    return arrival - behind(row, now)


def _set_arrival(now: Instant, client_id: str, arrival: float) -> Transaction[None]:
    yield from query("set_budget", client_id=client_id, arrival=arrival, now=now.steady, clock_id=now.clock_id)


def claim_due(now: Instant, limit: int, hold: float) -> Transaction[Sequence[str]]:
    """At most `limit` grants that are due, longest first; nobody else is given them for `hold` seconds."""
    yield from _pulled(now)
    rows = yield from query("claim_due", now=now.wall, until=now.wall + hold, limit=limit)
    # A database returns them in any order.
    return [row["id"] for row in sorted(rows, key=lambda row: (row["expires_at"], row["id"]))]


def _pulled(now: Instant) -> Transaction[None]:
    """What was due, or to be tried again, by a clock that was set back since."""
    yield from query("pull_due", now=now.wall, steady=now.steady, clock_id=now.clock_id, limit=PULLED)


def claim_retries(now: Instant, limit: int, hold: float) -> Transaction[Sequence[str]]:
    """As `claim_due`, of marked grants (rule 12)."""
    yield from _pulled(now)
    rows = yield from query("claim_retries", now=now.wall, until=now.wall + hold, limit=limit)
    return sorted(row["id"] for row in rows)


def retry_all(now: Instant, app: str, limit: int) -> Transaction[int]:
    """Make the marks of an app due, at most `limit`; how many."""
    return len((yield from query("retry_all", app=app, now=now.wall, limit=limit)))


def claim_polls(now: Instant, limit: int, every: float) -> Transaction[Sequence[str]]:
    """At most `limit` whose turn it is; the next time is `every` seconds later."""
    rows = yield from query(
        "claim_polls", now=now.wall, horizon=now.wall + POLL + SLACK, until=now.wall + every, limit=limit
    )
    return sorted(row["connection_id"] for row in rows)


def set_poll(now: Instant, grant_id: str) -> Transaction[None]:
    """Connected a moment ago: asked about soon for the first time."""
    yield from query("set_poll", grant_id=grant_id, poll_at=now.wall + FIRST)


def next_due(now: Instant) -> Transaction[float | None]:
    """Seconds until something is due; None when nothing ever is."""
    found = ((yield from query_one("next_due")), (yield from query_one("next_retry")))
    return min((max(0.0, row["due_at"] - now.wall) for row in found if row is not None), default=None)


def set_due(row: Row, now: Instant, *, after: float = -math.inf, **changed: object) -> Transaction[None]:
    """Decide anew when a grant is due, from its row and what has just `changed` in it; not within `after` seconds."""
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
    """Due in so many seconds, unless the grant is no longer looked after; a marked one has its own schedule."""
    if row["marked_at"] is not None:
        yield from set_retry(now, row)
    elif row["role"] in {Role.ACTIVE, Role.CANDIDATE}:
        yield from set_due_at(now, row["id"], now.wall + seconds)


def set_retry(now: Instant, row: Row) -> Transaction[None]:
    """When a marked grant is tried again."""
    yield from set_retry_in(now, row, retry_in(row["retries"], row["id"]))


def set_retry_in(now: Instant, row: Row, seconds: float) -> Transaction[None]:
    """A marked grant is tried again in so many seconds."""
    yield from query("set_retry", grant_id=row["id"], due_at=now.wall + seconds, now=now.wall)


def never_due(grant_id: str) -> Transaction[None]:
    """Nothing to do any more."""
    yield from query("never_due", grant_id=grant_id)


def set_due_at(now: Instant, grant_id: str, due_at: float | None) -> Transaction[None]:
    """Due from this unix second on; None: never."""
    yield from query("set_due", grant_id=grant_id, due_at=due_at, now=now.wall)
