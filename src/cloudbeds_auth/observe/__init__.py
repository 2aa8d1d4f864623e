"""Reports for people and machines: one stream of happenings, fanned out to observers, and the log lines made from it.

A broken observer loses nothing (F80). No log line contains a secret or a control character; the format is JSON for
machines, console for people. Metrics are in `metrics`, which needs the `server` extra.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TextIO

from cloudbeds_auth.ports import REQUEST_ID, Fact, Observer
from cloudbeds_auth.rules.happenings import Happening

if TYPE_CHECKING:
    import asyncio

LOGGER = logging.getLogger("cloudbeds_auth")
# A library is silent until the program that uses it configures logging.
LOGGER.addHandler(logging.NullHandler())

FACTS = "facts"
"""The attribute of a log record that carries facts: `logger.info("refreshed", extra={FACTS: {...}})`."""

HIDDEN = "***"
SHORT, MOST_HARMLESS = 200, 10_000  # characters of a text that is remembered as harmless, and the number of such texts
LONGEST = 2000  # characters of one value; what the vendor or a browser sends may be long
SECRET_NAMES = r"access_token|refresh_token|client_secret|id_token|admin_token|password"
SECRET_FACTS = re.compile(rf"{SECRET_NAMES}|authorization|secret|token", re.IGNORECASE)
SHAPES = (
    (re.compile(r"\b(Bearer)(\s+|%20|\+)[^\s\"',;]+", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(rf"\b({SECRET_NAMES})([\"']?\s*(?:=|:|%3D)\s*[\"']?)[^\s\"'&,;}})]+", re.IGNORECASE), rf"\1\2{HIDDEN}"),
    (re.compile(r"\b(code)(=|%3D)[^\s\"'&,;})]+", re.IGNORECASE), rf"\1\2{HIDDEN}"),
    (re.compile(r"([?&]state=)[^\s\"'&,;})]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"(x-api-key[\"']?\s*[:=,]\s*b?[\"']?)[^\s\"',;}]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"\bcbat_[\w.~-]+"), HIDDEN),
    (re.compile(r"cbauth_\w+"), HIDDEN),
    (re.compile(r"(://[^/\s:@]+:)[^/\s@]+@"), rf"\1{HIDDEN}@"),
    (re.compile(r"(/hooks/|/connect/|/paste-key/|/add-app/)[^\s/?\"']+"), rf"\1{HIDDEN}"),
)
TOGETHER = 0.05  # seconds that a line may wait
ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])|\x9b[0-?]*[ -/]*[@-~]")


class FanOut:
    """An Observer that notifies several others in turn. What one of them raises is reported to the others."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def happened(self, what: Happening, /, **facts: Fact) -> None:
        """Notify every observer; never raises."""
        for observer in self._observers:
            if not self._notified(observer, what, facts):
                for other in self._observers:
                    if other is not observer:
                        self._notified(other, Happening.OBSERVER_FAILED, {"observer": type(observer).__name__})

    def _notified(self, observer: Observer, what: Happening, facts: Mapping[str, Fact]) -> bool:
        try:
            observer.happened(what, **facts)
        except Exception:  # noqa: BLE001  # a broken log or metric is no reason to lose a hotel
            return False
        return True


class EventLine:
    """The message of our log records, which any formatter can show: the event and its facts, cleaned, on one line."""

    def __init__(self, event: str, facts: Mapping[str, Fact]) -> None:
        self.event = event
        self._facts = facts

    def __str__(self) -> str:
        return " ".join([self.event, *pairs({name: cleaned(name, value) for name, value in self._facts.items()})])


class LogObserver:
    """An Observer that writes one line per happening, at the level that it declares."""

    def happened(self, what: Happening, /, **facts: Fact) -> None:
        """Log `what` with its facts."""
        level = what.level_of(facts)
        if LOGGER.isEnabledFor(level):
            line = EventLine(what, facts)  # as `LOGGER.log` does, which would also look up the caller's file: this one
            LOGGER.handle(LOGGER.makeRecord(LOGGER.name, level, __file__, 0, line, (), None, extra={FACTS: facts}))


def redacted(text: str) -> str:
    """`text` without anything shaped like a credential."""
    for shape, instead in SHAPES:
        text = shape.sub(instead, text)
    return text


def plain(text: str) -> str:
    """`text` on one line, without terminal escapes, control characters or marks that turn the reading direction."""
    line = ANSI.sub("", text)
    shown = line if line.isprintable() else "".join(letter if letter.isprintable() else " " for letter in line)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"


_names_a_secret = lru_cache(maxsize=1024)(SECRET_FACTS.fullmatch)
_AS_IT_IS = (type(None), bool, int, float)
_harmless: set[str] = set()  # texts in which nothing had to be cleaned, and so no secret


def cleaned(name: str, value: object) -> object:
    """A fact as it may be shown: numbers and None as they are, everything else as plain, redacted text.

    The same paths, addresses and ids are reported over and over, so texts found harmless are remembered. Short texts of
    letters, digits and hyphens only, such as the id of a request, match no shape of a secret and are not examined.
    """
    if _names_a_secret(name):
        return HIDDEN
    if isinstance(value, _AS_IT_IS):
        return value
    text = str(value)
    if text in _harmless or (len(text) <= SHORT and text.isascii() and text.replace("-", "").isalnum()):
        return text
    shown = plain(redacted(text))
    if shown == text and len(text) <= SHORT:
        if len(_harmless) >= MOST_HARMLESS:
            _harmless.clear()
        _harmless.add(text)
    return shown


def pairs(facts: Mapping[str, object]) -> list[str]:
    """The facts as a line shows them."""
    return [f"{name}={value}" for name, value in facts.items()]


class Redacting(logging.Filter):
    """Rewrites a record before it is formatted: what looks like a credential is removed from message, facts and
    traceback. If the record is written for a request, the request's id is added to the facts.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True: the record is cleaned, not dropped."""
        if not isinstance(record.msg, EventLine):  # which cleans itself
            try:
                message = record.getMessage()
            except (TypeError, ValueError):
                message = "a log message that does not fit its arguments"
            record.msg, record.args = plain(redacted(message)), None
        facts, request_id = getattr(record, FACTS, None), REQUEST_ID.get()
        if request_id is not None:
            facts = {**(facts or {}), "request_id": request_id}
        if isinstance(facts, Mapping):
            named = facts if isinstance(record.msg, EventLine) else {plain(str(name)): facts[name] for name in facts}
            setattr(record, FACTS, {name: cleaned(name, value) for name, value in named.items()})
        if record.exc_info:
            # Another handler may have rendered the traceback already, as it was.
            record.exc_text = redacted(record.exc_text or logging.Formatter().formatException(record.exc_info))
        return True


def _event(record: logging.LogRecord) -> str:
    """What happened, without the facts, which our formatters show in their own way."""
    return record.msg.event if isinstance(record.msg, EventLine) else record.getMessage()


def _moment(record: logging.LogRecord) -> str:
    second = int(record.created)
    return f"{_second(second)}.{int((record.created - second) * 1000):03}Z"


@lru_cache(maxsize=1)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


_encode = json.JSONEncoder(default=str).encode  # `json.dumps` would create an encoder for each line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `ts`, `level`, `event`, then `logger`, `facts` and `error` where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; its newlines and quotes are escaped, so no value can begin another one (A47)."""
        line: dict[str, Any] = {"ts": _moment(record), "level": record.levelname.lower(), "event": _event(record)}
        line["logger"] = record.name
        if facts := getattr(record, FACTS, None):
            line["facts"] = facts
        if record.exc_text:
            line["error"] = "\n".join(plain(part) for part in record.exc_text.splitlines())
        return _encode(line)


class ConsoleFormatter(logging.Formatter):
    """A line for people: time, level, event, facts."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback below it."""
        facts: Mapping[str, object] = getattr(record, FACTS, None) or {}
        parts = [_moment(record), f"{record.levelname:<7}", _event(record), *pairs(facts)]
        below = [plain(part) for part in (record.exc_text or "").splitlines()]
        return "\n  ".join([" ".join(parts), *below])


class _OurHandler(logging.StreamHandler[TextIO]):
    """Recognized by its class, so that `configure` replaces it instead of adding another.

    While an event loop runs, events are written together, `TOGETHER` seconds after the first: each write wakes the
    reader. Warnings, and lines that are not events, are written at once, after those that wait: a worker's last line is
    the server's, and then a signal ends the worker. If a program ends otherwise, `logging.shutdown` writes the rest.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: list[str] = []
        self._writes: asyncio.AbstractEventLoop | None = None  # the loop that writes what waits

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, now or soon."""
        try:
            self._waiting.append(self.format(record) + self.terminator)
            waits = isinstance(record.msg, EventLine) and record.levelno < logging.WARNING
            if not (waits and self._soon()):
                self.flush()
        except Exception:  # noqa: BLE001 - as every handler of the standard library
            self.handleError(record)

    def flush(self) -> None:
        """Write what waits."""
        assert self.lock is not None  # noqa: S101 - `logging` makes one for each handler
        with self.lock:
            waiting, self._waiting, self._writes = self._waiting, [], None
            if waiting:
                self.stream.write("".join(waiting))
            super().flush()

    def _soon(self) -> bool:
        """Whether an event loop of this thread will write what waits."""
        import asyncio  # a program without one need not import it

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if self._writes is not loop:
            self._writes = loop
            loop.call_later(TOGETHER, self.flush)
        return True


def configure(format: str = "auto", level: str = "INFO", stream: TextIO | None = None) -> None:  # noqa: A002  # the setting's name
    """Send every log line of this process to `stream` (default: standard error), once, in `console` or `json` format.

    `auto` is `console` on a terminal, else `json`. uvicorn's loggers are included, except for its access log, which
    would write query strings; debug lines of the HTTP libraries, which contain headers, are not written at any level.
    """
    target = stream or sys.stderr
    # No line shows these, so they are not looked up for each ("Optimization" in Python's Logging HOWTO).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if format == "auto":
        format = "console" if target.isatty() else "json"  # noqa: A001
    handler = _OurHandler(target)
    handler.setFormatter(ConsoleFormatter() if format == "console" else JsonFormatter())
    handler.addFilter(Redacting())
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, _OurHandler)] + [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
    for name in ("httpx2", "httpcore2", "aiohttp", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
