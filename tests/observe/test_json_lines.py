"""JSON logs: every event is one line, with the name, the level and the facts that docs/observing.md has for it."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cloudbeds_auth.observe import JsonFormatter, LogObserver, Redacting
from cloudbeds_auth.ports import REQUEST_ID, Fact
from cloudbeds_auth.rules.happenings import Happening

PAGE = Path(__file__).parents[2] / "docs" / "observing.md"
EVENT = re.compile(r"^\| `(\w+)` \| (debug|info|warning)(?:; warning for [^|]*)? \| ([^|]*) \|", re.MULTILINE)
NASTY = 'two\nlines, a "quote", \u2028 and \x1b[31mred\x1b[0m'


@cache
def documented() -> dict[str, tuple[str, list[str]]]:
    """Level and facts of each event, as the page has them."""
    page = PAGE.read_text("utf-8")
    return {name: (level, re.findall(r"`(\w+)`", facts)) for name, level, facts in EVENT.findall(page)}


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What our logger writes as JSON, at any level."""
    logger, written = logging.getLogger("cloudbeds_auth"), io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(Redacting())
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield written
    logger.removeHandler(handler)
    logger.setLevel(before)


def line(stream: io.StringIO) -> Any:
    """The one line, as a machine reads it."""
    text = stream.getvalue()
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1
    return json.loads(text)


@pytest.mark.parametrize("what", Happening, ids=str)
def test_an_event_is_one_line_with_documented_fields(what: Happening, stream: io.StringIO) -> None:
    """Whatever text its facts hold; of a request it has the id, too."""
    level, facts = documented()[what]
    given: dict[str, Fact] = dict.fromkeys(facts, NASTY)
    token = REQUEST_ID.set("req_1")
    try:
        LogObserver().happened(what, **given)
    finally:
        REQUEST_ID.reset(token)
    told = line(stream)
    assert list(told) == ["ts", "level", "event", "logger", "facts"]
    assert (told["level"], told["event"], told["logger"]) == (level, str(what), "cloudbeds_auth")
    assert list(told["facts"]) == [*facts, "request_id"]
    assert datetime.fromisoformat(told["ts"]).tzinfo is not None


def test_the_page_has_every_event() -> None:
    """And no other."""
    assert list(documented()) == [str(one) for one in Happening]


def test_numbers_stay_numbers(stream: io.StringIO) -> None:
    """What can be added up comes as a number, what is not known as null."""
    LogObserver().happened(Happening.PROOF, connection_id=None, verdict="Proof", seconds=0.25)
    assert line(stream) == line(stream) | {"facts": {"connection_id": None, "verdict": "Proof", "seconds": 0.25}}


def test_a_traceback_stays_on_its_line(stream: io.StringIO) -> None:
    """An error that nobody expected has `error`, with its lines escaped."""
    try:
        raise RuntimeError(NASTY)
    except RuntimeError:
        logging.getLogger("cloudbeds_auth").exception("an unexpected error in %s", "GET")
    told = line(stream)
    assert told["event"] == "an unexpected error in GET"
    assert told["error"].splitlines()[0] == "Traceback (most recent call last):"
