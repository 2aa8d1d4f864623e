"""Draws the tables of `docs/observing.md` from `rules.happenings`: prints them, or updates the page with `--write`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from cloudbeds_auth.rules.happenings import EVERY_EVENT, EventMetric, Happening, LogLevel

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
        ((f"`{PREFIX}_{one.name}_total{{{one.label}=…}}`", _counts(one)) for one in (EVERY_EVENT, *_metrics())),
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


def _metrics() -> Iterable[EventMetric]:
    return dict.fromkeys(one.metric for one in Happening if one.metric is not None)


def _level(one: Happening) -> str:
    exception = f"; {LogLevel.WARNING.name.lower()} for {_code(one.warns_of)}" if one.warns_of else ""
    return one.level.name.lower() + exception


def _counted(one: Happening) -> str:
    return f"`{one.metric.name}`" if one.metric else ""


def _counts(metric: EventMetric) -> str:
    timed = f"; `{PREFIX}_{metric.timed}_seconds` is the histogram of how long they took" if metric.timed else ""
    return metric.help[0].lower() + metric.help[1:] + timed


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(replaced(PAGE.read_text("utf-8")), "utf-8")
    else:
        sys.stdout.write(block() + "\n")
