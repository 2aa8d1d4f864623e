"""Log lines: one object each, nothing secret, nothing that plays with the reader."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cloudbeds_auth import observe
from cloudbeds_auth.observe import (
    FACTS,
    ConsoleFormatter,
    JsonFormatter,
    LogObserver,
    Redacting,
    configure,
    plain,
    redacted,
)
from cloudbeds_auth.ports import REQUEST_ID
from cloudbeds_auth.rules.happenings import Happening


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """The process's logging as it was."""
    names = (
        "",
        "uvicorn",
        "uvicorn.access",
        "uvicorn.error",
        "uvicorn.asgi",
        "httpx2",
        "httpcore2",
        "aiohttp",
        "asyncio",
    )
    loggers = [logging.getLogger(name) for name in names]
    before = [(one, one.handlers[:], one.level, one.propagate) for one in loggers]
    shown = logging.logThreads, logging.logProcesses, logging.logMultiprocessing
    yield
    logging.logThreads, logging.logProcesses, logging.logMultiprocessing = shown
    for one, handlers, level, propagate in before:
        one.handlers, one.propagate = handlers, propagate
        one.setLevel(level)


@pytest.fixture
def stream() -> io.StringIO:
    """Where the lines go."""
    return io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """What was logged as JSON."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_line(stream: io.StringIO) -> None:
    """A line tells moment, level, event, logger and facts."""
    configure("json", "INFO", stream)
    logging.getLogger("cloudbeds_auth").info("refreshed", extra={FACTS: {"connection_id": "con_1", "generation": 4}})
    (line,) = lines(stream)
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "info",
        "event": "refreshed",
        "logger": "cloudbeds_auth",
        "facts": {"connection_id": "con_1", "generation": 4},
    }


def test_console_line(stream: io.StringIO) -> None:
    """The same for people."""
    configure("console", "DEBUG", stream)
    logging.getLogger("cloudbeds_auth").debug("refreshed %s", "x", extra={FACTS: {"connection_id": "con_1"}})
    assert stream.getvalue().endswith(" DEBUG   refreshed x connection_id=con_1\n")


def test_a_program_that_only_calls_basic_config(stream: io.StringIO) -> None:
    """The standard library's formatter shows event and facts, without a secret and on one line."""
    logging.getLogger().handlers = []
    logging.basicConfig(level=logging.INFO, stream=stream)
    LogObserver().happened(
        Happening.TOKEN_ANSWER, grant_type="refresh_token", answer="Issued\naccess_token=canary", seconds=0.25
    )
    assert stream.getvalue() == (
        "INFO:cloudbeds_auth:token_answer grant_type=refresh_token answer=Issued access_token=*** seconds=0.25\n"
    )


def test_facts_are_shown_once_by_our_own_formatters(stream: io.StringIO) -> None:
    """The event is the event, the facts are beside it."""
    for style in ("json", "console"):
        configure(style, "INFO", stream)
        LogObserver().happened(Happening.CLAIMED, connection_id="con_1")
    first, second = stream.getvalue().splitlines()
    assert (json.loads(first)["event"], json.loads(first)["facts"]) == ("claimed", {"connection_id": "con_1"})
    assert second.endswith(" INFO    claimed connection_id=con_1")


def test_auto_chooses_by_terminal(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Console on a terminal, JSON elsewhere."""
    configure("auto", "INFO", stream)
    assert isinstance(logging.getLogger().handlers[-1].formatter, JsonFormatter)
    monkeypatch.setattr(stream, "isatty", lambda: True)
    configure("auto", "INFO", stream)
    assert isinstance(logging.getLogger().handlers[-1].formatter, ConsoleFormatter)


def test_configured_twice(stream: io.StringIO) -> None:
    """A second call replaces the first: every line is written once, at the new level."""
    configure("json", "DEBUG", stream)
    configure("json", "WARNING", stream)
    logging.getLogger("x").info("no")
    logging.getLogger("x").warning("once")
    assert [line["event"] for line in lines(stream)] == ["once"]


def test_uvicorn_is_led_here(stream: io.StringIO) -> None:
    """uvicorn's own handlers are gone, its lines are ours; its access log, which names query strings, is silent."""
    for name in ("uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).addHandler(logging.StreamHandler(stream))
        logging.getLogger(name).propagate = False
    configure("json", "INFO", stream)
    logging.getLogger("uvicorn.access").info('"GET %s" 303', "/callback?code=canary1&state=canary2")
    led = logging.getLogger("uvicorn.error")
    led.info('%s - "%s %s" %d', "127.0.0.1", "GET", "/callback?code=canary1&state=canary2", 303)
    led.info('%s - "%s %s" %d', "127.0.0.1", "POST", "/hooks/canary3", 200)
    assert [line["event"] for line in lines(stream)] == [
        '127.0.0.1 - "GET /callback?code=***&state=***" 303',
        '127.0.0.1 - "POST /hooks/***" 200',
    ]


def test_http_stack_is_quiet(stream: io.StringIO) -> None:
    """The HTTP client's debug lines, which name headers, are not written at DEBUG either."""
    configure("json", "DEBUG", stream)
    logging.getLogger("httpcore2.http11").debug("receive_response_headers.complete return_value=...")
    logging.getLogger("httpx2").info("HTTP Request: POST https://x")
    assert stream.getvalue() == ""


LEAKS = [
    "Authorization: Bearer canary.abc-def_123~+/=",
    "authorization: bearer canary",
    "Bearer%20canary",
    "access_token=canary&x=1",
    "refresh_token=canary",
    "client_secret=canary%20x",
    "code=canary",
    "code%3Dcanary",
    "GET /callback?code=canary&state=canary HTTP/1.1",
    '{"access_token": "canary", "refresh_token":"canary"}',
    "{'access_token': 'canary', 'client_secret': 'canary'}",
    "ACCESS_TOKEN=canary",
    "x-api-key: canary",
    "(b'X-API-Key', b'canary')",
    "cbat_canary",
    "x=cbauth_canary_canary",
    "postgresql://user:canary@db/x",
    "POST /hooks/canary",
    "GET /connect/canary?x=1",
    "POST /paste-key/canary",
    "POST /add-app/canary",
]


@pytest.mark.row("A46", control=True)
@pytest.mark.parametrize("text", LEAKS)
@pytest.mark.parametrize("style", ["json", "console"])
def test_redacted_wherever_it_stands(
    text: str, style: str, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a message, an argument, a fact, or an exception: nothing that looks like a credential is written. All of it
    would be by a filter that knows no shapes.
    """
    configure(style, "DEBUG", stream)
    logger = logging.getLogger("any.library")
    logger.debug(text)
    logger.debug("%s", text)
    logger.debug("told", extra={FACTS: {"detail": text}})
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception("failed")
    assert stream.getvalue().count("failed") == 1
    assert "canary" not in stream.getvalue()
    monkeypatch.setattr(observe, "SHAPES", ())
    logger.debug("%s", text)
    assert "canary" in stream.getvalue()


@pytest.mark.parametrize("text", LEAKS)
@pytest.mark.parametrize("style", ["json", "console"])
def test_redacted_in_the_line_of_a_call(text: str, style: str, stream: io.StringIO) -> None:
    """A path, an address or an id of a stranger's, also the second time, when what was harmless is known."""
    configure(style, "INFO", stream)
    for _ in range(2):
        LogObserver().happened(Happening.PROXIED, method="GET", path="/api/v1.3/getHotels", request_id="a-1")
        LogObserver().happened(Happening.PROXIED, method="GET", path=f"/{text}", address=text, request_id=text)
    assert stream.getvalue().count("/api/v1.3/getHotels") == 2
    assert stream.getvalue().count("***") >= 6
    assert "canary" not in stream.getvalue()


def test_what_is_known_as_harmless_is_bounded() -> None:
    """However many different texts there are, in memory are some, all short."""
    for number in range(observe.MOST_HARMLESS + 2):
        observe.cleaned("path", f"/rooms/{number}")
    observe.cleaned("path", "/" * (observe.SHORT + 1))
    assert 0 < len(observe._harmless) < observe.MOST_HARMLESS
    assert all(len(text) <= observe.SHORT for text in observe._harmless)


async def test_lines_are_written_together(stream: io.StringIO) -> None:
    """Where an event loop runs, soon; a warning at once, with what waits, in their order."""
    configure("json", "INFO", stream)
    LogObserver().happened(Happening.REFRESHED, connection_id="con_1", generation=1)
    LogObserver().happened(Happening.REFRESHED, connection_id="con_1", generation=2)
    assert lines(stream) == []
    async with asyncio.timeout(20):
        while not stream.getvalue():
            await asyncio.sleep(0)
    assert [line["facts"]["generation"] for line in lines(stream)] == [1, 2]
    LogObserver().happened(Happening.REFRESHED, connection_id="con_1", generation=3)
    assert len(lines(stream)) == 2
    LogObserver().happened(Happening.REFRESH_FAILED, error="ClientRefused")
    assert [line["event"] for line in lines(stream)] == [*3 * ["refreshed"], "refresh_failed"]


def flush() -> None:
    """Write what waits."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def test_a_line_names_its_request(stream: io.StringIO) -> None:
    """What is written for a request has its id, event or not, in a task that it began too; anything else has none."""
    configure("json", "INFO", stream)

    async def served(request_id: str) -> None:
        REQUEST_ID.set(request_id)
        LogObserver().happened(Happening.CLAIMED, connection_id="con_1")
        await asyncio.create_task(began())

    async def began() -> None:
        logging.getLogger("x").info("told")

    async def both() -> None:
        await asyncio.gather(served("r-1"), served("r-2"))
        LogObserver().happened(Happening.SWEPT, rows=3)

    asyncio.run(both())
    flush()
    found = sorted((line["event"], line["facts"].get("request_id", "")) for line in lines(stream))
    assert found == [("claimed", "r-1"), ("claimed", "r-2"), ("swept", ""), ("told", "r-1"), ("told", "r-2")]


@pytest.mark.row("A47")
def test_the_id_of_a_request_is_cleaned_as_any_fact(stream: io.StringIO) -> None:
    """A caller whose id is shaped like a credential finds it hidden."""
    configure("json", "INFO", stream)

    async def served() -> None:
        REQUEST_ID.set("cbat_canary.secret")
        LogObserver().happened(Happening.CLAIMED, connection_id="con_1")

    asyncio.run(served())
    flush()
    assert lines(stream)[0]["facts"]["request_id"] == "***"


def test_a_program_that_ends() -> None:
    """No line is lost, also where the event loop was closed before its time came; another loop's are written, too."""
    program = """
import asyncio
from cloudbeds_auth.observe import LogObserver, configure
from cloudbeds_auth.rules.happenings import Happening
configure("console", "INFO")
async def main(text):
    LogObserver().happened(Happening.CLAIMED, connection=text)
asyncio.run(main("first"))
asyncio.run(main("second"))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert [line.split()[-1] for line in ended.stderr.splitlines()] == ["connection=first", "connection=second"]


@pytest.mark.parametrize("name", ["access_token", "refresh_token", "client_secret", "Authorization", "token", "secret"])
def test_facts_named_like_secrets(name: str, stream: io.StringIO) -> None:
    """A fact under a secret's name is hidden whatever it is."""
    configure("json", "INFO", stream)
    logging.getLogger("x").info("told", extra={FACTS: {name: "canary", "code": "unauthenticated", "count": 3}})
    assert lines(stream)[0]["facts"] == {name: "***", "code": "unauthenticated", "count": 3}


@pytest.mark.parametrize("text", ["refreshed con_1", "HTTP 401: the refresh token is refused", "status=200 sends=2"])
def test_ordinary_words_stay(text: str) -> None:
    """What is no credential is left as it is."""
    assert redacted(text) == text


@pytest.mark.row("A47", control=True)
@pytest.mark.parametrize("style", ["json", "console"])
def test_injection(style: str, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hotel's name cannot begin another line, colour a terminal or turn the reading direction; shown as it is, it
    could do so on a console.
    """
    configure(style, "INFO", stream)
    evil = 'Inn\n{"level": "critical"}\r\x1b[31mred\x1b[0m\x1b]0;title\x07\x9b2J\u202egnp.exe\u2028x\x00\x7f'
    logging.getLogger("x").warning("hotel %s", evil, extra={FACTS: {"name": evil}})
    logging.getLogger("x").warning(evil)
    out = stream.getvalue()
    assert out.count("\n") == len(out.splitlines()) == 2
    assert all(letter.isprintable() or letter == "\n" for letter in out)
    assert "[31m" not in out
    assert "title" not in out
    monkeypatch.setattr(observe, "plain", lambda text: text)
    logging.getLogger("x").warning("hotel %s", evil)
    assert ("\x1b[31m" in stream.getvalue()) == (style == "console"), "JSON escapes it all the same"


def test_long_values_are_cut() -> None:
    """A value of megabytes is not written out."""
    assert len(plain("x" * 10_000_000)) == 2001


def test_traceback(stream: io.StringIO) -> None:
    """A traceback is one member of the line, its own lines kept and cleaned."""
    configure("json", "INFO", stream)
    try:
        raise ValueError("evil \x1b[31m\x07 text")
    except ValueError:
        logging.getLogger("x").exception("failed")
    (line,) = lines(stream)
    assert line["error"].startswith("Traceback (most recent call last):\n")
    assert line["error"].endswith("ValueError: evil   text")


def test_message_that_does_not_fit() -> None:
    """A broken logging call of somebody's still gives a line, and raises nothing."""
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "%d", ("not a number",), None)
    assert Redacting().filter(record)
    assert json.loads(JsonFormatter().format(record))["event"] == "a log message that does not fit its arguments"


def test_strange_facts(stream: io.StringIO) -> None:
    """Facts of any type are shown as text."""
    configure("json", "INFO", stream)
    logging.getLogger("x").info("told", extra={FACTS: {"a": object, "b": None, "c": True, "d": 1.5}})
    logging.getLogger("x").info("told", extra={FACTS: None})
    first, second = lines(stream)
    assert first["facts"] == {"a": "<class 'object'>", "b": None, "c": True, "d": 1.5}
    assert "facts" not in second
