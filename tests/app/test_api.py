"""The JSON of `/api/v1`, health and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from tests.app.running import AS_ADMIN, Running, Vendor, a_service
from tests.app.vaults import HandClock, RealVault

from cloudbeds_auth import errors
from cloudbeds_auth.rules.permissions import Bounds, Caller, Scope

CONNECTIONS = "/api/v1/connections"


async def ask(service: Running[RealVault], method: str, path: str, **more: Any) -> tuple[int, Any, Mapping[str, str]]:
    """Status, JSON and headers of one call as the administrator."""
    more["headers"] = {**AS_ADMIN, **more.get("headers", {})}
    async with service.http.request(method, service.url + path, **more) as answer:
        return answer.status, await answer.json(content_type=None), answer.headers


def moment(at: datetime | None) -> str:
    """As it is written: whole seconds, UTC."""
    assert at is not None
    return f"{at:%Y-%m-%dT%H:%M:%S}Z"


async def test_one_connection(service: Running[RealVault]) -> None:
    """A connection, literally."""
    known = await service.vault.refresh("con_1")
    expected = {
        "id": "con_1",
        "state": "fresh",
        "app": "default",
        "reference": None,
        "credential": "oauth",
        "property_ids": ["1000"],
        "authorizing_user": {"id": "1000", "name": "Ada Hotelier", "email": "ada@example.com"},
        "scopes": ["read:hotel"],
        "generation": 2,
        "connected_at": moment(known.connected_at),
        "expires_at": moment(known.expires_at),
        "refreshed_at": moment(known.refreshed_at),
        "used_at": None,
        "problem": None,
        "next_step": None,
        "waits_for": None,
        "connect_url": None,
        "subscriptions": [],
    }
    for identifier in ("con_1", "1000"):
        status, body, headers = await ask(service, "GET", f"{CONNECTIONS}/{identifier}")
        assert (status, body) == (200, expected)
        assert headers["X-Cloudbeds-Auth-Code"] == "ok"


async def test_reconnect_link(service: Running[RealVault]) -> None:
    """A connection that has to be approved again carries the link that mends it, as the vault gives it."""
    service.vault.sql("UPDATE grants SET state = 'reauthorization_required', reauth = 'revoked'")
    _, body, _ = await ask(service, "GET", f"{CONNECTIONS}/con_1")
    assert body["state"] == "reauthorization_required"
    assert body["connect_url"] == (await service.vault.connection("con_1")).connect_url
    assert body["connect_url"].startswith("http://localhost:7000/connect/")


async def test_list(service: Running[RealVault]) -> None:
    """A page and its cursor; the filters are the vault's."""
    await service.vault.connect("con_2", "2000", reference="tenant-7")
    many = "WITH RECURSIVE n(n) AS (SELECT 1 UNION SELECT n + 1 FROM n WHERE n < 99) SELECT 'con_0' || n, "
    service.vault.sql(f"INSERT INTO connections (id, app, created_at) {many} 'other', 0 FROM n")
    _, body, _ = await ask(service, "GET", CONNECTIONS)
    assert (len(body["connections"]), body["connections"][0]["id"]) == (100, "con_2")
    _, body, _ = await ask(service, "GET", f"{CONNECTIONS}?cursor={body['next']}")
    assert (len(body["connections"]), body["next"]) == (1, None)
    service.vault.sql("UPDATE connections SET app = 'other' WHERE id = 'con_1'")
    for query in ("property=2000", "reference=tenant-7", "state=fresh&property=2000", "app=default"):
        _, body, _ = await ask(service, "GET", f"{CONNECTIONS}?{query}")
        assert [one["id"] for one in body["connections"]] == ["con_2"]
        assert body["next"] is None


async def test_list_for_a_bound_key(vault: RealVault) -> None:
    """A key that is bound to connections sees those and no others."""
    keys = {"key": Caller("key", frozenset({Scope.READ}), Bounds(frozenset({"con_2"})))}
    async with a_service(vault, keys) as service:
        await vault.connect("con_2", "2000")
        for query, expected in (("", ["con_2"]), ("?property=1000", []), ("?state=fresh", ["con_2"])):
            async with service.http.get(service.url + CONNECTIONS + query, headers={"X-API-Key": "key"}) as answer:
                assert [one["id"] for one in (await answer.json())["connections"]] == expected


async def test_list_of_those_that_lack_a_scope(vault: RealVault) -> None:
    """Whoever asks, the whole list or a key's own connections: each with its link and the next step."""
    keys = {
        "by id": Caller("by id", frozenset({Scope.READ}), Bounds(frozenset({"con_1", "con_2"}))),
        "by property": Caller("by property", frozenset({Scope.READ}), Bounds(properties=frozenset({"2000"}))),
    }
    async with a_service(vault, keys) as service:
        await vault.connect("con_2", "2000")
        vault.sql("UPDATE grants SET scopes = '[]' WHERE connection_id = 'con_2'")
        _, body, _ = await ask(service, "GET", f"{CONNECTIONS}?lacking_scopes=true")
        [shown] = body["connections"]
        assert (shown["id"], shown["next_step"]) == (
            "con_2", "send the hotel its connect link: its approval lacks read:hotel"
        )  # fmt: skip
        assert "/connect/" in shown["connect_url"]
        for key in keys:
            url = f"{service.url}{CONNECTIONS}?lacking_scopes=true"
            async with service.http.get(url, headers={"X-API-Key": key}) as answer:
                assert (await answer.json())["connections"] == [shown]


async def test_access_token(service: Running[RealVault]) -> None:
    """The one route that reveals a token; it is never cached."""
    status, body, headers = await ask(service, "GET", f"{CONNECTIONS}/con_1/access-token")
    assert status == 200
    assert body == {
        "access_token": "token-1",
        "token_type": "Bearer",
        "expires_at": moment((await service.vault.access_token("con_1")).expires_at),
        "generation": 1,
    }
    assert headers["Cache-Control"] == "no-store"


async def test_rejected_generation(service: Running[RealVault]) -> None:
    """Naming the rejected generation gives the next; the same one back means that it is proven good."""
    _, body, _ = await ask(service, "GET", f"{CONNECTIONS}/con_1/access-token?rejected_generation=1")
    assert body["generation"] == 2
    service.vault.proven = True
    _, body, _ = await ask(service, "GET", f"{CONNECTIONS}/con_1/access-token?rejected_generation=2")
    assert body["generation"] == 2


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("min_valid=0", 200),
        ("min_valid=14400", 200),
        ("min_valid=14401", 400),
        ("min_valid=-1", 400),
        ("min_valid=nan", 400),
        ("min_valid=inf", 400),
        ("min_valid=x", 400),
        ("min_valid=14401&rejected_generation=1", 400),
        ("rejected_generation=x", 400),
    ],
)
async def test_min_valid(service: Running[RealVault], query: str, status: int) -> None:
    """More than half of the lifetime (8 hours here) is refused, and nothing is renewed for it."""
    got, body, _ = await ask(service, "GET", f"{CONNECTIONS}/con_1/access-token?{query}")
    assert got == status
    assert status == 200 or body["code"] == "invalid_request"
    assert service.vault.endpoint.refreshes == 0


async def test_events(service: Running[RealVault]) -> None:
    """History, newest first, page by page."""
    numbers = "WITH RECURSIVE n(n) AS (SELECT 4 UNION SELECT n + 1 FROM n WHERE n < 250)"
    service.vault.sql(
        "INSERT INTO events (connection_id, sequence, at, kind, actor, grant_id, generation, data) "
        f"""{numbers} SELECT 'con_1', n, 1795503600, 'proved', 'service', 'gra_1', 1, '{{"n":' || n || '}}' FROM n"""
    )
    service.vault.sql("UPDATE connections SET sequence = 250 WHERE id = 'con_1'")
    sequences: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        _, body, _ = await ask(service, "GET", f"{CONNECTIONS}/con_1/events" + (f"?cursor={cursor}" if cursor else ""))
        sequences += [event["sequence"] for event in body["events"]]
        cursor = body["next"]
    assert sequences == list(range(250, 0, -1))
    assert body["events"][0] == {
        "sequence": 50,
        "at": "2026-11-24T07:00:00.000Z",
        "kind": "proved",
        "actor": "service",
        "grant_id": "gra_1",
        "generation": 1,
        "data": {"n": 50},
    }


@pytest.mark.parametrize("cursor", ["9" * 30, "-1", "x", "1_1"])
async def test_events_from_nowhere(service: Running[RealVault], cursor: str) -> None:
    """A cursor that no page gave is the caller's mistake."""
    status, body, _ = await ask(service, "GET", f"{CONNECTIONS}/con_1/events?cursor={cursor}")
    assert (status, body["code"]) == (400, "invalid_request")


async def test_refresh_and_disconnect(service: Running[RealVault]) -> None:
    """Both answer with the connection as it is then."""
    status, body, _ = await ask(service, "POST", f"{CONNECTIONS}/con_1/refresh")
    assert (status, body["generation"]) == (200, 2)
    status, body, _ = await ask(service, "DELETE", f"{CONNECTIONS}/con_1")
    assert (status, body["state"]) == (200, "disconnected")
    await ask(service, "DELETE", f"{CONNECTIONS}/con_1?forget=true")
    assert service.vault.disconnected == [("con_1", False), ("con_1", True)]


async def test_authorization(service: Running[RealVault]) -> None:
    """A one-time link that starts an approval with the caller's reference."""
    wanted = {"reference": "tenant-7", "return_to": "https://app.example/done", "expires_in": 3600}
    status, body, _ = await ask(service, "POST", "/api/v1/authorizations", json=wanted)
    [(token, link)] = service.vault.links.items()
    assert status == 201
    assert body == {
        "connect_url": f"http://localhost:7000/connect/{token}",
        "key_url": f"http://localhost:7000/paste-key/{token}",
        "expires_at": moment(link.expires_at),
    }
    assert service.vault.sql("SELECT reference, return_to FROM links") == [("tenant-7", "https://app.example/done")]
    for default in ({}, {"app": None, "reference": None, "return_to": None, "expires_in": None}):
        assert (await ask(service, "POST", "/api/v1/authorizations", json=default))[0] == 201


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"return_to": "https://evil.example"}, "invalid_return_to"),
        ({"expires_in": 1}, "invalid_request"),
        ({"expires_in": "3600"}, "invalid_request"),
        ({"unknown": 1}, "invalid_request"),
        ({"reference": 7}, "invalid_request"),
        ([], "invalid_request"),
        ("x", "invalid_request"),
    ],
)
async def test_authorization_refused(service: Running[RealVault], wanted: object, code: str) -> None:
    """What does not have the described shape is 400, and says where."""
    status, body, headers = await ask(service, "POST", "/api/v1/authorizations", json=wanted)
    assert (status, body["code"], headers["X-Cloudbeds-Auth-Code"]) == (400, code, code)
    assert service.vault.links == {}


async def test_malformed_json(service: Running[RealVault]) -> None:
    """Bytes that are no JSON are a 400 problem."""
    status, body, _ = await ask(service, "POST", "/api/v1/authorizations", data=b"{")
    assert (status, body["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("heals", [True, False])
async def test_userinfo(service: Running[RealVault], vendor: Vendor, heals: bool) -> None:
    """The vendor's own answer, its 401 healed; it does not claim to be ours."""
    vendor.good = {"token-2"} if heals else {"token-1"}
    status, body, headers = await ask(service, "GET", f"{CONNECTIONS}/con_1/userinfo")
    assert (status, body) == (200, {"method": "GET", "size": 0})
    assert "X-Cloudbeds-Auth-Code" not in headers
    assert headers["Cache-Control"] == "no-store"
    assert [seen.target for seen in vendor.seen] == ["/api/v1.3/userinfo"] * (2 if heals else 1)


async def test_userinfo_of_a_property(service: Running[RealVault], vendor: Vendor) -> None:
    """The property that a caller names goes along, as through the proxy."""
    await ask(service, "GET", f"{CONNECTIONS}/con_1/userinfo", headers={"X-Property-ID": "777"})
    assert [seen.header("X-Property-ID") for seen in vendor.seen] == ["777"]


async def test_userinfo_refused_by_the_vendor(service: Running[RealVault], vendor: Vendor) -> None:
    """The vendor's refusal of a proven token is passed on as the vendor's."""
    vendor.good = set()
    service.vault.proven = True
    status, body, headers = await ask(service, "GET", f"{CONNECTIONS}/con_1/userinfo")
    assert (status, body) == (401, {"error": "access_denied"})
    assert "X-Cloudbeds-Auth-Code" not in headers


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (errors.ReauthorizationRequired(connection_id="con_1", connect_url="http://localhost/connect/x"), 409, None),
        (errors.TokenEndpointUnavailable(retry_after=2.1), 503, "3"),
        (errors.RefreshPending(retry_after=0.0), 503, "1"),
        (errors.StoreReadOnly(), 503, "60"),
        (errors.StoreUnavailable(), 503, "1"),
        (errors.ClientRefused(), 503, None),
        (errors.UnknownConnection(), 404, None),
    ],
)
@pytest.mark.parametrize("path", [f"{CONNECTIONS}/con_1/access-token", "/proxy/con_1/api/x"])
async def test_problems(
    service: Running[RealVault], path: str, error: errors.Error, status: int, retry_after: str | None
) -> None:
    """Every error is a problem with its code, on the API and on the proxy alike."""
    service.vault.failing = error
    got, body, headers = await ask(service, "GET", path)
    assert (got, headers["Content-Type"], headers["X-Cloudbeds-Auth-Code"]) == (
        status,
        "application/problem+json",
        error.code,
    )
    assert (body["status"], body["code"], body["title"], body["next_step"]) == (
        status,
        error.code,
        error.title(),
        error.next_step,
    )
    assert body["type"].endswith(error.code)
    assert (body.get("connection_id"), body.get("connect_url")) == (error.connection_id, error.connect_url)
    assert headers.get("Retry-After") == retry_after


@pytest.mark.parametrize("path", [f"{CONNECTIONS}/con_1/access-token", "/proxy/con_1/api/x"])
async def test_unexpected(service: Running[RealVault], path: str, caplog: pytest.LogCaptureFixture) -> None:
    """A bug of ours is a 500 problem that tells nothing, and one entry in the log."""

    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("internals")

    service.vault.access_token = broken  # type: ignore[method-assign, assignment]
    status, body, headers = await ask(service, "GET", path)
    assert (status, body["code"], headers["X-Cloudbeds-Auth-Code"]) == (500, "internal_error", "internal_error")
    assert "internals" not in str(body)
    assert len([record for record in caplog.records if record.exc_info]) == 1


async def test_ambiguous_property(service: Running[RealVault]) -> None:
    """Several connections cover the property: 409."""
    vault = service.vault
    await vault.apps.add("aurora", client_id="client-2", client_secret="secret-2")
    await vault.connect("con_2", "1000", app="aurora")
    status, body, _ = await ask(service, "GET", f"{CONNECTIONS}/1000")
    assert (status, body["code"]) == (409, "ambiguous_property")


@pytest.mark.row("A58")
async def test_ready() -> None:
    """Ready while the store is; else a problem with the code of what failed, and nothing about the machine."""
    clock = HandClock()
    vault = RealVault(clock=clock)
    async with a_service(vault) as service:
        assert (await ask(service, "GET", "/readyz"))[:2] == (200, {"status": "ready", "checks": {"store": "ok"}})
        vault.ready = False
        clock.now += 1.0
        status, body, headers = await ask(service, "GET", "/readyz")
        assert (status, body["status"], body["code"]) == (503, 503, "store_unavailable")
        assert body["detail"] == body["title"], "and no more"
        assert headers["Content-Type"] == "application/problem+json"
        assert headers["X-Cloudbeds-Auth-Code"] == "store_unavailable"
        assert int(headers["Retry-After"]) > 0


@pytest.mark.row("A79")
@pytest.mark.parametrize("ready", [True, False])
async def test_ready_is_checked_once_a_second(ready: bool) -> None:
    """However often, and by however many at once, it is asked: one check of the store a second, whatever came of it."""
    clock = HandClock()
    vault = RealVault(clock=clock)
    vault.ready, vault.check_gate = ready, asyncio.Event()
    async with a_service(vault) as service:

        async def asked() -> int:
            async with service.http.get(service.url + "/readyz") as answer:
                return answer.status

        at_once = [asyncio.create_task(asked()) for _ in range(20)]
        while not vault.checks:
            await asyncio.sleep(0)
        at_once.pop().cancel()  # the others do not notice one that hangs up
        vault.check_gate.set()
        expected = 200 if ready else 503
        assert set(await asyncio.gather(*at_once)) == {expected}
        assert ([await asked() for _ in range(20)], vault.checks) == ([expected] * 20, 1)
        clock.now += 0.9
        assert (await asked(), vault.checks) == (expected, 1)
        clock.now += 0.1
        assert (await asked(), vault.checks) == (expected, 2)


async def test_metrics_and_description(service: Running[RealVault]) -> None:
    """The numbers as Prometheus reads them; the API, described."""
    async with service.http.get(service.url + "/metrics", headers=AS_ADMIN) as answer:
        assert (await answer.read(), answer.content_type) == (b"# metrics\n", "text/plain")
    _, body, _ = await ask(service, "GET", "/openapi.json")
    assert f"{CONNECTIONS}/{{identifier}}/access-token" in body["paths"]


async def test_the_description_names_credentials_and_problems(service: Running[RealVault]) -> None:
    """Of each operation that needs one: which credentials, and every status of a problem; never FastAPI's own 422."""
    _, body, _ = await ask(service, "GET", "/openapi.json")
    assert body == (await ask(service, "GET", "/openapi.json"))[1]
    assert [next(iter(one)) for one in body["security"]] == list(body["components"]["securitySchemes"])
    assert not {"HTTPValidationError", "ValidationError"} & body["components"]["schemas"].keys()
    for path, operations in body["paths"].items():
        for operation in operations.values():
            described = operation["responses"].keys()
            assert "422" not in described
            assert (operation.get("security") == []) == (path in {"/healthz", "/readyz"})
            assert path in {"/healthz", "/readyz"} or {"400", "401", "403", "404", "409", "413", "503"} <= described
    _, problem, _ = await ask(service, "GET", f"{CONNECTIONS}/con_none")
    shape = body["components"]["schemas"]["ProblemShape"]
    assert set(shape["required"]) <= problem.keys() <= shape["properties"].keys()


async def test_paths_are_told_without_queries_and_secrets(service: Running[RealVault]) -> None:
    """What is told about a request: the path, no query, no one-time token."""
    await ask(service, "GET", f"{CONNECTIONS}?reference=secret")
    async with service.http.get(service.url + "/connect/secret-link", headers={"Host": "localhost"}):
        pass
    told = [facts["path"] for what, facts in service.vault.observer.seen if what == "request"]
    assert told == [CONNECTIONS, "/connect/…"]


# --- keys that hotels made by themselves

KEY = "cbat_canary-of-hotel-3000"


async def paste(service: Running[RealVault], *properties: str, **body: Any) -> tuple[int, Any]:
    """A key of which Cloudbeds names these properties."""
    service.vault.endpoint.property_ids = properties
    status, answer, _ = await ask(service, "POST", CONNECTIONS, json={"api_key": KEY, **body})
    assert "canary" not in str(answer)
    return status, answer


async def test_a_key_becomes_a_connection(service: Running[RealVault]) -> None:
    """Answered as the connection that it is; the same key once more is the same one, and it is lent."""
    status, body = await paste(service, "3000", app="default", reference="tenant-7")
    assert (status, body["state"], body["credential"], body["reference"]) == (201, "fresh", "api_key", "tenant-7")
    assert (body["property_ids"], body["expires_at"]) == (["3000"], None)
    assert await paste(service, "3000") == (201, body)
    assert (await service.vault.access_token("3000")).reveal() == KEY


async def test_a_key_that_moves_a_hotel(service: Running[RealVault]) -> None:
    """Of a hotel that has tokens: its connection."""
    status, body = await paste(service, "1000", connection_id="1000", expected_properties=["1000"])
    assert (status, body["id"], body["credential"]) == (201, "con_1", "api_key")
    assert service.vault.disconnected == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"api_key": "live1_canary"}, 400, "key_refused"),
        ({"api_key": "cbat_canary-dead"}, 400, "key_refused"),
        ({"reference": "tenant-of-1000"}, 409, "property_mismatch"),
        ({"connection_id": "con_1"}, 409, "property_mismatch"),
        ({"expected_properties": ["1000"]}, 409, "property_mismatch"),
        ({"connection_id": "con_canary-of-no-hotel"}, 404, "unknown_connection"),
        ({"app": "unknown"}, 400, "invalid_request"),
        ({"api_key": ["cbat_canary"]}, 400, "invalid_request"),
        ({"api_key": "cbat_canary" * 1000}, 400, "invalid_request"),
        ({"key": "cbat_canary"}, 400, "invalid_request"),
    ],
)
async def test_a_key_that_does_not_come_in(
    service: Running[RealVault], body: dict[str, Any], status: int, code: str
) -> None:
    """A clear answer that does not repeat the key, and nothing is stored."""
    service.vault.vendor.dead = {"cbat_canary-dead"}
    service.vault.sql("UPDATE connections SET reference = 'tenant-of-1000'")
    before = service.vault.sql("SELECT * FROM grants")
    service.vault.endpoint.property_ids = ("3000",)
    got, answer, headers = await ask(service, "POST", CONNECTIONS, json={"api_key": KEY, **body})
    assert (got, answer["code"], headers["X-Cloudbeds-Auth-Code"]) == (status, code, code)
    assert body.get("api_key") is None or "canary" not in str(answer)
    assert service.vault.sql("SELECT * FROM grants") == before


async def test_who_may_paste_a_key(vault: RealVault) -> None:
    """The scope `connect`; a caller that is bound to connections, for one of those alone."""
    bound = frozenset({"con_1"})
    keys = {
        "reader": Caller("reader", frozenset({Scope.READ, Scope.TOKEN})),
        "bound": Caller("bound", frozenset({Scope.CONNECT}), Bounds(bound)),
    }
    async with a_service(vault, keys) as service:
        vault.endpoint.property_ids = ("1000",)
        for name, more, expected in (
            ("reader", {}, 403),
            ("bound", {}, 403),
            ("bound", {"connection_id": "con_1"}, 201),
        ):
            body = {"api_key": KEY, **more}
            async with service.http.post(service.url + CONNECTIONS, json=body, headers={"X-API-Key": name}) as answer:
                assert answer.status == expected
