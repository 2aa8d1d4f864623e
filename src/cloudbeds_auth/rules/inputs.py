"""What callers may write into a request: texts and numbers, each judged in one place for every way in.

HTTP, the command line and Python all end in the vault, which asks here: so what is absurd is an InvalidRequest and no
error of a database's or a clock's (A78).
"""

from __future__ import annotations

import math
import re
import unicodedata

from cloudbeds_auth.errors import InvalidRequest

LARGEST = 2**63 - 1  # what both databases keep as a whole number
LONGEST = 366 * 86400.0  # seconds; nothing here is asked for that lasts longer
LONGEST_REFERENCE = 256  # characters
CURSOR = re.compile(r"con_[A-Za-z0-9]{1,64}\Z")  # of a page of connections: the last id on it
_NO_TEXT = frozenset({"Cc", "Cs"})  # control characters, and halves of characters
_MOST_DIGITS = 18


def is_text(given: str) -> bool:
    """Whether every database takes it: no control characters, and no halves of characters."""
    return not any(unicodedata.category(letter) in _NO_TEXT for letter in given)


def checked_text(name: str, given: str | None) -> str | None:
    """A text to look for, where one is given; raises InvalidRequest, naming it `name`."""
    if given is not None and not is_text(given):
        raise InvalidRequest(f"{name} holds a control character")
    return given


def checked_reference(given: str | None) -> str | None:
    """The caller's own name for a hotel; None where none, or an empty one, is given. Raises InvalidRequest.

    It is stored with each pending approval, which an anonymous browser may begin, too: its length is bounded (A74).
    """
    if given is not None and len(given) > LONGEST_REFERENCE:
        raise InvalidRequest(f"a reference has at most {LONGEST_REFERENCE} characters")
    return checked_text("the reference", given) or None


def checked_cursor(given: str | None) -> str | None:
    """The cursor of a page of connections; raises InvalidRequest."""
    if given is not None and not CURSOR.match(given):
        raise InvalidRequest("this cursor was never given out", next_step="use `next` of the page before")
    return given


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
