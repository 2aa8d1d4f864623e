"""Calls of a caller that reaches some of a connection's properties: every place that may name one is looked at (A27).

A token is good for all properties of its grant, and Cloudbeds goes by what the call says: the header `X-PROPERTY-ID`
(which is always set here), `propertyID` and its relatives in the query, in a form, in JSON, and a path below
`/properties/`. What cannot be looked into is refused. Source: cloudbeds-facts.md sections 4 and 6.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, unquote

from cloudbeds_auth.errors import Forbidden
from cloudbeds_auth.rules.inputs import Unreadable, is_json, read_object

FORM = "application/x-www-form-urlencoded"
_NAMES = re.compile(r"propert(?:y|ies)(?:.*id.*)?\Z")  # in the letters of a name, wherever it begins
_NO_LETTER = re.compile(r"[^a-z]")
_BELOW = re.compile(r"propert(?:y|ies)", re.IGNORECASE)
_ID = re.compile(r"[0-9]+\Z")


def pin(properties: frozenset[str], named: str | None, header: str | None, path: str, query: str) -> str:
    """The property, or several with commas between, that `X-PROPERTY-ID` names to Cloudbeds.

    `named` is the property that the caller asked for in our own path, None for a connection; `header` is what it sent.
    Raises Forbidden where anything names a property that is not of `properties`, and where none is named and there are
    several.
    """
    asked = named or header
    if asked is None and len(properties) == 1:
        (asked,) = properties
    if asked is None:
        raise Forbidden(
            "this credential is for some properties of this connection: say which one",
            next_step="name it in `X-PROPERTY-ID`, or in the place of the connection id",
        )
    _require(properties, [asked])
    _require(properties, _in_path(path))
    _require(properties, _in_pairs(parse_qsl(query, keep_blank_values=True)))
    return asked


def require_pinned(properties: frozenset[str], content_type: str, encoding: str, body: bytes | None) -> None:
    """Raises Forbidden where a body names another property, or cannot be looked into; None: it is not in memory."""
    if body == b"":
        return
    media = content_type.partition(";")[0].strip().lower()
    if body is None or encoding.strip().lower() not in {"", "identity"}:
        raise _opaque()
    if media == FORM:
        try:
            pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True)
        except ValueError:
            raise _opaque() from None
        _require(properties, _in_pairs(pairs))
        return
    if not is_json(content_type):
        raise _opaque()
    try:
        found = read_object(content_type, body)
    except Unreadable:
        raise _opaque() from None
    _require(properties, _in_json(found))


def _opaque() -> Forbidden:
    return Forbidden(
        "this credential is for some properties of this connection, and this body cannot be looked into",
        next_step="send a form or a JSON object, of a size that can be sent again, and not packed",
    )


def _require(properties: frozenset[str], named: Iterable[str]) -> None:
    for text in named:
        if any(one.strip() not in properties for one in text.split(",")):
            raise Forbidden("this credential is not for this property of the connection")


def _in_path(path: str) -> Iterator[str]:
    for before, segment in pairwise(unquote(unquote(unquote(path))).split("/")):  # in every form that it is relayed in
        if _BELOW.fullmatch(before) and _ID.match(segment):
            yield segment


def _in_pairs(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    return (value for name, value in pairs if _names_property(name))


def _in_json(value: Any, named: bool = False) -> Iterator[str]:
    """What stands below a name that names properties, however deep."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _in_json(inner, named or _names_property(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _in_json(inner, named)
    elif named and value is not None:
        yield str(value)


def _names_property(name: str) -> bool:
    """Whether a parameter of this name says which property is meant, however it is spelled: software that reads a form
    takes `property.ID` and `property_id[]` for the same.
    """
    return _NAMES.search(_NO_LETTER.sub("", name.lower())) is not None
