"""What an answer of the token endpoint means (rule-11): classified, never guessed.

A refusal is a well-formed JSON answer with status 400 or 401 that fits a row of `REFUSALS`. A body that merely mentions
a refresh token refuses nothing. A well-formed pair is a pair. Everything else is ambiguous: the server may have acted,
and every refresh token is kept.

The vendor's words differ from RFC 6749's: a dead refresh token is `invalid_request` + "The refresh token is invalid.",
a spent code and an unknown client are `server_error` with status 401.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeGuard

from cloudbeds_auth.rules.credential import FOREVER, is_api_key
from cloudbeds_auth.rules.inputs import JsonObject, Unreadable, one_line, read_object, sentences_of
from cloudbeds_auth.rules.model import CredentialKind, Pair
from cloudbeds_auth.rules.secret import Secret

DEFAULT_LIFETIME = 3600.0  # seconds; when `expires_in` is missing or absurd (cloudbeds-facts.md section 2)
SHORTEST_LIFETIME = 60.0  # seconds; less would refresh without end
LONGEST_LIFETIME = 366 * 86400.0  # seconds
LONGEST_TOKEN = 16 * 1024  # characters


@dataclass(frozen=True, slots=True)
class Issued:
    """A pair was issued; it is not used before it is committed."""

    pair: Pair


@dataclass(frozen=True, slots=True)
class Refused:
    """The refresh token (or code) that was sent is definitively refused."""

    reason: str


@dataclass(frozen=True, slots=True)
class RefusedClient:
    """The app's own id or secret is refused; no hotel is at fault."""

    reason: str


@dataclass(frozen=True, slots=True)
class UnauthorizedClient:
    """The client may not use what it presented. This concerns one grant alone, unless the answer to another grant
    agrees; `agrees`: whether this answer can.
    """

    reason: str
    agrees: bool = True


@dataclass(frozen=True, slots=True)
class NotSent:
    """The request was never sent: the connection, DNS or TLS failed. The server cannot have acted."""

    reason: str


@dataclass(frozen=True, slots=True)
class TooLate(NotSent):
    """Not sent, because this process was suspended after the intent: its lease may have expired, and is taken anew."""

    reason: str = "this process stood still before it was sent"


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """The server may or may not have acted.

    `retry_after`: seconds that the server asks to wait. `pause`: after a 429, the seconds for which no process sends
    under this client id. `unrecognized`: a 4xx that refuses in words that are in no table, abbreviated so that it can
    be compared with the next one.
    """

    reason: str
    retry_after: float = 0.0
    pause: float | None = None
    unrecognized: str | None = None


@dataclass(frozen=True, slots=True)
class NotOffered:
    """The client may not make this exchange: the move to API keys was not arranged with Cloudbeds. Nothing happened."""

    reason: str


Unissued = Refused | RefusedClient | UnauthorizedClient | NotSent | Ambiguous
Answer = Issued | Unissued
KeyAnswer = Issued | Refused | RefusedClient | NotSent | Ambiguous | NotOffered
"""The possible answers to the exchange of a refresh token for an API key."""

_TRANSIENT = frozenset({408, 425, 429})
_WORDS = frozenset(
    {"access_denied", "invalid_request", "invalid_scope", "server_error", "temporarily_unavailable"}
    | {"invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type"}
)  # RFC 6749 sections 4.1.2.1 and 5.2
_REFUSING = (400, 401)  # RFC 6749 section 5.2; the vendor's own refusals come with both


class Sent(StrEnum):
    """What a token request presented."""

    CODE = "authorization code"
    TOKEN = "refresh token"
    TOKEN_FOR_KEY = "refresh token for an API key"


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """One documented refusal. `error`: the value of RFC 6749's member (None: any); `says`: a whole sentence of one of
    the vendor's text members; `mentions`: parts of one sentence; both in lower case, without the full stop. `sent`: the
    row is only for requests that presented one of these.
    """

    means: type[Refused | RefusedClient | UnauthorizedClient]
    error: str | None
    says: str = ""
    mentions: tuple[str, ...] = ()
    sent: tuple[Sent, ...] = tuple(Sent)

    def fits(self, error: Any, sentences: Collection[str], sent: Sent) -> bool:
        """Whether this row describes the answer."""
        if self.error not in (None, error) or sent not in self.sent:
            return False
        if self.says and self.says not in sentences:
            return False
        return not self.mentions or any(all(part in one for part in self.mentions) for one in sentences)


# The first row that fits is the meaning. Sources: RFC 6749 section 5.2; Cloudbeds' pages "Common errors" and
# "Connecting and disconnecting"; the hints are those of the server library whose words Cloudbeds uses.
REFUSALS = (
    # Comes together with "The refresh token is invalid.": the token is another registration's, and may be good.
    RefusalRow(UnauthorizedClient, None, says="token is not linked to client"),
    RefusalRow(UnauthorizedClient, "unauthorized_client"),
    RefusalRow(UnauthorizedClient, "unsupported_grant_type", sent=(Sent.TOKEN_FOR_KEY,)),
    RefusalRow(RefusedClient, "invalid_client"),
    RefusalRow(RefusedClient, None, mentions=("entity not found", "client")),
    RefusalRow(Refused, "invalid_grant"),
    RefusalRow(Refused, "invalid_request", says="the refresh token is invalid", sent=(Sent.TOKEN, Sent.TOKEN_FOR_KEY)),
    # A code is good once, for ten minutes: the hotel starts again, and nothing that works is lost.
    RefusalRow(Refused, "invalid_request", mentions=("authorization code",), sent=(Sent.CODE,)),
    RefusalRow(Refused, "server_error", mentions=("authorization code",), sent=(Sent.CODE,)),
)


def classify(status: int, content_type: str, body: bytes, *, sent: Sent) -> Answer:
    """What a complete answer to a request that presented `sent` means."""
    refusing = 400 <= status < 500 and status not in _TRANSIENT
    try:
        answer = read_object(content_type, body)
    except Unreadable as why:
        return Ambiguous(f"HTTP {status}: {why}", unrecognized=f"HTTP {status}, another error" if refusing else None)
    if 200 <= status < 300:
        return _pair(answer)
    return _refusal(status, answer, sent) if refusing else Ambiguous(f"HTTP {status}")


def classify_exchange(status: int, content_type: str, body: bytes) -> KeyAnswer:
    """What a complete answer to `refresh_token_exchange` means.

    A pair instead of a key is dropped unused, so that the refresh token that was sent stays alive (rule-2).
    """
    answer = classify(status, content_type, body, sent=Sent.TOKEN_FOR_KEY)
    if isinstance(answer, Issued) and answer.pair.kind is not CredentialKind.API_KEY:
        return Ambiguous("the answer holds no API key")
    if isinstance(answer, UnauthorizedClient):
        return NotOffered(f"HTTP {status}: this client may not exchange refresh tokens for API keys")
    return answer


def _refusal(status: int, answer: JsonObject, sent: Sent) -> Answer:
    error = answer.get("error")
    sentences = sentences_of(answer, "message", "error_description", "hint", "detail")
    row = next((row for row in REFUSALS if row.fits(error, sentences, sent)), None) if status in _REFUSING else None
    if row is None:
        # Only known error codes are repeated: other words might hold anything.
        said = f"HTTP {status}, {next((word for word in _WORDS if word == error), 'another error')}"
        return Ambiguous(f"{said}: it refuses in words that are in no table", unrecognized=said)
    if row.means is Refused:
        return Refused(f"HTTP {status}: the {sent} is refused")
    if row.means is RefusedClient:
        return RefusedClient(f"HTTP {status}: the client id or secret is refused")
    return UnauthorizedClient(
        f"HTTP {status}: this client may not use the {sent}", agrees=row.error == "unauthorized_client"
    )


def _pair(answer: JsonObject) -> Answer:
    access, refresh = answer.get("access_token"), answer.get("refresh_token")
    if not _usable(access) or not (refresh is None or _usable(refresh) or is_api_key(access)):
        return Ambiguous("a token in the answer is missing, of a wrong type, or no printable ASCII")
    # What the other members mean beside a key is not documented: they are not read (cloudbeds-facts.md section 4).
    is_key = is_api_key(access)
    kind = answer.get("token_type", "bearer")
    if not is_key and not (isinstance(kind, str) and kind.lower() == "bearer"):
        return Ambiguous("the answer's token type is not Bearer")
    lifetime = FOREVER if is_key else _lifetime(answer.get("expires_in"))
    if lifetime is None:
        return Ambiguous("the answer's expires_in is no number")
    scope = answer.get("scope")
    pair = Pair(
        access=Secret(access),
        refresh=Secret(refresh) if _usable(refresh) and not is_key else None,
        lifetime=lifetime,
        property_ids=_property_ids(answer.get("resources")),
        scopes=tuple(one_line(scope, 4000).split()) if isinstance(scope, str) else None,
        kind=CredentialKind.API_KEY if is_key else CredentialKind.OAUTH,
    )
    return Issued(pair)


def _usable(token: Any) -> TypeGuard[str]:
    """Whether a token may go into a header: printable ASCII without spaces (RFC 6750 section 2.1), of a sane length."""
    return isinstance(token, str) and 0 < len(token) <= LONGEST_TOKEN and all("!" <= letter <= "~" for letter in token)


def _lifetime(value: Any) -> float | None:
    """`expires_in` in seconds: a number or digits in a string, defaulted when absent or not positive, clamped."""
    if value is None or isinstance(value, bool):
        return DEFAULT_LIFETIME
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 20 else 0
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, int | float):
        return None
    return float(min(max(value, SHORTEST_LIFETIME), LONGEST_LIFETIME)) if value > 0 else DEFAULT_LIFETIME


def _property_ids(resources: Any) -> tuple[str, ...]:
    """The property ids among `resources`, which the vendor sends as a list, as an object, or not at all."""
    if isinstance(resources, dict):
        resources = [{"type": "property", "id": resources.get("propertyID", resources.get("id"))}]
    if not isinstance(resources, list):
        return ()
    entries = [entry for entry in resources if isinstance(entry, dict) and entry.get("type") == "property"]
    return tuple(dict.fromkeys(filter(None, (one_line(entry.get("id"), 64) for entry in entries))))
