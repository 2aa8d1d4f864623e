"""What comes from outside, read strictly: what callers write into a request, and JSON answers.

HTTP, the command line and Python all end in the vault, which asks here: so what is absurd is an InvalidRequest and no
error of a database's or a clock's (A78). An answer is one object, without duplicate keys, NaN or endless nesting.
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

LARGEST = 2**63 - 1  # what both databases keep as a whole number
LONGEST = 366 * 86400.0  # seconds; nothing here is asked for that lasts longer
LONGEST_REFERENCE = 256  # characters
LONGEST_TOKEN = 4096  # characters of a token or key that a person or a file gives
LONGEST_PROPERTY = 64  # characters
MOST_PROPERTIES = 500  # that one approval may be expected to cover one of
CURSOR = re.compile(r"[a-z]{3}_[A-Za-z0-9]{1,64}\Z")  # of a page of what has ids: the last one on it
_NO_TEXT = frozenset({"Cc", "Cs"})  # control characters, and halves of characters
_MOST_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Search:
    """Which connections are listed: those that match each part given, newest first. `cursor` is `next` of the page
    before.

    `words`: as people read states (`rules.overview`). `either`: the id of a connection or property, or a reference.
    `oldest` first, where no more than states are asked for.
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
    """Whether every database takes it: no control characters, and no halves of characters."""
    return given.isprintable() or not any(unicodedata.category(letter) in _NO_TEXT for letter in given)


def is_token(given: str) -> bool:
    """Whether it may be a token or a key of Cloudbeds': printable ASCII without spaces, of a sensible length."""
    return 0 < len(given) <= LONGEST_TOKEN and given.isascii() and given.isprintable() and " " not in given


def is_property(given: object) -> TypeGuard[str]:
    """Whether it may be the id of a property."""
    return isinstance(given, str) and 0 < len(given) <= LONGEST_PROPERTY and is_text(given)


def checked_text(name: str, given: str | None) -> str | None:
    """A text to look for, where one is given; raises InvalidRequest, naming it `name`."""
    if given is not None and not is_text(given):
        raise InvalidRequest(f"{name} holds a control character")
    return given


def checked_code(given: str) -> str:
    """An authorization code (RFC 6749 section 4.1.2); raises InvalidRequest for none, before anything is spent."""
    if not given:
        raise InvalidRequest(
            "the code is empty", next_step="give the value of `code` in the address that the browser came back to"
        )
    return given


def checked_reference(given: str | None) -> str | None:
    """The caller's own name for a hotel; None where none, or an empty one, is given. Raises InvalidRequest.

    It is stored with each pending approval, which an anonymous browser may begin, too: its length is bounded (A74).
    """
    if given is not None and len(given) > LONGEST_REFERENCE:
        raise InvalidRequest(f"a reference has at most {LONGEST_REFERENCE} characters")
    return checked_text("the reference", given) or None


def checked_cursor(given: str | None, prefix: str = "con_") -> str | None:
    """The cursor of a page of connections, or of what else has ids that begin so; raises InvalidRequest."""
    if given is not None and not (given.startswith(prefix) and CURSOR.match(given)):
        raise InvalidRequest("this cursor was never given out", next_step="use `next` of the page before")
    return given


def checked_properties(given: Collection[object]) -> tuple[str, ...]:
    """The property ids of which an approval is to cover one, each once; none: any. Raises InvalidRequest."""
    if isinstance(given, str):
        raise InvalidRequest("expected_properties is a list of property ids, not one text")
    if len(given) > MOST_PROPERTIES:
        raise InvalidRequest(f"expected_properties has at most {MOST_PROPERTIES} ids")
    texts = [one for one in given if is_property(one)]
    if len(texts) < len(given):
        raise InvalidRequest(f"an expected property is a text of 1 to {LONGEST_PROPERTY} characters")
    return tuple(dict.fromkeys(texts))


def checked_seconds(name: str, given: float, least: float = 0.0, most: float = LONGEST) -> float:
    """A duration from `least` to `most` seconds; raises InvalidRequest, for what is no number (NaN), too."""
    if not least <= given <= most:
        raise InvalidRequest(f"{name} is a number of seconds from {least:g} to {most:.10g}")
    return given


def checked_whole(name: str, given: int, least: int = 0, most: int = LARGEST) -> int:
    """A whole number from `least` to `most`; raises InvalidRequest."""
    if not least <= given <= most:
        raise InvalidRequest(f"{name} is a whole number from {least} to {most}")
    return given


def count_of(digits: str) -> float:
    """What a header counts, as Content-Length does; infinite where it has more digits than any real one, NaN for what
    is no number at all, which is neither below a limit nor above it.
    """
    if not (digits.isascii() and digits.isdigit()):
        return math.nan
    return float(digits) if len(digits) <= _MOST_DIGITS else math.inf


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


def harmless(text: str) -> str:
    """The text with a mark for each character that would steer a terminal or a page: a vendor or a hotel wrote it."""
    return "".join(char if char in "\n\t" or char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def says_false(value: object) -> bool:
    """Whether a `success` member says no; the vendor writes it as a boolean and as a string."""
    return value is False or (isinstance(value, str) and value.strip().lower() == "false")
