"""Spans: of what, in whose trace, how long, and what is not in them. OpenTelemetry's own exporter keeps them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from cloudbeds_auth.observe.traces import SPANS, Traces, within_callers_trace
from cloudbeds_auth.ports import Fact
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.system import SystemClock

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALL: dict[str, Fact] = {
    "connection_id": "con_canary", "method": "GET", "path": "/proxy/con_canary/api/v1.3/getGuest?guestID=canary",
    "caller": "key_canary", "status": 200, "sends": 1, "complete": True, "address": "canary",
    "vendor_request_id": "canary", "seconds": 2.5, "turn_seconds": 0.0, "vendor_seconds": 2.4,
}  # fmt: skip


class Stopped(SystemClock):
    """It is always one moment."""

    def wall(self) -> float:
        """Unix seconds."""
        return 1000.0


@pytest.fixture
def kept() -> InMemorySpanExporter:
    """What was exported."""
    return InMemorySpanExporter()


@pytest.fixture
def traces(kept: InMemorySpanExporter) -> Traces:
    """The observer, with a provider of its own."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return Traces(Stopped(), provider)


def only(kept: InMemorySpanExporter) -> ReadableSpan:
    """The one span."""
    (span,) = kept.get_finished_spans()
    return span


def test_a_proxied_call(traces: Traces, kept: InMemorySpanExporter) -> None:
    """Its method and status, and when it began and ended."""
    traces.happened(Happening.PROXIED, **CALL)
    span = only(kept)
    assert span.name == "cloudbeds_auth.proxied"
    assert dict(span.attributes or {}) == {"http.request.method": "GET", "http.response.status_code": 200}
    assert (span.start_time, span.end_time) == (997_500_000_000, 1_000_000_000_000)
    assert span.status.status_code is StatusCode.UNSET


def test_a_refresh_and_a_proof(traces: Traces, kept: InMemorySpanExporter) -> None:
    """By what Cloudbeds answered; what the log warns of has failed."""
    for answer in ("Issued", "Ambiguous"):
        facts: dict[str, Fact] = {"connection_id": "con_canary", "grant_type": "refresh_token", "answer": answer}
        traces.happened(Happening.TOKEN_ANSWER, **facts, seconds=0.5)
    traces.happened(Happening.PROOF, connection_id="con_canary", verdict="DeadToken", seconds=0.5)
    told = [(one.name, dict(one.attributes or {}), one.status.status_code) for one in kept.get_finished_spans()]
    refresh = {"cloudbeds_auth.grant_type": "refresh_token"}
    assert told == [
        ("cloudbeds_auth.token_request", refresh | {"cloudbeds_auth.outcome": "Issued"}, StatusCode.UNSET),
        ("cloudbeds_auth.token_request", refresh | {"cloudbeds_auth.outcome": "Ambiguous"}, StatusCode.ERROR),
        ("cloudbeds_auth.proof", {"cloudbeds_auth.outcome": "DeadToken"}, StatusCode.ERROR),
    ]


def test_a_call_that_cloudbeds_fails_is_an_error(traces: Traces, kept: InMemorySpanExporter) -> None:
    """A 5xx of its own; a 4xx is the caller's."""
    for status in (404, 502):
        traces.happened(Happening.PROXIED, **CALL | {"status": status})
    assert [one.status.status_code for one in kept.get_finished_spans()] == [StatusCode.UNSET, StatusCode.ERROR]


@pytest.mark.row("A58")
def test_no_hotel_path_caller_or_address_is_in_a_span(traces: Traces, kept: InMemorySpanExporter) -> None:
    """Nor a method that a caller made up: names and values of attributes are few."""
    traces.happened(Happening.PROXIED, **CALL | {"method": "CANARY"})
    text = only(kept).to_json()
    assert "canary" not in text.lower()
    assert '"http.request.method": "_OTHER"' in text


@pytest.mark.parametrize("what", [one for one in Happening if one not in SPANS], ids=str)
def test_other_events_are_no_spans(what: Happening, traces: Traces, kept: InMemorySpanExporter) -> None:
    """Whatever else they say."""
    traces.happened(what, **dict.fromkeys(what.facts, 1.0))
    assert kept.get_finished_spans() == ()


def test_what_was_not_timed_is_no_span(traces: Traces, kept: InMemorySpanExporter) -> None:
    """A span has a beginning."""
    traces.happened(Happening.PROXIED, **CALL | {"seconds": None})
    assert kept.get_finished_spans() == ()


@pytest.mark.parametrize("header", [f"00-{TRACE}-{PARENT}-01", "made-up"])
async def test_a_span_is_in_the_trace_of_the_caller(header: str, traces: Traces, kept: InMemorySpanExporter) -> None:
    """Below the span that `traceparent` names; a malformed one begins a trace, and after it nothing stays."""

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        traces.happened(Happening.PROXIED, **CALL)

    await within_callers_trace(inside)({"headers": [(b"traceparent", header.encode())]}, None, None)
    span = only(kept)
    if header == "made-up":
        assert span.parent is None
    else:
        assert span.parent
        assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    kept.clear()
    traces.happened(Happening.PROXIED, **CALL)
    assert only(kept).parent is None


SETTLED = """
import sys
{before}
from cloudbeds_auth import runtime
app = object()
print(len(runtime._spans()), runtime.within_callers_trace(app) is app, "cloudbeds_auth.observe.traces" in sys.modules)
"""
PROVIDED = "from opentelemetry import trace\nfrom opentelemetry.sdk.trace import TracerProvider\n"


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ("sys.modules['opentelemetry'] = None  # as where it is not installed", "0 True False"),
        ("", "0 True False"),
        ("import opentelemetry.trace", "0 True True"),
        (f"{PROVIDED}trace.set_tracer_provider(TracerProvider())", "1 False True"),
    ],
    ids=["without the extra", "not imported", "without a provider", "with a provider"],
)
def test_spans_are_made_only_where_they_go_anywhere(before: str, told: str) -> None:
    """Without a provider no observer is there and the application is as it is, so nothing is paid."""
    code = SETTLED.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == told
