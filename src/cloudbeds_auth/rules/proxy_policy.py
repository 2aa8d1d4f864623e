"""What the proxy lets through: paths, methods of the vendor and headers, as pure functions.

The vendor's host comes from the settings alone; a request only chooses a path below it. A path is judged in every form
that an intermediary might decode it to, and then passed on as it was sent. Headers are rebuilt from allow-lists: a
header that is not named here reaches neither the vendor nor the caller.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_plus, unquote_to_bytes

from cloudbeds_auth.errors import Forbidden, InvalidRequest, UpstreamFailed
from cloudbeds_auth.rules.api_errors import legible
from cloudbeds_auth.rules.permissions import Scope

PREFIX = b"/proxy/"
CONNECTION_PREFIX = "con_"

_IDENTIFIER = re.compile(rb"[A-Za-z0-9_.-]{1,128}\Z")
# Segments that do not begin with a dot and hold nothing that is ever decoded: canonical as they are.
_PLAIN = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9_.~,=!$'()*+-]*)*/?\Z")
_SENDABLE = re.compile(rb"[!-~]*\Z")  # printable ASCII
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_MOST_DECODINGS = 3
_QUERY_CONTROL = re.compile(r"%(?:0[0ADad]|7[Ff])")
_FIELD_VALUE = re.compile(rb"[\t -~]*\Z")  # RFC 9110 section 5.5 without obs-text
_BAD_ANSWER_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

_RELAYED = re.compile(r"/(?:api|[a-z][a-z0-9-]*/v[0-9]+(?:\.[0-9]+)?)/")
"""The APIs of the vendor that are relayed, in this spelling alone: the classic API, and the modules of the newer one
(`/payments/v1/…`), which take the same token. Source: cloudbeds-facts.md section 6.
"""
METHOD_CLASSES: Mapping[str, Scope | None] = {
    "access_token": None,  # takes and gives refresh tokens: only the vault calls it
    "oauth": None,  # the approval page belongs to a browser
    "postappstate": Scope.ADMIN,  # `disabled` ends the grant
    "postwebhook": Scope.ADMIN,  # subscribes an address to the hotel's events
    "deletewebhook": Scope.ADMIN,  # can end the service's own subscriptions
    "getwebhooks": Scope.ADMIN,  # shows the addresses, and the service's own holds a secret
}
"""Methods of the vendor, in lower case, by the scope that a caller needs; None: relayed for no caller.

Source: cloudbeds-facts.md sections 2, 7 and 8. Every other method needs `proxy`.
"""
_WORD = re.compile(r"[a-z0-9_]+")
_METHOD = re.compile(
    r"/(?:api/v[0-9]+(?:\.[0-9]+)?|(?!api/)[a-z][a-z0-9-]*/v[0-9]+(?:\.[0-9]+)?(?:/[^/;,?#%]+)*)/([A-Za-z0-9_-]+)"
)

REQUEST_HEADERS: Mapping[bytes, str] = {
    name: name.decode()
    for name in b"accept accept-encoding accept-language content-encoding content-language content-type "
    b"idempotency-key if-match if-modified-since if-none-match if-range if-unmodified-since prefer range user-agent "
    b"x-property-id".split()
}
"""The names with which headers are sent, by the names with which they arrive."""
_NONE: frozenset[bytes] = frozenset()
# If one of these came twice, the proxy and the vendor might go by different values.
_ONLY_ONCE = frozenset(b"content-encoding content-type range x-property-id".split())

RESPONSE_HEADERS = frozenset(
    b"accept-ranges allow content-disposition content-encoding content-language content-length content-range "
    b"content-type deprecation etag last-modified link location preference-applied ratelimit ratelimit-limit "
    b"ratelimit-policy ratelimit-remaining ratelimit-reset retry-after sunset vary x-correlation-id "
    b"x-ratelimit-limit x-ratelimit-remaining x-ratelimit-reset x-request-id".split()
)


class Target(NamedTuple):
    """`id` is a connection or property id; `path` begins with `/` and is sent to the vendor unchanged."""

    id: str
    path: str


def upstream_path(raw_path: bytes) -> Target:
    """Split `/proxy/{id}/{path}`, as it came over the wire, into the id and the vendor's path.

    Raises InvalidRequest for anything that could leave the vendor's host or climb out of a path: dot segments in any
    encoding, backslashes, control characters, empty segments, another authority, overlong UTF-8 (A29, A30).
    """
    if not raw_path.startswith(PREFIX):
        raise InvalidRequest("the path is not below /proxy/{id}/")
    identifier, slash, rest = raw_path[len(PREFIX) :].partition(b"/")
    if not _IDENTIFIER.match(identifier) or identifier.strip(b".") == b"":
        raise InvalidRequest("what follows /proxy/ is neither a connection id nor a property id")
    if not _SENDABLE.match(rest):
        raise InvalidRequest("the path holds bytes that a URL cannot have")
    path = (slash + rest).decode("ascii") or "/"
    if not _PLAIN.match(path):
        _judge(path)
    return Target(identifier.decode("ascii"), path)


@lru_cache(maxsize=1024)
def scope_for(path: str) -> Scope:
    """The scope that a caller needs for a path of `upstream_path`; raises Forbidden for paths never relayed (A73).

    A method counts wherever its name is a word of the path, in any version, case or encoding, so that a router which
    reads paths differently opens no way around this check.
    """
    if not _RELAYED.match(path):
        raise Forbidden(
            "only an API of Cloudbeds is relayed",
            next_step="ask for a path below /api/, or below a module and its version, as in /payments/v1/",
        )
    words = words_of(path)
    classes = {METHOD_CLASSES[word] for word in words if word in METHOD_CLASSES}
    if None in classes:
        raise Forbidden(
            "the token endpoint and the approval page of Cloudbeds are never relayed",
            next_step="ask this service for the token: GET /api/v1/connections/{id}/access-token",
        )
    return Scope.ADMIN if classes else Scope.PROXY


@lru_cache(maxsize=1024)
def words_of(path: str) -> frozenset[str]:
    """The words of a path of `upstream_path`, fully decoded and in lower case; the method's name is one of them."""
    *_, decoded = forms_of(path)
    return frozenset(_WORD.findall(unicodedata.normalize("NFKC", decoded).casefold()))


@lru_cache(maxsize=1024)
def method_of(path: str) -> str | None:
    """The one method, in lower case, that a path of `upstream_path` calls, for a key's list of allowed methods: in
    `/api/v1.3/getHotels` the name after the version, below a module the last segment. None: the path has another form.
    """
    found = _METHOD.fullmatch(_decode(path))
    return None if found is None else found[1].lower()


def is_classic(path: str) -> bool:
    """Whether the path belongs to the classic API, which goes by `propertyID`; the modules go by the header."""
    return path.startswith("/api/")


def refuse_token(raw_query: bytes) -> None:
    """Raise InvalidRequest if a query holds `access_token` in any spelling (RFC 6750 section 5.3, A45)."""
    if b"%" not in raw_query and b"access_token" not in raw_query.lower():
        return
    names = (unquote_plus(part.partition("=")[0]) for part in raw_query.decode("latin-1").split("&"))
    if any(name.strip().lower() == "access_token" for name in names):
        raise InvalidRequest("a token must not be part of a URL", next_step="send it in `Authorization: Bearer`")


def query_of(raw_query: bytes) -> str:
    """The query as it is passed on; raises InvalidRequest for a token in it (A45) or line breaks (A39)."""
    if not raw_query:
        return ""
    if not _SENDABLE.match(raw_query) or b"#" in raw_query:
        raise InvalidRequest("the query holds bytes that a URL cannot have")
    query = raw_query.decode("ascii")
    if _QUERY_CONTROL.search(query):
        raise InvalidRequest("the query holds an encoded line break or control character")
    refuse_token(raw_query)
    return query


def request_headers(
    raw: Iterable[tuple[bytes, bytes]], property_id: str | None, request_id: str | None
) -> list[tuple[str, str]]:
    """The caller's headers that go to the vendor; `property_id` replaces the caller's `X-Property-ID`, and `request_id`
    its `X-Request-ID`.

    Headers nominated by `Connection` (RFC 9110 section 7.6.1) are dropped here, before the credential is added, so
    that no caller can have it stripped (A34). `Accept-Encoding` asks only for codings that can be read here
    (`legible`). Raises InvalidRequest for values that are not plain text, and for headers that may not come twice.
    """
    received = [(name.lower(), value) for name, value in raw]
    nominated = _nominated(received)
    headers: list[tuple[str, str]] = []
    once: set[bytes] = set()
    for lower, value in received:
        name = REQUEST_HEADERS.get(lower)
        if name is None or lower in nominated or (property_id and lower == b"x-property-id"):
            continue
        if lower in _ONLY_ONCE:
            if lower in once:
                raise InvalidRequest(f"the header {name} came twice")
            once.add(lower)
        if not _FIELD_VALUE.match(value):
            raise InvalidRequest(f"the header {name} holds bytes that a header cannot have")
        text = value.decode("ascii")
        headers.append((name, legible(text) if lower == b"accept-encoding" else text))
    if property_id:
        headers.append(("x-property-id", property_id))
    if request_id:
        headers.append(("x-request-id", request_id))
    return headers


def header_in(raw: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """The first of the caller's headers with this name, in lower case; `request_headers` refuses a second one."""
    return next((value.decode("latin-1") for one, value in raw if one.lower() == name), None)


def response_headers(received: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Those of the vendor's headers, their names in lower case, that go to the caller.

    Raises UpstreamFailed for a value that would split the answer.
    """
    nominated = _nominated(received)
    headers = [one for one in received if one[0] in RESPONSE_HEADERS and one[0] not in nominated]
    if any(_BAD_ANSWER_VALUE.search(value) for _, value in headers):
        raise UpstreamFailed("a header of the vendor's answer holds control characters")
    return headers


def property_of(identifier: str) -> str | None:
    """`identifier` if it is a property id, None if it is the id of a connection.

    Raises InvalidRequest unless it is a string: Cloudbeds sometimes writes property ids as numbers.
    """
    if not isinstance(identifier, str):
        raise InvalidRequest(f"the id of a connection or property is a string, not {type(identifier).__name__}")
    return None if identifier.startswith(CONNECTION_PREFIX) else identifier


def _nominated(headers: Sequence[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """The header names that `Connection` declares to be for this hop only."""
    declared = [value for name, value in headers if name == b"connection"]
    return frozenset(token.strip().lower() for value in declared for token in value.split(b",")) if declared else _NONE


def _judge(path: str) -> None:
    """Judge a path in every form to which it may be decoded on its way; raises InvalidRequest."""
    if "#" in path or "?" in path or "//" in path:
        raise InvalidRequest("the path holds an empty segment, a fragment or a second query")
    if _BROKEN_ESCAPE.search(path):
        raise InvalidRequest("the path holds a broken percent escape")
    for form in forms_of(path):
        _judge_form(form)


def forms_of(path: str) -> Iterator[str]:
    """The path as it came, then decoded again and again until it no longer changes.

    Raises InvalidRequest if that takes too many rounds.
    """
    form = path
    for _ in range(_MOST_DECODINGS + 1):
        yield form
        decoded = _decode(form)
        if decoded == form:
            return
        form = decoded
    raise InvalidRequest("the path is percent-encoded too many times")


def _judge_form(form: str) -> None:
    """Judge one decoded form, Unicode-normalized as well (NFKC): some software reads full-width dots as dots."""
    plain = unicodedata.normalize("NFKC", form)
    if any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in plain) or "\\" in plain:
        raise InvalidRequest("the path holds a control character or a backslash")
    if plain.startswith("//"):
        raise InvalidRequest("the path could be read as the address of another host")
    segments = plain.split("/")
    if any(segment.partition(";")[0].strip() in {".", ".."} for segment in segments):
        raise InvalidRequest("the path holds a dot segment")
    first = segments[1] if len(segments) > 1 else ""
    if first.startswith("@") or ":" in first:
        raise InvalidRequest("the path could be read as the address of another host")


def _decode(form: str) -> str:
    """`form`, percent-decoded once; raises InvalidRequest for bytes that are not UTF-8, overlong forms included."""
    try:
        return unquote_to_bytes(form).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest("the path holds bytes that are not UTF-8") from None
