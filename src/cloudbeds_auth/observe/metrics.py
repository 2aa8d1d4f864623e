"""Metrics for Prometheus: how refreshes, proofs and proxied requests end. No hotel, grant or user is ever a label.

The only module that imports prometheus_client, which comes with the `server` extra. With `PROMETHEUS_MULTIPROC_DIR` set
before the first import, the metrics of all workers of a service are added up when any worker is scraped.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import product
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from cloudbeds_auth.ports import Fact
from cloudbeds_auth.rules.happenings import EVERY_EVENT, EventHistogram, EventMetric, Happening, Label
from cloudbeds_auth.rules.model import StateCounts
from cloudbeds_auth.transactions.outbox import Outbox
from cloudbeds_auth.version import VERSION

PREFIX = "cloudbeds_auth"
NAMES = re.compile(r"[a-z][a-z0-9_]{0,39}")
MOST_NAMES = 200  # distinct values of one label besides the known ones; the rest is counted as `other`
OTHER = "other"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)


@lru_cache(maxsize=1024)
def status_class(status: object) -> str:
    """`2xx` for 200: five values instead of hundreds."""
    text = str(status)
    return f"{text[0]}xx" if re.fullmatch(r"[1-5][0-9]{2}", text) else "other"


@lru_cache(maxsize=1024)
def snake(text: str) -> str:
    """`dead_token` for `DeadToken`: verdicts and answers are labelled with the names of their classes."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()


class Metrics:
    """An Observer that counts, and renders what it counted. Every series whose labels are known begins at 0."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        counters = dict.fromkeys((EVERY_EVENT, *(one.metric for one in Happening if one.metric is not None)))
        self._series: dict[EventMetric | EventHistogram, Counter | Histogram] = {
            one: Counter(f"{PREFIX}_{one.name}", one.help, _names_of(one), registry=registry) for one in counters
        }
        for timed in dict.fromkeys(timed for one in Happening for timed in one.timed):
            name = f"{PREFIX}_{timed.name}_seconds"
            self._series[timed] = Histogram(name, timed.help, _names_of(timed), buckets=SECONDS, registry=registry)
        self._upkeep = Gauge(
            f"{PREFIX}_upkeep_last_success_timestamp_seconds", "When upkeep of a grant last succeeded (0: never)",
            registry=registry, multiprocess_mode="max",
        )  # fmt: skip
        self._registry = registry
        self._values = {label: set(_known(one, label)) for one in self._series for label in one.labels}
        self._more: dict[Label, int] = {}  # how many values were added to the known ones
        self._children: dict[tuple[object, ...], Any] = {}  # each is looked up once, by the facts
        self._begin()

    def happened(self, what: Happening, /, **facts: Fact) -> None:
        """Count the event, as often as its fact `times` says (else once); its seconds go into the histograms."""
        times = facts.get("times", 1)
        self._child(EVERY_EVENT, what, facts).inc(times if isinstance(times, int) else 1)
        metric = what.metric
        if metric is not None and (metric.only_with is None or facts.get(metric.only_with) is not None):
            self._child(metric, what, facts).inc()
        if what is Happening.UPKEEP_DONE:
            self._upkeep.set_to_current_time()
        for timed in what.timed:
            seconds = facts.get(timed.fact)
            if isinstance(seconds, int | float):
                self._child(timed, what, facts).observe(seconds)

    def render(
        self,
        connections: StateCounts | None = None,
        outbox: Outbox | None = None,
        overdue: float | None = None,
        shares: Mapping[str, float] | None = None,
    ) -> tuple[bytes, str]:
        """The text for Prometheus and its content type, with gauges of those stored values that could be read."""
        stored = {"connections": connections, "outbox": outbox, "upkeep": overdue, "rate_limit": shares}
        gauges = [_of_build(), _of_gauges({name: one is not None for name, one in stored.items()})]
        if connections is not None:
            gauges += _of_connections(connections)
        if outbox is not None:
            gauges += _of_outbox(outbox)
        if overdue is not None:
            text = "How long the grant that waits longest for upkeep has been due"
            gauges.append(GaugeMetricFamily(f"{PREFIX}_upkeep_overdue_seconds", text, value=overdue))
        if shares is not None:
            gauges.append(_of_rate_limit(shares))
        shown = CollectorRegistry()
        shown.register(_Gauges(gauges))
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            MultiProcessCollector(shown)  # type: ignore[no-untyped-call]
            return generate_latest(shown), CONTENT_TYPE_LATEST
        return generate_latest(self._registry) + generate_latest(shown), CONTENT_TYPE_LATEST

    def _begin(self) -> None:
        """Create every series whose labels are known: the rate of one that appears with its first event misses that."""
        for one, series in self._series.items():
            for values in product(*(sorted(self._values[label]) for label in one.labels)):
                if values:
                    series.labels(*values)

    def _child(self, of: EventMetric | EventHistogram, what: Happening, facts: Mapping[str, Fact]) -> Any:
        """The counter or histogram for these facts."""
        values = [what if label.fact is None else facts.get(label.fact) for label in of.labels]
        child = self._children.get((of, *values))
        if child is None:
            shown = [self._shown(label, value) for label, value in zip(of.labels, values, strict=True)]
            child = self._series[of].labels(*shown) if shown else self._series[of]
            if OTHER not in shown:  # which may stand for any number of values
                self._children[of, *values] = child
        return child

    def _shown(self, label: Label, value: Fact) -> str:
        """The value if it is known, or a short name while there are not too many; else `other`: labels stay bounded."""
        shown = status_class(value) if label.name == "status" else snake(str(value))
        if shown not in self._values[label]:
            more = self._more.get(label, 0)
            if more >= MOST_NAMES or not NAMES.fullmatch(shown):
                return OTHER
            self._more[label] = more + 1
            self._values[label].add(shown)
        return shown


def _names_of(one: EventMetric | EventHistogram) -> list[str]:
    """The names of its labels."""
    return [label.name for label in one.labels]


def _known(metric: EventMetric | EventHistogram, label: Label) -> Iterable[str]:
    """The values that a label is known to have: those that it names, else the events that the metric counts."""
    if label.fact is not None:
        return map(snake, label.known())
    return [str(one) for one in Happening if metric in {EVERY_EVENT, one.metric}]


class _Gauges:
    """Gauges of values at the scrape: every worker would report the same."""

    def __init__(self, gauges: Iterable[Metric]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client calls at every scrape."""
        return self._gauges


def _of_gauges(readable: Mapping[str, bool]) -> Metric:
    gauge = GaugeMetricFamily(
        f"{PREFIX}_gauge_readable", "0: the database could not be read for these", labels=["gauge"]
    )
    for name, known in readable.items():
        gauge.add_metric([name], known)
    return gauge


def _of_build() -> Metric:
    gauge = GaugeMetricFamily(
        f"{PREFIX}_build_info", "Which version runs, on which Python", labels=["version", "python"]
    )
    gauge.add_metric([VERSION, platform.python_version()], 1)
    return gauge


def _of_connections(counted: StateCounts) -> list[Metric]:
    gauge = GaugeMetricFamily(f"{PREFIX}_connections", "Connections by state", labels=["state"])
    for state, count in counted.connections.items():
        gauge.add_metric([state], count)
    text = "How long ago counting them began"
    return [gauge, GaugeMetricFamily(f"{PREFIX}_connections_age_seconds", text, value=counted.age)]


def _of_outbox(outbox: Outbox) -> list[Metric]:
    return [
        GaugeMetricFamily(f"{PREFIX}_outbox_{name}", text, value=value)
        for name, text, value in (
            ("waiting", "Messages that wait to be delivered", outbox.waiting),
            ("oldest_seconds", "How long the oldest of them has waited", outbox.oldest),
            ("given_up", "Messages that were given up and are kept for inspection", outbox.given_up),
        )
    ]


def _of_rate_limit(shares: Mapping[str, float]) -> Metric:
    text = "Which share of its rate limit the client id of this app of the settings uses now"
    gauge = GaugeMetricFamily(f"{PREFIX}_rate_limit_used_ratio", text, labels=["app"])
    for app, share in shares.items():
        gauge.add_metric([app], share)
    return gauge
