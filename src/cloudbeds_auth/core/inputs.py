"""What callers may write into a request: references and numbers, each judged in one place for every way in."""

from __future__ import annotations

import unicodedata

from cloudbeds_auth.errors import InvalidRequest

LONGEST_REFERENCE = 256  # characters
_NO_TEXT = frozenset({"Cc", "Cs"})  # control characters, and halves of characters


def checked_reference(given: str | None) -> str | None:
    """The caller's own name for a hotel; None where none, or an empty one, is given. Raises InvalidRequest.

    Stored with each pending approval, some of which anybody may begin: its length is bounded (A74).
    """
    if not given:
        return None
    if len(given) > LONGEST_REFERENCE:
        raise InvalidRequest(f"a reference has at most {LONGEST_REFERENCE} characters")
    if any(unicodedata.category(letter) in _NO_TEXT for letter in given):
        raise InvalidRequest("a reference holds no control characters")
    return given
