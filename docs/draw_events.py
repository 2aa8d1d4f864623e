"""Draws the tables of `docs/observing.md` from `rules.happenings`: prints them, or updates the page with `--write`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from cloudbeds_auth.rules.happenings import EVERY_EVENT, EventHistogram, EventMetric, Happening, Label, LogLevel

PAGE = Path(__file__).with_name("observing.md")
BEGIN, END = "<!-- events -->", "<!-- /events -->"
PREFIX = "cloudbeds_auth"


def block() -> str:
    """The tables as the page has them, between their markers."""
    events = table(
        ("event", "level", "facts", "meaning", "counted in"),
        ((f"`{one}`", _level(one), _code(one.facts), one.meaning, _counted(one)) for one in Happening),
    )
    metrics = table(
        ("metric", "what it counts"),
        (
            *((f"`{PREFIX}_{one.name}_total{_by(*one.labels)}`", _said(one.help)) for one in _counters()),
            *((f"`{PREFIX}_{one.name}_seconds{_by(*one.labels)}` (histogram)", _said(one.help)) for one in _timed()),
        ),
    )
    return f"{BEGIN}\n{metrics}\n\n{events}\n{END}"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = (head, ("---",) * len(head), *rows)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def replaced(page: str) -> str:
    """The page with the tables of now; raises ValueError when a marker is missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} needs {BEGIN} and {END}")
    return before + block() + after


def _counters() -> Iterable[EventMetric]:
    return dict.fromkeys((EVERY_EVENT, *(one.metric for one in Happening if one.metric is not None)))


def _level(one: Happening) -> str:
    exception = f"; {LogLevel.WARNING.name.lower()} for {_code(one.warns_of)}" if one.warns_of else ""
    return one.level.name.lower() + exception


def _counted(one: Happening) -> str:
    counted = [one.metric.name] if one.metric else []
    return _code((*counted, *(f"{timed.name}_seconds" for timed in one.timed)))


def _timed() -> Iterable[EventHistogram]:
    return dict.fromkeys(timed for one in Happening for timed in one.timed)


def _by(*labels: Label) -> str:
    return f"{{{','.join(f'{label.name}=…' for label in labels)}}}" if labels else ""


def _said(words: str) -> str:
    return words[0].lower() + words[1:]


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(replaced(PAGE.read_text("utf-8")), "utf-8")
    else:
        sys.stdout.write(block() + "\n")
