"""What the service refused: one line for each, and in it who asked for what, for which hotel, and why not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from tests.app.running import AS_ADMIN, Running, Vendor, a_service
from tests.app.vaults import Observer, RealVault, given

from cloudbeds_auth.app.gateway import route_of
from cloudbeds_auth.app.limits import Tally
from cloudbeds_auth.errors import ReauthorizationRequired
from cloudbeds_auth.ports import REQUEST_ID, Fact
from cloudbeds_auth.rules.happenings import ROUTES, Happening
from cloudbeds_auth.rules.permissions import METRICS

OURS = "X-Cloudbeds-Auth-Request-ID"


async def line(vault: RealVault, event: str) -> Mapping[str, Fact]:
    """The facts of the last event of this name, when there is one."""
    async with asyncio.timeout(20):
        while not (found := [facts for what, facts in vault.observer.seen if what == event]):
            await asyncio.sleep(0)
    return found[-1]


@pytest.mark.parametrize(
    ("path", "headers", "status", "route", "code", "hotel", "reason"),
    [
        ("/api/v1/connections", {}, 401, "/api/v1", "unauthenticated", None,
         "A credential of this service is required"),
        ("/nowhere", AS_ADMIN, 404, "other", "invalid_request", None, "There is nothing at this path"),
        ("/api/v1/connections/con_x?a=b", AS_ADMIN, 404, "/api/v1", "unknown_connection", "con_x",
         "nothing is connected under 'con_x'"),
        ("/api/v1/connections/1000/access-token?min_valid=1e9", AS_ADMIN, 400, "/api/v1", "invalid_request", "con_1",
         None),
        ("/connect/nolink", {}, 400, "/connect", "authorization_expired", None, None),
        ("/metrics", {"X-API-Key": "wrong"}, 401, "/metrics", "unauthenticated", None,
         "this credential is not known here"),
    ],
)  # fmt: skip
async def test_a_refused_request_says_why(
    service: Running[RealVault], path: str, headers: dict[str, str], status: int, route: str, code: str,
    hotel: str | None, reason: str | None,
) -> None:  # fmt: skip
    """Status, code, route, path without its query, the hotel as far as it is known, the reason, and the address."""
    async with service.http.get(service.url + path, headers=headers) as answer:
        assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (status, code)
    told = await line(service.vault, "request")
    assert (told["status"], told["route"], told["code"], told["connection_id"]) == (status, route, code, hotel)
    assert told["path"] == path.partition("?")[0].replace("nolink", "…")
    assert told["address"] == "127.0.0.1"
    assert told["reason"] == reason if reason else told["reason"]


async def test_what_was_not_refused_has_neither_code_nor_reason(service: Running[RealVault]) -> None:
    """And its hotel is named all the same; a page that says `ok` by itself is no refusal either."""
    for path, hotel in (("/api/v1/connections/1000", "con_1"), ("/connected", None)):
        async with service.http.get(service.url + path, headers=AS_ADMIN) as answer:
            assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (200, "ok")
        told = await line(service.vault, "request")
        assert (told["path"], told["code"], told["reason"]) == (path, None, None)
        assert told["connection_id"] == hotel


async def test_a_call_that_the_proxy_refuses(service: Running[RealVault]) -> None:
    """With the hotel, also where a property was asked for, and the reason that the caller was given."""
    service.vault.failing = ReauthorizationRequired("revoked by the hotel")
    url = f"{service.url}/proxy/1000/api/v1.3/getHotels?secret=x"
    async with service.http.get(url, headers=AS_ADMIN) as answer:
        assert answer.status == 409
    assert dict(await line(service.vault, "proxy_refused")) == {
        "connection_id": "con_1", "method": "GET", "route": "/proxy", "path": "/proxy/1000/api/v1.3/getHotels",
        "caller": "admin",
        "status": 409, "code": "reauthorization_required", "reason": "revoked by the hotel", "address": "127.0.0.1",
    }  # fmt: skip


async def test_the_address_that_a_trusted_proxy_forwards(vendor: Vendor) -> None:
    """That of the caller; one that no trusted proxy forwards says nothing."""
    forwarded = {**AS_ADMIN, "X-Forwarded-For": "203.0.113.9"}
    for trusted, address in (("127.0.0.1", "203.0.113.9"), ("192.0.2.1", "127.0.0.1")):
        vault = RealVault(given(base_url=vendor.base_url, trusted_proxies=trusted))
        async with a_service(vault) as service:
            async with service.http.get(f"{service.url}/proxy/con_x/api/v1.3/x", headers=forwarded) as answer:
                assert answer.status == 404
            assert (await line(vault, "proxy_refused"))["address"] == address


@pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/proxy/con_1/api/x", "/proxy/con_x/api/x", "/connect/x"])
async def test_every_answer_gives_the_id_back(service: Running[RealVault], path: str) -> None:
    """The caller's own; another for each request where it brings none."""
    headers = {**AS_ADMIN, "X-Request-ID": "their-7"}
    async with service.http.get(service.url + path, headers=headers) as answer:
        assert answer.headers.getall(OURS) == ["their-7"]
    made = set()
    for _ in range(2):
        async with service.http.get(service.url + path, headers=AS_ADMIN) as answer:
            made |= set(answer.headers.getall(OURS))
    assert len(made) == 2


async def test_a_refused_credential_gets_the_id_too(service: Running[RealVault]) -> None:
    """It is what the caller shows who asks for help."""
    async with service.http.get(
        f"{service.url}/metrics", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    ) as no:
        assert (no.status, no.headers[OURS]) == (401, "a" * 32)


@pytest.mark.parametrize("path", ["/proxy/con_1/api/v1.3/x", "/api/v1/connections/con_1/userinfo"])
async def test_the_id_goes_on_to_cloudbeds(service: Running[RealVault], vendor: Vendor, path: str) -> None:
    """As `X-Request-ID`, once, whoever made it; in the answer `X-Request-ID` is Cloudbeds'."""
    for headers in (AS_ADMIN, {**AS_ADMIN, "X-Request-ID": "their-8"}, {**AS_ADMIN, "X-Request-ID": "no id"}):
        async with service.http.get(service.url + path, headers=headers) as answer:
            assert answer.status == 200
            assert "X-Request-ID" not in answer.headers
        sent = [value for name, value in vendor.seen[-1].headers if name.lower() == "x-request-id"]
        assert sent == [answer.headers[OURS]]
        assert (sent == ["their-8"]) == (headers.get("X-Request-ID") == "their-8")


async def test_what_a_call_took(service: Running[RealVault], vendor: Vendor) -> None:
    """Of it what was waited for a turn, and what Cloudbeds took until it answered: apart."""
    async with service.http.get(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN) as answer:
        assert answer.status == 200
    told = await line(service.vault, "proxied")
    seconds, turn, theirs = (told[name] for name in ("seconds", "turn_seconds", "vendor_seconds"))
    assert isinstance(seconds, float)
    assert isinstance(turn, float)
    assert isinstance(theirs, float)
    assert turn >= 0
    assert 0 < theirs <= seconds - turn


async def test_who_may_read_numbers_may_read_nothing_else(vault: RealVault) -> None:
    """Every other route that needs a credential refuses the caller of `/metrics`."""
    async with a_service(vault, {"reader-of-numbers": METRICS}) as service:
        headers = {"Authorization": "Bearer reader-of-numbers"}
        for path, status in {
            "/metrics": 200,
            "/api/v1/connections": 403,
            "/api/v1/connections/con_1": 403,
            "/api/v1/connections/con_1/events": 403,
            "/api/v1/connections/con_1/access-token": 403,
            "/api/v1/connections/con_1/userinfo": 403,
            "/openapi.json": 403,
            "/proxy/con_1/api/v1.3/getHotels": 403,
        }.items():
            async with service.http.get(service.url + path, headers=headers) as answer:
                assert answer.status == status, path
        for method, path in (("POST", "/api/v1/authorizations"), ("POST", "/api/v1/connections/con_1/refresh"),
                             ("DELETE", "/api/v1/connections/con_1")):  # fmt: skip
            async with service.http.request(method, service.url + path, headers=headers, json={}) as answer:
                assert answer.status == 403, path


@pytest.mark.parametrize(
    ("path", "route"),
    [("/proxy/con_1/api/x", "/proxy"), ("/api/v1/keys", "/api/v1"), ("/api/v1x", "other"), ("/connected", "other"),
     ("/metrics", "/metrics"), ("/", "other"), ("/callback", "/callback"), ("", "other")],
)  # fmt: skip
def test_routes_are_few(path: str, route: str) -> None:
    """Whatever was asked for, a metric shows one of these."""
    assert route_of(path) == route
    assert route in ROUTES


async def test_what_is_reported_together_names_no_request() -> None:
    """The first wrong credential is reported with its request, and those that follow, of many, without one."""
    found: list[tuple[str | None, Fact]] = []

    class Noting(Observer):
        def happened(self, what: str, /, **facts: Fact) -> None:
            found.append((REQUEST_ID.get(), facts["times"]))

    tally = Tally(Noting(), every=0.01)

    async def refused(request_id: str) -> None:
        REQUEST_ID.set(request_id)
        tally.add(Happening.CREDENTIAL_REFUSED, address="192.0.2.1")

    for request_id in ("r-1", "r-2", "r-3"):
        await asyncio.create_task(refused(request_id))
    async with asyncio.timeout(20):
        while len(found) < 2:
            await asyncio.sleep(0.01)
    tally.close()
    assert found == [("r-1", 1), (None, 2)]
