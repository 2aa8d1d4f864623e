"""What error answers mean: one table of the vendor's documented bodies (cloudbeds-facts.md section 6).

    body → reason → what follows → the connection's problem → next step

Every client passes a body on unchanged. What the body says about the connection is in `TABLE`; a newly met body is one
more row. The rest is derived from the table: how a body is found in an answer on its way (`PassingBody`), what people
do about it (`NEXT_STEP`), and what an answer of `/userinfo` proves (`Proof`, `DeadToken`, `DeadGrant`, `Inconclusive`).

A proof is what allows kept refresh tokens to be forgotten, so it is judged strictly: a 2xx of an authenticated call,
a well-formed JSON object that names a user, no `success: false`, no `error`. A captive portal's page, `{}`, a 404 or a
429 prove nothing. A 401 of any shape says that the access token is rejected, and nothing about a refresh token.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache

from cloudbeds_auth.rules.inputs import (
    JsonObject,
    Unreadable,
    count_of,
    is_json,
    one_line,
    read_object,
    says_false,
    text_of,
)
from cloudbeds_auth.rules.model import User

REVOKED = "revoked"  # the vendor ended the grant, or refused every stored refresh token
USER_INACTIVE = "user_inactive"  # the user who approved has no login at the hotel any more
DISABLED = "disabled"  # the grant is dead, and Cloudbeds reported that the hotel disabled the app
LONGEST_ID = 64  # characters of a property's id
MOST_WORDS = 300  # characters of the vendor's message that are kept


class Act(Enum):
    """What follows from a refusal, besides passing it on."""

    SUSPECT = "the grant may be dead: `/userinfo` is asked, and asked again later (rule-12)"
    LOOK = "the access token may be dead, and the status does not say so: `/userinfo` is asked, or it is renewed"
    HEAL = "the access token may be dead: it is proven or renewed (rule-3, rule-9)"
    REPORT = "the hotel is connected and this call is not allowed: people are shown why"
    NOTHING = "an error of this call alone: the token is not touched"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused call: a word for the reason, what follows, and the vendor's own words as one line."""

    reason: str
    act: Act
    said: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One documented body. It fits an answer that has one of `statuses` (empty: any) and all `members`, and, if `words`
    are given, `success: false` and a message that contains them; `words` are in lower case.

    For `Act.REPORT`, `reason` is the connection's problem and `next_step` what people can do about it.
    """

    reason: str
    act: Act
    words: str = ""
    members: Mapping[str, object] = field(default_factory=dict)
    statuses: tuple[int, ...] = ()
    next_step: str = ""
    ends_key: bool = False  # documented for an API key that was revoked
    of_scope: bool = False  # the approval lacks a scope, or may

    def fits(self, status: int, answer: JsonObject) -> bool:
        """Whether this row describes the answer."""
        if self.statuses and status not in self.statuses:
            return False
        if self.words and not (says_false(answer.get("success")) and self.words in text_of(answer, "message")):
            return False
        return _holds(answer, self.members)

    @property
    def trace(self) -> bytes | None:
        """Bytes, in lower case, that every fitting answer with a status below 400 holds; None: no such answer fits."""
        if self.statuses and min(self.statuses) >= 400:
            return None
        return NO if self.words else _token_of(self.members)


NO = b"false"  # of `success: false`, however it is written
_NOT_THIS_CALL = "the history names the call: its scope or its property is not part of this approval"
# In the order of the page; the first row that fits applies. Source: cloudbeds-facts.md section 6, "Error bodies".
TABLE = (
    # 200 with `success: false`: how the classic API reports every error but a 401.
    Row(USER_INACTIVE, Act.SUSPECT, words="user who approved this connection is not active"),
    Row("property_closed", Act.REPORT, words="you are accessing have an invalid status",
        next_step="the property is closed at Cloudbeds: stop calling for it"),
    Row(REVOKED, Act.SUSPECT, words="application is not available to be connected"),
    Row("missing_scope", Act.REPORT, words="scope required for this call was not granted", of_scope=True,
        next_step="ask for the scope (in CLOUDBEDS_SCOPES, and of the app), then send the hotel a connect link"),
    Row("property_unnamed", Act.REPORT, words='please specify "propertyid"',
        next_step="name the property with each call: this approval covers several"),
    Row("wrong_property", Act.REPORT, words="none of the included property id's match",
        next_step="correct the property id of the calls, or connect that hotel: this approval does not cover it"),
    # The forms of a 401: the classic API's with a message or a hint, RFC 6750's error code, the problem details of v2
    # and of a revoked key, and Data Insights' error object.
    Row("unauthorized", Act.HEAL, members={"error": "access_denied"}, statuses=(401,), ends_key=True),
    Row("unauthorized", Act.HEAL, members={"error": "invalid_token"}, statuses=(401,)),
    Row("unauthorized", Act.HEAL, members={"type": "unauthorized"}, statuses=(401,), ends_key=True),
    Row("unauthorized", Act.HEAL, members={"error": {"code": 401}}, statuses=(401,)),
    Row("unauthorized", Act.LOOK, members={"error": {"code": 401}}),  # Data Insights sends it with any status
    # A scope or a property is missing: the forms of v2, of Data Insights, and of Accounting and group profiles, which
    # comes with a 200 and with a 4xx.
    Row("forbidden", Act.REPORT, members={"code": "ACCESS_DENIED"}, next_step=_NOT_THIS_CALL, of_scope=True),
    Row("forbidden", Act.REPORT, members={"error": {"code": 403}}, next_step=_NOT_THIS_CALL, of_scope=True),
    Row("forbidden", Act.REPORT, statuses=(403,), next_step=_NOT_THIS_CALL, of_scope=True),
    # The method was called with an HTTP verb other than the one its name says.
    Row("unknown_method", Act.NOTHING, members={"status": False, "error": "Unknown method."}),
)  # fmt: skip
NEXT_STEP = {row.reason: row.next_step for row in TABLE if row.act is Act.REPORT}  # by the connection's problem
SCOPE_REFUSED = frozenset(row.reason for row in TABLE if row.of_scope)
OUTAGE = Refusal("outage", Act.NOTHING)  # HTML, or nothing: a gateway, a firewall, a wrong path; never a revocation
UNREADABLE = Refusal("unreadable", Act.NOTHING)  # a 2xx without anything that was asked for
UNKNOWN = "unknown"


def refusal_of(status: int, content_type: str, body: bytes) -> Refusal | None:
    """The refusal in a complete answer; None if it is none, or, below status 400, if it is no JSON object."""
    try:
        answer = read_object(content_type, body)
    except Unreadable:
        return OUTAGE if status >= 400 else None
    said = one_line(answer.get("message", answer.get("description")), MOST_WORDS)
    row = _row(status, answer)
    if row is not None:
        return Refusal(row.reason, row.act, said)
    failed = status >= 400 or says_false(answer.get("success"))
    return Refusal(UNKNOWN, Act.NOTHING, said) if failed else None


def _row(status: int, answer: JsonObject) -> Row | None:
    return next((row for row in TABLE if row.fits(status, answer)), None)


def _holds(answer: JsonObject, members: Mapping[str, object]) -> bool:
    for name, wanted in members.items():
        found = answer.get(name)
        if isinstance(wanted, Mapping):
            if not isinstance(found, dict) or not _holds(found, wanted):
                return False
        elif type(found) is not type(wanted) or found != wanted:
            return False
    return True


# --- an answer on its way to the caller

MOST = 8 * 1024  # bytes, both as sent and unpacked; every documented refusal has less than 1024
PACKED = frozenset({"gzip", "x-gzip", "deflate"})
LEGIBLE = PACKED | {"identity"}


def traces_of(rows: Iterable[Row]) -> tuple[bytes, ...]:
    """Every refusal with a status below 400 holds one of these; a body without any is not parsed."""
    return tuple(dict.fromkeys([NO, *(row.trace for row in rows if row.trace is not None)]))


def _token_of(members: Mapping[str, object]) -> bytes:
    """A JSON token, in lower case, that every object with these members holds: a value that is one plain word, which
    no encoder escapes, else the name of the last member.
    """
    for value in members.values():
        if isinstance(value, str) and value.isidentifier() and value.isascii():
            return json.dumps(value).lower().encode()
    return json.dumps(list(members)[-1]).lower().encode()


TRACES = traces_of(TABLE)


@lru_cache(maxsize=256)  # a client sends the same header with each request
@lru_cache(64)  # before each call of a client, which sends the same header each time
def legible(accepted: str) -> str:
    """An `Accept-Encoding` without codings that are not unpacked here (`br`, `zstd`, `*`); the rest keep their weight.

    RFC 9110 section 12.5.3: `identity` asks for an answer that is not encoded.
    """
    codings = (one.strip() for one in accepted.split(","))
    return ", ".join(one for one in codings if one.partition(";")[0].strip().lower() in LEGIBLE) or "identity"


class PassingBody:
    """Reads a body on its way to the caller, without delaying it, to find out whether it is a refusal.

    Only a small JSON body is kept: judged first by the headers of the answer, then by its size as the bytes pass; of
    any other body nothing is kept. `length` is the Content-Length, empty if none is announced.
    """

    __slots__ = ("_encoding", "_media", "_parts", "_size", "_status", "looking")

    def __init__(self, status: int, content_type: str, encoding: str = "", length: str = "") -> None:
        self._status = status
        self._media = content_type
        self._encoding = encoding.strip().lower()
        self._parts: list[bytes] = []
        self._size = 0
        self.looking: bool = (
            is_json(content_type) and (self._encoding in LEGIBLE or not self._encoding) and not count_of(length) > MOST
        )

    def see(self, part: bytes) -> None:
        """Take note of some bytes of the body that pass."""
        if not self.looking:
            return
        self._size += len(part)
        if self._size > MOST:
            self.looking = False
            self._parts.clear()
        else:
            self._parts.append(part)

    def refusal(self) -> Refusal | None:
        """The refusal, once the whole body has passed; None if it is none, or the body was not read."""
        if not self.looking:
            return None
        body = self._unpacked(b"".join(self._parts))
        if self._status < 400:
            seen = body.lower()
            if not any(trace in seen for trace in TRACES):
                return None
        return refusal_of(self._status, self._media, body)

    def _unpacked(self, body: bytes) -> bytes:
        """At most `MOST` bytes, even if the body unpacks to more; empty if it is not encoded as the header says."""
        if self._encoding not in PACKED:
            return body
        try:
            return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, MOST)  # zlib's or gzip's header, detected
        except zlib.error:
            return b""


# --- an answer of `/userinfo`


@dataclass(frozen=True, slots=True)
class Proof:
    """The access token works; `user` is the person who approved, if the answer names one.

    `property_ids`: the property, if the answer names one; the documented body does not (cloudbeds-facts.md section 5).
    """

    user: User | None = None
    property_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeadToken:
    """A 401: this access token is rejected. `documented`: with a body that Cloudbeds shows for a revoked API key."""

    documented: bool = True


@dataclass(frozen=True, slots=True)
class DeadGrant:
    """One of the vendor's documented bodies of a grant that no refresh restores."""

    reason: str


@dataclass(frozen=True, slots=True)
class Inconclusive:
    """An answer that says nothing about the token: an outage, a rate limit, a page of HTML.

    `pause`: after a 429, the seconds for which no process sends under this client id.
    """

    reason: str
    pause: float | None = None


Verdict = Proof | DeadToken | DeadGrant | Inconclusive


def judge_userinfo(status: int, content_type: str, body: bytes) -> Verdict:
    """What a complete answer of an authenticated `GET …/userinfo` means."""
    try:
        answer = read_object(content_type, body)
    except Unreadable as why:
        return DeadToken(documented=False) if status == 401 else Inconclusive(f"HTTP {status}: {why}")
    row = _row(status, answer)
    if row is not None and row.act is Act.SUSPECT:
        return DeadGrant(row.reason)
    if status == 401:
        return DeadToken(documented=row is not None and row.ends_key)
    if not 200 <= status < 300:
        return Inconclusive(f"HTTP {status}")
    if row is not None or says_false(answer.get("success")) or "error" in answer:
        return Inconclusive("the answer says that the call failed")
    user = _user(answer)
    return Inconclusive("the answer names no user") if user is None else Proof(user, property_in(answer))


def property_in(found: Mapping[str, object]) -> tuple[str, ...]:
    """The property that an object names, as a tuple of one, else empty; ids come as strings and as integers."""
    names = ("propertyID", "propertyId", "property_id")
    return next(((text,) for name in names if (text := one_line(found.get(name), LONGEST_ID).strip())), ())


def dead_grant(answer: JsonObject) -> str | None:
    """The reason when the answer is `success: false` with one of the documented sentences of a dead grant."""
    return next((row.reason for row in TABLE if row.act is Act.SUSPECT and row.fits(200, answer)), None)


def _user(answer: JsonObject) -> User | None:
    """The approving user; ids come as strings and as integers (cloudbeds-facts.md section 5)."""
    identity = one_line(answer.get("user_id"), 64)
    if not identity:
        return None
    names = [one_line(answer.get(part), 100) for part in ("first_name", "last_name")]
    return User(id=identity, name=" ".join(filter(None, names)), email=one_line(answer.get("email"), 200))
