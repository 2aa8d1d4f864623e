"""Calls of a caller that reaches some of a connection's properties (A27)."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudbeds_auth.errors import Forbidden
from cloudbeds_auth.rules.permissions import ADMIN, Bounds, Caller, OfConnection
from cloudbeds_auth.rules.property_pin import (
    DEEPEST,
    LONGEST_NAME,
    MOST_FIELDS,
    MOST_MARKS,
    MOST_NAMED,
    PinnedCall,
    judge_call,
    require_pinned,
)

pytestmark = pytest.mark.row("A27")
ONE, TWO = frozenset({"1000"}), frozenset({"1000", "1001"})
PATH = "/api/v1.3/getHotels"
FORM, JSON = "application/x-www-form-urlencoded; charset=utf-8", "application/json"


def judged(properties: frozenset[str], named: str | None, header: str | None, path: str, query: str) -> PinnedCall:
    """A call for a group of four by the caller of these."""
    caller = Caller("key_1", frozenset(), Bounds(properties=properties))
    group = OfConnection("con_1", None, frozenset({"1000", "1001", "02000", "annex"}))
    return judge_call(caller, group, "GET", path, query, named=named, header=header)


@pytest.mark.parametrize(
    ("properties", "named", "header", "path", "query", "asked", "sent"),
    [
        (ONE, None, None, PATH, "", "1000", "propertyID=1000"),
        (ONE, None, None, PATH, "x=1", "1000", "x=1&propertyID=1000"),
        (ONE, "1000", None, PATH, "propertyID=1000", "1000", "propertyID=1000"),
        (TWO, None, "1001", PATH, "", "1001", "propertyID=1001"),
        (TWO, None, "1000, 1001", PATH, "", "1000, 1001", "propertyID=1000,1001"),
        (TWO, None, "1000, 1001", PATH, "propertyIDs=1000,1001&x=1", "1000, 1001", "propertyIDs=1000,1001&x=1"),
        (TWO, "1000", "1001", PATH, "", "1000", "propertyID=1000"),
        (ONE, None, None, PATH, "properties=1000", "1000", "properties=1000&propertyID=1000"),
        (ONE, None, None, PATH, "propertyid=1000", "1000", "propertyid=1000&propertyID=1000"),
        (ONE, None, None, PATH, "prope(rtyID=1000", "1000", "prope(rtyID=1000&propertyID=1000"),
        (ONE, None, None, "/pms/v1/properties/1000/rooms", "propertyName=7", "1000", "propertyName=7"),
        (TWO, "1000", None, "/pms/v1/properties/1000,1001/rooms", "", "1000", ""),
        (ONE, None, None, "/pms/v1/properties/list", "", "1000", ""),
        (ONE, None, None, "/property/v1/system", "", "1000", ""),
        (ONE, None, None, "/property/v2.1/system", "", "1000", ""),
        (ONE, None, None, "/housekeeping/v1/inspections/70010/x1002", "", "1000", ""),
    ],
)
def test_what_passes(
    properties: frozenset[str], named: str | None, header: str | None, path: str, query: str, asked: str, sent: str
) -> None:
    """A call that names nothing else: Cloudbeds is told the property in the header, and for the classic API, which goes
    by it, in the query.
    """
    assert judged(properties, named, header, path, query) == PinnedCall(asked, sent, properties)


def test_a_caller_that_is_not_pinned() -> None:
    """Sends what it likes."""
    hotel = OfConnection("con_1", None, frozenset({"1000"}))
    for caller in (ADMIN, Caller("key_1", frozenset(), Bounds(frozenset({"con_1"})))):
        for named in (None, "1000"):
            call = judge_call(caller, hotel, "GET", PATH, "propertyID=7", named=named, header="7")
            assert call == PinnedCall(named, "propertyID=7")


@pytest.mark.row("A28")
def test_a_caller_for_some_methods() -> None:
    """Calls those alone, by a path that names one."""
    caller, hotel = Caller("key_1", frozenset(), methods=frozenset({"gethotels"})), OfConnection("con_1")
    assert judge_call(caller, hotel, "GET", PATH, "", named=None, header=None) == PinnedCall(None, "")
    for path in ("/api/v1.3/getGuest", "/api/v1.3/putRate/getHotels"):
        with pytest.raises(Forbidden):
            judge_call(caller, hotel, "GET", path, "", named=None, header=None)


@pytest.mark.parametrize(
    ("properties", "named", "header", "path", "query"),
    [
        (TWO, None, None, PATH, ""),
        (ONE, "1001", None, PATH, ""),
        (ONE, None, "1001", PATH, ""),
        (ONE, None, "1000,1001", PATH, ""),
        (ONE, None, "", PATH, ""),
        (ONE, None, None, PATH, "propertyID=1001"),
        (ONE, None, None, PATH, "propertyID=1000&propertyID=1001"),
        (ONE, None, None, PATH, "propertyID="),
        (ONE, None, None, PATH, "property%49D=1001"),
        (ONE, None, None, PATH, "PROPERTYid=1001"),
        (ONE, None, None, PATH, "property_id=1001"),
        (ONE, None, None, PATH, "propertyIDs[]=1001"),
        (ONE, None, None, PATH, "propertyIDs%5B0%5D=1000,1001"),
        (ONE, None, None, PATH, "filter[property.ID]=1001"),
        (ONE, None, None, PATH, "properties=1001"),
        (ONE, None, None, PATH, "propertyID_str=1001"),
        (ONE, None, None, PATH, "organization_id=1000"),
        (ONE, None, None, PATH, "a=1;propertyID=1001"),
        (ONE, None, None, PATH, "&".join(["x"] * (MOST_FIELDS + 1))),
        (ONE, None, None, "/pms/v1/properties/1001/rooms", ""),
        (ONE, None, None, "/pms/v1/%70roperties/1001", ""),
        (ONE, None, None, "/pms/v1/property/v1/rooms", ""),
        (ONE, None, None, "/property/v1/properties/1001", ""),
        (ONE, None, None, "/pms/v1/Property/1001", ""),
        (ONE, None, None, "/pms/v2/properties/1000,1001/x", ""),
        (ONE, None, None, "/pms/v2/properties/7777/x", ""),
        (ONE, None, None, "/pms/v2/properties/a7777", ""),
        (ONE, None, None, "/pms/v2/properties;a=1/7777", ""),
        (ONE, None, None, "/pms/v2/properties%253Ba=1/7777", ""),
        (ONE, None, None, "/housekeeping/v1/inspections/1001", ""),
        (ONE, None, None, "/housekeeping/v1/inspections/2000;a", ""),
        (ONE, None, None, "/housekeeping/v1/inspections/2000%20", ""),
        (ONE, None, None, "/housekeeping/v1/inspections/%2B2000", ""),
        (ONE, None, None, "/housekeeping/v1/inspections/2000.json", ""),
        (ONE, None, None, "/housekeeping/v1/inspections/%32000", ""),
        (ONE, None, None, "/housekeeping/v1/inspections/%2532000", ""),
        (ONE, None, None, "/housekeeping/v1/inspections/x=002000", ""),
        (ONE, None, None, "/housekeeping/v1/inspections/%EF%BC%92%EF%BC%90%EF%BC%90%EF%BC%90", ""),
        (ONE, None, None, "/housekeeping/v1/inspections/%D9%A2%D9%A0%D9%A0%D9%A0", ""),
        (ONE, None, None, "/housekeeping/v1/inspections/annex;a", ""),
    ],
)
def test_what_is_refused(
    properties: frozenset[str], named: str | None, header: str | None, path: str, query: str
) -> None:
    """Another property by any way, or none where there are several."""
    with pytest.raises(Forbidden):
        judged(properties, named, header, path, query)


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("", b""),
        (FORM, b"propertyID=1000&guestName=Ada"),
        (JSON, b'{"propertyID": 1000, "rooms": [{"propertyID": "1000", "id": 7}], "propertyIDs": null}'),
        ("application/problem+json", b"{}"),
        ('Application/JSON;charset="UTF-8"', b"{}"),
        (JSON, json.dumps({"x" * LONGEST_NAME: 1} | {str(one): 1 for one in range(MOST_MARKS // 2 - 1)}).encode()),
        (JSON, json.dumps({"property": ["1000"] * MOST_NAMED}).encode()),
        (FORM, b"property=" + b",".join([b"1000"] * MOST_NAMED)),
        (JSON, b'{"a":' * (DEEPEST - 1) + b"{}" + b"}" * (DEEPEST - 1)),
    ],
)
def test_a_body_that_passes(media: str, body: bytes) -> None:
    """Nothing else is named in it."""
    require_pinned(ONE, media, "", body)


@pytest.mark.parametrize(
    ("media", "encoding", "body"),
    [
        (FORM, "", b"guestName=Ada&propertyID=1001"),
        (FORM, "", b"propertyID%5B%5D=1001"),
        (FORM, "", b"\xff=1"),
        (FORM, "gzip", b"propertyID=1000"),
        (FORM, "", None),
        (JSON, "", b'{"rooms": [{"property_id": "1001"}]}'),
        (JSON, "", b'{"propertyIDs": ["1000", 1001]}'),
        (JSON, "", b'{"property": {"id": 1001}}'),
        (JSON, "", b'{"propertyID": 1000.0}'),
        (JSON, "", b'{"propertyID": true}'),
        (JSON, "", b'{"propertyID": 1000, "propertyID": 1001}'),
        (JSON, "", b"[1]"),
        (JSON, "", b'{"organization": {"id": 7}}'),
        (JSON, "", b'{"a":' * (DEEPEST + 1) + b"{}" + b"}" * (DEEPEST + 1)),
        (JSON, "", b'{"a":' * 80_000 + b"{}" + b"}" * 80_000),
        (FORM, "", b' {"propertyID": 1001}'),
        (FORM, "", b'["propertyID=1001"]'),
        (FORM, "", b"&".join([b"x"] * (MOST_FIELDS + 1))),
        (FORM, "", b"property" * LONGEST_NAME + b"=1000"),
        (FORM, "", b"%CC%95%CC%96" * LONGEST_NAME + b"=1000"),
        (JSON, "", json.dumps({"x" * (LONGEST_NAME + 1): 1}).encode()),
        (JSON, "", json.dumps({str(one): 1 for one in range(MOST_MARKS // 2 + 1)}).encode()),
        (JSON, "", json.dumps({"a": [1] * MOST_MARKS}).encode()),
        (JSON, "", json.dumps({"a": [{}] * (MOST_MARKS // 2)}).encode()),
        (JSON, "", json.dumps({"a": [[]] * (MOST_MARKS // 2)}).encode()),
        (JSON, "", json.dumps({"property": ["1000"] * (MOST_NAMED + 1)}).encode()),
        (JSON, "", b'{"property": "%b1000"}' % (rb"1000\u002c" * MOST_NAMED)),
        (FORM, "", b"property=" + b",".join([b"1000"] * (MOST_NAMED + 1))),
        (f"{JSON}, {FORM}", "", b"{}"),
        (f"{JSON}; charset=utf-7", "", b"{}"),
        (f"{JSON}; charset=utf-8; x={FORM}", "", b"{}"),
        (f"{FORM} {JSON}", "", b"{}"),
        ("multipart/form-data; boundary=x", "", b"--x--"),
        ("", "", b"propertyID=1000"),
        ("text/plain", "", b"propertyID=1000"),
    ],
)
def test_a_body_that_is_refused(media: str, encoding: str, body: bytes | None) -> None:
    """Another property in it, or what cannot be looked into; a long name is refused, too, and more than is read soon:
    such a body would keep everybody waiting.
    """
    with pytest.raises(Forbidden):
        require_pinned(ONE, media, encoding, body)


PARTS = ("propert", "y", "ies", "organi", "s", "z", "ation", "id", "i", "d", "x", "_", "[]")


@given(st.lists(st.sampled_from(PARTS), max_size=8))
def test_every_name_with_a_property_in_it(parts: list[str]) -> None:
    """A name names one where it ends with the word, or has an `id` somewhere behind it, and else does not."""
    name = "".join(parts)
    letters = re.sub("[^a-z]", "", name)
    names = re.search(r"(propert(y|ies)|organi[sz]ations?)(.*id.*)?\Z", letters) is not None
    try:
        require_pinned(ONE, FORM, "", f"{quote(name)}=1001".encode())
    except Forbidden:
        assert names
    else:
        assert not names
