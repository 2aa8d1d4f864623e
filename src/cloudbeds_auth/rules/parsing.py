"""Reads an untrusted JSON answer strictly: one object, no duplicate keys, no NaN, no endless nesting."""

from __future__ import annotations

import json
from typing import Any, NoReturn

JsonObject = dict[str, Any]


class Unreadable(Exception):
    """The bytes are not one well-formed JSON object; the message says why, never what they were."""


def _no_constant(name: str) -> NoReturn:
    raise Unreadable(f"the answer holds {name}, which JSON does not know")


def _unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("the answer names a key twice")
    return found


def is_json(content_type: str) -> bool:
    """Whether a Content-Type header names JSON (`application/json`, `…+json`)."""
    media = content_type.split(";", 1)[0].strip().lower()
    return media == "application/json" or media.endswith("+json")


def read_object(content_type: str, body: bytes) -> JsonObject:
    """The JSON object in `body`; raises Unreadable for anything else."""
    if not is_json(content_type):
        raise Unreadable(f"the answer is not JSON but {content_type.split(';', 1)[0].strip()[:60] or 'untyped'}")
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, a number of 5,000 digits, endless nesting
        raise Unreadable(f"the answer is not well-formed JSON ({type(error).__name__})") from None
    if not isinstance(value, dict):
        raise Unreadable("the answer is JSON but not an object")
    return value


def text_of(answer: JsonObject, *names: str) -> str:
    """The named members that are strings, joined and in lower case: where the vendor hides its reasons."""
    return " ".join(value for name in names if isinstance(value := answer.get(name), str)).lower()


def sentences_of(answer: JsonObject, *names: str) -> list[str]:
    """The named members that are strings, each in lower case and without its full stop."""
    return [value.strip().rstrip(".").lower() for name in names if isinstance(value := answer.get(name), str)]


def one_line(value: object, most: int) -> str:
    """A string or a whole number as one line of at most `most` printable characters; anything else is empty.

    What comes from outside is stored, shown to people and written to logs.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return "".join(letter for letter in str(value) if letter.isprintable())[:most]


def says_false(value: object) -> bool:
    """Whether a `success` member says no; the vendor writes it as a boolean and as a string."""
    return value is False or (isinstance(value, str) and value.strip().lower() == "false")
