"""When to refresh, with which token, and how long to wait: the decisions of the algorithm, as pure functions.

The algorithm is docs/rotation.md#algorithm. `decide` gets a row that was read under the lease and returns the next
step; `engine.refresh` carries it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum

from cloudbeds_auth.rules.api_errors import REVOKED
from cloudbeds_auth.rules.model import CredentialKind, Grant, Role, StoredToken


@dataclass(frozen=True, slots=True)
class Timing:
    """Every duration of the protocol, in seconds. Their order matters: `deadline` < `lease` and `deadline` < `wait`."""

    connect: float = 5.0
    deadline: float = 20.0
    lease: float = 30.0
    renew: float = 10.0
    poll: float = 0.25
    backoff_first: float = 1.0
    backoff_cap: float = 60.0
    unresolved: float = 600.0
    wait: float = 25.0
    refusal_interval: float = 60.0

    @classmethod
    def scaled(cls, unit: float) -> Timing:
        """Every duration times `unit`: for tests, which cannot wait twenty seconds."""
        whole = cls()
        return cls(*(getattr(whole, each.name) * unit for each in fields(cls)))

    @classmethod
    def of(cls, deadline: float) -> Timing:
        """The durations in proportion to `deadline`, the longest time of a token exchange, which the operator sets.

        Rule 12 has a floor: two refused passes are at least 60 seconds, and a lease plus a deadline, apart. The
        limit for connecting does not shrink, but is at most three quarters of the deadline: the distance to Cloudbeds
        stays the same, and a connection that was never made must be distinguished from an answer that never came.
        """
        timing = cls.scaled(deadline / 20.0)
        return replace(
            timing,
            connect=min(cls().connect, 0.75 * timing.deadline),
            poll=min(timing.poll, 0.25),
            refusal_interval=max(60.0, timing.lease + timing.deadline),
        )


@dataclass(frozen=True, slots=True)
class Ask:
    """Who wants a refresh, and why: the generation that the caller last saw, and the one that was rejected.

    `seen` and `rejected` are generations. `operator` and `upkeep` may try a marked grant again (rule-12).
    `patient`: a caller waits; a background refresh is not patient and gives up at the first obstacle. `connection_id`
    is for error messages.
    """

    grant_id: str
    seen: int
    rejected: int | None = None
    operator: bool = False
    upkeep: bool = False
    patient: bool = True
    connection_id: str | None = None


class Next(Enum):
    """The next step of the holder of the lease."""

    GONE = "the grant was disconnected"
    RESTART = "the grant was superseded: ask the connection's active one"
    RETURN = "another process did it already"
    KEY_RETURN = "an API key that was not rejected is not refreshable"
    KEY_PROBE = "an API key that was rejected is asked about"
    LATCHED = "moved to an API key: never refreshed again"
    MARKED = "the hotel has to approve again; upkeep tries it now and then"
    HELD_BACK = "too soon after the last attempt"
    BRAKED = "too soon after /userinfo answered 401 to a new access token, or to a key without saying that it ended"
    PROBE = "prove before spending"
    SEND = "send the child, then the kept ones"


def decide(row: Grant | None, ask: Ask, timing: Timing) -> Next:
    """The step of the first condition that holds, in the order of the algorithm."""
    if row is None or row.role is Role.DISCONNECTED:
        return Next.GONE
    if row.role is Role.SUPERSEDED:
        return Next.RESTART
    if row.generation != reference(ask) and row.valid_for > 0:
        return Next.RETURN
    if row.kind is CredentialKind.API_KEY:
        return _decide_of_key(row, ask)
    if row.latched:
        return Next.LATCHED
    if row.reauth and not (ask.operator or ask.upkeep):
        return Next.MARKED
    if row.held_back > 0:
        return Next.HELD_BACK
    by_401 = ask.rejected is not None and row.valid_for > 0
    if row.braked > 0 and (by_401 or (ask.upkeep and row.reauth is not None)):
        return Next.BRAKED  # a refresh that a 401 caused, or the retry of a mark; an expired token is refreshed
    if row.valid_for > 0 and (row.kept or settles(row, ask, timing)):
        return Next.PROBE
    return Next.SEND


def _decide_of_key(row: Grant, ask: Ask) -> Next:
    if ask.rejected is None and row.reauth is None:
        return Next.KEY_RETURN
    return Next.BRAKED if row.braked > 0 else Next.KEY_PROBE


def settles(row: Grant, ask: Ask, timing: Timing) -> bool:
    """Whether a proof of the stored access token settles the matter, so that no refresh token is sent (rule-3)."""
    return ask.rejected is not None or unresolved(row, timing) or suspected(row, ask) or row.reauth is not None


def reference(ask: Ask) -> int:
    """The generation that the caller wants replaced."""
    return ask.seen if ask.rejected is None else ask.rejected


def unresolved(row: Grant, timing: Timing) -> bool:
    """Whether there was an attempt of unknown outcome, recent enough to matter for a refresh."""
    return row.unresolved_age is not None and row.unresolved_age < timing.unresolved


def may_arrive(row: Grant, timing: Timing) -> bool:
    """Whether what was sent without an answer may still arrive at Cloudbeds. A pair that works does not end that: it
    may have brought the same refresh token (V6), which a late request spends once more, and so ends a key.
    """
    return row.sent_ago is not None and row.sent_ago < timing.unresolved


def arrives_within(sent_ago: float | None, timing: Timing) -> float:
    """Seconds in which a request of unknown outcome, sent `sent_ago` seconds ago, arrives if it arrives at all; 0 if
    there is none.
    """
    return 0.0 if sent_ago is None else max(0.0, timing.deadline - sent_ago)


def suspected(row: Grant, ask: Ask) -> bool:
    """Whether `/userinfo` named a dead grant once: it is asked again, and until then no refresh token is spent.

    `revoked` may also come from a refused pass; then the next pass decides. An operator's refresh is always sent.
    """
    return row.refused_as is not None and row.refused_as != REVOKED and not ask.operator


def may_mark(row: Grant, timing: Timing) -> bool:
    """Whether a pass that begins now may be the second one refused: the first was counted an interval ago (rule-12).

    Judged by the row as read before Cloudbeds is asked, so that a later suspension of the process, or a wait for the
    database, does not count as part of the interval.
    """
    return row.refused_ago is not None and row.refused_ago >= timing.refusal_interval


def servable(row: Grant, ask: Ask) -> bool:
    """SERVE: the stored access token is unexpired, and the caller did not name it as rejected.

    An operator's request is never served from the store: an operator has to learn that there was no refresh.
    """
    return row.valid_for > 0 and row.generation != ask.rejected and not ask.operator


def candidates(tokens: Sequence[StoredToken]) -> list[StoredToken]:
    """The order of sending (rule-4): the child, then the kept ones newest to oldest, equal values once."""
    order: list[StoredToken] = []
    for token in reversed(tokens):
        if all(token.value != earlier.value for earlier in order):
            order.append(token)
    return order


def reprieve(row: Grant, timing: Timing) -> float:
    """Seconds to the next pass after every refresh token was refused, twice, while the access token works: the
    interval, doubling to an hour while this repeats, and no longer than the access token lasts.
    """
    doubled = _doubled(timing.refusal_interval, row.reprieves, LONGEST_HOLD)
    return max(timing.refusal_interval, min(doubled, row.valid_for))


def brake(denied: int, timing: Timing) -> float:
    """Seconds until a 401 may cause the next refresh, after the proofs of the last `denied` pairs were answered 401;
    for an API key, until the next check whether it works.
    """
    return _doubled(timing.refusal_interval, denied - 1, LONGEST_HOLD)


def backoff(attempts: int, timing: Timing, dice: float) -> float:
    """Seconds to hold back after the `attempts`-th failure in a row: exponential with full jitter, `dice` in [0, 1)."""
    return _doubled(timing.backoff_first, attempts, timing.backoff_cap) * dice


def _doubled(seconds: float, times: int, most: float) -> float:
    return min(most, seconds * 2.0 ** min(times, 30))  # bounded, because floats overflow


LONGEST_HOLD = 3600.0  # seconds between two attempts at what is refused again and again, at most
STALE_AT = 0.9  # of the lifetime (rule-10)


def stale_after(lifetime: float, dice: float) -> float:
    """Seconds until a new token is refreshed in the background: about nine tenths of its life, with some jitter."""
    return lifetime * (STALE_AT + (dice - 0.5) * 0.05)
