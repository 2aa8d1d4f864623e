"""Numbers for Prometheus: how refreshes, proofs and proxied requests end. No hotel, grant or user is ever a label.

The only module that imports prometheus_client, which comes with the `server` extra. With `PROMETHEUS_MULTIPROC_DIR` set
before the first import, the workers of one service are added up when any of them is asked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from cloudbeds_auth.ports import Fact
from cloudbeds_auth.rules.happenings import EVERY_EVENT, EventMetric, Happening
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.transactions.outbox import Outbox

PREFIX = "cloudbeds_auth"
NAMES = re.compile(r"[a-z][a-z0-9_]{0,39}")
MOST_NAMES = 200  # different values of one label; the rest is counted as `other`
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)


@lru_cache(maxsize=1024)
def status_class(status: object) -> str:
    """`2xx` of 200: five values instead of hundreds."""
    text = str(status)
    return f"{text[0]}xx" if re.fullmatch(r"[1-5][0-9]{2}", text) else "other"


@lru_cache(maxsize=1024)
def snake(text: str) -> str:
    """`dead_token` of `DeadToken`: verdicts and answers are labelled with the names of their classes."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()


class Metrics:
    """An Observer that counts, and renders what it counted."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        declared = dict.fromkeys(one.metric for one in Happening if one.metric is not None)
        self._counters = {
            metric: Counter(f"{PREFIX}_{metric.name}", metric.help, [metric.label], registry=registry)
            for metric in (*declared, EVERY_EVENT)
        }
        self._durations = {
            metric: Histogram(f"{PREFIX}_{metric.timed}_seconds", "Seconds it took", buckets=SECONDS, registry=registry)
            for metric in declared
            if metric.timed is not None
        }
        self._upkeep = Gauge(
            f"{PREFIX}_upkeep_last_success_timestamp_seconds", "When upkeep of a grant last went well (0: never)",
            registry=registry, multiprocess_mode="max",
        )  # fmt: skip
        self._registry = registry
        self._seen: dict[EventMetric, set[str]] = {}
        self._children: dict[tuple[EventMetric, str], Counter] = {}

    def happened(self, what: Happening, /, **facts: Fact) -> None:
        """Count it, `times` among the facts often; `seconds` feeds the histogram."""
        times = facts.get("times", 1)
        self._count(EVERY_EVENT, what, times if isinstance(times, int) else 1)
        if what is Happening.UPKEEP_DONE:
            self._upkeep.set_to_current_time()
        if (metric := what.metric) is None:
            return
        self._count(metric, what if metric.fact is None else facts.get(metric.fact))
        seconds = facts.get("seconds")
        if metric in self._durations and isinstance(seconds, int | float):
            self._durations[metric].observe(seconds)

    def render(
        self,
        connections: Mapping[State, int] | None = None,
        outbox: Outbox | None = None,
        overdue: float | None = None,
    ) -> tuple[bytes, str]:
        """The text for Prometheus and its content type, with gauges of what is stored where that is known."""
        shown = CollectorRegistry()
        if connections is not None:
            shown.register(_Gauges([_of_connections(connections)]))
        if outbox is not None:
            shown.register(_Gauges(_of_outbox(outbox)))
        if overdue is not None:
            text = "How long the grant that waits longest for upkeep has been due"
            shown.register(_Gauges([GaugeMetricFamily(f"{PREFIX}_upkeep_overdue_seconds", text, value=overdue)]))
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            MultiProcessCollector(shown)  # type: ignore[no-untyped-call]
            return generate_latest(shown), CONTENT_TYPE_LATEST
        return generate_latest(self._registry) + generate_latest(shown), CONTENT_TYPE_LATEST

    def _count(self, metric: EventMetric, value: object, times: int = 1) -> None:
        shown = status_class(value) if metric.label == "status" else self._bounded(metric, snake(str(value)))
        child = self._children.get((metric, shown))
        if child is None:
            child = self._children[metric, shown] = self._counters[metric].labels(shown)
        child.inc(times)

    def _bounded(self, metric: EventMetric, value: str) -> str:
        """The value when it is a short name and not one too many: a label must not grow without end."""
        seen = self._seen.setdefault(metric, set())
        if value in seen:
            return value
        if len(seen) >= MOST_NAMES or not NAMES.fullmatch(value):
            return "other"
        seen.add(value)
        return value


class _Gauges:
    """Gauges of one moment: every worker would report the same."""

    def __init__(self, gauges: Iterable[Metric]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client calls at every scrape."""
        return self._gauges


def _of_connections(connections: Mapping[State, int]) -> Metric:
    gauge = GaugeMetricFamily(f"{PREFIX}_connections", "Connections by state", labels=["state"])
    for state, count in connections.items():
        gauge.add_metric([state], count)
    return gauge


def _of_outbox(outbox: Outbox) -> list[Metric]:
    return [
        GaugeMetricFamily(f"{PREFIX}_outbox_{name}", text, value=value)
        for name, text, value in (
            ("waiting", "Messages that wait to be delivered", outbox.waiting),
            ("oldest_seconds", "How long the oldest of them has waited", outbox.oldest),
            ("given_up", "Messages that were given up and are kept to be seen", outbox.given_up),
        )
    ]
