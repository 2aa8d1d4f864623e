"""Every line that a test lets our code log, at DEBUG, is searched for every secret that was in use till then (A46).

What is a secret is what was ever put into a `Secret`, and looks like one: tests also name tokens "A-2". The beginning
and the end of each are looked for, the beginning also in base64 and in hex, in the line as the service would write it,
facts and traceback included.
"""

from __future__ import annotations

import base64
import logging
import re
from copy import copy
from typing import Any, Final

from tests.support.planted import PART

from cloudbeds_auth.observe import FACTS, Redacting
from cloudbeds_auth.rules.secret import Secret

SHORTEST, DIFFERENT = 24, 10  # letters of a secret that is looked for, and how many of them differ
LOUD = (
    "aiohttp",
    "asyncio",
    "httpcore2",
    "httpx2",
    "hypothesis",
    "faker",
)  # at DEBUG they name what they do, for us too
_WORD = re.compile(r"[\w+/=~.%-]{8,}")


class WatchedLogs(logging.Handler):
    """Remembers what was logged, word by word, and the secrets; `found` compares them."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self._clean: Final = Redacting()
        self._words: dict[str, str] = {}  # and the line in which it was first
        self._parts: dict[str, str] = {}  # and what it is a part of
        self._hex: dict[str, str] = {}

    def begin(self) -> None:
        """Listen to everything from now on, whatever an earlier test set."""
        root = logging.getLogger()
        root.setLevel(logging.DEBUG)
        for name in LOUD:
            logging.getLogger(name).setLevel(logging.WARNING)
        if self not in root.handlers:
            root.addHandler(self)
        self._words.clear()

    def emit(self, record: logging.LogRecord) -> None:
        """Take the words of the line as it would be written."""
        shown = copy(record)
        self._clean.filter(shown)
        line = f"{shown.name} {shown.getMessage()} {getattr(shown, FACTS, '')} {shown.exc_text or ''}"
        for word in _WORD.findall(line):
            self._words.setdefault(word, line)

    def note(self, value: str) -> None:
        """A secret is in use."""
        if len(value) < SHORTEST or len(set(value)) < DIFFERENT or "://" in value or value[:PART] in self._parts:
            return
        raw = value.encode("utf-8", "surrogatepass")
        for part in (value[:PART], value[-PART:], base64.b64encode(raw[:6]).decode()):
            self._parts[part] = value
        self._hex[raw[:PART].hex()] = value

    def _shows(self, piece: str, secret: str, line: str) -> bool:
        """Whether it is the secret's: small letters alone may be a word, and digits alone a number of seconds; they
        count where it is there as a whole.
        """
        telling = not piece.isdigit() and (piece[1:] != piece[1:].lower() or any(map(str.isdigit, piece)))
        return telling or secret in line

    def found(self) -> list[tuple[str, str]]:
        """Secrets that are in what was logged, each with the line."""
        return [
            (known[piece], line)
            for known, length in ((self._parts, PART), (self._hex, 2 * PART))
            for word, line in self._words.items()
            for at in range(len(word) - length + 1)
            if (piece := word[at : at + length]) in known and self._shows(piece, known[piece], line)
        ]


def watched() -> WatchedLogs:
    """A watch that hears of every secret from now on."""
    watch, made = WatchedLogs(), Secret.__init__

    def noted(self: Secret, value: Any) -> None:
        made(self, value)
        if isinstance(value, str):
            watch.note(value)

    Secret.__init__ = noted  # type: ignore[method-assign]
    return watch
