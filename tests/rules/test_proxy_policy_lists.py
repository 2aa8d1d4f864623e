"""What the proxy lets through, judged without a network."""

import re

import pytest

from cloudbeds_auth.errors import InvalidRequest, UpstreamFailed
from cloudbeds_auth.rules import proxy_policy
from cloudbeds_auth.rules.proxy_policy import property_of, query_of, request_headers, response_headers, upstream_path

ANY_BYTES, NO_TEXT, NO_BYTES = re.compile(rb""), re.compile(r"(?!)"), re.compile(rb"(?!)")  # judge nothing


@pytest.mark.parametrize(
    ("raw", "identifier", "path"),
    [
        (b"/proxy/con_1/api/v1.3/userinfo", "con_1", "/api/v1.3/userinfo"),
        (b"/proxy/1000/api/v1.3/getHotels/", "1000", "/api/v1.3/getHotels/"),
        (b"/proxy/con_1", "con_1", "/"),
        (b"/proxy/con_1/", "con_1", "/"),
        (b"/proxy/con_1/a%2Fb", "con_1", "/a%2Fb"),
        (b"/proxy/con_1/a%2fb", "con_1", "/a%2fb"),
        (b"/proxy/con_1/a%2Eb/x%41", "con_1", "/a%2Eb/x%41"),
        (b"/proxy/con_1/a%20b/%C3%A9", "con_1", "/a%20b/%C3%A9"),
        (b"/proxy/con_1/a...b/.hidden/b..", "con_1", "/a...b/.hidden/b.."),
        (b"/proxy/con_1/a@b/c:d", "con_1", "/a@b/c:d"),
        (b"/proxy/con_1/a;v=1/b", "con_1", "/a;v=1/b"),
        (b"/proxy/con_1/100%25", "con_1", "/100%25"),
    ],
)
def test_path_kept(raw: bytes, identifier: str, path: str) -> None:
    """The vendor's path goes on exactly as it was sent, encoded slashes and dots included."""
    assert upstream_path(raw) == (identifier, path)


@pytest.mark.row("A30", "A39")
@pytest.mark.parametrize(
    "rest",
    [
        b"../x",
        b"a/../x",
        b"a/..",
        b"..",
        b".",
        b"./x",
        b"a/./x",
        b"%2e%2e/x",
        b"%2E%2e/x",
        b".%2e/x",
        b"%2e/x",
        b"a/%2e%2e%2fx",
        b"a%2f..%2fx",
        b"%252e%252e/x",
        b"%252e%252e%252fx",
        b"%25252e%25252e/x",
        b"%2525252e%2525252e/x",
        b"%252525252525252e%2e/x",
        b"..;/x",
        b"..;v=1/x",
        b"%2e%2e;/x",
        b"..%3b/x",
        b"\\x",
        b"a\\..\\x",
        b"%5cx",
        b"a%5c..%5cx",
        b"%255cx",
        b"/x",
        b"/evil/x",
        b"a//x",
        b"%2fevil",
        b"%2f%2fevil",
        b"%252fevil",
        b"%00",
        b"a%00b",
        b"%2500",
        b"a%0d%0aX:%20y",
        b"a%0ab",
        b"a%250d%250ab",
        b"a\r\nb",
        b"a\x00b",
        b"a\x7fb",
        b"a%7fb",
        b"a b",
        b"%c0%ae%c0%ae/x",
        b"%c0%af",
        b"%e0%80%ae/x",
        b"%ff",
        b"\xc0\xae",
        b"%ef%bc%8e%ef%bc%8e/x",
        b"%e2%80%a5/x",
        b"a%",
        b"a%2",
        b"a%zz",
        b"x#frag",
        b"x?y",
        b"a%c2%85b",
        b"%2e%2e%20/x",
    ],
)
def test_path_refused(rest: bytes) -> None:
    """Whatever leaves the path it names, in any encoding, raises InvalidRequest (A30)."""
    with pytest.raises(InvalidRequest):
        upstream_path(b"/proxy/con_1/" + rest)


@pytest.mark.row("A29")
@pytest.mark.parametrize(
    "raw",
    [
        b"/proxy/http://evil",
        b"/proxy/http:/evil",
        b"/proxy/@evil",
        b"/proxy/@evil/x",
        b"/proxy//evil/x",
        b"/proxy/",
        b"/proxy/../x",
        b"/proxy/%2e%2e/x",
        b"/proxy/./x",
        b"/proxy/con_1%2fx",
        b"/proxy/con_1@evil/x",
        b"/proxy/con_1:80/x",
        b"/proxy/con_1/@evil",
        b"/proxy/con_1/%40evil",
        b"/proxy/con_1/http://evil",
        b"/proxy/con_1/http:/evil",
        b"/proxy/con_1/http%3A%2F%2Fevil",
        b"/proxy/con_1//evil/x",
        b"/proxy/con_1/#evil",
        b"/proxy/" + b"x" * 129 + b"/x",
        b"//proxy/con_1/x",
        b"http://evil/proxy/con_1/x",
    ],
)
def test_authority_refused(raw: bytes) -> None:
    """A request chooses a path, never a host (A29)."""
    with pytest.raises(InvalidRequest):
        upstream_path(raw)


@pytest.mark.row("A29")
@pytest.mark.parametrize("query", [b"", b"a=1&b=%2F%2e&url=http://evil/&c[]=%E9&x", b"a='b'", b"token=1"])
def test_query_kept(query: bytes) -> None:
    """A query goes on exactly as it was sent; it never chooses a host."""
    assert query_of(query) == query.decode()


@pytest.mark.row("A45")
@pytest.mark.parametrize(
    "query",
    [
        b"access_token=x",
        b"a=1&access_token=x",
        b"access_token",
        b"ACCESS_TOKEN=x",
        b"access%5ftoken=x",
        b"%61ccess_token=x",
        b"+access_token=x",
    ],
)
def test_token_in_query(query: bytes) -> None:
    """A token in an address is refused in every spelling."""
    with pytest.raises(InvalidRequest) as caught:
        query_of(query)
    assert "=x" not in str(caught.value)


@pytest.mark.row("A39", control=True)
@pytest.mark.parametrize("query", [b"a=%0d%0aX:y", b"a=%0A", b"a=%00", b"a\r\nb", b"a b", b"a#b", b"a=%7f"])
def test_query_refused(query: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Line breaks and control characters do not pass; unjudged, they would go on as they came."""
    with pytest.raises(InvalidRequest):
        query_of(query)
    monkeypatch.setattr(proxy_policy, "_SENDABLE", ANY_BYTES)
    monkeypatch.setattr(proxy_policy, "_QUERY_CONTROL", NO_TEXT)
    assert b"#" in query or query_of(query) == query.decode()


@pytest.mark.row("A39")
def test_a_query_of_other_bytes_than_ascii() -> None:
    """Is none."""
    with pytest.raises(InvalidRequest):
        query_of(b"\xff")


CALLER = [
    (b"host", b"127.0.0.1:7000"),
    (b"authorization", b"Bearer ours"),
    (b"x-api-key", b"ours"),
    (b"cookie", b"session=ours"),
    (b"proxy-authorization", b"Basic eA=="),
    (b"authorization_", b"twin"),
    (b"x_property_id", b"twin"),
    (b"content-type", b"application/json"),
    (b"accept", b"application/json"),
    (b"x-property-id", b"77"),
    (b"x-request-id", b"r-1"),
    (b"forwarded", b"host=evil"),
    (b"x-forwarded-host", b"evil"),
    (b"x-original-url", b"/evil"),
    (b"x-http-method-override", b"DELETE"),
    (b"expect", b"100-continue"),
    (b"te", b"trailers"),
    (b"upgrade", b"h2c"),
    (b"transfer-encoding", b"chunked"),
    (b"content-length", b"3"),
    (b"keep-alive", b"1"),
    (b"origin", b"https://evil"),
]


@pytest.mark.row("A35", "A36", "A44", control=True)
def test_request_headers_are_an_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials and their twins, cookies, hop-by-hop, override and forwarding headers stay here; none would without
    the list.
    """
    assert request_headers(CALLER, None, "r-2") == [
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("x-property-id", "77"),
        ("x-request-id", "r-2"),
    ]
    monkeypatch.setattr(proxy_policy, "REQUEST_HEADERS", {name: name.decode() for name, _ in CALLER})
    assert {"authorization", "authorization_", "cookie", "x-http-method-override"} <= {
        name for name, _ in request_headers(CALLER, None, None)
    }


def test_property_id_of_the_path() -> None:
    """`{id}` as a property id replaces the caller's header."""
    sent = dict(request_headers(CALLER, "1000", None))
    assert sent["x-property-id"] == "1000"


@pytest.mark.row("A34")
@pytest.mark.parametrize(
    ("nominated", "gone"),
    [(b"authorization", ""), (b"Accept, close", "accept"), (b"close,X-Property-ID", "x-property-id")],
)
def test_connection_nominated(nominated: bytes, gone: str) -> None:
    """What `Connection` names is for this hop only, and dropped before the credential is added (A34)."""
    sent = dict(request_headers([*CALLER, (b"Connection", nominated)], None, None))
    assert gone not in sent
    assert "authorization" not in sent
    assert "content-type" in sent


@pytest.mark.row("A35", "A36")
@pytest.mark.parametrize("name", [b"Authorization", b"AUTHORIZATION", b"X-Api-Key", b"Cookie", b"Proxy-Authorization"])
def test_credentials_in_any_case(name: bytes) -> None:
    """Case is no way around the list (A35, A36)."""
    assert request_headers([(name, b"x")], None, None) == []


@pytest.mark.row("A39")
@pytest.mark.parametrize("value", [b"a\r\nX: y", b"a\x00", b"a\x7f", b"\xc3\xa9"])
def test_header_values_are_plain(value: bytes) -> None:
    """A value that is no plain text is refused (A39)."""
    with pytest.raises(InvalidRequest):
        request_headers([(b"accept", value)], None, None)


@pytest.mark.row("A68")
@pytest.mark.parametrize("name", [b"content-type", b"x-property-id", b"Range"])
def test_doubled_headers(name: bytes) -> None:
    """What two parsers may read differently is refused."""
    with pytest.raises(InvalidRequest):
        request_headers([(name, b"a"), (name.lower(), b"b")], None, None)


def test_repeated_accept() -> None:
    """A list header may come in several lines."""
    assert len(request_headers([(b"accept", b"a/b"), (b"accept", b"c/d")], None, None)) == 2


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (b"gzip, compress, deflate, br", "gzip, deflate"),  # axios
        (b"br;q=1.0, GZIP ; q=0.8,x-gzip, ZSTD, identity;q=0, *;q=0.1", "GZIP ; q=0.8, x-gzip, identity;q=0"),
        (b"br, zstd", "identity"),
        (b"", "identity"),
    ],
)
def test_only_what_can_be_looked_into_is_asked_for(asked: bytes, sent: str) -> None:
    """A refusal in `br` or `zstd` would teach the connection nothing; the other codings keep their weights."""
    assert request_headers([(b"Accept-Encoding", asked)], None, None) == [("accept-encoding", sent)]


@pytest.mark.row("A42", control=True)
def test_response_headers_are_an_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cookies, echoed credentials, the server's name and hop-by-hop headers stay there; the rest passes. All would
    without the list.
    """
    vendor = [
        (b"content-type", b"application/json"),
        (b"content-length", b"2"),
        (b"content-encoding", b"gzip"),
        (b"x-request-id", b"v-1"),
        (b"retry-after", b"3"),
        (b"location", b"https://elsewhere.example/x"),
        (b"set-cookie", b"a=b"),
        (b"authorization", b"Bearer echoed"),
        (b"server", b"nginx"),
        (b"connection", b"X-RateLimit-Limit, keep-alive"),
        (b"x-ratelimit-limit", b"10"),
        (b"transfer-encoding", b"chunked"),
        (b"trailer", b"x"),
        (b"keep-alive", b"5"),
        (b"access-control-allow-origin", b"*"),
        (b"strict-transport-security", b"max-age=1"),
        (b"x-cloudbeds-auth-code", b"forged"),
    ]
    assert response_headers(vendor) == [
        (b"content-type", b"application/json"),
        (b"content-length", b"2"),
        (b"content-encoding", b"gzip"),
        (b"x-request-id", b"v-1"),
        (b"retry-after", b"3"),
        (b"location", b"https://elsewhere.example/x"),
    ]
    monkeypatch.setattr(proxy_policy, "RESPONSE_HEADERS", {name for name, _ in vendor})
    assert {b"set-cookie", b"authorization", b"server", b"x-cloudbeds-auth-code"} <= dict(
        response_headers(vendor)
    ).keys()


@pytest.mark.row("A43", control=True)
@pytest.mark.parametrize("value", [b"a\r\nSet-Cookie: x", b"a\x00", b"a\nb"])
def test_response_splitting(value: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that would split our answer makes the vendor's unusable; unjudged, it would be sent."""
    with pytest.raises(UpstreamFailed):
        response_headers([(b"location", value)])
    monkeypatch.setattr(proxy_policy, "_BAD_ANSWER_VALUE", NO_BYTES)
    assert response_headers([(b"location", value)]) == [(b"location", value)]


def test_property_of() -> None:
    """Ids of connections begin `con_`; anything else is a property id."""
    assert property_of("con_1") is None
    assert property_of("1000") == "1000"
