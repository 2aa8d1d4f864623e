"""The API as people read it: our own page over the OpenAPI description."""

from __future__ import annotations

import html
import json
import re

import pytest
from fastapi.routing import APIRoute
from tests.app.operators import Operator, signed_in
from tests.app.running import AS_ADMIN, Running
from tests.app.vaults import RealVault

from cloudbeds_auth.app import api, api_of_keys
from cloudbeds_auth.app.api_reference import ANYONE, OF_HOLDER, scopes
from cloudbeds_auth.app.permits import SCOPES


@pytest.fixture
async def page(service: Running[RealVault]) -> str:
    """As an operator sees it."""
    status, _, text = await (await signed_in(service)).open("/docs")
    assert status == 200
    return text


def operations(page: str) -> dict[str, str]:
    """The part of the page about each operation, by its heading."""
    parts = re.split(r'<h3 id="[^"]+"><code>', page)[1:]
    return {part.partition("<")[0]: html.unescape(part.partition("</section>")[0]) for part in parts}


async def test_every_operation(page: str) -> None:
    """Each route that is described, once, with its scope, and a link to it that leads there."""
    served = {
        f"{method} {route.path.replace('{identifier}', '{id}').replace('{key_id}', '{id}')}"
        for router in (api.machines, api.router, api_of_keys.router)
        for route in router.routes
        if isinstance(route, APIRoute) and route.include_in_schema
        for method in route.methods or ()
    }
    found = operations(page)
    assert set(found) == served
    assert re.findall(r'<li><a href="#([^"]+)"', page) == re.findall(r'<h3 id="([^"]+)"><code>', page)
    for name, scope in (
        ("GET /healthz", ANYONE), ("GET /metrics", "metrics"), ("GET /api/v1/connections", "read"),
        ("POST /api/v1/connections/{id}/refresh", "admin"), ("GET /api/v1/connections/{id}/access-token", "token"),
        ("POST /api/v1/keys", OF_HOLDER), ("POST /api/v1/authorizations", "connect"),
        ("GET /api/v1/connections/{id}/userinfo", "proxy"),
    ):  # fmt: skip
        assert f"Scope: {scope}." in found[name], name


def test_scopes_are_the_routes_own() -> None:
    """None that needs a credential is without one."""
    assert {path for _, path in scopes()} >= {route.path for route in api.router.routes}  # type: ignore[attr-defined]


async def test_one_that_takes_something(page: str) -> None:
    """What it takes, what of that is needed and its limits, a request to copy, and an answer."""
    part = operations(page)["POST /api/v1/authorizations"]
    assert "at most 256 characters" in part
    assert "at least 60, at most 2592000" in part
    curl = part.partition('<pre tabindex="0"><code>')[2].partition("</code>")[0]
    assert curl.startswith('curl -X POST -H "Authorization: Bearer $TOKEN"')
    assert json.loads(curl.partition("-d '")[2].partition("'")[0]) == {"reference": "tenant-7"}
    assert curl.endswith(" http://localhost:7000/api/v1/authorizations")
    answer = json.loads(part.rpartition("<code>")[2].partition("</code>")[0])
    assert answer["connect_url"].startswith("http://localhost:7000/connect/")
    key = operations(page)["POST /api/v1/keys"]
    assert '"scopes": ["read", "proxy"]' in key
    assert "list of one of " in key
    one = operations(page)["GET /api/v1/connections/{id}/access-token"]
    assert "http://localhost:7000/api/v1/connections/100001/access-token" in one


async def test_nothing_from_elsewhere(page: str) -> None:
    """No script, and no address but ours and Cloudbeds'."""
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?!/|#)', page)


async def test_who_may_read_it(service: Running[RealVault]) -> None:
    """A session, and the scope `admin`; a browser without a session is asked to sign in, a wrong key is refused."""
    status, _, text = await Operator(service).open("/docs")
    assert (status, "Sign in to see this page." in text) == (401, True)
    key = await service.vault.keys.create("reader", scopes=["read"])
    for headers, expected in (
        (AS_ADMIN, 200), ({"X-API-Key": AS_ADMIN["Authorization"].partition(" ")[2]}, 200),
        ({"Authorization": f"Bearer {key.secret.reveal()}"}, 403), ({"Authorization": "Bearer made-up"}, 401),
    ):  # fmt: skip
        async with service.http.get(service.url + "/docs", headers=headers) as answer:
            text = await answer.text()
            assert (answer.status, "Sign out" in text) == (expected, False)
    async with service.http.get(service.url + "/docs/x", headers=AS_ADMIN) as answer:
        assert answer.status == 401


async def test_reading_it_leaves_nothing(service: Running[RealVault]) -> None:
    """What routes ask for is known since they were made; a request adds nothing to it that would stay."""
    known = len(SCOPES)
    for _ in range(2):
        async with service.http.get(service.url + "/docs", headers=AS_ADMIN) as answer:
            assert answer.status == 200
    assert len(SCOPES) == known
