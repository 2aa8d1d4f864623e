"""Strict reading of input from outside: what callers write into a request, and JSON answers.

HTTP, the command line and Python all lead to the vault, which checks its input here: so an absurd value is an
InvalidRequest, not an error of a database or a clock (A78). An answer is one object, without duplicate keys, NaN or
endless nesting.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NoReturn, TypeGuard

from cloudbeds_auth.errors import InvalidRequest

LARGEST = 2**63 - 1  # the largest integer that both databases store
LONGEST = 366 * 86400.0  # seconds; no duration that is asked for is longer
LONGEST_REFERENCE = 256  # characters
LONGEST_TOKEN = 4096  # characters of a token or key that a person or a file gives
LONGEST_PROPERTY = 64  # characters
MOST_PROPERTIES = 500  # expected properties of one approval
CURSOR = re.compile(r"[a-z]{3}_[A-Za-z0-9]{1,64}\Z")  # the id of the last item on a page
_NO_TEXT = frozenset({"Cc", "Cs"})  # control characters and surrogates
_MOST_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Search:
    """Which connections are listed: those that match every part given, newest first. `cursor` is `next` of the page
    before.

    `words`: a state in the words that people read (`rules.overview`). `either`: the id of a connection or property, or
    a reference. `oldest`: oldest first, allowed if nothing but states is given.
    """

    state: str | None = None
    reference: str | None = None
    property_id: str | None = None
    app: str | None = None
    cursor: str | None = None
    limit: int = 100
    words: str | None = None
    either: str | None = None
    oldest: bool = False


def is_text(given: str) -> bool:
    """Whether every database accepts the text: no control characters and no surrogates."""
    return given.isprintable() or not any(unicodedata.category(letter) in _NO_TEXT for letter in given)


def is_token(given: str) -> bool:
    """Whether this may be a token or API key of Cloudbeds: printable ASCII without spaces, of a sensible length."""
    return 0 < len(given) <= LONGEST_TOKEN and given.isascii() and given.isprintable() and " " not in given


def is_property(given: object) -> TypeGuard[str]:
    """Whether this may be the id of a property."""
    return isinstance(given, str) and 0 < len(given) <= LONGEST_PROPERTY and is_text(given)


def checked_text(name: str, given: str | None) -> str | None:
    """A text to search for, if given; raises InvalidRequest, which calls it `name`, for control characters."""
    if given is not None and not is_text(given):
        raise InvalidRequest(f"{name} holds a control character")
    return given


def checked_code(given: str) -> str:
    """An authorization code (RFC 6749 section 4.1.2); raises InvalidRequest if empty, before anything is spent."""
    if not given:
        raise InvalidRequest(
            "the code is empty", next_step="give the value of `code` in the address that the browser came back to"
        )
    return given


def checked_reference(given: str | None) -> str | None:
    """The caller's own name for a hotel; None if none, or an empty one, is given. Raises InvalidRequest.

    Its length is bounded: it is stored with each pending approval, and an anonymous browser may begin one (A74).
    """
    if given is not None and len(given) > LONGEST_REFERENCE:
        raise InvalidRequest(f"a reference has at most {LONGEST_REFERENCE} characters")
    return checked_text("the reference", given) or None


def checked_cursor(given: str | None, prefix: str = "con_") -> str | None:
    """The cursor of a page of items whose ids begin with `prefix`; raises InvalidRequest."""
    if given is not None and not (given.startswith(prefix) and CURSOR.match(given)):
        raise InvalidRequest("this cursor was not issued here", next_step="use `next` of the page before")
    return given


def checked_properties(given: Collection[object]) -> tuple[str, ...]:
    """The property ids of which an approval has to cover one, each once; empty: any. Raises InvalidRequest."""
    if isinstance(given, str):
        raise InvalidRequest("expected_properties is a list of property ids, not one string")
    if len(given) > MOST_PROPERTIES:
        raise InvalidRequest(f"expected_properties has at most {MOST_PROPERTIES} ids")
    texts = [one for one in given if is_property(one)]
    if len(texts) < len(given):
        raise InvalidRequest(f"an expected property is a string of 1 to {LONGEST_PROPERTY} characters")
    return tuple(dict.fromkeys(texts))


def checked_seconds(name: str, given: float, least: float = 0.0, most: float = LONGEST) -> float:
    """A duration from `least` to `most` seconds; raises InvalidRequest, for NaN, too."""
    if not least <= given <= most:
        raise InvalidRequest(f"{name} is a number of seconds from {least:g} to {most:.10g}")
    return given


def checked_whole(name: str, given: int, least: int = 0, most: int = LARGEST) -> int:
    """A whole number from `least` to `most`; raises InvalidRequest."""
    if not least <= given <= most:
        raise InvalidRequest(f"{name} is a whole number from {least} to {most}")
    return given


def count_of(digits: str) -> float:
    """The number in a header such as Content-Length; infinite if it has more digits than any real length, and NaN,
    which is neither below nor above any limit, if it is no number at all.
    """
    if not (digits.isascii() and digits.isdigit()):
        return math.nan
    return float(digits) if len(digits) <= _MOST_DIGITS else math.inf


JsonObject = dict[str, Any]


class Unreadable(Exception):
    """The bytes are not one well-formed JSON object; the message says why, and never repeats them."""


def _no_constant(name: str) -> NoReturn:
    raise Unreadable(f"the answer holds {name}, which is not JSON")


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
    """The named members that are strings, joined and in lower case: the vendor may put its reason into any of them."""
    return " ".join(value for name in names if isinstance(value := answer.get(name), str)).lower()


def sentences_of(answer: JsonObject, *names: str) -> list[str]:
    """The named members that are strings, each in lower case and without its full stop."""
    return [value.strip().rstrip(".").lower() for name in names if isinstance(value := answer.get(name), str)]


def one_line(value: object, most: int) -> str:
    """A string or an integer as one line of at most `most` printable characters; empty for anything else.

    For text from outside that is stored, shown to people and written to logs.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return "".join(letter for letter in str(value) if letter.isprintable())[:most]


def harmless(text: str) -> str:
    """Text of a vendor or a hotel, with U+FFFD for each character that could control a terminal or a page."""
    return "".join(char if char in "\n\t" or char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def says_false(value: object) -> bool:
    """Whether a `success` member is false; the vendor writes it as a boolean and as a string."""
    return value is False or (isinstance(value, str) and value.strip().lower() == "false")
