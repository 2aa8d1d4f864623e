"""Calls of a caller limited to some of a connection's properties: every place that may name one is checked (A27).

A token is valid for all properties of its grant; the call itself says which one is meant: in the header `X-PROPERTY-ID`
(always set here), in `propertyID` and similar parameters of the query (set here for the classic API), in a form, in
JSON, and in the path. A call that cannot be inspected is refused. Source: cloudbeds-facts.md sections 4, 6 and 7.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, quote

from cloudbeds_auth.errors import Forbidden
from cloudbeds_auth.rules.inputs import Unreadable, is_json, read_object
from cloudbeds_auth.rules.permissions import Caller, OfConnection, may_call, pinned
from cloudbeds_auth.rules.proxy_policy import forms_of, is_classic, method_of

FORM = "application/x-www-form-urlencoded"
DEEPEST = 64  # levels of nested lists and objects in JSON
MOST_FIELDS = 1000  # in a query or a form
MOST_NAMED = 10_000  # properties in one part of a call
MOST_MARKS = 30_000  # `{`, `[`, `:` and `,` in a JSON body: bounds the cost of parsing and walking it
LONGEST_NAME = 200  # characters: bounds the cost of normalizing a name
# A media type with no parameter but `charset=utf-8`, which changes nothing: implementations interpret others
# differently.
_MEDIA = re.compile(r"([a-z0-9.+-]+/[a-z0-9.+-]+)(?:[ \t]*;[ \t]*charset=\"?utf-8\"?)?", re.IGNORECASE)
_PROPERTY = ("property", "properties")  # matched in the letters of a name, at any position
_CLASSIC = frozenset({"propertyID", "propertyIDs"})  # what the classic API reads; it may ignore other spellings
_ORGANIZATION = ("organization", "organizations", "organisation", "organisations")
_ALL = ""  # no caller has it: a call that names an organization names all of its properties
_NO_LETTER = re.compile(r"[^a-z]")
_DIGITS = re.compile(r"\d+")
_MARKS = (b"{", b"[", b":", b",")
_SEPARATOR = re.compile(r"[,;]")
_VERSION = re.compile(r"v[0-9]+(?:\.[0-9]+)?\Z")  # of an API module, which may be `properties`


@dataclass(frozen=True, slots=True)
class PinnedCall:
    """How a call is sent. `property_id`: the value of `X-PROPERTY-ID`, if any; `properties`: those that the body may
    name; None: any.
    """

    property_id: str | None
    query: str = field(repr=False)
    properties: frozenset[str] | None = None


def judge_call(
    caller: Caller, hotel: OfConnection, method: str, path: str, query: str, *, named: str | None, header: str | None
) -> PinnedCall:
    """Check a call, except its body, to a hotel that the caller may use.

    `named`: the property in the service's own path, None if the path names a connection; `header`: the caller's
    `X-PROPERTY-ID`. Raises Forbidden if the caller may not call the method, if anything names a property that the
    caller may not use, and if no property is named and there are several.
    """
    if not may_call(caller, method, method_of(path)):
        raise Forbidden(
            "this credential is read-only, or not for this method of Cloudbeds",
            next_step="use a key that is not `read_only` and whose `methods`, if it has any, include this one",
        )
    properties = pinned(caller, hotel)
    if properties is None:
        return PinnedCall(named, query)
    asked = named or header
    if asked is None and len(properties) == 1:
        (asked,) = properties
    if asked is None:
        raise Forbidden(
            "this credential is for some properties of this connection: the call must say which one",
            next_step="name the property in `X-PROPERTY-ID`, or in the path instead of the connection id",
        )
    _require(properties, [asked])
    for form in forms_of(path):
        _require_path(properties, hotel.property_ids, unicodedata.normalize("NFKC", form))
    pairs = _pairs(query)
    _require(properties, _in_pairs(pairs))
    if is_classic(path) and not any(name in _CLASSIC for name, _ in pairs):
        query = "&".join(filter(None, (query, f"propertyID={quote(asked.replace(' ', ''), safe=',')}")))
    return PinnedCall(asked, query, properties)


def require_pinned(properties: frozenset[str], content_type: str, encoding: str, body: bytes | None) -> None:
    """Raises Forbidden if the body names another property or cannot be inspected; `body` None: it is not in memory.

    `content_type` and `encoding`: as sent to Cloudbeds.
    """
    if body == b"":
        return
    media = _MEDIA.fullmatch(content_type.strip(" \t"))
    if media is None or body is None or encoding.strip().lower() not in {"", "identity"}:
        raise _opaque()
    if media[1].lower() == FORM:
        if body.lstrip()[:1] in {b"{", b"["}:
            raise _opaque()  # software that sniffs the content takes this for JSON
        try:
            text = body.decode("ascii")
        except ValueError:
            raise _opaque() from None
        _require(properties, _in_pairs(_pairs(text)))
        return
    if not is_json(media[1]) or sum(map(body.count, _MARKS)) > MOST_MARKS:
        raise _opaque()
    try:
        found = read_object(media[1], body)
    except Unreadable:
        raise _opaque() from None
    _require(properties, _in_json(found))


def _opaque() -> Forbidden:
    return Forbidden(
        "this credential is for some properties of this connection, and this call cannot be inspected",
        next_step="send a form or a JSON object, uncompressed and small enough to be sent again",
    )


def _require(properties: frozenset[str], named: Iterable[str]) -> None:
    count = 0
    for text in named:
        count += text.count(",") + 1
        if count > MOST_NAMED:
            raise _opaque()
        if any(one.strip() not in properties for one in text.split(",")):
            raise Forbidden(
                "this credential is not for this property of the connection",
                next_step="use a key that is for this property, or for the connection",
            )


def _require_path(properties: frozenset[str], known: frozenset[str], path: str) -> None:
    """Check one form of a path: no segment contains the id of another property of the connection, however software may
    find it there; and `properties/` is followed by a property of the caller, or by a word.
    """
    foreign = {_plain_number(one) for one in known - properties}
    for place, (before, segment) in enumerate(pairwise(path.split("/"))):
        pieces = (*_DIGITS.findall(segment), *_SEPARATOR.split(segment))
        if not foreign.isdisjoint(_plain_number(one) for one in pieces):
            _require(properties, [_ALL])
        is_version = place == 1 and _VERSION.match(segment)
        if _DIGITS.search(segment) and not is_version and _names_property(_SEPARATOR.split(before)[0]):
            _require(properties, [segment])


def _plain_number(text: str) -> str:
    """A number of any digits, in ASCII without leading zeros; any other text as it is. Spaces around are removed."""
    plain = text.strip()
    return "".join(str(unicodedata.decimal(one)) for one in plain).lstrip("0") if plain.isdecimal() else plain


def _pairs(text: str) -> list[tuple[str, str]]:
    """The pairs of a query or a form. Refuses `;`: to some software it is a separator (HTML 4.01 appendix B.2.2)."""
    if ";" in text:
        raise _opaque()
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise _opaque() from None


def _in_pairs(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, value in pairs:
        if _names_property(name):
            yield value
        elif _names_organization(name):
            yield _ALL


def _in_json(value: Any) -> Iterator[str]:
    """The values below a name that names properties, at any depth."""
    left = [(value, False, 0)]
    while left:
        inner, named, depth = left.pop()
        if depth > DEEPEST:
            raise _opaque()
        if isinstance(inner, dict):
            for name, one in inner.items():
                if _names_organization(name) and one is not None:
                    yield _ALL
                left.append((one, named or _names_property(name), depth + 1))
        elif isinstance(inner, list):
            left.extend((one, named, depth + 1) for one in inner)
        elif named and inner is not None:
            yield str(inner)


def _names_property(name: str) -> bool:
    """Whether a parameter of this name says which property is meant, in any spelling: some software reads `property.ID`
    and `property_id[]` in a form as the same name.
    """
    return _ends_or_has_id(_letters(name), _PROPERTY)


def _names_organization(name: str) -> bool:
    return _ends_or_has_id(_letters(name), _ORGANIZATION)


def _ends_or_has_id(letters: str, words: Iterable[str]) -> bool:
    """Whether the name ends with one of the words, or has an `id` after it; in linear time."""
    return any(letters.endswith(word) or "id" in letters.partition(word)[2] for word in words)


@lru_cache(maxsize=1024)
def _letters(name: str) -> str:
    """The letters of a name, normalized and in lower case. Raises Forbidden if the name is too long: some versions of
    Python compose characters in quadratic time.
    """
    if len(name) > LONGEST_NAME:
        raise _opaque()
    return _NO_LETTER.sub("", unicodedata.normalize("NFKC", name).lower())
