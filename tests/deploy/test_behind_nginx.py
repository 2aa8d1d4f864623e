"""docs/deploy/nginx.conf: a real nginx with TLS in front of a real service, below a path of a host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.acceptance.processes import CLIENT_ID, Http, Process, World, vendor_on_a_thread
from tests.deploy.tools import DEPLOY, certificate, nginx
from tests.docs.pages import text_of
from tests.support.ports import free_port

from cloudbeds_auth.app.gateway import SIGN_IN
from cloudbeds_auth.app.server import KEEP_ALIVE

ADMIN = "an-admin-token-of-more-than-32-characters"
STRANGER = "203.0.113.9"
EXAMPLE = (DEPLOY / "nginx.conf").read_text("utf-8")


@dataclass
class Site:
    """A host with the service below `/auth`: what the world sees, and what is behind it."""

    base: str
    behind: World
    service: Process
    folder: Path

    @property
    def caller(self) -> Http:
        """A program with the admin token, from outside."""
        return Http(self.base, ADMIN)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """All three: Cloudbeds, the service, and nginx before it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(tmp_path)))
    port, service_port = free_port(), free_port()
    base = f"https://localhost:{port}/auth"
    settings = {
        "CLOUDBEDS_REDIRECT_URI": f"{base}/callback", "CLOUDBEDS_AUTH_PUBLIC_URL": base,
        "CLOUDBEDS_AUTH_TRUSTED_PROXIES": "127.0.0.1", "CLOUDBEDS_AUTH_ADMIN_TOKEN": ADMIN,
        "CLOUDBEDS_AUTH_LOG_FORMAT": "json",
    }  # fmt: skip
    with vendor_on_a_thread("--auto-approve", redirect_uri=f"{base}/callback") as vendor:
        behind = World(tmp_path, vendor, service_port, settings)
        service = behind.start()
        try:
            with nginx(tmp_path, EXAMPLE, port, service_port):
                yield Site(base, behind, service, tmp_path)
        finally:
            service.stop()


def connected(site: Site) -> str:
    """A hotel that approved through nginx; its connection id."""
    page = Http().get(f"{site.base}/connect", follow=True)
    assert (page.status, page.url.partition("?")[0].startswith(f"{site.base}/")) == (200, True), page.text
    (one,) = site.caller.get("/api/v1/connections").json["connections"]
    found: str = one["id"]
    return found


def test_a_hotel_connects(site: Site) -> None:
    """Links and the style of pages are below the prefix, and lead somewhere."""
    connected(site)
    page = Http().get(f"{site.base}/connected", follow=True)
    style = page.text.partition('rel="stylesheet" href="')[2].partition('"')[0]
    assert style.startswith("/auth/static/")
    origin = site.base.removesuffix("/auth")
    assert Http().get(f"{origin}{style}").status == 200
    assert Http().get(f"{origin}/auth", follow=True).url == f"{site.base}/"


def test_a_call_arrives_as_it_was_sent(site: Site) -> None:
    """Neither path nor query is decoded on the way, and its body goes through."""
    hotel = connected(site)
    answer = site.caller.post(f"/proxy/{hotel}/api/v1.3/echo/a%2Fb%20c?x=%2F&y=a%20b", data=b"x" * 300_000)
    assert answer.status == 200, answer.text
    arrived = answer.json
    assert (arrived["path"], arrived["body_length"]) == ("/api/v1.3/echo/a%2Fb%20c?x=%2F&y=a%20b", 300_000)


@pytest.mark.parametrize("path", ["/x/../auth/healthz", "/auth/../auth/../x"])
def test_a_path_that_leads_elsewhere_is_no_call(path: str, site: Site) -> None:
    """What is below the prefix only once dots are resolved, or leaves it."""
    origin = site.base.removesuffix("/auth")
    assert Http().get(f"{origin}{path}").status in {400, 404}


def test_the_address_is_nginx_word(site: Site) -> None:
    """A caller that claims another one is known by its own."""
    answer = Http().get(f"{site.base}/api/v1/connections", headers={"X-Forwarded-For": STRANGER})
    assert answer.status == 401
    site.service.wait_for(r'"unauthenticated".*"address": "127.0.0.1"')
    assert STRANGER not in site.service.output


def test_nothing_that_opens_a_door_is_written_down(site: Site) -> None:
    """Neither codes and states of an approval nor links are in what nginx writes."""
    connected(site)
    logs = (site.folder / "access.log").read_text("utf-8")
    assert "callback" not in logs
    assert CLIENT_ID not in logs


def routes() -> dict[str, bool]:
    """Each path of the page on the HTTP API; true: hotels or Cloudbeds ask for it, as anyone may, not to sign in."""
    rows = re.findall(r"^\| `[^|]*?(/[^`]*)` \| ([^|]*) \|", text_of("docs/http-api.md"), re.MULTILINE)
    return {path: scope.startswith("anyone") and path not in SIGN_IN for path, scope in rows}


def test_who_may_ask_for_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From elsewhere than the own network nothing passes but what hotels and Cloudbeds ask for: there is no service
    behind this nginx, so what passes is its 502.
    """
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(tmp_path)))
    port = free_port()
    with nginx(tmp_path, EXAMPLE, port, free_port(), own=STRANGER):
        base = f"https://localhost:{port}/auth"
        answered = {path: Http().get(base + re.sub(r"{\w+}", "x", path)).status for path in routes()}
    assert len(answered) > 40
    assert answered == {path: 502 if everybody else 403 for path, everybody in routes().items()}


def test_nginx_ends_a_connection_first() -> None:
    """Before the service does: a call could be sent on one that it closes in that moment, and is not sent again."""
    (seconds,) = re.findall(r"^ +keepalive_timeout (\d+)s;", EXAMPLE, re.MULTILINE)
    assert int(seconds) < KEEP_ALIVE
