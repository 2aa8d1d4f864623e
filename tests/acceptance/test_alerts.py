"""Alerts of docs/prometheus/alerts.yml: each accident is provoked, and its query is true of what `/metrics` says then.

The queries are read from the rules. A series that a query names has to be there before the accident, at 0: Prometheus
takes no increase of one that appears with its first event. What the other rules fire at, promtool shows.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import PATIENCE, Http, Process, World, world_apart
from tests.acceptance.test_bad_hour import a_minute_passes, refuse
from tests.support.keys import WEBHOOK_SECRET
from tests.support.ports import free_port
from tests.support.postgres import server

RULES = Path(__file__).parents[2] / "docs" / "prometheus" / "alerts.yml"
RULE = re.compile(r"- alert: (\w+)\n +expr: '([^']+)'")
QUERY = re.compile(r"(?P<increase>increase\()?(?P<name>\w+)\{(?P<labels>[^}]*)\}(?:\[\d+m\]\))? > (?P<above>\d+)")
MATCHER = re.compile(r'(\w+)(=~?)"([^"]*)"')
SAMPLE = re.compile(r"(\w+)\{([^}]*)\} (\S+)")
TOKEN = "a-metrics-token-of-more-than-32-characters"


@cache
def rules() -> dict[str, str]:
    """The queries of the first group, that of accidents, by their alerts."""
    accidents = RULES.read_text("utf-8").split("- name: ")[1]
    return dict(RULE.findall(accidents))


@dataclass
class Scraper:
    """What Prometheus knows: the first answer of `/metrics`, and each later one."""

    base: str
    began: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.began = self.scrape()

    def scrape(self) -> dict[str, float]:
        """The samples by their series, asked for with the one credential that opens nothing else."""
        answer = Http(self.base, TOKEN).get("/metrics")
        assert answer.status == 200, answer.text
        return {f"{name}{{{labels}}}": float(value) for name, labels, value in SAMPLE.findall(answer.text)}

    def fires(self, alert: str) -> bool:
        """Whether the alert's query is true now, over all series that it selects; each was there from the start."""
        query = QUERY.fullmatch(rules()[alert])
        assert query, rules()[alert]
        now, chosen = self.scrape(), selector(query["name"], query["labels"])
        before = {series for series in self.began if chosen(series)}
        assert before, f"no series from the start for {query[0]}"
        assert {series for series in now if chosen(series)} == before
        gained = [now[one] - (self.began[one] if query["increase"] else 0.0) for one in before]
        return max(gained) > float(query["above"])

    def until_fires(self, alert: str) -> None:
        """Wait for it; it was not true before."""
        until = time.monotonic() + PATIENCE
        while not self.fires(alert):
            assert time.monotonic() < until, f"{alert} does not fire: {self.scrape()}"
            time.sleep(0.1)


def selector(name: str, matchers: str) -> Callable[[str], bool]:
    """Whether a series is one of these, as PromQL reads it: `=~` matches the whole value."""

    def chosen(series: str) -> bool:
        its, _, labels = series.rstrip("}").partition("{")
        found = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        return its == name and all(
            re.fullmatch(value if how == "=~" else re.escape(value), found.get(label, ""))
            for label, how, value in MATCHER.findall(matchers)
        )

    return chosen


@contextmanager
def fires(alert: str, made: World) -> Iterator[Scraper]:
    """The accident happens in the block; the alert was silent before, and is true in the end."""
    scraper = Scraper(made.base)
    assert not scraper.fires(alert)
    yield scraper
    scraper.until_fires(alert)


@pytest.fixture
def made(make_world: MakeWorld) -> World:
    """A vendor, and what a service needs."""
    return make_world("--auto-approve", CLOUDBEDS_AUTH_METRICS_TOKEN=TOKEN, CLOUDBEDS_AUTH_LOG_FORMAT="json")


def line(service: Process, event: str, holding: str = "") -> dict[str, Any]:
    """The facts of the first line of this event, and with this text."""
    found = json.loads(service.wait_for(rf'^\{{.*"event": "{event}".*{re.escape(holding)}.*$')[0])
    facts: dict[str, Any] = found.get("facts", {})
    return facts


def test_a_hotel_has_to_approve_again(made: World) -> None:
    """Cloudbeds refuses every token, twice, and the access token is dead: the line names the hotel and the request."""
    service = made.start()
    hotel = made.connect()
    userinfo = f"/proxy/{hotel}/api/v1.3/userinfo"
    with fires("HotelMustApproveAgain", made):
        refuse(made)
        made.vendor.control("expire")
        for number in range(3):
            last = made.admin.get(userinfo, headers={"X-Request-ID": f"call-{number}"})
            a_minute_passes(made)
        assert (last.status, last.json["code"]) == (409, "reauthorization_required")
    told = line(service, "reauthorization_required")
    assert (told["connection_id"], str(told["request_id"])[:5]) == (hotel, "call-")
    refused = line(service, "proxy_refused")
    assert {name: refused[name] for name in ("connection_id", "path", "address", "request_id")} == {
        "connection_id": hotel, "path": userinfo, "address": "127.0.0.1", "request_id": "call-0",
    }  # fmt: skip
    for event in ("token_answer", "proof", "refresh_failed"):
        assert line(service, event).keys() >= {"connection_id"}


def test_our_credentials_are_refused(made: World) -> None:
    """The secret was reset at Cloudbeds, and the settings have the former one."""
    made.start()
    hotel = made.connect()
    with fires("ClientRefused", made):
        made.vendor.control("apps", client_id="acceptance-app", client_secret="the-new-secret-0123456789")
        assert made.admin.post(f"/api/v1/connections/{hotel}/refresh").json["code"] == "client_refused"


@pytest.mark.long
def test_the_database_is_away(make_world: MakeWorld) -> None:
    """PostgreSQL is stopped under the service."""
    with server() as postgres:
        made = make_world(
            "--auto-approve", CLOUDBEDS_AUTH_METRICS_TOKEN=TOKEN, CLOUDBEDS_AUTH_DATABASE_URL=postgres.url,
            CLOUDBEDS_AUTH_ENCRYPTION_KEYS="a2V5LW9mLXRoaXJ0eS10d28tYnl0ZXMtZm9yLXRlc3Q=",
            CLOUDBEDS_AUTH_ADMIN_TOKEN="an-admin-token-of-more-than-32-characters",
        )  # fmt: skip
        made.start()
        with fires("DatabaseAway", made):
            postgres.stop()
            for _ in range(4):
                assert made.admin.get("/api/v1/connections").status == 503


def test_the_disk_is_full(made: World) -> None:
    """No file may grow: a refresh is not begun, and what is wrong is said."""
    service = made.start()
    hotel = made.connect()
    with fires("DiskFull", made):
        log = made.folder / "hotels.sqlite3-wal"
        resource.prlimit(service.popen.pid, resource.RLIMIT_FSIZE, (log.stat().st_size, resource.RLIM_INFINITY))
        assert made.admin.post(f"/api/v1/connections/{hotel}/refresh").json["code"] == "store_unavailable"
    resource.prlimit(service.popen.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert line(service, "store_failed")["operation"] == "write"
    assert made.admin.post(f"/api/v1/connections/{hotel}/refresh").status == 200


def test_the_database_is_a_copy(made: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Restored in another place: it comes up read-only, and says so from its first scrape on."""
    service = made.start()
    made.connect()
    assert not Scraper(made.base).fires("DatabaseIsACopy")
    service.stop()
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "restored"
    shutil.copytree(made.folder, elsewhere)
    copy = World(elsewhere, made.vendor, free_port(), made.extra, made.services)
    line(copy.start(), "read_only")
    Scraper(copy.base).until_fires("DatabaseIsACopy")


def test_cloudbeds_is_away(tmp_path: Path) -> None:
    """Nothing listens where it was."""
    with world_apart(tmp_path, "--auto-approve", CLOUDBEDS_AUTH_METRICS_TOKEN=TOKEN) as made:
        made.start()
        hotel = made.connect()
        assert made.vendor.process
        with fires("CloudbedsAway", made):
            made.vendor.process.stop()
            for _ in range(4):
                answer = made.admin.get(f"/proxy/{hotel}/api/v1.3/getHotels")
                assert (answer.status, answer.json["code"]) == (502, "upstream_failed")


def test_a_refresh_is_in_doubt(made: World) -> None:
    """The token endpoint answers what no one can use."""
    made.start()
    hotel = made.connect()
    with fires("RefreshInDoubt", made):
        made.vendor.control("faults", target="token", kind="status", status=500)
        assert made.admin.post(f"/api/v1/connections/{hotel}/refresh").status in {200, 503}


def test_the_rate_limit_is_reached(make_world: MakeWorld) -> None:
    """A 429 of Cloudbeds is passed on; the next call finds no turn."""
    made = make_world("--auto-approve", CLOUDBEDS_AUTH_METRICS_TOKEN=TOKEN, CLOUDBEDS_AUTH_RATE_LIMIT="10")
    made.start()
    path = f"/proxy/{made.connect()}/api/v1.3/echo/x"
    with fires("RateLimitReached", made) as scraper:
        made.vendor.control("faults", target="resource", kind="rate_limited", retry_after="60")
        assert made.admin.get(path).status == 429
        assert made.admin.get(path).json["code"] == "rate_limited"
        assert scraper.scrape()['cloudbeds_auth_proxied_requests_total{status="4xx"}'] == 1.0
        assert 0.0 <= scraper.scrape()['cloudbeds_auth_rate_limit_used_ratio{app="default"}'] <= 1.0


def test_webhooks_are_not_taken(make_world: MakeWorld) -> None:
    """Nothing listens at their address."""
    made = make_world(
        "--auto-approve", CLOUDBEDS_AUTH_METRICS_TOKEN=TOKEN,
        CLOUDBEDS_AUTH_WEBHOOK_URL=f"http://127.0.0.1:{free_port()}/", CLOUDBEDS_AUTH_WEBHOOK_SECRET=WEBHOOK_SECRET,
    )  # fmt: skip
    made.start()
    with fires("WebhooksNotTaken", made):
        made.connect()


@pytest.mark.long
def test_credentials_are_wrong(made: World) -> None:
    """A program with a wrong one, that does not give up; and the metrics token opens no other door."""
    service = made.start()
    with fires("WrongCredentials", made):
        for _ in range(11):
            assert Http(made.base, "an-old-token").get("/proxy/con_1/api/v1.3/getHotels?secret=x").status == 401
    told = line(service, "request", '"unauthenticated"')
    assert (told["route"], told["path"]) == ("/proxy", "/proxy/con_1/api/v1.3/getHotels")
    assert Http(made.base, TOKEN).get("/api/v1/connections").status == 403
    assert TOKEN not in service.output


def test_each_alert_has_its_accident() -> None:
    """Ten of them, and a test in this file for each."""
    text = Path(__file__).read_text("utf-8")
    assert len(rules()) == 10
    assert {alert for alert in rules() if f'"{alert}"' not in text} == set()
