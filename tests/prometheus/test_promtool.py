"""What Prometheus' own tool says: of the alert rules and the series that they fire at, of the dashboard's queries, and
of what `/metrics` answers.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from tests.deploy.tools import ROOT, program
from tests.docs.pages import block

from cloudbeds_auth.observe.metrics import Metrics
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import StateCounts
from cloudbeds_auth.transactions.outbox import Outbox

RULES, DASHBOARD = ROOT / "docs/prometheus/alerts.yml", ROOT / "docs/prometheus/grafana.json"
SERIES = Path(__file__).with_name("alerts.test.yml")
CHECK = ("check", "rules", "--lint=all", "--lint-fatal")
INTERVAL = "$__rate_interval"  # Grafana's, for the width of its picture
LEFT = r"\w+_created |cloudbeds_auth_gauge_readable "
"""Names of prometheus_client's own, and one that says "gauge", because it is about gauges."""


def promtool(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Its output and exit status."""
    command = [program("promtool"), *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)


def test_the_rules_are_well_formed() -> None:
    """Every query is PromQL, and no rule is there twice."""
    done = promtool(*CHECK, str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "21 rules found" in done.stdout


def test_each_fires_when_it_should() -> None:
    """At series of each condition, and no other beside it; none at those of a service that is well."""
    done = promtool("test", "rules", str(SERIES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_of_the_page(tmp_path: Path) -> None:
    """Prometheus takes it as it stands, with the credential's file and the rules where it says."""
    (tmp_path / "cloudbeds-auth-metrics-token").write_text("made-up", "utf-8")
    (tmp_path / "alerts.yml").write_text(RULES.read_text("utf-8"), "utf-8")
    (tmp_path / "prometheus.yml").write_text(
        block("docs/operating.md#scrape").replace("/etc/prometheus", str(tmp_path)), "utf-8"
    )
    done = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "21 rules found" in done.stdout


@pytest.mark.parametrize(("right", "wrong"), [("[10m]) > 0", "[10m]) > 1"), ("for: 2m", "for: 20m")])
def test_a_rule_that_fires_otherwise_is_found(right: str, wrong: str, tmp_path: Path) -> None:
    """A threshold or a duration that is changed fails the test of rules."""
    rules, series = RULES.read_text("utf-8"), SERIES.read_text("utf-8")
    assert right in rules
    (tmp_path / "alerts.yml").write_text(rules.replace(right, wrong), "utf-8")
    moved = tmp_path / "alerts.test.yml"
    moved.write_text(series.replace("../../docs/prometheus/alerts.yml", "alerts.yml"), "utf-8")
    assert promtool("test", "rules", str(moved)).returncode == 1


def test_the_dashboard_asks_in_promql(tmp_path: Path) -> None:
    """Each of its queries, as the query of a rule."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    asked = [one["expr"].replace(INTERVAL, "5m") for panel in panels for one in panel.get("targets", [])]
    assert len(asked) > 30
    assert not [one for one in asked if "$" in one]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(asked)]
    as_rules = tmp_path / "dashboard.yml"
    as_rules.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")
    done = promtool("check", "rules", str(as_rules))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(asked)} rules found" in done.stdout


def test_metrics_are_named_as_prometheus_wants_them() -> None:
    """Units, suffixes, help and types of all that `/metrics` answers."""
    text = (
        Metrics().render(StateCounts({State.FRESH: 1}, 0.0), Outbox(0, 0.0, 0, None), 0.0, {"default": 0.0})[0].decode()
    )
    done = promtool("check", "metrics", given=text)
    said = (done.stdout + done.stderr).splitlines()
    assert [line for line in said if not re.match(LEFT, line)] == []
