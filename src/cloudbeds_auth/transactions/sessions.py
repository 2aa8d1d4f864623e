"""The transactions of sign-in: one-time codes, and sessions of operators, which begin with one or by the admin token.

Moments are of the store's wall clock, as those of callers' keys.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloudbeds_auth.rules.sessions import CODE_FOR, IDLE_SESSION, LONGEST_SESSION, SignedInBy
from cloudbeds_auth.transactions.statements import Transaction, Tx, query, query_one, transaction


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session that is good now: the hash of its secret, and seconds since its last use that was noted."""

    hash: str
    unused: float


@transaction
def add_sign_in_code(tx: Tx, code_hash: str, *, made_by: str) -> Transaction[None]:
    """Remember a code, by its hash."""
    yield from query("add_sign_in_code", hash=code_hash, made_by=made_by, expires_at=tx.wall + CODE_FOR)


@transaction
def is_sign_in_code(tx: Tx, code_hash: str) -> Transaction[bool]:
    """Whether a code is good now; only reads."""
    return (yield from query_one("sign_in_code", hash=code_hash, now=tx.wall)) is not None


@transaction
def begin_session(
    tx: Tx, session_id: str, session_hash: str, *, code_hash: str | None, address: str
) -> Transaction[SignedInBy | None]:
    """Begin a session, and spend the code that it is begun with, else it is by the admin token; which of both it was.

    None, and no session is begun: the code was used, is over, or was never made.
    """
    if code_hash is not None and (yield from query_one("use_sign_in_code", hash=code_hash, now=tx.wall)) is None:
        return None
    how = SignedInBy.TOKEN if code_hash is None else SignedInBy.LINK
    yield from query(
        "add_session", id=session_id, hash=session_hash, how=how.value, address=address, now=tx.wall,
        expires_at=tx.wall + LONGEST_SESSION,
    )  # fmt: skip
    return how


@transaction
def find_session(tx: Tx, session_id: str) -> Transaction[StoredSession | None]:
    """The session of this id, if it is good now."""
    row = yield from query_one("session", id=session_id, now=tx.wall, idle_since=tx.wall - IDLE_SESSION)
    return None if row is None else StoredSession(row["hash"], tx.wall - row["used_at"])


@transaction
def use_session(tx: Tx, session_id: str) -> Transaction[None]:
    """It was used now."""
    yield from query("use_session", id=session_id, now=tx.wall)


@transaction
def end_session(tx: Tx, session_id: str) -> Transaction[None]:
    """End one session; the moment of the first time stays."""
    yield from query("end_session", id=session_id, now=tx.wall)


@transaction
def end_sessions(tx: Tx) -> Transaction[int]:
    """End all sessions, and the codes that were not used; how many sessions were good."""
    yield from query("end_sign_in_codes", now=tx.wall)
    ended = yield from query("end_sessions", now=tx.wall)
    return sum(row["used_at"] > tx.wall - IDLE_SESSION for row in ended)


def sweep_sessions(before: float, limit: int) -> Transaction[int]:
    """Delete codes and sessions that were over before this moment, the oldest first, at most so many of each."""
    codes = yield from query("sweep_sign_in_codes", before=before, limit=limit)
    sessions = yield from query("sweep_sessions", before=before, limit=limit)
    return len(codes) + len(sessions)
