"""Numbers: what is counted, and that no label grows without end."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from cloudbeds_auth.errors import by_code
from cloudbeds_auth.observe.metrics import MOST_NAMES, Metrics, snake, status_class
from cloudbeds_auth.ports import Observer
from cloudbeds_auth.rules.api_errors import Verdict
from cloudbeds_auth.rules.happenings import OPERATIONS, ROUTES, STORE_REASONS, EventMetric, Happening, Label
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import StateCounts
from cloudbeds_auth.rules.token_response import Answer, KeyAnswer
from cloudbeds_auth.transactions.outbox import Outbox
from cloudbeds_auth.version import VERSION


def shown(metrics: Metrics) -> list[str]:
    """The lines with values."""
    body, kind = metrics.render()
    assert kind.startswith("text/plain")
    lines = [line for line in body.decode().splitlines() if not line.startswith("#")]
    return [line for line in lines if not re.match(r"\w+_created\b", line)]


def test_what_is_counted() -> None:
    """Refreshes, token answers, proofs and proxied requests, by how they ended."""
    metrics = Metrics()
    observer: Observer = metrics
    observer.happened(Happening.REFRESHED, connection_id="con_canary", generation=2)
    observer.happened(Happening.REFRESH_FAILED, error="X")
    observer.happened(Happening.TOKEN_ANSWER, answer="RefusedClient", seconds=0.3)
    observer.happened(Happening.PROOF, verdict="DeadToken")
    observer.happened(Happening.PROOF, verdict="DeadToken")
    observer.happened(Happening.PROXIED, status=503, connection_id="con_canary", seconds=0.02)
    observer.happened(Happening.PROXIED, status=None)
    lines = shown(metrics)
    for line in (
        'cloudbeds_auth_refreshes_total{outcome="refreshed"} 1.0',
        'cloudbeds_auth_refreshes_total{outcome="refresh_failed"} 1.0',
        'cloudbeds_auth_token_requests_total{outcome="refused_client"} 1.0',
        'cloudbeds_auth_proofs_total{verdict="dead_token"} 2.0',
        'cloudbeds_auth_proxied_requests_total{status="5xx"} 1.0',
        'cloudbeds_auth_proxied_requests_total{status="other"} 1.0',
        'cloudbeds_auth_happenings_total{what="proof"} 2.0',
        "cloudbeds_auth_token_request_seconds_count 1.0",
        "cloudbeds_auth_proxied_request_seconds_sum 0.02",
    ):
        assert line in lines
    assert "canary" not in "".join(lines)


@pytest.mark.row("A71", "A23")
def test_what_is_reported_together_is_counted_one_by_one() -> None:
    """A happening that says how often it was: so often it is counted; no address becomes a label."""
    metrics = Metrics()
    metrics.happened(Happening.CONNECTION_REFUSED, address="203.0.113.9", why="too_many", times=1)
    metrics.happened(Happening.CONNECTION_REFUSED, address="203.0.113.9", why="too_many", times=1099)
    metrics.happened(Happening.CREDENTIAL_REFUSED, address="203.0.113.9", times=20)
    lines = shown(metrics)
    assert 'cloudbeds_auth_happenings_total{what="connection_refused"} 1100.0' in lines
    assert 'cloudbeds_auth_happenings_total{what="credential_refused"} 20.0' in lines
    assert "203.0.113" not in "".join(lines)


@pytest.mark.row("A58", control=True)
def test_no_name_and_no_id_is_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is reported of a hotel, a person or a caller: only facts that events declare as labels are shown, and
    none of those names anybody. One more label would.
    """
    labels = {label.fact for what in Happening for one in (what.metric, *what.timed) if one for label in one.labels}
    assert labels - {None} == {"answer", "verdict", "status", "code", "route", "reason", "operation"}

    def told(metrics: Metrics) -> str:
        for what in Happening:
            metrics.happened(what, **{name: "hotel_canary" for name in what.facts if name not in labels})
        return "".join(shown(metrics))

    assert "canary" not in told(Metrics())
    named = Happening.CLAIMED
    monkeypatch.setattr(named, "metric", EventMetric("claims", "Claims", (Label("hotel", "connection_id"),)))
    assert 'hotel="hotel_canary"' in told(Metrics())


def test_webhooks_are_counted_and_what_waits_is_shown() -> None:
    """Attempts by how they ended; how many messages wait, for how long, and how many were given up."""
    metrics = Metrics()
    failed, delivered, given_up = Happening.WEBHOOK_FAILED, Happening.WEBHOOK_DELIVERED, Happening.WEBHOOK_GIVEN_UP
    for what in (failed, failed, delivered, given_up):
        metrics.happened(what, connection_id="con_canary", message="msg_canary", type="connection.connected")
    lines = metrics.render(None, Outbox(2, 90.5, 1, "HTTP 410"))[0].decode().splitlines()
    for line in (
        'cloudbeds_auth_webhooks_total{outcome="webhook_failed"} 2.0',
        'cloudbeds_auth_webhooks_total{outcome="webhook_delivered"} 1.0',
        'cloudbeds_auth_webhooks_total{outcome="webhook_given_up"} 1.0',
        "cloudbeds_auth_outbox_waiting 2.0",
        "cloudbeds_auth_outbox_oldest_seconds 90.5",
        "cloudbeds_auth_outbox_given_up 1.0",
    ):
        assert line in lines
    assert "canary" not in "".join(lines)
    assert 'cloudbeds_auth_gauge_readable{gauge="outbox"} 1.0' in lines
    assert [line for line in shown(metrics) if "outbox" in line] == [
        'cloudbeds_auth_gauge_readable{gauge="outbox"} 0.0'
    ]


def test_every_series_with_known_labels_is_there_from_the_start() -> None:
    """At 0, so that an increase of the first event can be taken: events, answers, verdicts, codes, routes, reasons."""
    before = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in shown(Metrics())}
    assert {value for series, value in before.items() if "build_info" not in series} == {"0.0"}
    for what in Happening:
        assert f'cloudbeds_auth_happenings_total{{what="{what}"}}' in before
    for code in by_code():
        for route in ROUTES:
            assert f'cloudbeds_auth_refusals_total{{code="{code}",route="{route}"}}' in before
    metrics = Metrics()
    report_everything(metrics)
    after = {line.rpartition(" ")[0] for line in shown(metrics)}
    assert after == before.keys(), "and nothing that is reported adds one"


def report_everything(metrics: Metrics) -> None:
    """Each answer, verdict, status, refusal and reason that there is."""
    for answer in get_args(Answer | KeyAnswer):
        metrics.happened(Happening.TOKEN_ANSWER, answer=answer.__name__, seconds=0.1)
    for verdict in get_args(Verdict):
        metrics.happened(Happening.PROOF, verdict=verdict.__name__, seconds=0.1)
    for status in range(100, 600):
        metrics.happened(Happening.PROXIED, status=status, seconds=0.1, turn_seconds=0.0, vendor_seconds=0.1)
    for code in by_code():
        metrics.happened(Happening.PROXY_REFUSED, code=code, route=ROUTES[0])
        metrics.happened(Happening.REQUEST, code=code, route=ROUTES[-1])
    for reason in STORE_REASONS:
        metrics.happened(Happening.STORE_FAILED, reason=reason, operation="read")
    for operation in OPERATIONS:
        metrics.happened(Happening.TRANSACTION, operation=operation, seconds=0.001)
    for what in Happening:
        if what.metric is None or what.metric.labels[0].fact is None:
            metrics.happened(what)


def test_refusals_are_counted_by_code_and_route() -> None:
    """Of calls and of other requests; a request that was not refused is none."""
    metrics = Metrics()
    metrics.happened(Happening.PROXY_REFUSED, code="rate_limited", route="/proxy", connection_id="con_canary")
    metrics.happened(Happening.REQUEST, code="rate_limited", route="/connect", address="203.0.113.9")
    metrics.happened(Happening.REQUEST, code="rate_limited", route="/connect", address="203.0.113.9")
    metrics.happened(Happening.REQUEST, code=None, route="/connect")
    lines = [line for line in shown(metrics) if "refusals_total" in line and not line.endswith(" 0.0")]
    assert sorted(lines) == [
        'cloudbeds_auth_refusals_total{code="rate_limited",route="/connect"} 2.0',
        'cloudbeds_auth_refusals_total{code="rate_limited",route="/proxy"} 1.0',
    ]
    assert "canary" not in "".join(shown(metrics))


def test_what_is_slow_is_apart() -> None:
    """Of a call the turn under our rate limit, and Cloudbeds; of the database reads and writes."""
    metrics = Metrics()
    metrics.happened(Happening.PROXIED, status=200, seconds=3.0, turn_seconds=2.0, vendor_seconds=0.5)
    metrics.happened(Happening.TRANSACTION, operation="write", seconds=0.25)
    lines = shown(metrics)
    for line in (
        "cloudbeds_auth_proxied_request_seconds_sum 3.0",
        "cloudbeds_auth_proxied_turn_seconds_sum 2.0",
        "cloudbeds_auth_proxied_vendor_seconds_sum 0.5",
        'cloudbeds_auth_store_seconds_sum{operation="write"} 0.25',
        'cloudbeds_auth_store_seconds_count{operation="read"} 0.0',
    ):
        assert line in lines


def test_which_version_runs() -> None:
    """Of the product and of Python, once for all workers."""
    (line,) = [line for line in shown(Metrics()) if "build_info" in line]
    assert line == f'cloudbeds_auth_build_info{{python="{platform.python_version()}",version="{VERSION}"}} 1.0'


def test_upkeep_is_shown() -> None:
    """When it last went well, and how long the one that waits longest has been due, where that could be read."""
    metrics, last = Metrics(), "cloudbeds_auth_upkeep_last_success_timestamp_seconds"
    assert f"{last} 0.0" in shown(metrics)
    metrics.happened(Happening.UPKEEP_FAILED, grant="gra_canary", error="StoreUnavailable")
    assert f"{last} 0.0" in shown(metrics)
    metrics.happened(Happening.UPKEEP_DONE, grant="gra_canary")
    lines = metrics.render(None, None, 12.5)[0].decode().splitlines()
    (line,) = [line for line in lines if line.startswith(last)]
    assert float(line.split()[1]) > 1e9
    assert "cloudbeds_auth_upkeep_overdue_seconds 12.5" in lines
    assert 'cloudbeds_auth_gauge_readable{gauge="upkeep"} 1.0' in lines
    assert not [line for line in shown(metrics) if "overdue" in line or "canary" in line]


def test_connections_are_shown_where_they_are_known() -> None:
    """The gauge is what the caller counted at the scrape; a store that cannot count leaves out only the gauge."""
    metrics = Metrics()
    metrics.happened(Happening.REFRESHED)
    known = metrics.render(StateCounts({State.FRESH: 3, State.REAUTHORIZATION_REQUIRED: 1}, 12.5))[0].decode()
    assert 'cloudbeds_auth_connections{state="fresh"} 3.0' in known
    assert "cloudbeds_auth_connections_age_seconds 12.5" in known
    assert 'cloudbeds_auth_gauge_readable{gauge="connections"} 1.0' in known
    unknown = metrics.render(None)[0].decode()
    assert "_connections" not in unknown
    assert 'cloudbeds_auth_gauge_readable{gauge="connections"} 0.0' in unknown
    assert 'cloudbeds_auth_refreshes_total{outcome="refreshed"} 1.0' in unknown


def test_what_of_the_rate_limit_is_used_is_shown() -> None:
    """A share for each app that is known; where none is kept to a rate that is known, too, and none is shown."""
    metrics = Metrics()
    lines = metrics.render(None, None, None, {"default": 0.25})[0].decode().splitlines()
    assert 'cloudbeds_auth_rate_limit_used_ratio{app="default"} 0.25' in lines
    assert 'cloudbeds_auth_gauge_readable{gauge="rate_limit"} 1.0' in lines
    unlimited = metrics.render(None, None, None, {})[0].decode()
    assert 'cloudbeds_auth_gauge_readable{gauge="rate_limit"} 1.0' in unlimited
    assert "rate_limit_used_ratio{" not in unlimited
    assert 'cloudbeds_auth_gauge_readable{gauge="rate_limit"} 0.0' in shown(metrics)


def test_labels_are_bounded() -> None:
    """Names that are no names, or too many of them, are counted together."""
    metrics = Metrics()
    for number in range(MOST_NAMES + 50):
        metrics.happened(Happening.PROOF, verdict=f"what_{number}")
    metrics.happened(Happening.PROOF, verdict='evil"} 1\n# x')
    metrics.happened(Happening.PROOF, verdict="x" * 1000)
    lines = [line for line in shown(metrics) if line.startswith("cloudbeds_auth_proofs_total")]
    assert len(lines) == MOST_NAMES + 1 + len(get_args(Verdict)), "those that are known are there beside them"
    assert 'cloudbeds_auth_proofs_total{verdict="other"} 52.0' in lines


@pytest.mark.parametrize(
    ("status", "shown"), [(200, "2xx"), (101, "1xx"), ("404", "4xx"), (600, "other"), (None, "other"), ("٢٠٠", "other")]
)
def test_status_class(status: object, shown: str) -> None:
    """Hundreds of statuses are five values."""
    assert status_class(status) == shown


def test_snake() -> None:
    """Names of classes become names of labels."""
    assert [snake(text) for text in ("DeadToken", "Issued", "refresh_failed")] == [
        "dead_token",
        "issued",
        "refresh_failed",
    ]


def test_two_metrics_do_not_collide() -> None:
    """Each has a registry of its own."""
    one, two = Metrics(), Metrics()
    one.happened(Happening.REFRESHED)
    assert 'cloudbeds_auth_refreshes_total{outcome="refreshed"} 1.0' in shown(one)
    assert 'cloudbeds_auth_refreshes_total{outcome="refreshed"} 0.0' in shown(two)


WORKER = """
import sys
from cloudbeds_auth.observe.metrics import Metrics
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import StateCounts
metrics = Metrics()
metrics.happened(Happening.REFRESHED)
if sys.argv[1:] == ["show"]:
    sys.stdout.write(metrics.render(StateCounts({State.FRESH: 7}, 0.0))[0].decode())
"""


def test_several_workers_are_added_up(tmp_path: Path) -> None:
    """With PROMETHEUS_MULTIPROC_DIR any worker shows the sum of all; the gauge is not multiplied."""
    environ = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", WORKER], env=environ, check=True)
    command = [sys.executable, "-c", WORKER, "show"]
    text = subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout
    assert 'cloudbeds_auth_refreshes_total{outcome="refreshed"} 3.0' in text
    assert 'cloudbeds_auth_connections{state="fresh"} 7.0' in text


def test_imported_only_here() -> None:
    """Without the `server` extra everything but this module still imports."""
    code = "import sys, cloudbeds_auth.observe; print('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"False\n"
