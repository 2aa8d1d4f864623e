"""Draws the tables of `docs/observing.md`: metrics as `/metrics` shows them, events from `rules.happenings`.

Prints them, or updates the page with `--write`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import splice
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from cloudbeds_auth.observe.metrics import PREFIX, Metrics
from cloudbeds_auth.rules.happenings import EVERY_EVENT, EventHistogram, EventMetric, Happening, LogLevel
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import StateCounts
from cloudbeds_auth.transactions.outbox import Outbox

PAGE = Path(__file__).with_name("observing.md")
BEGIN, END = "<!-- events -->", "<!-- /events -->"
SCRAPE = "each scrape"
NORMAL = {
    "happenings": "see the level of each event below",
    "refreshes": "`refreshed`: 3.3 a day for each hotel in use, 2 for another; the others do not increase",
    "token_requests": "`issued` rises with `refreshed`, `ambiguous` in disturbances; the others do not increase",
    "proofs": "`proof` rises, one for each refresh; the others do not increase",
    "proxied_requests": "`2xx` rises with the calls; `4xx` are callers' errors, `5xx` Cloudbeds'",
    "refusals": "rises only with callers' errors",
    "store_errors": "does not increase",
    "webhooks": "`webhook_delivered` rises; the others do not increase",
    "token_request_seconds": "below 1 s",
    "proof_seconds": "below 1 s",
    "proxied_request_seconds": "Cloudbeds' time and a few milliseconds",
    "proxied_turn_seconds": "near 0; above 0.5 s the rate limit is nearly spent",
    "proxied_vendor_seconds": "as Cloudbeds is: mostly below 1 s",
    "store_seconds": "a few milliseconds over SQLite; over PostgreSQL its round trips, too",
    "upkeep_last_success_timestamp_seconds": "less than an hour ago where there are hotels; 0: never in this process",
    "build_info": "1, with the version that was installed",
    "gauge_readable": "1",
    "connections": "`fresh` and `stale`, a few in `refreshing` and `backing_off`; who left, in `disconnected`",
    "connections_age_seconds": "0; with more than 20,000 connections up to a minute",
    "upkeep_overdue_seconds": "0, or some seconds; after an outage it falls again",
    "rate_limit_used_ratio": "up and down with the calls; on average of some minutes below 0.8",
    "outbox_waiting": "0, or a few for some seconds, where an address is set",
    "outbox_oldest_seconds": "below a minute",
    "outbox_given_up": "0",
}
"""What a metric shows of a service that is well. One without a line here cannot be drawn."""


def block() -> str:
    """The tables as the page has them, between their markers."""
    events = table(
        ("event", "level", "facts", "meaning", "counted in"),
        ((f"`{one}`", _level(one), _code(one.facts), one.meaning, _counted(one)) for one in Happening),
    )
    metrics = table(
        ("metric", "type", "what it counts or shows", "moves with", "normally"),
        (
            (f"`{_series(one)}`", one.type, _said(one.documentation), _moves(_short(one)), NORMAL[_short(one)])
            for one in families()
        ),
    )
    return f"{BEGIN}\n{metrics}\n\n{events}\n{END}"


def families() -> list[Metric]:
    """Every metric of an answer of `/metrics` in which all numbers could be had."""
    counted, outbox = StateCounts({State.FRESH: 1}, 0.0), Outbox(0, 0.0, 0, None)
    text = Metrics().render(counted, outbox, 0.0, {"default": 0.0})[0].decode()
    return [one for one in text_string_to_metric_families(text) if not one.name.endswith("_created")]


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = (head, ("---",) * len(head), *rows)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _short(one: Metric) -> str:
    return one.name.removeprefix(f"{PREFIX}_")


def _series(one: Metric) -> str:
    """Its name as it is asked for, and its labels."""
    labels = {label: "…" for sample in one.samples for label in sample.labels if label != "le"}
    return f"{one.name}{'_total' if one.type == 'counter' else ''}{_by(labels)}"


def _by(labels: Mapping[str, str]) -> str:
    return f"{{{','.join(f'{name}={value}' for name, value in labels.items())}}}" if labels else ""


def _moves(name: str) -> str:
    """The events that it counts or times; what is read from the database, or never changes."""
    if name == EVERY_EVENT.name:
        return "every event"
    if name == "upkeep_last_success_timestamp_seconds":
        return _code([Happening.UPKEEP_DONE])
    return _code(one for one in Happening if name in _names(one)) or SCRAPE


def _names(one: Happening) -> list[str]:
    """The metrics beside `EVERY_EVENT` that an event moves."""
    of: list[EventMetric | EventHistogram] = [*([one.metric] if one.metric else []), *one.timed]
    return [f"{each.name}_seconds" if isinstance(each, EventHistogram) else each.name for each in of]


def _level(one: Happening) -> str:
    exception = f"; {LogLevel.WARNING.name.lower()} for {_code(one.warns_of)}" if one.warns_of else ""
    return one.level.name.lower() + exception


def _counted(one: Happening) -> str:
    return _code(_names(one))


def _said(words: str) -> str:
    return words[0].lower() + words[1:]


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


if __name__ == "__main__":
    splice.run((PAGE, block()))
