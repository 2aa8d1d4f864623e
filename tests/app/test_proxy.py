"""`/proxy` over real sockets: what arrives at the vendor, and what comes back."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import aiohttp
import pytest
import yarl
from aiohttp import web
from tests.app.running import AS_ADMIN, Running, Vendor, a_service
from tests.app.vaults import RealVault, given

from cloudbeds_auth.engine.access import Access
from cloudbeds_auth.rules.model import CredentialKind

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


def form() -> aiohttp.FormData:
    data = aiohttp.FormData()
    data.add_field("note", "two\nlines")
    return data


def multipart() -> aiohttp.FormData:
    data = aiohttp.FormData()
    data.add_field("file", b"\x00\x01\xff" * 1000, filename="a.bin", content_type="application/octet-stream")
    return data


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["none", "query", "form", "json", "multipart"])
async def test_request_arrives_as_sent(service: Running[RealVault], vendor: Vendor, method: str, kind: str) -> None:
    """Method, path, query and body arrive as they were sent, with the credential of the connection."""
    bodies: dict[str, bytes | aiohttp.FormData] = {"form": form(), "json": b'{"a": 1}', "multipart": multipart()}
    headers = dict(AS_ADMIN) | ({"Content-Type": "application/json"} if kind == "json" else {})
    path = "/api/v1.3/x" + ("?a=1&b=%2F%20&c[]=2" if kind == "query" else "")
    url = yarl.URL(f"{service.url}/proxy/con_1{path}", encoded=True)
    async with service.http.request(method, url, data=bodies.get(kind), headers=headers) as answer:
        body = await answer.read()
        assert answer.status == 200
        assert "X-Cloudbeds-Auth-Code" not in answer.headers
    [seen] = vendor.seen
    assert (seen.method, seen.target) == (method, path)
    assert seen.header("authorization") == "Bearer token-1"
    assert bool(seen.body) == (kind in {"form", "json", "multipart"})
    assert body == (b"" if method == "HEAD" else b'{"method": "%b", "size": %d}' % (method.encode(), len(seen.body)))
    if kind == "json":
        assert seen.body == b'{"a": 1}'
        assert seen.header("content-type") == "application/json"
    assert service.vault.calls == [(1, method, "/api/v1.3/x", 200)]


@pytest.mark.row("A40")
async def test_a_long_path(service: Running[RealVault], vendor: Vendor) -> None:
    """Is refused before it is read in all its forms; a query may be longer."""
    for path, status in (("x" * 2048, 414), ("x" * 1900, 200), ("x?" + "y" * 3000, 200)):
        url = yarl.URL(f"{service.url}/proxy/con_1/api/v1.3/{path}", encoded=True)
        async with service.http.get(url, headers=AS_ADMIN) as answer:
            assert answer.status == status
    assert len(vendor.seen) == 2


@pytest.mark.row("A30")
@pytest.mark.parametrize(
    "path", ["/api/a%2Fb", "/api/a%2fb%2Ec", "/api/x%41", "/api/%C3%A9%20", "/api/a@b/c:d;v=1", "/api/tail/"]
)
async def test_encoding_kept(service: Running[RealVault], vendor: Vendor, path: str) -> None:
    """Encoded slashes and dots arrive as they were sent."""
    url = yarl.URL(f"{service.url}/proxy/con_1{path}?q=%2e%2E", encoded=True)
    async with service.http.get(url, headers=AS_ADMIN) as answer:
        assert answer.status == 200
    assert vendor.seen[0].target == path + "?q=%2e%2E"


@pytest.mark.row("A29", "A30", "A39")
@pytest.mark.parametrize(
    "rest", ["/%2e%2e/x", "/a/%252e%252e/x", "/a%5cb", "//evil/x", "/a%00", "/a?x=%0d%0aY:z", "/@x"]
)
async def test_traversal_refused(service: Running[RealVault], vendor: Vendor, rest: str) -> None:
    """What could leave its path is refused here and never sent."""
    url = yarl.URL(f"{service.url}/proxy/con_1{rest}", encoded=True)
    async with service.http.get(url, headers=AS_ADMIN) as answer:
        problem = await answer.json(content_type="application/problem+json")
        assert (answer.status, problem["code"]) == (400, "invalid_request")
        assert answer.headers["X-Cloudbeds-Auth-Code"] == "invalid_request"
    assert vendor.seen == []


@pytest.mark.row("A30", control=True)
@pytest.mark.parametrize("path", ["/api/%2e%2e/oauth2", "/api/a/..%3b/x", "/api/a%5cb", "/api//x", "/api/a%00"])
async def test_a_path_that_was_not_judged(
    service: Running[RealVault], vendor: Vendor, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused; with the judgement left out it would reach the vendor as it came."""
    url = yarl.URL(f"{service.url}/proxy/con_1{path}", encoded=True)
    async with service.http.get(url, headers=AS_ADMIN) as answer:
        assert answer.status == 400
    assert vendor.seen == []
    monkeypatch.setattr("cloudbeds_auth.rules.proxy_policy._judge", lambda path: None)
    async with service.http.get(url, headers=AS_ADMIN) as answer:
        assert answer.status == 200
    assert [one.target for one in vendor.seen] == [path]


@pytest.mark.row("A35")
async def test_callers_credentials_stay_here(service: Running[RealVault], vendor: Vendor) -> None:
    """The caller's Authorization, X-API-Key, Cookie and Proxy-Authorization never reach the vendor."""
    headers = {
        **AS_ADMIN,
        "X-API-Key": AS_ADMIN["Authorization"].removeprefix("Bearer "),
        "Cookie": "a=b",
        "Proxy-Authorization": "Basic eA==",
    }
    async with service.http.get(f"{service.url}/proxy/con_1/api/x", headers=headers) as answer:
        assert answer.status == 200
    sent = {name.lower(): value for name, value in vendor.seen[0].headers}
    assert sent["authorization"] == "Bearer token-1"
    assert not {"x-api-key", "cookie", "proxy-authorization"} & set(sent)
    assert AS_ADMIN["Authorization"] not in sent.values()


@pytest.mark.row("A35")
async def test_a_key_in_its_own_header(vendor: Vendor) -> None:
    """Ours goes out in `x-api-key` alone; the caller's own `x-api-key` is a credential for here and stays."""
    vault = RealVault(given(base_url=vendor.base_url, credential_header="x-api-key"))
    vault.endpoint.kind, vault.endpoint.credential, vault.proven = "cbat_", CredentialKind.API_KEY, True
    headers = {**AS_ADMIN, "X-API-Key": AS_ADMIN["Authorization"].removeprefix("Bearer ")}
    async with a_service(vault) as service:
        await vault.connect("con_key", "4000")
        async with service.http.get(f"{service.url}/proxy/con_key/api/x", headers=headers) as answer:
            assert answer.status == 401, "this vendor knows bearers only"
    sent = [[(name.lower(), value) for name, value in one.headers] for one in vendor.seen]
    shown = [[one for one in headers if one[0] in {"x-api-key", "authorization"}] for headers in sent]
    assert shown == [[("x-api-key", "cbat_1")]]


@pytest.mark.row("A34")
async def test_connection_nominates_the_credential(service: Running[RealVault], vendor: Vendor) -> None:
    """`Connection: authorization` does not strip the credential that is added here; what is named there goes no
    further: another id of the request does.
    """
    headers = {**AS_ADMIN, "Connection": "authorization, x-request-id", "X-Request-ID": "r"}
    async with service.http.get(f"{service.url}/proxy/con_1/api/x", headers=headers) as answer:
        assert answer.status == 200
    assert vendor.seen[0].header("authorization") == "Bearer token-1"
    assert vendor.seen[0].header("x-request-id") == answer.headers["X-Cloudbeds-Auth-Request-ID"] != "r"


@pytest.mark.parametrize(
    ("identifier", "sent", "expected"), [("con_1", "77", "77"), ("1000", "77", "1000"), ("con_1", None, None)]
)
async def test_property_id(
    service: Running[RealVault], vendor: Vendor, identifier: str, sent: str | None, expected: str | None
) -> None:
    """`X-PROPERTY-ID` is the id in the path when that is a property's, else the caller's."""
    headers = AS_ADMIN | ({"X-PROPERTY-ID": sent} if sent else {})
    async with service.http.get(f"{service.url}/proxy/{identifier}/api/x", headers=headers) as answer:
        assert answer.status == 200
    assert vendor.seen[0].header("x-property-id") == expected


@pytest.mark.row("F62", control=True)
async def test_the_database_is_away(
    service: Running[RealVault], vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that is in memory serves, by either id, and nothing is asked of the database. Without the memory every
    hotel would be away, too.
    """
    urls = [f"{service.url}/proxy/{named}/api/x" for named in ("1000", "con_1")]
    async with service.http.get(urls[0], headers=AS_ADMIN) as answer:
        assert answer.status == 200
    await service.vault.store.close()
    for url in urls:
        async with service.http.get(url, headers=AS_ADMIN) as answer:
            assert answer.status == 200
    assert len(vendor.seen) == 3
    monkeypatch.setattr(Access, "_entry", lambda self, connection_id: None)
    for url in urls:
        async with service.http.get(url, headers=AS_ADMIN) as answer:
            assert answer.status == 503
    assert len(vendor.seen) == 3


@pytest.mark.parametrize("named", ["9999", "con_unknown"])
async def test_nothing_is_connected_there(service: Running[RealVault], vendor: Vendor, named: str) -> None:
    """404, and nothing is sent."""
    async with service.http.get(f"{service.url}/proxy/{named}/api/x", headers=AS_ADMIN) as answer:
        assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (404, "unknown_connection")
    assert vendor.seen == []


async def test_answer_passes_unchanged(service: Running[RealVault], vendor: Vendor) -> None:
    """Status, body bytes (still encoded) and the listed headers pass; cookies and the server's name do not."""
    packed = gzip.compress(b"hello" * 100)

    async def answer_packed(request: web.Request) -> web.StreamResponse:
        headers = {
            "Content-Encoding": "gzip",
            "Content-Type": "text/plain",
            "X-Request-ID": "v-1",
            "Set-Cookie": "a=b",
            "Retry-After": "3",
            "Authorization": "Bearer echoed",
        }
        return web.Response(status=429, body=packed, headers=headers)

    vendor.answer = answer_packed
    async with service.http.get(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN) as answer:
        assert answer.status == 429
        assert await answer.read() == packed
        assert answer.headers["X-Request-ID"] == "v-1"
        assert answer.headers["Retry-After"] == "3"
        assert answer.headers["Content-Length"] == str(len(packed))
        assert not {"Set-Cookie", "Server", "Authorization"} & set(answer.headers)


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_length_of_a_body_that_does_not_come(
    service: Running[RealVault], vendor: Vendor, method: str, status: int
) -> None:
    """An answer without a body may tell the length that another one has; it is a whole answer all the same."""

    async def unmodified(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        head = f'HTTP/1.1 {status} No Body\r\nETag: "a"\r\nContent-Length: 123\r\n\r\n'
        request.transport.write(head.encode())
        request.transport.close()
        return web.Response()

    vendor.answer = unmodified
    for _ in range(2):  # the first is done when the second is answered
        async with service.http.request(method, f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN) as answer:
            assert (answer.status, answer.headers["ETag"], await answer.read()) == (status, '"a"', b"")
            assert "Content-Length" not in answer.headers
    told = [facts for what, facts in service.vault.observer.seen if what in {"proxied", "proxy_refused"}]
    assert (told[0]["status"], told[0]["complete"]) == (status, True)


@pytest.mark.row("A33")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "where",
    ["https://evil.example/x", "http://127.0.0.1:9/x", "//evil.example", "http://127.0.0.1@evil.example/", "/y"],
)
async def test_redirect_is_not_followed(service: Running[RealVault], vendor: Vendor, status: int, where: str) -> None:
    """A redirect is the caller's to see, within the vendor's host too; the credential goes nowhere with it."""

    async def away(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": where})

    vendor.answer = away
    async with service.http.post(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (status, where)
    assert [one.target for one in vendor.seen] == ["/api/x"]


@pytest.mark.row("F40")
@pytest.mark.parametrize("status", [200, 400, 403, 404, 409, 422, 429, 500, 503])
async def test_another_answer_costs_nothing(service: Running[RealVault], vendor: Vendor, status: int) -> None:
    """Whatever is no 401 is passed on, sent once, and nothing is refreshed for it."""

    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.json_response({"status": status}, status=status)

    vendor.answer = refuse
    async with service.http.post(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN, data=b"x") as answer:
        assert (answer.status, await answer.json()) == (status, {"status": status})
        assert "X-Cloudbeds-Auth-Code" not in answer.headers
    assert len(vendor.seen) == 1
    assert (service.vault.endpoint.refreshes, service.vault.rejections) == (0, 0)


@pytest.mark.parametrize(
    ("sent", "told"),
    [("WgADwSPM-1", "WgADwSPM-1"), (None, None), ("x" * 201, None), ("two words", None)],
)
async def test_the_vendors_request_id_is_told(
    service: Running[RealVault], vendor: Vendor, sent: str | None, told: str | None
) -> None:
    """It is what Cloudbeds' support asks for: passed back, and part of the line that the log has for every call."""

    async def answered(request: web.Request) -> web.StreamResponse:
        return web.Response(headers={} if sent is None else {"X-Request-ID": sent})

    vendor.answer = answered
    async with service.http.get(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN) as answer:
        assert answer.headers.get("X-Request-ID") == sent
    async with asyncio.timeout(20):
        while not (facts := [facts for what, facts in service.vault.observer.seen if what == "proxied"]):
            await asyncio.sleep(0)
    assert [one["vendor_request_id"] for one in facts] == [told]


HOP_BY_HOP = ["Keep-Alive", "TE", "Trailer", "Upgrade-Insecure-Requests", "Proxy-Connection", "X-Forwarded-For", "Via",
              "Origin", "Referer", "Forwarded", "X-Original-URL", "X-HTTP-Method-Override"]  # fmt: skip


async def test_only_listed_headers_are_sent(service: Running[RealVault], vendor: Vendor) -> None:
    """Hop-by-hop headers and whatever is not known to be harmless stay here; what is, arrives with its value."""
    kept = {
        "Accept": "a/b",
        "Accept-Encoding": "gzip;q=0.5",
        "Accept-Language": "de",
        "If-None-Match": '"x"',
        "Idempotency-Key": "k",
        "User-Agent": "me",
    }
    headers = AS_ADMIN | kept | dict.fromkeys(HOP_BY_HOP, "x") | {"Accept-Encoding": "br, gzip;q=0.5, zstd"}
    async with service.http.get(f"{service.url}/proxy/con_1/api/x", headers=headers) as answer:
        assert answer.status == 200
    sent = {name.lower(): value for name, value in vendor.seen[0].headers}
    assert {name: sent.pop(name.lower()) for name in kept} == kept
    assert set(sent) == {"authorization", "host", "x-request-id"}, "the credential, what aiohttp needs, and the id"


@pytest.mark.row("A44")
@pytest.mark.parametrize("path", ["/api/v1.3/getGuest/x.css", "/api/v1.3/getGuest;.js", "/api/v1.3/getGuest%2Fx.png"])
async def test_an_address_that_looks_like_a_file(service: Running[RealVault], vendor: Vendor, path: str) -> None:
    """Whatever the vendor says about it, no cache between us and the caller keeps what a guest's data is."""

    async def cacheable(request: web.Request) -> web.StreamResponse:
        return web.Response(text="{}", headers={"Cache-Control": "public, max-age=600", "Expires": "0", "Age": "1"})

    vendor.answer = cacheable
    url = yarl.URL(f"{service.url}/proxy/con_1{path}", encoded=True)
    async with service.http.get(url, headers=AS_ADMIN) as answer:
        assert answer.headers.getall("Cache-Control") == ["no-store"]
        assert not {"Expires", "Age"} & set(answer.headers)


@pytest.mark.row("A68")
async def test_what_a_request_is_conditional_on(service: Running[RealVault], vendor: Vendor) -> None:
    """Ranges and conditions are the vendor's to judge and arrive as they were sent; `Expect` is answered here, and a
    body with any boundary is bytes to us, passed on unread.
    """
    conditions = {
        "Range": "bytes=0-0,-1,0-9999999999999999", "If-Range": '"x"', "If-Match": "*", "If-None-Match": 'W/"x", "y"',
        "If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT", "If-Unmodified-Since": "never",
    }  # fmt: skip
    tricks = b'--a\r\nContent-Disposition: form-data; name="x"; filename="..\\..\\x"\r\n\r\n--b--\r\n--a\r\n'
    headers = AS_ADMIN | conditions | {"Content-Type": 'multipart/form-data; boundary="a"; boundary=b'}
    async with service.http.post(
        f"{service.url}/proxy/con_1/api/x", headers=headers, data=tricks, expect100=True
    ) as answer:
        assert answer.status == 200
    [seen] = vendor.seen
    assert {name: seen.header(name.lower()) for name in conditions} == conditions
    assert (seen.header("expect"), seen.body) == (None, tricks)
    assert seen.header("content-type") == headers["Content-Type"]


async def test_streams_both_ways(service: Running[RealVault], vendor: Vendor) -> None:
    """A chunk is passed on before the next one exists, in both directions."""
    turns = asyncio.Queue[bytes]()

    async def echo(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        async for chunk in request.content.iter_any():
            await answer.write(chunk.upper())
        await answer.write_eof()
        return answer

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * (service.vault.settings.replay_limit + 1)
        yield await turns.get()
        yield await turns.get()

    vendor.before = echo
    async with service.http.post(f"{service.url}/proxy/con_1/api/x", headers=AS_ADMIN, data=body()) as answer:
        assert answer.status == 200
        await answer.content.readexactly(service.vault.settings.replay_limit + 1)
        for word in (b"one", b"two"):
            turns.put_nowait(word)
            assert await answer.content.readexactly(3) == word.upper()
        assert await answer.read() == b""
