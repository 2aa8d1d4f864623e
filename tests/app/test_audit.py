"""The audit over HTTP: who did what, with the credential and the address that it came with."""

from __future__ import annotations

from typing import Any

import pytest
from tests.app.running import AS_ADMIN, Running
from tests.app.vaults import RealVault

from cloudbeds_auth.app import api

AUDIT = "/api/v1/audit"


async def answered(
    service: Running[RealVault], method: str, path: str, headers: dict[str, str] = AS_ADMIN, **parts: Any
) -> tuple[int, dict[str, Any]]:
    """Status and document, asked with this credential."""
    async with service.http.request(method, service.url + path, headers=headers, **parts) as answer:
        return answer.status, await answer.json(content_type=None)


async def entries(service: Running[RealVault]) -> list[dict[str, Any]]:
    """Newest first."""
    status, document = await answered(service, "GET", AUDIT)
    assert (status, document["next"]) == (200, None)
    found: list[dict[str, Any]] = document["entries"]
    return found


async def test_who_made_a_key_and_what_was_done_with_it(service: Running[RealVault]) -> None:
    """The admin token, then the key by its id; each from the address that the request came from."""
    body = {"name": "connects", "scopes": ["connect"]}
    _, key = await answered(service, "POST", "/api/v1/keys", json=body)
    as_key = {"Authorization": f"Bearer {key['key']}"}
    _, child = await answered(service, "POST", "/api/v1/keys", as_key, json=body)
    made, by_admin = await entries(service)
    assert by_admin == {
        "id": by_admin["id"], "at": by_admin["at"], "action": "key_created", "actor": "admin", "subject": key["id"],
        "address": "127.0.0.1", "data": {"name": "connects", "scopes": ["connect"], "parent": None},
    }  # fmt: skip
    assert (made["actor"], made["subject"], made["address"]) == (key["id"], child["id"], "127.0.0.1")
    assert key["key"] not in str(made) + str(by_admin)


async def test_a_disconnect(service: Running[RealVault]) -> None:
    """Is in the history and in the audit, under one name."""
    status, _ = await answered(service, "DELETE", "/api/v1/connections/con_1?forget=true")
    assert status == 200
    (entry,) = await entries(service)
    assert (entry["action"], entry["actor"], entry["subject"]) == ("disconnected", "admin", "con_1")
    _, history = await answered(service, "GET", "/api/v1/connections/con_1/events")
    assert [one["actor"] for one in history["events"] if one["kind"] == "disconnected"] == ["admin"]


async def test_page_by_page(service: Running[RealVault], monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest first, each once; a cursor that was never given out is refused."""
    monkeypatch.setattr(api, "PAGE", 2)
    for name in ("a", "b", "c"):
        await answered(service, "POST", "/api/v1/keys", json={"name": name, "scopes": ["read"]})
    _, first = await answered(service, "GET", AUDIT)
    _, second = await answered(service, "GET", f"{AUDIT}?cursor={first['next']}")
    names = [one["data"]["name"] for page in (first, second) for one in page["entries"]]
    assert (names, second["next"]) == (["c", "b", "a"], None)
    status, problem = await answered(service, "GET", f"{AUDIT}?cursor=con_1")
    assert (status, problem["code"]) == (400, "invalid_request")


async def test_only_an_administrator_reads_it(service: Running[RealVault]) -> None:
    """A key for everything else does not."""
    scopes = ["read", "proxy", "token", "connect", "metrics"]
    _, key = await answered(service, "POST", "/api/v1/keys", json={"name": "most", "scopes": scopes})
    status, problem = await answered(service, "GET", AUDIT, {"Authorization": f"Bearer {key['key']}"})
    assert (status, problem["code"]) == (403, "forbidden")
