"""Untrusted JSON: one object, or nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.drawing import CALM

from cloudbeds_auth.rules.inputs import Unreadable, is_json, one_line, read_object, says_false, text_of

JSON = "application/json"


def test_one_object() -> None:
    """With whatever nesting, in UTF-8."""
    body = {"a": {"b": [1, 2.5, None, True]}, "é": "ü"}
    assert read_object(JSON, json.dumps(body, ensure_ascii=False).encode()) == body


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "well-formed"), (b"{", "well-formed"), (b"{}x", "well-formed"), (b"\xff{}", "well-formed"),
        (b"\xef\xbb\xbf{}", "well-formed"), (b'{"a":NaN}', "NaN"), (b'{"a":Infinity}', "Infinity"),
        (b'{"a":1,"a":2}', "twice"), (b'{"a":{"b":1,"b":1}}', "twice"), (b"[]", "not an object"),
        (b"1", "not an object"),
        (b'"a"', "not an object"), (b"null", "not an object"), (b"[" * 100_000, "well-formed"),
        (b'{"a":' + b"1" * 5000 + b"}", "well-formed"), (b'{"a":"\x01"}', "well-formed"),
    ],
)  # fmt: skip
def test_what_is_none(body: bytes, why: str) -> None:
    """Says why, and never what it was."""
    with pytest.raises(Unreadable, match=why):
        read_object(JSON, body)


def test_the_content_type_is_named_in_short() -> None:
    """Of a wrong type only its beginning; none at all is untyped."""
    with pytest.raises(Unreadable, match="text/html"):
        read_object("text/html; charset=x", b"{}")
    with pytest.raises(Unreadable, match="untyped"):
        read_object("", b"{}")
    with pytest.raises(Unreadable) as raised:
        read_object("x" * 10_000, b"{}")
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    ("content_type", "json"),
    [(JSON, True), ("application/JSON ; charset=utf-8", True), ("application/problem+json", True), ("text/json", False),
     ("application/jsonx", False), ("", False), (";application/json", False)],
)  # fmt: skip
def test_json_types(content_type: str, json: bool) -> None:
    """The media type decides, without its parameters."""
    assert is_json(content_type) is json


@CALM
@given(st.binary(max_size=60), st.text(max_size=20))
def test_anything(body: bytes, content_type: str) -> None:
    """A dictionary, or Unreadable; nothing else ever comes out."""
    try:
        found = read_object(content_type, body)
    except Unreadable:
        return
    assert isinstance(found, dict)


def test_text_of() -> None:
    """The members that are strings, in lower case; the others are passed over."""
    answer = {"message": "One", "hint": 2, "detail": None, "x": "unasked", "error_description": "TWO"}
    assert text_of(answer, "message", "error_description", "hint", "detail", "gone") == "one two"


@pytest.mark.parametrize("value", [False, "false", "False", " FALSE "])
def test_a_no(value: object) -> None:
    """As a boolean and as a string."""
    assert says_false(value)


@pytest.mark.parametrize("value", [True, "true", None, 0, "", "no", [], {}])
def test_no_no(value: object) -> None:
    """Everything else is not a no."""
    assert not says_false(value)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("a\r\nb\0c", "abc"), ("x" * 20, "x" * 10), (315701, "315701"), (True, ""), (None, ""), (1.5, ""), (["a"], ""),
        ("\ud800", ""),
    ],
)  # fmt: skip
def test_one_line(value: object, line: str) -> None:
    """Printable, of a bounded length; only strings and whole numbers."""
    assert one_line(value, 10) == line


@CALM
@given(st.text() | st.integers(min_value=-(10**4000), max_value=10**4000), st.integers(0, 50))
def test_any_line(value: object, most: int) -> None:
    """Whatever comes: printable, bounded, and storable as UTF-8."""
    line = one_line(value, most)
    assert len(line) <= most
    assert not line or line.isprintable()
    line.encode()
