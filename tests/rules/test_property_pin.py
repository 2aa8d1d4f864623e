"""Calls of a caller that reaches some of a connection's properties (A27)."""

from __future__ import annotations

import pytest

from cloudbeds_auth.errors import Forbidden
from cloudbeds_auth.rules.property_pin import pin, require_pinned

pytestmark = pytest.mark.row("A27")
ONE, TWO = frozenset({"1000"}), frozenset({"1000", "1001"})
PATH = "/api/v1.3/getHotels"
FORM, JSON = "application/x-www-form-urlencoded; charset=utf-8", "application/json"


@pytest.mark.parametrize(
    ("properties", "named", "header", "path", "query", "asked"),
    [
        (ONE, None, None, PATH, "", "1000"),
        (ONE, "1000", None, PATH, "propertyID=1000", "1000"),
        (TWO, None, "1001", PATH, "", "1001"),
        (TWO, None, "1000, 1001", PATH, "propertyIDs=1000,1001&x=1", "1000, 1001"),
        (TWO, "1000", "1001", PATH, "", "1000"),
        (ONE, None, None, "/pms/v1/properties/1000/rooms", "propertyName=7&propertyID=1000", "1000"),
        (ONE, None, None, "/pms/v1/properties/list", "", "1000"),
    ],
)
def test_what_passes(
    properties: frozenset[str], named: str | None, header: str | None, path: str, query: str, asked: str
) -> None:
    """A call that names nothing else, and the property that Cloudbeds is told."""
    assert pin(properties, named, header, path, query) == asked


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
        (ONE, None, None, "/pms/v1/properties/1001/rooms", ""),
        (ONE, None, None, "/pms/v1/%70roperties/1001", ""),
        (ONE, None, None, "/pms/v1/Property/1001", ""),
    ],
)
def test_what_is_refused(
    properties: frozenset[str], named: str | None, header: str | None, path: str, query: str
) -> None:
    """Another property by any way, or none where there are several."""
    with pytest.raises(Forbidden):
        pin(properties, named, header, path, query)


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("", b""),
        (FORM, b"propertyID=1000&guestName=Ada"),
        (JSON, b'{"propertyID": 1000, "rooms": [{"propertyID": "1000", "id": 7}], "propertyIDs": null}'),
        ("application/problem+json", b"{}"),
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
        ("multipart/form-data; boundary=x", "", b"--x--"),
        ("", "", b"propertyID=1000"),
    ],
)
def test_a_body_that_is_refused(media: str, encoding: str, body: bytes | None) -> None:
    """Another property in it, or what cannot be looked into."""
    with pytest.raises(Forbidden):
        require_pinned(ONE, media, encoding, body)
