"""What callers and browsers send: paths, queries, headers, credentials, cookies, forms, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, unquote, urljoin, urlsplit

import pytest
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from tests.fuzzing.parsers import headers_in, parser
from yarl import URL

from cloudbeds_auth.app import schemas
from cloudbeds_auth.app.asgi import on_invalid
from cloudbeds_auth.app.cookies import LONGEST_COOKIE, LONGEST_WORDS, Cookies, OutcomeCookie
from cloudbeds_auth.app.exchanges import PageAnswer, PageRequest
from cloudbeds_auth.app.forms import fields, parameters
from cloudbeds_auth.app.gateway import credential as credential_in
from cloudbeds_auth.app.gateway import host_name, small_body
from cloudbeds_auth.app.limits import LARGEST_BODY, counted
from cloudbeds_auth.app.problems import BodyTooLarge, LengthRequired
from cloudbeds_auth.errors import Forbidden, InvalidRequest, InvalidReturnTo, Unauthenticated
from cloudbeds_auth.rules import caller_keys, proxy_policy
from cloudbeds_auth.rules.inputs import CURSOR, LONGEST_REFERENCE, checked_cursor, checked_properties, checked_reference
from cloudbeds_auth.rules.languages import ENGLISH, LANGUAGES, language_of
from cloudbeds_auth.rules.permissions import Bounds, Caller, OfConnection, Scope
from cloudbeds_auth.rules.property_pin import FORM, judge_call, require_pinned
from cloudbeds_auth.rules.redirects import LONGEST, allowed_return, origin_of, with_query
from cloudbeds_auth.rules.request_ids import request_id_of

VENDOR = "https://api.cloudbeds.com"


@parser(
    b"/api/v1.3/getHotels",
    b"/api/v1.3/a%2Fb",
    b"/api/v1.3/%70ostAppState",
    b"/api/v1.3/%252e%252e/oauth",
    b"/api/v1.3/..;/oauth",
    b"//evil.example/api/",
    words="/api/ /v1.3/ /payments/v1/ getHotels postAppState access_token oauth %70 %41 .; ..; %c0%ae "
    "%E2%84%AA evil.example http:",
)
def proxy_path(data: bytes) -> bool:
    """What is passed on stays on the vendor's host and below its path, however often it is decoded; a method that needs
    more than `proxy` is known in any of these forms.
    """
    try:
        target = proxy_policy.upstream_path(proxy_policy.PREFIX + b"con_1" + data)
    except InvalidRequest:
        return False
    assert proxy_policy.upstream_path(f"/proxy/{target.id}{target.path}".encode()) == target
    sent = URL(VENDOR + target.path, encoded=True)
    assert (str(sent.origin()), sent.raw_path, sent.raw_query_string, sent.fragment) == (VENDOR, target.path, "", "")
    scope = None
    with suppress(Forbidden):
        scope = proxy_policy.scope_for(target.path)
    for form in _decoded(target.path):
        assert not {".", ".."} & {segment.partition(";")[0] for segment in form.split("/")}
        assert not re.search(r"[\x00-\x1f\x7f\\]|^//", form)
        words = {segment.casefold() for segment in form.split("/")}
        assert scope is None or not {"access_token", "oauth"} & words
        assert scope is not Scope.PROXY or not proxy_policy.METHOD_CLASSES.keys() & words
    method = proxy_policy.method_of(target.path)
    assert method is None or unquote(target.path).lower().endswith(f"/{method}")
    return True


def _decoded(text: str) -> Iterator[str]:
    """The text, and decoded until nothing changes."""
    while True:
        yield text
        further = unquote(text)
        if further == text:
            return
        text = further


@parser(
    b"propertyID=1000&x=%20",
    b"",
    b"a=b&%61ccess_token=c",
    b"x=%0d%0aSet-Cookie:%20a",
    words="propertyID= access_token= Access_Token %61ccess %5F + ;",
)
def proxy_query(data: bytes) -> bool:
    """What is passed on is the query as it came; decoded as servers do, it holds no token and no end of a line."""
    try:
        query = proxy_policy.query_of(data)
    except InvalidRequest:
        return False
    assert query.encode() == data
    for name, value in parse_qsl(query, keep_blank_values=True):
        assert name.strip().lower() != "access_token"
        assert not {"\0", "\r", "\n", "\x7f"} & {*name, *value}
    return True


@parser(
    b"accept: */*\naccept-encoding: br, gzip;q=0.5\nx-property-id: 7\nauthorization: Bearer x\ncookie: a",
    b"connection: accept, close\naccept: */*",
    b"content-type: a/b\ncontent-type: c/d",
    b"accept: a\x01",
    words="accept accept-encoding br gzip, identity;q=0 content-type connection x-property-id range "
    "authorization cookie x-api-key "
    "proxy-authorization transfer-encoding host idempotency-key",
)
def request_headers(data: bytes) -> bool:
    """What goes on to Cloudbeds is on the list, plain, and nominated by nobody; sent once more it is the same."""
    received = headers_in(data)
    try:
        sent = proxy_policy.request_headers(received, "1000", "r-1")
    except InvalidRequest:
        return False
    theirs, ours = sent[:-2], sent[-2:]
    assert ours == [("x-property-id", "1000"), ("x-request-id", "r-1")]
    nominated = {one.strip().lower() for name, value in received if name == b"connection" for one in value.split(b",")}
    names = {name for name, _ in theirs}
    assert names <= {*proxy_policy.REQUEST_HEADERS.values()} - {"x-property-id"}
    assert not nominated & {name.encode() for name in names}
    assert all(re.fullmatch(r"[\t -~]*", value) for _, value in theirs)
    again = [(name.encode(), value.encode()) for name, value in theirs]
    assert proxy_policy.request_headers(again, "1000", "r-1") == sent
    return True


@parser(
    b"x-request-id: r-1",
    b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    b"connection: x-request-id\nx-request-id: r-1",
    words="x-request-id traceparent connection 00- -01",
)
def request_id(data: bytes) -> bool:
    """An id that may stand in headers and log lines, and is itself when it comes back."""
    found = request_id_of(headers_in(data))
    if found is None:
        return False
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:=+/@-]{0,127}", found)
    assert request_id_of([(b"x-request-id", found.encode())]) == found
    return True


@parser(
    b"authorization: Bearer a",
    b"authorization: bearer  a\nx-api-key: a",
    b"authorization: Bearer a\nx-api-key: b",
    b"authorization: Basic a",
    b"content-length: 99999999\ntransfer-encoding: chunked",
    words="authorization x-api-key Bearer bearer Basic content-length transfer-encoding chunked",
)
def credential(data: bytes) -> bool:
    """The one credential that the headers hold; a body is let in only where it is known to be small."""
    received = headers_in(data)
    with suppress(BodyTooLarge, LengthRequired):
        small_body(received)
        lengths = [int(value) for name, value in received if name == b"content-length"]
        assert max(lengths, default=0) <= LARGEST_BODY
    try:
        found = credential_in({"headers": received})
    except Unauthenticated:
        return False
    said = [value.decode("latin-1") for name, value in received if name in {b"authorization", b"x-api-key"}]
    assert said
    assert all(one.strip().endswith(found) for one in said)
    return True


@parser(b"localhost:7000", b"[::1]:7000", b"api.example", b"evil:80:80", b"a:", words="localhost [::1] :7000 .")
def host(data: bytes) -> bool:
    """The name is what stands before the port, and behind it stands a port or nothing."""
    text = data.decode("latin-1").lower()
    name = host_name(text)
    counted_once = counted(text)
    assert counted(counted_once) == counted_once
    if not name:
        return False
    written = f"[{name}]" if text.startswith("[") else name
    assert re.fullmatch(r"(?::[0-9]+)?", text[len(written) :])
    assert text.startswith(written)
    return True


@parser(
    b"code=abc&state=st_1",
    b"error=access_denied&error_description=a%0Ab&state=st_1",
    b"code=a&code=b",
    b"state=%00",
    words="code= state= error= error_description= error_uri= iss= st_ %00 %0A + ;",
)
def callback_query(data: bytes) -> bool:
    """What counts came once, and holds no control character but where people read it on one line."""
    asked = PageRequest("GET", data.decode("latin-1"), {}, (), "local")
    try:
        found = parameters(asked, "code", "state", "error", "error_description", "error_uri", "iss")
    except InvalidRequest:
        return False
    pairs = parse_qsl(asked.query, keep_blank_values=True)
    for name, value in found.items():
        assert [one for other, one in pairs if other == name] == [value]
        assert name == "error_description" or not re.search(r"[\x00-\x1f\x7f]", value)
    return bool(found)


@parser(
    b"cloudbeds-auth-browser=0123456789abcdef0123456789abcdef; cloudbeds-auth-start=/connect/abc%3Fx=1",
    b"cloudbeds-auth-outcome=%5B%22state_mismatch%22%2C%22a%22%2C%22b%22%2C%22%22%5D",
    b"cloudbeds-auth-connected=%5B%22con_1%22%2C%22a%22%2C%22b%22%2C%22c%22%2C%22d%22%5D",
    b"cloudbeds-auth-outcome=" + b"%5B" * 5000,
    b"cloudbeds-auth-browser=a; cloudbeds-auth-browser=b",
    words="cloudbeds-auth-browser= cloudbeds-auth-start= cloudbeds-auth-outcome= cloudbeds-auth-connected= __Host- "
    "/connect state_mismatch %5B%22 %22%2C%22 %22%5D",
)
def cookies(data: bytes) -> bool:
    """A start is a path of ours, and words about an end can be shown; what is set comes back, unless it is too long."""
    kept = Cookies(secure=False)
    came = _with_cookie(data.decode("latin-1"))
    browser, start, outcome = kept.browser(came), kept.start(came), kept.outcome(came, "state_mismatch")
    assert browser is None or re.fullmatch(r"[A-Za-z0-9_-]{32,128}", browser)
    assert start is None or re.match(
        r"https://us\.example/connect(?:[/?]|\Z)", urljoin("https://us.example/x/y", start)
    )
    hotel = kept.connected(came, "con_1")
    assert all(len(one) <= LONGEST_WORDS and one.isprintable() for one in (*(outcome or ()), *(hotel or ())))
    words = data.decode("utf-8", "replace")
    (cookie,) = kept.remember_outcome(PageAnswer(200), OutcomeCookie("state_mismatch", words, "1", words)).cookies
    back = kept.outcome(_with_cookie(f"{cookie.key}={cookie.value}"), "state_mismatch")
    shown = words[:LONGEST_WORDS]
    expected = OutcomeCookie("state_mismatch", shown, "1", shown)
    assert len(cookie.value) <= LONGEST_COOKIE
    assert back == (expected if cookie.value and shown.isprintable() else None)
    return (browser, start, outcome, hotel) != (None, None, None, None)


@parser(
    b"pt-PT,pt;q=0.9,en;q=0.8",
    b"en;q=0.5,es-419",
    b"de",
    b"es;q=0",
    words="es pt en -BR , ;q= 0.5 1.000 0.0001 * Q=1",
)
def accepted_language(data: bytes) -> bool:
    """It is one of ours, and no other than English where no other is named."""
    header = data.decode("latin-1")
    found = language_of(header)
    assert found in LANGUAGES.values()
    assert found == ENGLISH or found[:2] in header.lower()
    return found != ENGLISH


def _with_cookie(header: str) -> PageRequest:
    return PageRequest("GET", "", {}, (header,), "local")


@parser(
    b"client_id=a&client_secret=+b%21",
    b"client_id=a",
    b"client_id=a&client_id=b",
    b"client_id=\xff&client_secret=",
    words="client_id= client_secret= & + ;",
)
def form(data: bytes) -> bool:
    """Each field that a page has came once, and no other."""
    try:
        found = fields(PageRequest("POST", "", {}, (), "local", body=data), "client_id", "client_secret")
    except InvalidRequest:
        return False
    pairs = parse_qsl(data.decode("ascii"), keep_blank_values=True)
    assert sorted(pairs) == sorted((name, value) for name, value in pairs if name in found)
    assert found == {name: value.strip() for name, value in pairs}
    assert len(pairs) == len(found) == 2
    return True


ORIGINS = ("https://app.example", "http://localhost:3000")
US = "https://us.example"


@parser(
    b"/done?tab=1#x",
    b"https://app.example/back",
    b"http://localhost:3000",
    b"https:evil",
    b"/\\evil",
    b"/%09/evil",
    b"https://app.example@evil",
    words="https: http: // app.example localhost:3000 evil @ %2f %5c %09 .. connection_id= reference= "
    "connection%5Fid= javascript:",
)
def return_to(data: bytes) -> bool:
    """A browser that reads it in its way ends on a host of ours or a listed one; what is put in does not move it."""
    text = data.decode("utf-8", "replace")
    try:
        where = allowed_return(text, ORIGINS)
    except InvalidReturnTo:
        return False
    assert where == text
    assert _where_a_browser_goes(where) in {US, *ORIGINS}
    back = with_query(where, connection_id="con_1", reference="a&b#c")
    assert _where_a_browser_goes(back) == _where_a_browser_goes(where)
    asked = parse_qsl(urlsplit(back).query, keep_blank_values=True)
    assert [value for name, value in asked if name == "connection_id"] == ["con_1"]
    assert [value for name, value in asked if name == "reference"] == ["a&b#c"]
    assert urlsplit(back).fragment == urlsplit(where).fragment
    assert len(back) > LONGEST or allowed_return(back, ORIGINS) == back
    return True


def _where_a_browser_goes(text: str) -> str | None:
    """The origin, as the URL Standard reads an address on a page of ours: blanks at the ends, and tabs and line ends
    within, are dropped, and a backslash is a slash (WHATWG URL, section 4.4).
    """
    plain = re.sub(r"[\t\r\n]", "", text.strip("".join(map(chr, range(0x21))))).replace("\\", "/")
    return origin_of(urljoin(f"{US}/callback", plain))


ID = "key_01J9Z3NDEKTSV4RRFFQ69G5FAV"


@parser(
    caller_keys.write(ID, "seed").encode(), b"cbauth_01J9_0000000000000000000000000000", words="cbauth_ cbat_ key_ 01J9"
)
def caller_key(data: bytes) -> bool:
    """What is a key says whose it is in its text; each that is written is one."""
    text = data.decode("utf-8", "surrogateescape")
    assert len(caller_keys.hash_of_key(text)) == 64
    assert caller_keys.id_of(caller_keys.write(ID, data.decode("latin-1"))) == ID
    found = caller_keys.id_of(text)
    if found is None:
        return False
    assert re.fullmatch(r"cbauth_[0-9A-Z]+_[0-9A-Za-z]{28}", text)
    assert text.startswith(caller_keys.PREFIX + found.removeprefix(caller_keys.ID_PREFIX) + "_")
    return True


GROUP = OfConnection("con_1", None, frozenset({"1000", "1001"}))
PINNED = Caller("key_1", frozenset({Scope.PROXY}), Bounds(properties=frozenset({"1000"})))


@parser(
    b'/api/v1.3/putRate?x=1\napplication/json\n{"propertyID":"1000","rates":[{"a":1}]}',
    b"/pms/v1/properties/1000/rooms\napplication/x-www-form-urlencoded\npropertyID=1000&a=b",
    b'/api/v1.3/putRate\napplication/json\n{"a":[{"property_id":1001}]}',
    b"/pms/v1/properties/1001/rooms\n\n",
    b"/api/v1.3/putRate?propertyIDs=1000,1001\n\n",
    b"/api/v1.3/putRate?prope(rtyIDs=1000,1000\n\n",
    words="/api/v1.3/ /pms/v1/properties/ 1000 1001 01001 propertyID propertyID= property_id[]= "
    "properties organizationId "
    "application/json application/x-www-form-urlencoded ;charset=utf-8 multipart/form-data",
)
def pinned_call(data: bytes) -> bool:
    """A call of a key for property 1000 that passes names no other, in query, path, form or JSON."""
    target, _, rest = data.partition(b"\n")
    media, _, body = rest.partition(b"\n")
    raw_path, _, raw_query = target.partition(b"?")
    try:
        path = proxy_policy.upstream_path(b"/proxy/1000" + raw_path).path
        proxy_policy.scope_for(path)
        query = proxy_policy.query_of(raw_query)
        call = judge_call(PINNED, GROUP, "POST", path, query, named="1000", header=None)
        require_pinned(call.properties or frozenset(), media.decode("latin-1"), "", body)
    except (InvalidRequest, Forbidden):
        return False
    assert (call.property_id, call.properties) == ("1000", frozenset({"1000"}))
    asked = parse_qsl(call.query, keep_blank_values=True)
    assert not proxy_policy.is_classic(path) or {"propertyID", "propertyIDs"} & dict(asked).keys()
    named = [value for name, value in asked if _names_a_property(name)]
    if body and media.partition(b";")[0].strip().lower() == FORM.encode():
        named += [value for name, value in parse_qsl(body.decode(), keep_blank_values=True) if _names_a_property(name)]
    elif body:
        named += _below(json.loads(body), named=False)
    assert {one.strip() for value in named for one in value.split(",")} <= {"1000"}
    assert all("1001" not in re.findall(r"\d+", form) for form in _decoded(path))
    return True


def _names_a_property(name: str) -> bool:
    return re.search(r"propert(y|ies)_?id", name, re.IGNORECASE) is not None


def _below(value: Any, *, named: bool) -> list[str]:
    """What stands below a member that names properties."""
    if isinstance(value, dict):
        return [one for name, inner in value.items() for one in _below(inner, named=named or _names_a_property(name))]
    if isinstance(value, list):
        return [one for inner in value for one in _below(inner, named=named)]
    return [str(value)] if named and value is not None else []


SHAPES = (schemas.NewAuthorizationShape, schemas.NewConnectionShape, schemas.NewKeyShape, schemas.ClaimShape)


@parser(
    b'{"reference":"tenant-7","expires_in":60,"expected_properties":["1000"]}',
    b'{"api_key":"cbat_1","connection_id":"con_1"}',
    b'{"name":"a","scopes":["read"],"properties":["1000"],"read_only":true,"expires_in":60}',
    b'{"\\ud800":1}',
    b'{"name":1}',
    b"[]",
    words='{" ": app reference return_to expires_in expected_properties code_challenge api_key '
    "connection_id name scopes read methods",
)
def json_body(data: bytes) -> bool:
    """A body that does not fit is a problem that says where, in words that can be sent; no value of it is repeated."""
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        return False
    fits = False
    for shape in SHAPES:
        try:
            shape.model_validate(given)
            fits = True
        except ValidationError as error:
            _sent(RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]))
    return fits


def _sent(error: RequestValidationError) -> None:
    """The answer is made without waiting for anything."""
    answering = on_invalid(Request({"type": "http", "headers": []}), error)
    with pytest.raises(StopIteration) as done:
        answering.send(None)
    assert done.value.value.status_code == 400
    json.loads(done.value.value.body)


@parser(
    b"tenant-7", "Hôtel".encode(), b"con_01J9Z3", b'["1000","1001"]', b"a\0", b"[1]", b"x" * 300, words='con_ [" "," "]'
)
def texts(data: bytes) -> bool:
    """A reference, a cursor, a list of properties: what passes is of a bounded length, and both databases store it."""
    text = data.decode("utf-8", "surrogateescape")
    passed: list[str] = []
    with suppress(InvalidRequest):
        passed.append(checked_reference(text) or "")
        assert len(passed[0]) <= LONGEST_REFERENCE
    with suppress(InvalidRequest):
        cursor = checked_cursor(text)
        assert cursor is not None
        assert CURSOR.match(cursor)
    with suppress(InvalidRequest, ValueError, RecursionError):
        given = json.loads(text)
        passed += checked_properties(given if isinstance(given, list | str) else [given])
    assert not any("\0" in one.encode().decode() for one in passed)
    return bool(passed)
