"""Numbers: what is counted, and that no label grows without end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cloudbeds_auth.observe.metrics import MOST_NAMES, Metrics, snake, status_class
from cloudbeds_auth.ports import Observer
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.transactions.outbox import Outbox


def shown(metrics: Metrics) -> list[str]:
    """The lines with values."""
    body, kind = metrics.render()
    assert kind.startswith("text/plain")
    return [line for line in body.decode().splitlines() if not line.startswith("#") and "_created" not in line]


def test_what_is_counted() -> None:
    """Refreshes, token answers, proofs and proxied requests, by how they ended."""
    metrics = Metrics()
    observer: Observer = metrics
    observer.happened(Happening.REFRESHED, connection="con_canary", generation=2)
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


def test_webhooks_are_counted_and_what_waits_is_shown() -> None:
    """Attempts by how they ended; how many messages wait, for how long, and how many were given up."""
    metrics = Metrics()
    failed, delivered, given_up = Happening.WEBHOOK_FAILED, Happening.WEBHOOK_DELIVERED, Happening.WEBHOOK_GIVEN_UP
    for what in (failed, failed, delivered, given_up):
        metrics.happened(what, connection="con_canary", message="msg_canary", type="connection.connected")
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
    assert not [line for line in shown(metrics) if "outbox" in line], "a store that does not answer"


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
    assert not [line for line in shown(metrics) if "overdue" in line or "canary" in line]


def test_connections_are_shown_where_they_are_known() -> None:
    """The gauge is what the caller counted at the scrape; a store that cannot count leaves out only the gauge."""
    metrics = Metrics()
    metrics.happened(Happening.REFRESHED)
    known = metrics.render({State.FRESH: 3, State.REAUTHORIZATION_REQUIRED: 1})[0].decode()
    assert 'cloudbeds_auth_connections{state="fresh"} 3.0' in known
    unknown = metrics.render(None)[0].decode()
    assert "_connections" not in unknown
    assert 'cloudbeds_auth_refreshes_total{outcome="refreshed"} 1.0' in unknown


def test_labels_are_bounded() -> None:
    """Names that are no names, or too many of them, are counted together."""
    metrics = Metrics()
    for number in range(MOST_NAMES + 50):
        metrics.happened(Happening.PROOF, verdict=f"what_{number}")
    metrics.happened(Happening.PROOF, verdict='evil"} 1\n# x')
    metrics.happened(Happening.PROOF, verdict="x" * 1000)
    lines = [line for line in shown(metrics) if line.startswith("cloudbeds_auth_proofs_total")]
    assert len(lines) == MOST_NAMES + 1
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
    assert any("refreshed" in line for line in shown(one))
    assert not any("refreshed" in line for line in shown(two))


WORKER = """
import sys
from cloudbeds_auth.observe.metrics import Metrics
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.lifecycle import State
metrics = Metrics()
metrics.happened(Happening.REFRESHED)
if sys.argv[1:] == ["show"]:
    sys.stdout.write(metrics.render({State.FRESH: 7})[0].decode())
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
