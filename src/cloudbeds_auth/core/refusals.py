"""What an answer of `/userinfo` means: a proof, a dead token, a dead grant, or nothing at all.

A proof is what allows kept refresh tokens to be forgotten, so it is judged strictly: a 2xx of an authenticated call,
a well-formed JSON object, no `success: false`, no `error`. A captive portal's page, a 404 or a 429 prove nothing
(ROTATION section 2, variant V5).
"""

from __future__ import annotations

from dataclasses import dataclass

from cloudbeds_auth.core.nouns import User
from cloudbeds_auth.core.parsing import JsonObject, Unreadable, one_line, read_object, says_false, text_of


@dataclass(frozen=True, slots=True)
class Proof:
    """The access token works; `user` is the person who approved, where the answer names one."""

    user: User | None = None


@dataclass(frozen=True, slots=True)
class DeadToken:
    """A 401 in the vendor's own JSON: this access token is dead."""

    reason: str = "401"


@dataclass(frozen=True, slots=True)
class DeadGrant:
    """One of the vendor's documented bodies of a grant that no refresh brings back."""

    reason: str


@dataclass(frozen=True, slots=True)
class Inconclusive:
    """An answer that says nothing about the token: an outage, a rate limit, a page of HTML."""

    reason: str


Verdict = Proof | DeadToken | DeadGrant | Inconclusive

# The vendor's sentences, in lower case, and the reason people read. Source: CLOUDBEDS section 6.
DEAD_GRANTS = (
    ("user who approved this connection is not active", "user_inactive"),
    ("application is not available to be connected", "revoked"),
)


def judge_userinfo(status: int, content_type: str, body: bytes) -> Verdict:
    """What a complete answer of an authenticated `GET …/userinfo` means."""
    try:
        answer = read_object(content_type, body)
    except Unreadable as why:
        return Inconclusive(f"HTTP {status}: {why}")
    reason = dead_grant(answer)
    if reason is not None:
        return DeadGrant(reason)
    if status == 401:
        return DeadToken() if _is_vendors_denial(answer) else Inconclusive("HTTP 401 in an unknown shape")
    if not 200 <= status < 300:
        return Inconclusive(f"HTTP {status}")
    if says_false(answer.get("success")) or "error" in answer:
        return Inconclusive("the answer says that the call failed")
    return Proof(_user(answer))


def dead_grant(answer: JsonObject) -> str | None:
    """The reason when the answer is `success: false` with one of the documented sentences of a dead grant."""
    if not says_false(answer.get("success")):
        return None
    words = text_of(answer, "message")
    return next((reason for sentence, reason in DEAD_GRANTS if sentence in words), None)


def _is_vendors_denial(answer: JsonObject) -> bool:
    """The three shapes of a 401: `access_denied`, problem details, and Data Insights' error object."""
    error = answer.get("error")
    return (
        error in ("access_denied", "invalid_token")  # an object has no hash: no set
        or answer.get("type") == "unauthorized"
        or (isinstance(error, dict) and error.get("code") == 401)
    )


def _user(answer: JsonObject) -> User | None:
    """The approving user; ids come as strings and as integers (CLOUDBEDS section 5)."""
    identity = one_line(answer.get("user_id"), 64)
    if not identity:
        return None
    names = [one_line(answer.get(part), 100) for part in ("first_name", "last_name")]
    return User(id=identity, name=" ".join(filter(None, names)), email=one_line(answer.get("email"), 200))
