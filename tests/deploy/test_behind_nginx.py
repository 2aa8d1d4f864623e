"""docs/deploy/nginx.conf: a real nginx with TLS in front of a real service, below a path of a host."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.acceptance.processes import CLIENT_ID, Http, Process, World, vendor_on_a_thread
from tests.deploy.tools import DEPLOY, program
from tests.docs.pages import text_of
from tests.support.ports import free_port

from cloudbeds_auth.app.gateway import SIGN_IN
from cloudbeds_auth.app.server import KEEP_ALIVE

ADMIN = "an-admin-token-of-more-than-32-characters"
STRANGER = "203.0.113.9"
WHOLE = """
daemon off;
{user}
pid nginx.pid;
error_log stderr info;
events {{ worker_connections 256; }}
http {{
    access_log access.log;
    client_body_temp_path body; proxy_temp_path proxy;
    fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    {example}
}}
"""


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


def certificate(folder: Path) -> None:
    """Of `localhost`, signed by itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "example.com.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "example.com.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))


def example(folder: Path, port: int, service: int, own: str) -> str:
    """The files of the documentation, with these ports, certificates, host, and address of your own network."""
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    for written, instead in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "127.0.0.1:7000": f"127.0.0.1:{service}",
        "/etc/ssl/": f"{folder}/",
        "server_name example.com": "server_name localhost",
        "allow 127.0.0.1;": f"allow {own};",
    }.items():
        assert written in text
        text = text.replace(written, instead)
    return text


@contextmanager
def nginx(folder: Path, port: int, service: int, own: str = "127.0.0.1") -> Iterator[Process]:
    """Nginx with the example, until the end of the block; callers from `own` are of your own network."""
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(WHOLE.format(user=user, example=example(folder, port, service, own)), "utf-8")
    shutil.copy(DEPLOY / "cloudbeds-auth-proxy.conf", folder)
    command = (program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr")
    process = Process(env={}, cwd=folder, command=command)
    try:
        process.wait_for("start worker process ")
        yield process
    finally:
        assert process.stop(signal.SIGQUIT) == 0


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """All three: Cloudbeds, the service, and nginx before it."""
    certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "example.com.pem"))
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
            with nginx(tmp_path, port, service_port):
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
    certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "example.com.pem"))
    port = free_port()
    with nginx(tmp_path, port, free_port(), own=STRANGER):
        base = f"https://localhost:{port}/auth"
        answered = {path: Http().get(base + re.sub(r"{\w+}", "x", path)).status for path in routes()}
    assert len(answered) > 40
    assert answered == {path: 502 if everybody else 403 for path, everybody in routes().items()}


def test_nginx_ends_a_connection_first() -> None:
    """Before the service does: a call could be sent on one that it closes in that moment, and is not sent again."""
    (seconds,) = re.findall(r"^ +keepalive_timeout (\d+)s;", (DEPLOY / "nginx.conf").read_text("utf-8"), re.MULTILINE)
    assert int(seconds) < KEEP_ALIVE
