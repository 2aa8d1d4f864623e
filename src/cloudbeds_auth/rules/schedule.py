"""When a grant is next due for upkeep: before its token expires while it is used, else rarely (rule-10, rule-14).

`due` decides this; the store writes the result in the transaction that changes the grant. Once the causes of a fault
are gone, every grant under upkeep serves again without a person (I15). For that it needs a refresh token and a moment
at which a job comes to it; `out_of_reach` names the one that is missing.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from cloudbeds_auth.rules.model import KEPT_ALIVE, CredentialKind, Role

DAY = 86400.0
PAUSE = 30.0  # seconds between two ticks of a job that finds nothing to do, or fails, at most
KEEP_ALIVE = 30 * DAY  # Cloudbeds keeps an unused refresh token about this long
KEEP_KEY_ALIVE = 20 * DAY  # … and disables an unused API key after a month
SPREAD = 0.1  # of these: how much earlier at most, different for each grant
PULLED = 500  # moments that one transaction pulls up, the latest first: a clock was set back, or settings are new
SLACK = 60.0  # seconds by which a moment at a fixed distance may lie further ahead before its clock counts as set back
USED = 300.0  # seconds after which a later use of a grant is recorded again: every call would be too often
PROVED_AGAIN = 60.0  # seconds until upkeep comes again to a grant that was just proven
REMEMBERED = DAY  # how long an expired state or link is still distinguished from an unknown one
PARKED = DAY  # how long an approval from the Marketplace, or one without its secret, waits to be claimed
RETRY_FIRST = 300.0  # seconds until a marked grant is tried again for the first time; each wait is twice the one before
RETRY_AT_LEAST_EVERY = 6 * 3600.0  # seconds
MOST_RETRIES = 126  # of them so often, which takes thirty days; after that with keep-alive
MARKS_AT_ONCE = 2  # hotels of one app marked within `STORM`; more point to a fault of the vendor's, or of ours
STORM = 600.0  # seconds
DELAYED = 3600.0  # seconds that a mark waits in a storm
# Seconds until upkeep resumes a grant that the process which received it did not prove, or a move to an API key.
CANDIDATE = 60.0


@dataclass(frozen=True, slots=True)
class Life:
    """What decides when a grant is due next; moments are unix seconds, None: never."""

    grant_id: str
    kind: CredentialKind
    role: Role
    stale_at: float
    lifetime: float
    used_at: float | None
    migrating: bool = False


def due(life: Life, now: float) -> float | None:
    """The unix second from which the grant is due for upkeep; None: nothing to do.

    A grant used within its last lifetime is refreshed when it turns stale; an idle one is kept alive.
    """
    if life.role not in KEPT_ALIVE:
        return None
    if life.role is Role.CANDIDATE or life.migrating:
        return now + CANDIDATE
    if life.kind is CredentialKind.API_KEY:
        return now + spread(KEEP_KEY_ALIVE, life.grant_id)
    if life.used_at is not None and now - life.used_at <= life.lifetime:
        return life.stale_at
    return now + spread(KEEP_ALIVE, life.grant_id)


def retry_in(retries: int, grant_id: str) -> float:
    """Seconds until a marked grant is tried again after so many refused retries (rule-12): 5 minutes, doubling to six
    hours, for about thirty days; then as keep-alive. Counted rather than timed: a clock that jumps ends no retries.
    """
    if retries >= MOST_RETRIES:
        return spread(KEEP_ALIVE, grant_id)
    return min(RETRY_FIRST * 2.0**retries, RETRY_AT_LEAST_EVERY)


def used_since(noted: float | None, used: float, lifetime: float) -> bool:
    """Whether a use at the unix second `used` is to be recorded: the last one `noted` is long ago for this lifetime."""
    return noted is None or used - noted >= min(USED, lifetime / 10)


def spread(seconds: float, grant_id: str) -> float:
    """`seconds`, or up to a tenth less: always the same for one grant, different from grant to grant."""
    part = zlib.crc32(grant_id.encode()) / 2**32
    return seconds * (1.0 - SPREAD * part)


LONG_LIST = 10  # refresh tokens of one grant; 123,760 simulated runs had more 60 times (rule-2)


@dataclass(frozen=True, slots=True)
class Reach:
    """What decides `out_of_reach`. Moments are unix seconds, None: never; `tokens`: how many refresh tokens are stored.

    `due_from` is when `due_at` was written; `latched`: never to be refreshed; `moving`: a move to an API key is under
    way. Whether a registration has the client id of that move is not judged here: the connection shows it.
    """

    kind: CredentialKind
    role: Role
    tokens: int
    marked: bool
    due_at: float | None
    retry_at: float | None
    due_from: float | None
    latched: bool
    moving: bool


def out_of_reach(grant: Reach, now: float) -> str | None:
    """Why this grant needs a person, should its access token end now; None: it recovers by itself."""
    if grant.role not in KEPT_ALIVE:
        return None  # replaced, ended or parked: not under upkeep
    if grant.kind is CredentialKind.OAUTH and grant.tokens == 0:
        return "no refresh token of it is stored"
    if grant.kind is CredentialKind.OAUTH and grant.latched and not grant.moving:
        return "it may not be refreshed, and no move to an API key is under way"
    moment = grant.retry_at if grant.marked else grant.due_at
    if moment is None:
        return "it is marked, and no retry is planned" if grant.marked else "nothing is planned to look after it"
    if moment - max(now, grant.due_from or now) > KEEP_ALIVE + SLACK:
        return "it is looked after later than any grant should be"
    return None
