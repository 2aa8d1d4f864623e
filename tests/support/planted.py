"""Secrets that are planted to be found again: as they are, in base64, in hex, as in an address, and in part."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from urllib.parse import quote

PART = 8  # characters of a beginning or an end: more than a log may show of a secret
MARK = "pLaNtEd8"  # as long as a part


def planted(name: object) -> str:
    """A secret that holds the mark at its beginning and at its end, and what an address has to escape."""
    return f"{MARK}/{name}+={MARK}"


def forms_of(secret: str) -> set[bytes]:
    """What to look for: the secret's beginning and end, and each of the forms that it may be written in."""
    return {form for part in (secret[:PART], secret[-PART:]) for form in _forms(part)} | {quote(secret, "").encode()}


def _forms(part: str) -> Iterable[bytes]:
    raw = part.encode()
    yield raw
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    for before in range(3):  # where it begins in a group of three bytes; the letters that it alone decides
        letters = base64.b64encode(bytes(before) + raw)[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        yield letters
        yield letters.translate(bytes.maketrans(b"+/", b"-_"))


def found_in(data: bytes, secrets: Iterable[str] = (MARK,)) -> list[bytes]:
    """The forms of these secrets that the data holds."""
    return [form for secret in secrets for form in forms_of(secret) if form in data]
