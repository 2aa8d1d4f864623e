"""Alert rules and the dashboard name only what `/metrics` has: a metric, a label or a value that is renamed turns up.

What the rules fire at, `make test-rules` shows with promtool; that ten accidents make theirs true, tests/acceptance.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from cloudbeds_auth.observe.metrics import Metrics
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import StateCounts
from cloudbeds_auth.transactions.outbox import Outbox

ROOT = Path(__file__).parents[2]
RULES, DASHBOARD = ROOT / "docs/prometheus/alerts.yml", ROOT / "docs/prometheus/grafana.json"
SERIES = ROOT / "tests/prometheus/alerts.test.yml"
PAGES = (ROOT / "docs/operating.md", ROOT / "docs/observing.md")
METRIC = re.compile(r"\bcloudbeds_auth_[a-z_]+")
SELECTOR = re.compile(r"(cloudbeds_auth_\w+)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)=~?"([^"]*)"')
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? \S+$", re.MULTILINE)
RULE = re.compile(r"^      - alert: (\w+)\n((?:        .*\n)+)", re.MULTILINE)
OF_THE_SCRAPER = {"job", "instance"}


@cache
def exposed() -> dict[str, dict[str, set[str]]]:
    """Every metric of an answer of `/metrics` in which all numbers could be had: its labels, and their values. Hotels
    are counted by states that are stored, and as stale.
    """
    counts = StateCounts(dict.fromkeys(set(State) - {State.CLIENT_REFUSED, State.READ_ONLY}, 0), 0.0)
    text = Metrics().render(counts, Outbox(0, 0.0, 0, None), 0.0, {"default": 0.0})[0].decode()
    found: dict[str, dict[str, set[str]]] = {}
    for name, labels in SAMPLE.findall(text):
        values = found.setdefault(name, {})
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
            values.setdefault(label, set()).add(value)
    return found


def families() -> set[str]:
    """The names, and those of histograms without what Prometheus puts behind them."""
    return exposed().keys() | {name.removesuffix("_bucket") for name in exposed()}


def rules() -> dict[str, str]:
    """The text of each rule by its alert."""
    found: dict[str, str] = dict(RULE.findall(RULES.read_text("utf-8")))
    return found


def panels() -> list[dict[str, Any]]:
    """Those of the dashboard that show something."""
    return [one for one in dashboard()["panels"] if one["type"] != "row"]


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    read: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    return read


def queries() -> Iterator[str]:
    """Every expression of rules, of the series that they are tested with, and of the dashboard."""
    yield from RULES.read_text("utf-8").splitlines()
    yield from SERIES.read_text("utf-8").splitlines()
    yield from (target["expr"] for panel in panels() for target in panel["targets"])


@pytest.mark.parametrize("path", [RULES, DASHBOARD, SERIES, *PAGES], ids=lambda path: path.name)
def test_every_metric_that_is_named_exists(path: Path) -> None:
    """In rules, dashboard and pages; `_total`, `_bucket` and the like as `/metrics` has them."""
    named = set(METRIC.findall(path.read_text("utf-8")))
    assert named - families() == set()
    assert named


def test_every_label_and_value_that_a_query_selects_exists() -> None:
    """A series that no event can move makes an alert that never fires."""
    missing = []
    for query in queries():
        for name, matchers in SELECTOR.findall(query):
            for label, values in MATCHER.findall(matchers):
                known = exposed()[name].get(label, set())
                if label not in OF_THE_SCRAPER:
                    missing += [(name, label, value) for value in values.split("|") if value not in known]
    assert missing == []


def test_a_misspelt_value_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: in a query with an event that is none."""
    wrong = 'increase(cloudbeds_auth_happenings_total{what="mark_delay"}[5m]) > 0'
    monkeypatch.setitem(globals(), "queries", lambda: iter([wrong]))
    with pytest.raises(AssertionError):
        test_every_label_and_value_that_a_query_selects_exists()


def test_every_rule_is_whole() -> None:
    """How long it has to be true, how bad it is, one sentence, and a section of the documentation with its name."""
    page = (ROOT / "docs/operating.md").read_text("utf-8")
    assert len(rules()) > 20
    assert RULES.read_text("utf-8").count("- alert:") == len(rules())
    for alert, text in rules().items():
        assert re.search(r"^        for: \d+[mhd]$", text, re.MULTILINE), alert
        assert re.search(r"^        labels: \{severity: (critical|warning)\}$", text, re.MULTILINE), alert
        assert re.search(r'^          summary: "[^"]+"$', text, re.MULTILINE), alert
        assert f'runbook: "docs/operating.md#{alert.lower()}"' in text, alert
    assert re.findall(r"^#### (\w+)$", page, re.MULTILINE) == list(rules()), "in the order of the rules"


def test_every_rule_fires_in_the_test_of_rules() -> None:
    """None is only checked for its form."""
    text = SERIES.read_text("utf-8")
    assert {alert for alert in rules() if f'alertname="{alert}"' not in text} == set()


def test_the_dashboard_can_be_imported() -> None:
    """Ids are its own, panels do not lie on each other, each says what it shows, and asks the source that is chosen."""
    every = dashboard()["panels"]
    assert len({one["id"] for one in every}) == len(every)
    (source,) = dashboard()["templating"]["list"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    for panel in panels():
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": f"${{{source['name']}}}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
    places = [one["gridPos"] for one in every]
    assert [(one, other) for one, other in combinations(places, 2) if overlap(one, other)] == []
    assert max(one["x"] + one["w"] for one in places) <= 24


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    """Whether two places share one."""
    return all(
        one[at] < other[at] + other[long] and other[at] < one[at] + one[long] for at, long in (("x", "w"), ("y", "h"))
    )


def test_the_dashboard_shows_every_metric() -> None:
    """But for how old the numbers of hotels are, each has a panel."""
    shown = {re.sub(r"_(bucket|total)$", "", name) for name in METRIC.findall(DASHBOARD.read_text("utf-8"))}
    there = {re.sub(r"_(bucket|total|sum|count)$", "", name) for name in exposed() if not name.endswith("_created")}
    assert there - shown == {"cloudbeds_auth_connections_age_seconds"}
