"""Numbers for Prometheus: how refreshes, proofs and proxied requests end. No hotel, grant or user is ever a label.

The only module that imports prometheus_client, which comes with the `server` extra. With `PROMETHEUS_MULTIPROC_DIR` set
before the first import, the workers of one service are added up when any of them is asked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from cloudbeds_auth.ports.observer import Fact
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.transactions.outbox import Outbox

PREFIX = "cloudbeds_auth"
NAMES = re.compile(r"[a-z][a-z0-9_]{0,39}")
MOST_NAMES = 200  # different values of one label; the rest is counted as `other`
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
LABELS = {
    # metric: its label, what is counted
    "refreshes": ("outcome", "Refreshes by how they ended"),
    "token_requests": ("outcome", "Requests to the token endpoint by what the answer meant"),
    "proofs": ("verdict", "Proof calls by verdict"),
    "proxied_requests": ("status", "Proxied requests by class of status"),
    "webhooks": ("outcome", "Attempts to deliver a message by how they ended"),
    "happenings": ("what", "Everything that was told, by name"),
}
COUNTED = {
    # happening: the metric and the fact that is its label; None: the name of the happening itself
    "refreshed": ("refreshes", None),
    "refresh_failed": ("refreshes", None),
    "reauthorization_required": ("refreshes", None),
    "recovered": ("refreshes", None),
    "client_refused": ("refreshes", None),
    "token_answer": ("token_requests", "answer"),
    "proof": ("proofs", "verdict"),
    "proxied": ("proxied_requests", "status"),
    "webhook_delivered": ("webhooks", None),
    "webhook_failed": ("webhooks", None),
    "webhook_given_up": ("webhooks", None),
}
TIMED = {"token_answer": "token_request", "proxied": "proxied_request"}


def status_class(status: object) -> str:
    """`2xx` of 200: five values instead of hundreds."""
    text = str(status)
    return f"{text[0]}xx" if re.fullmatch(r"[1-5][0-9]{2}", text) else "other"


def snake(text: str) -> str:
    """`dead_token` of `DeadToken`: verdicts and answers are told by the names of their classes."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()


class Metrics:
    """An Observer that counts, and renders what it counted."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._counters = {
            name: Counter(f"{PREFIX}_{name}", text, [label], registry=registry)
            for name, (label, text) in LABELS.items()
        }
        self._durations = {
            happening: Histogram(f"{PREFIX}_{name}_seconds", "Seconds it took", buckets=SECONDS, registry=registry)
            for happening, name in TIMED.items()
        }
        self._registry = registry
        self._seen: dict[str, set[str]] = {}

    def happened(self, what: str, /, **facts: Fact) -> None:
        """Count it, `times` among the facts often; `seconds` feeds the histogram."""
        times = facts.get("times", 1)
        self._count("happenings", what, times if isinstance(times, int) else 1)
        if what in COUNTED:
            metric, fact = COUNTED[what]
            self._count(metric, what if fact is None else facts.get(fact))
        seconds = facts.get("seconds")
        if what in TIMED and isinstance(seconds, int | float):
            self._durations[what].observe(seconds)

    def render(self, connections: Mapping[State, int] | None = None, outbox: Outbox | None = None) -> tuple[bytes, str]:
        """The text for Prometheus and its content type, with gauges of what rests in the store where it is known."""
        shown = CollectorRegistry()
        if connections is not None:
            shown.register(_Connections(connections))
        if outbox is not None:
            shown.register(_Outbox(outbox))
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            MultiProcessCollector(shown)  # type: ignore[no-untyped-call]
            return generate_latest(shown), CONTENT_TYPE_LATEST
        return generate_latest(self._registry) + generate_latest(shown), CONTENT_TYPE_LATEST

    def _count(self, metric: str, value: object, times: int = 1) -> None:
        label, _ = LABELS[metric]
        shown = status_class(value) if label == "status" else self._bounded(metric, snake(str(value)))
        self._counters[metric].labels(shown).inc(times)

    def _bounded(self, metric: str, value: str) -> str:
        """The value when it is a short name and not one too many: a label must not grow without end."""
        seen = self._seen.setdefault(metric, set())
        if value in seen:
            return value
        if len(seen) >= MOST_NAMES or not NAMES.fullmatch(value):
            return "other"
        seen.add(value)
        return value


class _Outbox:
    """Gauges of one moment, too."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client calls at every scrape."""
        rests = self._outbox
        for name, text, value in (
            ("waiting", "Messages that wait to be delivered", rests.waiting),
            ("oldest_seconds", "How long the oldest of them has waited", rests.oldest),
            ("given_up", "Messages that were given up and are kept to be seen", rests.given_up),
        ):
            yield GaugeMetricFamily(f"{PREFIX}_outbox_{name}", text, value=value)


class _Connections:
    """A gauge of one moment: every worker would tell the same."""

    def __init__(self, connections: Mapping[State, int]) -> None:
        self._connections = connections

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client calls at every scrape."""
        gauge = GaugeMetricFamily(f"{PREFIX}_connections", "Connections by state", labels=["state"])
        for state, count in self._connections.items():
            gauge.add_metric([state], count)
        yield gauge
