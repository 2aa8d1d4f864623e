"""The vendor's control plane, asked for through `/proxy`."""

from __future__ import annotations

import pytest
import yarl
from tests.app.running import AS_ADMIN, Vendor, a_service
from tests.app.vaults import RealVault, given

from cloudbeds_auth.rules import proxy_policy
from cloudbeds_auth.rules.permissions import Caller, Scope

KEYS = {"key": Caller("relayer", frozenset({Scope.PROXY, Scope.TOKEN, Scope.CONNECT, Scope.READ}))}
AS_PROXY = {"Authorization": "Bearer key"}


async def asked(vault: RealVault, path: str, headers: dict[str, str], method: str = "POST") -> tuple[int, str]:
    """Status and code of a proxied request."""
    async with a_service(vault, KEYS) as service:
        url = yarl.URL(f"{service.url}/proxy/con_1{path}", encoded=True)
        async with service.http.request(method, url, headers=headers) as answer:
            return answer.status, answer.headers.get("X-Cloudbeds-Auth-Code", "")


@pytest.mark.row("A73", control=True)
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/api/v1.3/postAppState", "/api/v1.2/deletewebhook?x=1", "/api/v1.3/post%57ebhook"])
async def test_a_control_method_without_admin(
    vendor: Vendor, path: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller that holds every scope but `admin` is refused, and nothing is sent; without the table it would be."""
    assert await asked(RealVault(given(base_url=vendor.base_url)), path, AS_PROXY, method) == (403, "forbidden")
    assert vendor.seen == []
    monkeypatch.setattr(proxy_policy, "METHOD_CLASSES", {})
    proxy_policy.scope_for.cache_clear()
    assert await asked(RealVault(given(base_url=vendor.base_url)), path, AS_PROXY, method) == (200, "")
    proxy_policy.scope_for.cache_clear()


@pytest.mark.row("A73")
async def test_a_control_method_as_admin(vault: RealVault, vendor: Vendor) -> None:
    """The operator's own call goes through as it was sent."""
    assert await asked(vault, "/api/v1.3/postAppState", AS_ADMIN) == (200, "")
    assert [seen.target for seen in vendor.seen] == ["/api/v1.3/postAppState"]


@pytest.mark.row("A73")
@pytest.mark.parametrize(
    "path", ["/api/v1.3/access_token", "/api/v1.3/oauth?client_id=x", "/_control/expire", "/x", ""]
)
async def test_what_is_never_relayed(vault: RealVault, vendor: Vendor, path: str) -> None:
    """The token endpoint, the approval page and what is no API are refused to the operator, too."""
    assert await asked(vault, path, AS_ADMIN) == (403, "forbidden")
    assert vendor.seen == []
