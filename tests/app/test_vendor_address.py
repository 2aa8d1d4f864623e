"""Where credentials go is decided by the settings: by no field of the API, no parameter, and no row (A54)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.app.running import AS_ADMIN, Running, Vendor
from tests.app.vaults import RealVault

EVIL = "http://evil.example"
ADDRESSES = ("base_url", "authorize_url", "token_url", "redirect_uri", "issuer", "api_version")
BODIES: dict[str, dict[str, Any]] = {
    "authorizations": {"reference": "tenant-7"},
    "connections": {"api_key": "cbat_1"},
    "connections/con_1/claim": {"reference": "tenant-7"},
    "keys": {"name": "n", "scopes": ["read"]},
}

pytestmark = pytest.mark.row("A54")


@pytest.mark.parametrize("name", ADDRESSES)
async def test_no_field_of_the_api_names_an_address(service: Running[RealVault], name: str) -> None:
    """Whatever is made over the API: 400, and it is not made."""
    for path, body in BODIES.items():
        url = f"{service.url}/api/v1/{path}"
        async with service.http.post(url, headers=AS_ADMIN, json=body | {name: EVIL}) as answer:
            assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (400, "invalid_request"), path
    assert service.vault.sql("SELECT 1 FROM links UNION ALL SELECT 1 FROM caller_keys") == []


async def test_no_parameter_names_an_address(service: Running[RealVault]) -> None:
    """Browsers are sent to the approval page of the settings, whatever they ask for."""
    query = "&".join(f"{name}={EVIL}" for name in ADDRESSES)
    headers = {"Host": "localhost:7000"}
    async with service.http.get(f"{service.url}/connect?{query}", headers=headers, allow_redirects=False) as answer:
        assert answer.headers["Location"].startswith(f"{service.vault.settings.authorize_url}?client_id=")
        assert "evil" not in answer.headers["Location"]


async def test_a_row_can_only_say_no(service: Running[RealVault], vendor: Vendor) -> None:
    """Of all that is stored, what names another server is compared with the settings, and then nothing is sent at all.
    The other addresses are where browsers come back to.
    """
    vault = service.vault
    tables = [name for (name,) in vault.sql("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    columns = {(table, row[1]) for table in tables for row in vault.sql(f"PRAGMA table_info({table})")}
    words = ("url", "uri", "host", "origin", "endpoint", "issuer", "return_to")
    assert {one for one in columns if any(word in one[1] for word in words)} == {
        ("grants", "issuer"), ("issuers", "issuer"), ("apps", "redirect_uri"), ("links", "return_to"),
        ("authorizations", "return_to"),
    }  # fmt: skip
    vault.sql(f"UPDATE grants SET issuer = '{EVIL}'")
    vault.sql(f"INSERT OR REPLACE INTO issuers VALUES ('default', '{EVIL}', 0)")
    async with service.http.get(f"{service.url}/proxy/con_1/api/v1.3/getHotels", headers=AS_ADMIN) as answer:
        assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (503, "client_refused")
    async with service.http.post(f"{service.url}/api/v1/connections/con_1/refresh", headers=AS_ADMIN) as answer:
        assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (503, "client_refused")
    assert (vendor.seen, vault.endpoint.refreshes) == ([], 0)
