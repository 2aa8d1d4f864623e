"""Spans of a service that runs, in a process where OpenTelemetry was set up before: in the trace of who called."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import Process

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PROGRAM = """
import sys
from pathlib import Path
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

provider = TracerProvider()
formatter = lambda span: span.to_json(indent=None) + chr(10)
exporter = ConsoleSpanExporter(out=Path("spans").open("w"), formatter=formatter)
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

from cloudbeds_auth.cli.main import run
raise SystemExit(run(sys.argv[2:]))
"""
"""What `opentelemetry-instrument` does before it runs a program, in short."""


def exported(folder: Path) -> list[dict[str, Any]]:
    """Every span, one a line."""
    return [json.loads(line) for line in (folder / "spans").read_text("utf-8").splitlines()]


@pytest.mark.row("A58")
def test_a_call_that_refreshes_is_one_trace(make_world: MakeWorld) -> None:
    """The call, the refresh that its 401 led to, and nothing of who it was for: below the caller's own span."""
    made = make_world("--auto-approve")
    command = (sys.executable, "-c", PROGRAM)
    service = Process("cloudbeds_auth", "serve", env=made.settings, cwd=made.folder, command=command)
    made.services.append(service)
    service.wait_for(r"listening on http")
    hotel = made.connect()
    made.vendor.control("expire")
    path = f"/proxy/{hotel}/api/v1.3/getHotels?name=canary"
    assert made.admin.get(path, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}).status == 200
    assert service.stop() == 0
    every = exported(made.folder)
    ours = [one for one in every if one["context"]["trace_id"] == f"0x{TRACE}"]
    assert {one["parent_id"] for one in ours} == {f"0x{PARENT}"}
    (call,) = (one for one in ours if one["name"] == "cloudbeds_auth.proxied")
    (refresh,) = (one for one in ours if one["name"] == "cloudbeds_auth.token_request")
    assert call["attributes"] == {"http.request.method": "GET", "http.response.status_code": 200}
    assert refresh["attributes"] == {
        "cloudbeds_auth.grant_type": "refresh_token", "cloudbeds_auth.outcome": "Issued",
    }  # fmt: skip
    assert call["start_time"] <= refresh["start_time"] <= refresh["end_time"] <= call["end_time"]
    ours_alone = {"cloudbeds_auth.proxied", "cloudbeds_auth.token_request", "cloudbeds_auth.proof"}
    assert {one["name"] for one in every} == ours_alone, "the web framework's own would name links and hotels"
    text = (made.folder / "spans").read_text("utf-8")
    assert [word for word in (hotel, "getHotels", "canary", "100001", "127.0.0.1") if word in text] == []
