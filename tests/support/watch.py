"""What every test lets our code tell is searched for every secret that was in use till then (A46).

Searched are: lines of the log at DEBUG as the service would write them, facts and traceback included; what commands and
services print; metrics; the arguments of processes; what `repr` gives of our objects. A command whose purpose it is to
print a secret, as `access-token`, is left out.

What is a secret is what was ever put into a `Secret`, what a simulator in this process gave, and what a process of ours
got in its environment, if it looks like one: tests also name tokens "A-2". The beginning and the end of each are looked
for, the beginning also in base64 and in hex.
"""

from __future__ import annotations

import base64
import dataclasses
import gc
import logging
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cache
from typing import Any, Final

from tests.support.planted import PART

import cloudbeds_simulator.__main__ as simulator
from cloudbeds_auth.observe import FACTS, Redacting, metrics
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_simulator.switches import mint

SHORTEST, DIFFERENT = 24, 10  # letters of a secret that is looked for, and how many of them differ
LOUD = (
    "aiohttp",
    "asyncio",
    "httpcore2",
    "httpx2",
    "hypothesis",
    "faker",
)  # at DEBUG they name what they do, for us too
GIVEN = ("access", "refresh", "code", "secret")  # what a simulator mints that is a secret
PRINT_SECRETS = (
    ("access-token",),
    ("sign-in",),
    ("connect",),
    ("keys", "create"),
    ("apps", "add"),
    ("connections", "add-key"),
)
_WORD = re.compile(r"[\w+/=~.%-]{8,}")
_HEX = re.compile(r"[0-9a-f]{8}\Z")
_SESSION = re.compile(r"[A-Z0-9]{10}\.(?=[\w-]{60,}\Z)")
_OF_SETTINGS = re.compile(r"CLOUDBEDS_\w*(SECRET|TOKEN|KEYS)(_PREVIOUS)?\Z")


class Watch(logging.Handler):
    """Remembers what was told, word by word, and the secrets; `found` compares them."""

    current: Watch | None = None
    """That of the running tests; a benchmark has none."""

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
        self.see(f"{shown.name} {shown.getMessage()} {getattr(shown, FACTS, '')} {shown.exc_text or ''}")

    def see(self, told: str) -> None:
        """Take the words of this."""
        for word in _WORD.findall(told):
            self._words.setdefault(word, told)

    def see_objects(self) -> None:
        """What `repr` gives of objects of our classes: those that are alive, and as young as what this test made."""
        for one in (*gc.get_objects(generation=0), *gc.get_objects(generation=1)):
            kind: Any = type(one)
            if _is_of_ours(kind):
                self.see(repr(one))

    def note(self, value: str) -> None:
        """A secret is in use; the id before that of a session, by which histories name it, is none."""
        value = _SESSION.sub("", value)
        if len(value) < SHORTEST or len(set(value)) < DIFFERENT or "://" in value or value[:PART] in self._parts:
            return
        raw = value.encode("utf-8", "surrogatepass")
        for part in (value[:PART], value[-PART:], base64.b64encode(raw[:6]).decode()):
            self._parts[part] = value
        self._hex[raw[:PART].hex()] = value

    def _shows(self, piece: str, secret: str, told: str) -> bool:
        """Whether it is the secret's. Small letters alone may be a word, and digits alone a number of seconds: they
        count where it is there as a whole. Eight hexadecimal digits may be of any address or hash: twice as many count.
        """
        if _HEX.match(piece) and not piece.isdigit():
            return secret[: 2 * PART] in told or secret[-2 * PART :] in told
        telling = not piece.isdigit() and (piece[1:] != piece[1:].lower() or any(map(str.isdigit, piece)))
        return telling or secret in told

    def found(self) -> list[tuple[str, str]]:
        """Secrets that are in what was told, each with the line."""
        return [
            (known[piece], told)
            for known, length in ((self._parts, PART), (self._hex, 2 * PART))
            for word, told in self._words.items()
            for at in range(len(word) - length + 1)
            if (piece := word[at : at + length]) in known and self._shows(piece, known[piece], told)
        ]


@cache
def _is_of_ours(kind: Any) -> bool:
    module = str(kind.__module__)  # of some types of Cython's it is a descriptor
    return module.startswith("cloudbeds_auth.") and dataclasses.is_dataclass(kind)


def printed(arguments: Sequence[str], output: str) -> None:
    """A process or a command of ours with these arguments printed this."""
    if Watch.current is not None and not any(tuple(arguments[: len(one)]) == one for one in PRINT_SECRETS):
        Watch.current.see(output)


def configured(environment: Mapping[str, str]) -> None:
    """A process of ours got this environment: the secrets of it are in use."""
    for name, value in environment.items():
        if Watch.current is not None and _OF_SETTINGS.match(name):
            for one in value.split(","):
                Watch.current.note(one)


def begin_watching() -> Watch:
    """A watch that hears of every secret, and of everything that is told, from now on."""
    watch = Watch.current = Watch()
    _hear_of_secrets(watch)
    _hear_of_metrics(watch)
    _hear_of_processes(watch)
    return watch


def _hear_of_secrets(watch: Watch) -> None:
    made, minted = Secret.__init__, mint

    def noted(self: Secret, value: Any) -> None:
        made(self, value)
        if isinstance(value, str):
            watch.note(value)

    def noted_mint(kind: str) -> str:
        value = minted(kind)
        if kind in GIVEN:
            watch.note(value)
        return value

    Secret.__init__ = noted  # type: ignore[method-assign]
    vars(simulator)["mint"] = noted_mint


def _hear_of_metrics(watch: Watch) -> None:
    written = metrics.Metrics.render

    def noted(self: metrics.Metrics, *given: Any, **named: Any) -> tuple[bytes, str]:
        text, media = written(self, *given, **named)
        watch.see(text.decode())
        return text, media

    metrics.Metrics.render = noted  # type: ignore[method-assign]


def _hear_of_processes(watch: Watch) -> None:
    """Of a command or service of ours the arguments. No audit hook: it would be called for every event, among them that
    a thread sets its trace function, which another thread must not do meanwhile (coverage over Python 3.11).
    """
    begun = subprocess.Popen.__init__

    def noted(self: subprocess.Popen[Any], args: Any, *others: Any, **named: Any) -> None:
        arguments = [str(one) for one in ([args] if isinstance(args, str | bytes | os.PathLike) else args)]
        if arguments[1:3] == ["-m", "cloudbeds_auth"] or arguments[0].endswith("cloudbeds-auth"):
            watch.see(" ".join(arguments))
        begun(self, args, *others, **named)

    subprocess.Popen.__init__ = noted  # type: ignore[method-assign]
