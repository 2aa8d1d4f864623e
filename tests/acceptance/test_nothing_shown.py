"""A journey in which every secret is known: none is in anything that anybody is shown of it (A46)."""

from __future__ import annotations

import re
import secrets
import subprocess
from base64 import b64encode
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import Http, World
from tests.support.planted import found_in

HOTEL = "100001"
COMMANDS = (
    ("connections", "--json"), ("connections", "show", HOTEL, "--picture"), ("connections", "events", HOTEL),
    ("connections", "refresh", HOTEL), ("apps",), ("keys", "--json"), ("doctor",), ("database", "check"), ("serve",),
    ("setup", "--non-interactive"), ("call", HOTEL, "/api/v1.3/userinfo"), ("call", "nobody", "/api/v1.3/userinfo"),
)  # fmt: skip
CONNECTION, CALL = f"/api/v1/connections/{HOTEL}", f"/proxy/{HOTEL}/api/v1.3/userinfo"
PAGES = (
    "/healthz", "/readyz", "/metrics", "/openapi.json", "/api/v1/connections", CONNECTION, f"{CONNECTION}/events",
    f"{CONNECTION}/userinfo", "/api/v1/keys", "/connected", "/errors/forbidden", CALL, f"{CALL}/no", "/api/v1/no",
)  # fmt: skip


def approve(browser: Http, known: set[str]) -> list[str]:
    """The hotel's way, step by step; code, state and the browser's id are known then. What its pages showed."""
    start = browser.get(f"{browser.base}/connect?reference=tenant-7")
    back = browser.get(start.headers["Location"]).headers["Location"]
    end = browser.get(back, follow=True)
    assert "Connected" in end.text
    again, wrong = browser.get(back, follow=True), browser.get(f"{back}x", follow=True)
    for values in parse_qs(urlsplit(back).query).values():
        known.update(values)
    known.update(value for name, value in browser.cookies["localhost"].items() if name.endswith("browser"))
    return [end.text, end.url, again.text, again.url, wrong.text, wrong.url]


def tokens(made: World) -> set[str]:
    """Every pair that Cloudbeds ever gave."""
    grants = made.vendor.control("state", "GET")["grants"]
    return {pair[name] for grant in grants for pair in grant["pairs"] for name in ("access_token", "refresh_token")}


def asked_wrongly(made: World, known: set[str]) -> list[str]:
    """Requests that bring secrets where none belongs, and what is said of them."""
    stranger = Http(made.base)
    answers = [
        answer
        for one in sorted(known)
        for answer in (
            made.admin.get(f"/api/v1/connections?access_token={quote(one)}"),
            made.admin.get(f"{CALL}?access_token={quote(one)}"),
            Http(made.base, f"{one}x").get("/api/v1/connections"),
            stranger.get(f"/connect/{quote(one, safe='')}x"),
            stranger.get(f"/callback?code={quote(one)}&state={quote(one)}", follow=True),
            stranger.post(f"/hooks/{quote(one, safe='')}", data=b"{}"),
        )
    ]
    return [f"{answer.text} {answer.headers}" for answer in answers]


def arguments_of(service: subprocess.Popen[str]) -> str:
    """Of the service and whatever it started."""
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
    return "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in (str(service.pid), *children))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.row("A46")
def test_a_journey(make_world: MakeWorld) -> None:
    """Logs at DEBUG, tracebacks, pages, problems, metrics, output of commands, arguments: whole, in part or encoded."""
    ours = {
        "CLOUDBEDS_CLIENT_SECRET": secrets.token_urlsafe(32),
        "CLOUDBEDS_AUTH_ADMIN_TOKEN": secrets.token_urlsafe(32),
        "CLOUDBEDS_AUTH_METRICS_TOKEN": secrets.token_urlsafe(32),
        "CLOUDBEDS_AUTH_HOOK_SECRET": secrets.token_urlsafe(32),
        "CLOUDBEDS_AUTH_HOOK_HEADER": secrets.token_urlsafe(32),
        "CLOUDBEDS_AUTH_ENCRYPTION_KEYS": b64encode(secrets.token_bytes(32)).decode(),
    }
    arguments = ("--auto-approve", "--client-secret", ours["CLOUDBEDS_CLIENT_SECRET"])
    made = make_world(*arguments, CLOUDBEDS_AUTH_LOG_LEVEL="DEBUG", **ours)
    service, known = made.start(), set(ours.values())
    shown = approve(Http(made.base), known)
    key = made.admin.post("/api/v1/keys", json_body={"name": "a program", "scopes": ["proxy", "read"]}).json["key"]
    link = made.admin.post("/api/v1/authorizations", json_body={}).json["connect_url"]
    known |= {key, link.rpartition("/")[2]}
    for fault in ("reset_after", "html", "status", "truncate"):
        made.vendor.control("expire")
        made.vendor.control("faults", target="token", kind=fault, grant_type="refresh_token")
        for _ in range(2):
            shown.append(Http(made.base, key).get(CALL).text)
        made.vendor.control("faults", "DELETE")
    known |= tokens(made)
    shown += [made.admin.get(path).text for path in PAGES]
    shown += asked_wrongly(made, known)
    for command in COMMANDS:
        done = made.run(*command)
        shown += [done.stdout, done.stderr]
    known |= tokens(made)
    shown.append(arguments_of(service.popen))
    service.stop()
    assert len(known) > 15
    assert re.search(r'"level": ?"debug"|DEBUG', service.output)
    assert found_in("\n".join([service.output, *shown]).encode(), known) == []
