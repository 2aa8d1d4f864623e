"""The transactions of sign-in: one-time codes, and operators' sessions, which begin with a code or the admin token.

Moments are those of the store's wall clock, as for callers' keys.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloudbeds_auth.rules.audit import Acting, AuditAction
from cloudbeds_auth.rules.sessions import CODE_FOR, IDLE_SESSION, LONGEST_SESSION, SignedInBy, actor_of
from cloudbeds_auth.transactions.audit import audit
from cloudbeds_auth.transactions.authentic import is_genuine, mac_of
from cloudbeds_auth.transactions.statements import Transaction, Tx, query, query_one, transaction


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session that is valid now: the hash of its secret, and the seconds since its last noted use."""

    hash: str
    unused: float


@transaction
def add_sign_in_code(tx: Tx, code_hash: str, *, made_by: str) -> Transaction[None]:
    """Store a code by its hash."""
    row = {"hash": code_hash, "made_by": made_by, "expires_at": tx.wall + CODE_FOR}
    yield from query("add_sign_in_code", mac=mac_of(tx, "sign_in_codes", row), **row)


@transaction
def is_sign_in_code(tx: Tx, code_hash: str) -> Transaction[bool]:
    """Whether a code is valid now; only reads."""
    row = yield from query_one("sign_in_code", hash=code_hash, now=tx.wall)
    return row is not None and is_genuine(tx, "sign_in_codes", row)


@transaction
def begin_session(
    tx: Tx, session_id: str, session_hash: str, *, code_hash: str | None, address: str
) -> Transaction[SignedInBy | None]:
    """Begin a session with a code, which is spent, or without one by the admin token; returns which of the two it was.

    None, and no session begins: the code was used, has expired, or was never issued.
    """
    if code_hash is not None:
        code = yield from query_one("use_sign_in_code", hash=code_hash, now=tx.wall)
        if code is None or not is_genuine(tx, "sign_in_codes", code):
            return None
    how = SignedInBy.TOKEN if code_hash is None else SignedInBy.LINK
    by = Acting(actor_of(session_id), address)
    yield from audit(tx, AuditAction.SIGNED_IN, None, {"how": how.value}, by)
    row = {
        "id": session_id, "hash": session_hash, "how": how.value, "address": address, "created_at": tx.wall,
        "expires_at": tx.wall + LONGEST_SESSION,
    }  # fmt: skip
    yield from query("add_session", mac=mac_of(tx, "sessions", row), **row)
    return how


@transaction
def find_session(tx: Tx, session_id: str) -> Transaction[StoredSession | None]:
    """The session with this id, if it is valid now."""
    row = yield from query_one("session", id=session_id, now=tx.wall, idle_since=tx.wall - IDLE_SESSION)
    if row is None or not is_genuine(tx, "sessions", row):
        return None
    return StoredSession(row["hash"], tx.wall - row["used_at"])


@transaction
def use_session(tx: Tx, session_id: str) -> Transaction[None]:
    """Store that the session was used now."""
    yield from query("use_session", id=session_id, now=tx.wall)


@transaction
def end_session(tx: Tx, session_id: str) -> Transaction[None]:
    """End one session."""
    if (yield from query("end_session", id=session_id)):
        yield from audit(tx, AuditAction.SIGNED_OUT, None, {})


@transaction
def end_sessions(tx: Tx) -> Transaction[int]:
    """End all sessions and all unused codes; returns how many sessions were valid."""
    yield from query("end_sign_in_codes", now=tx.wall)
    ended = yield from query("end_sessions", now=tx.wall)
    good = sum(1 for row in ended if row["used_at"] > tx.wall - IDLE_SESSION)
    yield from audit(tx, AuditAction.SESSIONS_ENDED, None, {"sessions": good})
    return good


def sweep_sessions(before: float, limit: int) -> Transaction[int]:
    """Delete at most `limit` codes and `limit` sessions that were over before this moment, the oldest first; returns
    how many.
    """
    codes = yield from query("sweep_sign_in_codes", before=before, limit=limit)
    sessions = yield from query("sweep_sessions", before=before, limit=limit)
    return len(codes) + len(sessions)
