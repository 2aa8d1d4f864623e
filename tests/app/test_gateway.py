"""Who comes in: default deny, hosts, methods, credentials, limits, and the headers of every answer of ours."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.routing import Route
from tests.app.running import AS_ADMIN, Running, Vendor, a_service, raw
from tests.app.vaults import ADMIN_TOKEN, RealVault, given

from cloudbeds_auth.app.application import Service, framework
from cloudbeds_auth.app.checks import CredentialChecks
from cloudbeds_auth.app.draining import Draining
from cloudbeds_auth.app.gateway import CALLBACK, METHODS, SIGN_IN_FIRST, host_name
from cloudbeds_auth.app.http_connections import Connections
from cloudbeds_auth.app.limits import Limits, Tally
from cloudbeds_auth.app.relaying import Relay
from cloudbeds_auth.app.session_routes import SessionRoutes
from cloudbeds_auth.rules.permissions import Bounds, Caller, Scope
from cloudbeds_auth.settings import values
from cloudbeds_auth.wire.upstream import AiohttpUpstream

FORMS = ("/connect/{one_time}", "/paste-key/{one_time}", "/add-app/{one_time}")
OPERATORS = {
    "/connections",
    "/connections/{identifier}",
    "/apps",
    "/keys",
    "/audit",
    "/work",
    "/settings",
    "/live/hotels",
    "/live",
    "/docs",
}  # pages, and the stream of what changes in them
OF_SESSIONS = ("/connections", "/apps", "/keys", "/audit", "/work", "/settings", "/live", "/docs")
SENT = {
    *(f"/connections/{{identifier}}/{act}" for act in ("refresh", "link", "disconnect", "try")),
    "/keys/{key_id}/revoke",
}  # forms
SIGN_IN = {"/session", "/session/end"}  # forms that anyone may send
ANYONE = {
    *FORMS,
    "/",
    "/sign-in",
    "/healthz",
    "/readyz",
    "/connect",
    "/connected",
    "/not-connected/{code}",
    "/errors",
    "/errors/{code}",
    "/claim/{connection_id}",
    "/callback",
    "/static/{name}",
    "/favicon.ico",
}


def routes() -> list[tuple[str, str]]:
    """Method and path of every registered route."""
    vault, limits = RealVault(), Limits()
    world = vault.engine.world
    connections = Connections(limits, [], Tally(world.observer, every=limits.report_every))
    relay = Relay(vault, AiohttpUpstream("http://127.0.0.1:1"), limits)
    app = framework(
        vault,
        relay,
        lambda *_: (b"", "text/plain"),
        Draining(connections, world.clock, world.observer),
        SessionRoutes(vault, CredentialChecks(limits, world.clock), connections.tally, relay),
    )
    return sorted((method, one.path) for one in app.routes if isinstance(one, Route) for method in one.methods or ())


async def test_no_redirect_uri_is_one_of_our_paths() -> None:
    """Nor below one: below a page's, hotels would come back to the form to sign in. Nor is the path of a new route."""
    ours = {path.partition("/{")[0] for _, path in routes()}
    for path in ours - {"/", CALLBACK, SIGN_IN_FIRST}:
        for taken in (path, f"{path}/callback"):
            with pytest.raises(ValueError, match="belongs to this service"):
                values.redirect_uri(f"https://x.example{taken}")


async def test_route_table() -> None:
    """The table that the other tests walk is the one of the public contract."""
    assert set(routes()) == {
        *(("GET", path) for path in ANYONE | OPERATORS),
        *(("POST", path) for path in SENT | SIGN_IN),
        *((method, SIGN_IN_FIRST) for method in METHODS),
        *(("HEAD", path) for path in FORMS),
        *(("POST", path) for path in FORMS),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("POST", "/hooks/{secret}"),
        ("POST", "/api/v1/authorizations"),
        ("GET", "/api/v1/connections"),
        ("POST", "/api/v1/connections"),
        ("GET", "/api/v1/connections/{identifier}"),
        ("DELETE", "/api/v1/connections/{identifier}"),
        ("POST", "/api/v1/connections/{identifier}/refresh"),
        ("POST", "/api/v1/connections/{identifier}/claim"),
        ("GET", "/api/v1/connections/{identifier}/access-token"),
        ("GET", "/api/v1/connections/{identifier}/userinfo"),
        ("GET", "/api/v1/connections/{identifier}/events"),
        ("GET", "/api/v1/audit"),
        ("GET", "/api/v1/keys"),
        ("POST", "/api/v1/keys"),
        ("GET", "/api/v1/keys/{key_id}"),
        ("DELETE", "/api/v1/keys/{key_id}"),
    }


@pytest.mark.row("A21")
async def test_every_route_needs_a_credential(service: Running[RealVault]) -> None:
    """Each route, the proxy, and paths that do not exist: 401 without a credential, unless open to anyone."""
    table = [
        *routes(),
        ("GET", "/proxy/con_1/api/x"),
        ("POST", "/proxy/con_1/api/x"),
        ("GET", "/docs"),
        ("GET", "/no"),
        ("GET", "/connections/con_no/such/page"),
        ("DELETE", "/connections"),
    ]
    for method, path in table:
        url = service.url + path.format(
            identifier="con_1",
            one_time="abc",
            name="style.css",
            connection_id="con_1",
            secret="s",
            code="forbidden",
            key_id="key_1",
        )
        async with service.http.request(method, url, allow_redirects=False) as answer:
            if path in ANYONE | SIGN_IN:
                assert answer.status != 401, path
            else:
                assert answer.status == 401, path
                assert answer.headers["X-Cloudbeds-Auth-Code"] == "unauthenticated"
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")
                page = path.startswith(OF_SESSIONS)
                assert answer.content_type == ("text/html" if page else "application/problem+json")
                assert not page or method == "HEAD" or "Sign in to see this page." in await answer.text()
            _ours(dict(answer.headers))


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/errors/forbidden", "/", "/connected", "/sign-in", "/static/style.css"]
)
async def test_without_the_body(service: Running[RealVault], path: str) -> None:
    """What watches a service, or checks a link, asks with HEAD: the head of the answer to a GET, and no body."""
    heads = {}
    for method in ("GET", "HEAD"):
        request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: r-1\r\nConnection: close\r\n\r\n"
        head, _, body = (await raw(service, request.encode())).partition(b"\r\n\r\n")
        heads[method] = [line for line in head.split(b"\r\n") if not line.startswith(b"date:")]
        assert bool(body) == (method == "GET")
    assert heads["HEAD"] == heads["GET"]
    assert heads["HEAD"][0] == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    "path",
    [
        "/%68ealthz",
        "/healthz/",
        "//healthz",
        "/connect/../api/v1/connections",
        "/connect/a/b",
        "/static/../x",
        "/healthz;x",
        "/HEALTHZ",
    ],
)
async def test_twins_of_open_paths(service: Running[RealVault], path: str) -> None:
    """Only the one spelling of an open path is open."""
    answer = await raw(service, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_unknown_path_with_credential(service: Running[RealVault]) -> None:
    """With a credential, a path that does not exist is 404; a method that is not there is 405."""
    async with service.http.get(service.url + "/no", headers=AS_ADMIN) as answer:
        assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (404, "invalid_request")
    async with service.http.put(service.url + "/api/v1/connections", headers=AS_ADMIN) as answer:
        assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (405, "invalid_request")


@pytest.mark.row("A36")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": f"Bearer {ADMIN_TOKEN}"}, 200),
        ({"Authorization": f"bearer  {ADMIN_TOKEN}"}, 200),
        ({"X-API-Key": ADMIN_TOKEN}, 200),
        ({"Authorization": f"Bearer {ADMIN_TOKEN}", "X-API-Key": ADMIN_TOKEN}, 200),
        ({"Authorization": f"Bearer {ADMIN_TOKEN}", "X-API-Key": "other"}, 401),
        ({"Authorization": "Bearer other", "X-API-Key": ADMIN_TOKEN}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": ADMIN_TOKEN}, 401),
        ({"Authorization": f"Basic {ADMIN_TOKEN}"}, 401),
        ({"Authorization": f"Bearer {ADMIN_TOKEN[:-1]}"}, 401),
        ({"Authorization": f"Bearer {ADMIN_TOKEN}x"}, 401),
        ({"X-API-Key": ""}, 401),
        ({"Authorization_": f"Bearer {ADMIN_TOKEN}"}, 401),
        ({"Cookie": f"authorization={ADMIN_TOKEN}"}, 401),
    ],
)
async def test_credentials(service: Running[RealVault], headers: dict[str, str], status: int) -> None:
    """One credential in one of two headers; both and different is none."""
    async with service.http.get(service.url + "/api/v1/connections", headers=headers) as answer:
        assert answer.status == status


@pytest.mark.row("A45", control=True)
@pytest.mark.parametrize("path", ["/api/v1/connections", "/proxy/con_1/api/x", "/healthz"])
async def test_token_in_address(
    service: Running[RealVault], vendor: Vendor, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token in an address is refused, and told to nobody; unread, it would go on to the vendor's log."""
    url = f"{service.url}{path}?access_token={ADMIN_TOKEN}"
    async with service.http.get(url, headers=AS_ADMIN) as answer:
        assert answer.status == 400
        assert ADMIN_TOKEN not in await answer.text()
    assert vendor.seen == []
    assert ADMIN_TOKEN not in str(service.vault.observer.seen)
    for module in ("app.gateway", "rules.proxy_policy"):
        monkeypatch.setattr(f"cloudbeds_auth.{module}.refuse_token", lambda query: None)
    async with service.http.get(url, headers=AS_ADMIN) as answer:
        assert answer.status == 200
    assert [ADMIN_TOKEN in one.target for one in vendor.seen] == [True] * ("proxy" in path)


@pytest.mark.row("A19")
@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/api/v1/connections", "/proxy/con_1/api/x", "/no", "/", "/sign-in", "/connections"]
)
@pytest.mark.parametrize(
    "host", ["rebind.evil:8080", "localhost.", "localhost@evil", "127.0.0.1.evil", "", "localhost:x", "[::1"]
)
async def test_foreign_host(service: Running[RealVault], path: str, host: str) -> None:
    """Another host name is 421 before anything else, for the health checks too."""
    async with service.http.get(service.url + path, headers={**AS_ADMIN, "Host": host}) as answer:
        assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (421, "invalid_request")
        _ours(dict(answer.headers))


@pytest.mark.row("A13", "A19", control=True)
async def test_a_name_that_was_not_looked_at(service: Running[RealVault], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check a rebound page would read hotels, with the credential that it makes the browser send."""

    async def any_name(*_: object) -> None:
        pass

    monkeypatch.setattr("cloudbeds_auth.app.gateway.Gateway._host", any_name)
    headers = {**AS_ADMIN, "Host": "rebind.evil:8080", "Origin": "http://rebind.evil:8080"}
    async with service.http.get(service.url + "/api/v1/connections", headers=headers) as answer:
        assert (answer.status, b"con_1" in await answer.read()) == (200, True)


KEPT_OR_FRAMED = (
    "/", "/no", "/healthz", "/metrics", "/connect", "/connect/made-up", "/connected?connection_id=con_1",
    "/callback?code=c-1&state=st_1", "/callback?error=access_denied", "/not-connected/authorization_denied",
    "/errors/forbidden", "/static/style.css", "/api/v1/connections", "/api/v1/connections/con_1/access-token",
    "/api/v1/connections/con_1/userinfo", "/api/v1/connections?limit=x", "/proxy/con_1/api/x", "/proxy/con_none/api/x",
)  # fmt: skip


async def kept_and_framed(service: Running[RealVault]) -> tuple[set[str], set[str]]:
    """The paths whose answers a cache may keep, and those whose answers another site may frame."""
    kept, framed = set(), set()
    for path in KEPT_OR_FRAMED:
        headers = {**AS_ADMIN, "Host": "localhost"}
        async with service.http.get(service.url + path, headers=headers, allow_redirects=False) as answer:
            if answer.headers.get("Cache-Control") != "no-store":
                kept.add(path)
            policy = answer.headers.get("Content-Security-Policy", "")
            if answer.headers.get("X-Frame-Options") != "DENY" or "frame-ancestors 'none'" not in policy:
                framed.add(path)
    return kept, framed


@pytest.mark.row("A15", "A16", control=True)
async def test_no_answer_is_kept_or_framed(service: Running[RealVault], monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes, pages, tokens, refusals, redirects: no cache keeps them, no other site frames them. The vendor's own
    answers, which are no pages, are kept nowhere either. Without the headers each would be.
    """
    assert await kept_and_framed(service) == (set(), {"/proxy/con_1/api/x", "/api/v1/connections/con_1/userinfo"})
    for module, names in (("problems", ("SECURITY", "VENDOR")), ("proxy", ("VENDOR",))):
        for name in names:
            monkeypatch.setattr(f"cloudbeds_auth.app.{module}.{name}", ())
    assert await kept_and_framed(service) == (set(KEPT_OR_FRAMED), set(KEPT_OR_FRAMED))


@pytest.mark.row("A44", control=True)
@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
async def test_a_method_that_a_header_names(
    service: Running[RealVault], vendor: Vendor, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one of the request line counts, here and at the vendor, who never sees the header; let through, it would."""
    headers = {**AS_ADMIN, name: "DELETE", "X-Original-URL": "/healthz", "X-Rewrite-URL": "/healthz"}
    async with service.http.post(service.url + "/api/v1/connections/con_1", headers=headers) as answer:
        assert answer.status == 405
    assert service.vault.disconnected == []
    url = f"{service.url}/proxy/con_1/api/v1.3/getHotels"
    async with service.http.get(url, headers=headers) as answer:
        assert answer.status == 200
    assert (vendor.seen[0].method, vendor.seen[0].target) == ("GET", "/api/v1.3/getHotels")
    unlisted = (name, "X-Original-URL", "X-Rewrite-URL")
    assert [vendor.seen[0].header(one.lower()) for one in unlisted] == [None] * 3
    let_through = {one.lower().encode(): one.lower() for one in unlisted}
    monkeypatch.setattr("cloudbeds_auth.rules.proxy_policy.REQUEST_HEADERS", let_through)
    async with service.http.get(url, headers=headers) as answer:
        assert answer.status == 200
    assert vendor.seen[1].header(name.lower()) == "DELETE"


@pytest.mark.parametrize("host", ["localhost:²", "[::1]:²"])
def test_a_port_of_other_digits(host: str) -> None:
    """What some alphabets take for a digit is no port."""
    assert host_name(host) == ""


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:7000", "127.0.0.1:1", "[::1]:7000"])
async def test_own_hosts(host: str) -> None:
    """The names that the service is known by, with any port."""
    async with (
        a_service(RealVault(given(host="::1"))) as service,
        service.http.get(service.url + "/healthz", headers={"Host": host}) as answer,
    ):
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})


@pytest.mark.row("A13")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil"}, 421),
        ({"X-Forwarded-Host": "evil"}, 303),
        ({"Forwarded": "host=evil;proto=https"}, 303),
    ],
)
async def test_poisoned_host(service: Running[RealVault], headers: dict[str, str], status: int) -> None:
    """No header of a request reaches an address that we build: 421, or the configured one."""
    async with service.http.get(
        service.url + "/connect", headers={"Host": "localhost", **headers}, allow_redirects=False
    ) as answer:
        assert answer.status == status
        assert "evil" not in answer.headers.get("Location", "")


@pytest.mark.row("A38")
@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "CONNECT"])
async def test_methods(service: Running[RealVault], method: str) -> None:
    """No tunnel, no echo, and nothing that is not a method of RFC 9110 or PATCH."""
    target = "localhost:443" if method == "CONNECT" else "/proxy/con_1/api/x"
    answer = await raw(
        service,
        f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n"
        "Origin: https://evil\r\nAccess-Control-Request-Method: GET\r\n\r\n".encode(),
    )
    assert answer.split(b" ")[1] in {b"405", b"400"}
    assert b"access-control-allow" not in answer.lower()


@pytest.mark.row("A38")
async def test_no_preflight_is_answered(service: Running[RealVault], vendor: Vendor) -> None:
    """A browser's preflight has no credential, so a page elsewhere learns nothing; what a program sends with one is a
    call like any other.
    """
    asked = {"Origin": "https://evil", "Access-Control-Request-Method": "GET"}
    url = f"{service.url}/proxy/con_1/api/v1.3/getHotels"
    async with service.http.options(url, headers=asked) as answer:
        assert answer.status == 401
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    assert vendor.seen == []
    async with service.http.options(url, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}) as answer:
        assert (answer.status, await answer.json()) == (200, {"method": "OPTIONS", "size": 0})


async def test_a_refusal_of_a_method_names_those_of_the_path(service: Running[RealVault]) -> None:
    """Of all its routes, and not of the first (RFC 9110 section 10.2.1)."""
    signed = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with service.http.put(f"{service.url}/api/v1/connections", headers=signed) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, POST")
    async with service.http.post(f"{service.url}/healthz") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


async def test_what_can_be_read_can_be_asked_for_without_the_body(service: Running[RealVault]) -> None:
    """HEAD, wherever the API has a GET."""
    signed = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with service.http.head(f"{service.url}/api/v1/connections/con_1", headers=signed) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert answer.content_type == "application/json"


@pytest.mark.row("A38", "A67")
@pytest.mark.parametrize("upgrade", ["websocket", "h2c"])
async def test_upgrade(service: Running[RealVault], upgrade: str) -> None:
    """No protocol is upgraded to."""
    answer = await raw(
        service,
        f"GET /proxy/con_1/api/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n"
        f"Connection: Upgrade\r\nUpgrade: {upgrade}\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode(),
    )
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Content-Length": "70000"}, 413), ({"Content-Length": "9" * 30}, 400), ({"Transfer-Encoding": "chunked"}, 411)],
)
async def test_bodies_outside_the_proxy(service: Running[RealVault], headers: dict[str, str], status: int) -> None:
    """A body outside the proxy is small and its length is known; otherwise it is not even read."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST /api/v1/authorizations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n"
    answer = await raw(service, f"{head}{lines}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 %d " % status)


KEYS = {
    "reader": Caller("reader", frozenset({Scope.READ})),
    "relayer": Caller("relayer", frozenset({Scope.PROXY}), Bounds(frozenset({"con_1"}))),
    "other": Caller("other", frozenset(set(Scope) - {Scope.ADMIN}), Bounds(frozenset({"con_2"}))),
}


@pytest.mark.row("A60")
@pytest.mark.parametrize(
    ("key", "method", "path", "status"),
    [
        ("reader", "GET", "/api/v1/connections", 200),
        ("reader", "GET", "/api/v1/connections/con_1", 200),
        ("reader", "GET", "/api/v1/connections/con_1/events", 200),
        ("reader", "GET", "/api/v1/connections/con_1/access-token", 403),
        ("reader", "GET", "/api/v1/connections/con_1/userinfo", 403),
        ("reader", "POST", "/api/v1/connections/con_1/refresh", 403),
        ("reader", "DELETE", "/api/v1/connections/con_1", 403),
        ("reader", "POST", "/api/v1/authorizations", 403),
        ("reader", "GET", "/metrics", 403),
        ("reader", "GET", "/openapi.json", 403),
        ("reader", "GET", "/proxy/con_1/api/x", 403),
        ("relayer", "GET", "/proxy/con_1/api/x", 200),
        ("relayer", "GET", "/proxy/1000/api/x", 200),
        ("relayer", "GET", "/api/v1/connections", 403),
        ("other", "GET", "/proxy/con_1/api/x", 403),
        ("other", "GET", "/proxy/1000/api/x", 403),
        ("other", "GET", "/api/v1/connections/con_1", 403),
        ("other", "GET", "/api/v1/connections/1000", 403),
        ("other", "GET", "/api/v1/connections/con_1/events", 403),
        ("other", "GET", "/api/v1/connections/con_1/access-token", 403),
        ("other", "GET", "/api/v1/connections/con_1/userinfo", 403),
        ("other", "GET", "/metrics", 200),
        ("stranger", "GET", "/api/v1/connections", 401),
    ],
)
async def test_scopes(vault: RealVault, vendor: Vendor, key: str, method: str, path: str, status: int) -> None:
    """A key opens what its scopes name, for the connections that it is bound to."""
    async with (
        a_service(vault, KEYS) as service,
        service.http.request(method, service.url + path, headers={"X-API-Key": key}, json={}) as answer,
    ):
        assert answer.status == status
        if status == 403:
            assert answer.headers["X-Cloudbeds-Auth-Code"] == "forbidden"
    assert len(vendor.seen) == (1 if "proxy" in path and status == 200 else 0)


def _ours(headers: dict[str, str]) -> None:
    """The headers of every answer that is ours."""
    lower = {name.lower(): value for name, value in headers.items()}
    assert lower["cache-control"] == "no-store"
    assert lower["referrer-policy"] == "no-referrer"
    assert lower["x-content-type-options"] == "nosniff"
    assert lower["x-frame-options"] == "DENY"
    assert "default-src 'none'" in lower["content-security-policy"]
    assert "frame-ancestors 'none'" in lower["content-security-policy"]
    assert lower["x-cloudbeds-auth-code"]
    assert "access-control-allow-origin" not in lower
    assert "server" not in lower


async def test_an_error_that_nobody_expected_before_a_request_is_let_in(
    service: Running[RealVault], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A problem without internals, as behind the gateway, and a line in the log."""

    async def broken(*_: object) -> None:
        raise ZeroDivisionError("internals")

    monkeypatch.setattr("cloudbeds_auth.app.gateway.Gateway._host", broken)
    async with service.http.get(f"{service.url}/api/v1/connections", headers=AS_ADMIN) as answer:
        body = await answer.text()
        assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (500, "internal_error")
    assert "internals" not in body
    seen = [facts["status"] for what, facts in service.vault.observer.seen if what == "request"]
    assert seen[-1:] == [500]


async def test_another_server_than_ours() -> None:
    """Its callers are not bounded by our protocol: each is refused, and the application behind is not asked."""

    async def never(*_: object) -> Any:
        raise AssertionError("asked")

    service = Service(never)
    service._app = never
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await service({"type": "http", "state": {}, "method": "GET", "path": "/healthz", "headers": []}, never, send)
    assert sent[0]["status"] == 500
    assert (b"x-cloudbeds-auth-code", b"internal_error") in [
        (name.lower(), value) for name, value in sent[0]["headers"]
    ]
