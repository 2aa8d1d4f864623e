"""Numbers and texts that no caller means, over HTTP and the real vault: 400 and never a traceback (A78)."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.app.operators import Operator
from tests.app.running import Running, a_service, raw
from tests.support.simulator import vendor
from yarl import URL

from cloudbeds_auth.vault import TokenVault

DIGITS = "9" * 30
ENDLESS = "9" * 5000
C = "/api/v1/connections"
KEYS = "/api/v1/keys"
UNKNOWN = {(404, "unknown_connection"), (400, "invalid_request"), (414, "invalid_request")}
NO_TEXTS = ("\0", "a\0b", "\ud800", "a\udfff", "\x7f", "\n", "\x85")


@pytest.fixture(params=["sqlite", "postgresql"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Running[TokenVault]]:
    """A service with one hotel, con_…, property 100001, over either database."""
    tmp_path.chmod(0o700)
    where = {}
    if request.param == "postgresql":
        where = {
            "database_url": request.getfixturevalue("postgres_url"),
            "encryption_keys": b64encode(secrets.token_bytes(32)).decode(),
            "admin_token": "an-admin-token-of-more-than-32-characters",
        }
    async with vendor() as simulated, TokenVault.open(simulated.settings(tmp_path, **where)) as vault:
        await simulated.connect(vault, "100001")
        async with a_service(vault) as running:
            yield running


async def asked(service: Running[TokenVault], path: str) -> tuple[int, str]:
    """Status and code."""
    headers = {"Authorization": f"Bearer {service.vault.admin_token.reveal()}"}
    url = URL(service.url + path, encoded=True)
    async with service.http.get(url, headers=headers) as answer:
        return answer.status, answer.headers["X-Cloudbeds-Auth-Code"]


@pytest.mark.row("A78")
async def test_absurd_queries(service: Running[TokenVault]) -> None:
    """Cursors, seconds and generations of any size, signs, infinities, and what is no number."""
    numbers = (DIGITS, ENDLESS, f"-{DIGITS}", "-1", "1e400", "nan", "inf", "1.5", "0x10", "", "%00", "%D9%A1")
    for path, fine in (
        (f"{C}/100001/events?cursor=", set()),
        (f"{C}/100001/access-token?rejected_generation=", set()),
        (f"{C}/100001/access-token?min_valid=", {"1.5"}),
    ):
        for number in numbers:
            expected = (200, "ok") if number in fine else (400, "invalid_request")
            assert await asked(service, path + number) == expected, (path, number[:40])
    for forget in (DIGITS, "", "maybe"):
        assert await asked(service, f"{C}?lacking_scopes={forget}") == (400, "invalid_request")


@pytest.mark.row("A78")
@pytest.mark.parametrize(
    ("path", "name"),
    [
        *((C, name) for name in ("cursor", "reference", "property", "app", "state")),
        *((f"{C}?lacking_scopes=true", name) for name in ("cursor", "reference", "property", "app", "state")),
        (f"{C}/100001/events", "cursor"),
        (KEYS, "cursor"),
        (KEYS, "parent"),
        ("/api/v1/audit", "cursor"),
    ],
)
async def test_texts_that_no_database_takes(service: Running[TokenVault], path: str, name: str) -> None:
    """A NUL, which PostgreSQL refuses, and other control characters: 400; a long text is only a text."""
    query = f"{path}{'&' if '?' in path else '?'}{name}="
    for text in ("%00", "a%00b", "key_%00", "con_%00", "%0A", "%7F"):
        assert await asked(service, query + text) == (400, "invalid_request"), text
    expected = (400, "invalid_request") if name in {"cursor", "state"} else (200, "ok")
    assert await asked(service, query + DIGITS) == expected


@pytest.mark.row("A78")
async def test_what_no_page_asks_with(service: Running[TokenVault]) -> None:
    """In the address of a page: what it shows then, or a page that says that it cannot be."""
    operator = Operator(service)
    await operator.sign_in(service.vault.admin_token.reveal())
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in operator.cookies.items())}
    takes = {
        "/connections": ("cursor", "search", "show", "app"), "/connections/100001": ("cursor",), "/apps": ("cursor",),
        "/keys": ("cursor", "parent"), "/audit": ("cursor",),
    }  # fmt: skip
    given = ("%00", "a%00b", "%7F", "%ED%A0%80", DIGITS, ENDLESS, "-1", "1e400", "1:2:3:4", "'")
    for page, name, text in ((page, name, text) for page, names in takes.items() for name in names for text in given):
        async with service.http.get(URL(f"{service.url}{page}?{name}={text}", encoded=True), headers=headers) as answer:
            code = answer.headers["X-Cloudbeds-Auth-Code"]
            assert (answer.status, code) in {(200, "ok"), (400, "invalid_request")}, (page, name, text[:40])
            if text in {"%00", "%7F"}:
                assert answer.status == 400, (page, name, text)


@pytest.mark.row("A78")
async def test_texts_in_the_path(service: Running[TokenVault]) -> None:
    """An id that none can be is unknown, as any other is; one that is too long for any is refused."""
    for text in ("%00", "a%00b", DIGITS, ENDLESS, "%ED%A0%80"):
        for named in (text, f"con_{text}"):
            assert await asked(service, f"{C}/{named}") == (404, "unknown_connection"), named[:40]
            for path in (f"{C}/{named}/events", f"{C}/{named}/access-token", f"/proxy/{named}/api/v1.3/x"):
                assert await asked(service, path) in UNKNOWN, path[:40]
        assert await asked(service, f"{KEYS}/key_{text}") == (404, "invalid_request"), text[:40]


@pytest.mark.row("A78")
@pytest.mark.parametrize(
    "body",
    [
        f'{{"expires_in": {DIGITS}}}', f'{{"expires_in": {ENDLESS}}}', '{"expires_in": 1e400}', '{"expires_in": NaN}',
        '{"expires_in": -1}', '{"expires_in": "nan"}', '{"expires_in": true}', f'{{"reference": {DIGITS}}}',
        '{"reference": "\\u0000"}', '{"reference": "\\ud800"}', '{"app": "\\u0000"}', '{"return_to": "/\\u0000"}',
        "[" * 10_000, DIGITS, ENDLESS,
    ],
    ids=lambda body: body[:30],
)  # fmt: skip
async def test_absurd_bodies(service: Running[TokenVault], body: str) -> None:
    """Of a link that is asked for: 400, and none is made."""
    headers = {
        "Authorization": f"Bearer {service.vault.admin_token.reveal()}", "Content-Type": "application/json"
    }  # fmt: skip
    url = f"{service.url}/api/v1/authorizations"
    async with service.http.post(url, headers=headers, data=body.encode()) as answer:
        assert answer.status == 400
        assert answer.headers["X-Cloudbeds-Auth-Code"] in {"invalid_request", "invalid_return_to"}


@pytest.mark.row("A78")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        *(("/api/v1/authorizations", {name: ...}) for name in ("app", "reference", "return_to", "code_challenge")),
        ("/api/v1/authorizations", {"expected_properties": [...]}),
        (C, {"api_key": ...}),
        *((C, {"api_key": "cbat_1", name: ...}) for name in ("app", "reference", "connection_id")),
        (C, {"api_key": "cbat_1", "expected_properties": [...]}),
        *((f"{C}/100001/claim", {name: ...}) for name in ("reference", "code_verifier")),
        (KEYS, {"name": ..., "scopes": ["read"]}),
        *(
            (KEYS, {"name": "a job", "scopes": ["read"], name: [...]})
            for name in ("connections", "properties", "references", "methods", "scopes")
        ),
    ],
    ids=str,
)
async def test_texts_that_nothing_stores(service: Running[TokenVault], path: str, body: dict[str, Any]) -> None:
    """Control characters and half a character, in each text of each body: refused; every list is shown as before."""
    headers = {"Authorization": f"Bearer {service.vault.admin_token.reveal()}", "Content-Type": "application/json"}
    for bad in NO_TEXTS:
        given = {name: bad if one is ... else [bad] if one == [...] else one for name, one in body.items()}
        async with service.http.post(service.url + path, headers=headers, data=json.dumps(given)) as answer:
            assert answer.status in {400, 404}, (bad, await answer.text())
    for shown in (C, KEYS, "/api/v1/audit"):
        assert await asked(service, shown) == (200, "ok")


@pytest.mark.row("A78")
@pytest.mark.parametrize("path", [f"/proxy/{DIGITS}/api/x", "/proxy/100001/api/x"])
async def test_an_absurd_length(service: Running[TokenVault], path: str) -> None:
    """A body announced with 30 digits: refused before it is read."""
    token = service.vault.admin_token.reveal()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
    answer = await raw(service, f"{head}Content-Length: {DIGITS}\r\n\r\n".encode())
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 413"))
