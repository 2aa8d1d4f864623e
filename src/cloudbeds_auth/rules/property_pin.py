"""Calls of a caller that reaches some of a connection's properties: every place that may name one is looked at (A27).

A token is good for all properties of its grant, and Cloudbeds goes by what the call says: the header `X-PROPERTY-ID`
(which is always set here), `propertyID` and its relatives in the query (which is set here for the classic API), in a
form, in JSON, and a path. What cannot be looked into is refused. Source: cloudbeds-facts.md sections 4, 6 and 7.
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
DEEPEST = 64  # lists and objects of JSON, one in the other
MOST_FIELDS = 1000  # of a query or a form
MOST_NAMED = 10_000  # properties, in what one part of a call says
MOST_MARKS = 30_000  # `{`, `[`, `:` and `,` of a JSON body: what it may cost to parse and to walk is bounded
LONGEST_NAME = 200  # characters: what a name may cost to read is bounded
# A media type without parameters but the one that changes nothing: others are read differently from one software to
# the next.
_MEDIA = re.compile(r"([a-z0-9.+-]+/[a-z0-9.+-]+)(?:[ \t]*;[ \t]*charset=\"?utf-8\"?)?", re.IGNORECASE)
_PROPERTY = ("property", "properties")  # in the letters of a name, wherever it begins
_CLASSIC = frozenset(
    {"propertyID", "propertyIDs"}
)  # what the classic API reads; of any other spelling it may know nothing
_ORGANIZATION = ("organization", "organizations", "organisation", "organisations")
_ALL = ""  # no caller's property: what names an organization names all of its properties
_NO_LETTER = re.compile(r"[^a-z]")
_DIGITS = re.compile(r"\d+")
_MARKS = (b"{", b"[", b":", b",")
_SEPARATOR = re.compile(r"[,;]")
_VERSION = re.compile(r"v[0-9]+(?:\.[0-9]+)?\Z")  # of a module, which may be the one of properties


@dataclass(frozen=True, slots=True)
class PinnedCall:
    """How a call is sent. `property_id` is what `X-PROPERTY-ID` names, if anything; `properties` are those that its
    body may name, None: any.
    """

    property_id: str | None
    query: str = field(repr=False)
    properties: frozenset[str] | None = None


def judge_call(
    caller: Caller, hotel: OfConnection, method: str, path: str, query: str, *, named: str | None, header: str | None
) -> PinnedCall:
    """Judge what the caller asks of Cloudbeds for a hotel that it is for, but for the body.

    `named` is the property that it asked for in our own path, None for a connection; `header` its `X-PROPERTY-ID`.
    Raises Forbidden for a method that it may not call, where anything names a property that is not its own, and where
    none is named and there are several.
    """
    if not may_call(caller, method, method_of(path)):
        raise Forbidden(
            "this credential is for reading alone, or not for this method of Cloudbeds",
            next_step="use a key that is not `read_only`, and has this method among its `methods` where it has any",
        )
    properties = pinned(caller, hotel)
    if properties is None:
        return PinnedCall(named, query)
    asked = named or header
    if asked is None and len(properties) == 1:
        (asked,) = properties
    if asked is None:
        raise Forbidden(
            "this credential is for some properties of this connection: say which one",
            next_step="name it in `X-PROPERTY-ID`, or in the place of the connection id",
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
    """Raises Forbidden where a body names another property, or cannot be looked into; None: it is not in memory.

    The headers are those that are sent.
    """
    if body == b"":
        return
    media = _MEDIA.fullmatch(content_type.strip(" \t"))
    if media is None or body is None or encoding.strip().lower() not in {"", "identity"}:
        raise _opaque()
    if media[1].lower() == FORM:
        if body.lstrip()[:1] in {b"{", b"["}:
            raise _opaque()  # JSON, to software that goes by what a body looks like
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
        "this credential is for some properties of this connection, and this call cannot be looked into",
        next_step="send a form or a JSON object, of a size that can be sent again, and not packed",
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
    """One form of a path: no segment holds the id of another property of the connection, as software might find it
    there, and what follows `properties/` is one of the caller's, or a word.
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
    """As a number is written plainly, whatever its zeros and digits; any other text as it is."""
    plain = text.strip()
    return "".join(str(unicodedata.decimal(one)) for one in plain).lstrip("0") if plain.isdecimal() else plain


def _pairs(text: str) -> list[tuple[str, str]]:
    """Of a query or a form. A `;` is a separator to some software, as HTML 4.01 (appendix B.2.2) recommends."""
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
    """What stands below a name that names properties, however deep."""
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
    """Whether a parameter of this name says which property is meant, however it is spelled: software that reads a form
    takes `property.ID` and `property_id[]` for the same.
    """
    return _ends_or_has_id(_letters(name), _PROPERTY)


def _names_organization(name: str) -> bool:
    return _ends_or_has_id(_letters(name), _ORGANIZATION)


def _ends_or_has_id(letters: str, words: Iterable[str]) -> bool:
    """Whether one of the words is the end of the name, or an `id` comes after it, in linear time."""
    return any(letters.endswith(word) or "id" in letters.partition(word)[2] for word in words)


@lru_cache(maxsize=1024)
def _letters(name: str) -> str:
    """Raises Forbidden for a name that is too long to be one: to compose characters takes some versions of Python the
    square of their number.
    """
    if len(name) > LONGEST_NAME:
        raise _opaque()
    return _NO_LETTER.sub("", unicodedata.normalize("NFKC", name).lower())
