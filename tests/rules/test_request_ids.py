"""The id of a request: the caller's own where it is well-formed."""

from __future__ import annotations

import pytest

from cloudbeds_auth.rules.request_ids import request_id_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{PARENT}-01"


def named(*headers: tuple[str, str]) -> str | None:
    """The id that these headers give."""
    return request_id_of([(name.encode(), value.encode("latin-1")) for name, value in headers])


@pytest.mark.parametrize(
    "given", ["r", "7", "a" * 128, "f058ebd6-02f7-4d3f-942e-904344e8cde5", "web.1:42/AbC+d=@x_y", "01J9ZQ"]
)
def test_a_well_formed_id_is_taken(given: str) -> None:
    """A UUID, a ULID, what other proxies make of either."""
    assert named(("accept", "*/*"), ("x-request-id", given)) == given


@pytest.mark.parametrize(
    "given", ["", "a" * 129, "two words", "-dash", "a\tb", 'a"b', "a,b", "é", "a\x7f", "a{b}", "a\n"]
)
def test_another_is_not(given: str) -> None:
    """It stands in headers and log lines: no space, quote, comma, control character or letter beyond ASCII."""
    assert named(("x-request-id", given)) is None


def test_without_an_id_the_trace_is_taken() -> None:
    """Of `traceparent` what all programs of the trace have in common; an id of the request itself comes first."""
    assert named(("traceparent", GIVEN)) == TRACE
    assert named(("traceparent", GIVEN), ("x-request-id", "r-1")) == "r-1"
    assert named(("traceparent", GIVEN), ("x-request-id", "no id")) == TRACE
    assert named() is None


@pytest.mark.parametrize("given", [f"01-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-01-what-comes.later"])
def test_a_later_version_of_a_trace(given: str) -> None:
    """It begins as the first one does (Trace Context, section 3.2.4)."""
    assert named(("traceparent", given)) == TRACE


@pytest.mark.parametrize(
    "given",
    [
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"01-{TRACE}-{PARENT}-01more",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01\n",
        "",
    ],
)
def test_a_malformed_trace_is_not_taken(given: str) -> None:
    """The version that means none, ids of zeros alone, capitals, and what is longer or shorter than it may be."""
    assert named(("traceparent", given)) is None


def test_what_came_twice_is_not_taken() -> None:
    """Nobody knows which of them is meant."""
    assert named(("x-request-id", "r-1"), ("x-request-id", "r-1")) is None
    assert named(("traceparent", GIVEN), ("traceparent", GIVEN)) is None


@pytest.mark.parametrize("nominated", ["x-request-id", "close, X-Request-ID"])
def test_what_is_for_this_hop_alone_is_not_taken(nominated: str) -> None:
    """It would go on to Cloudbeds."""
    assert named(("connection", nominated), ("x-request-id", "r-1")) is None
    assert named(("connection", "keep-alive"), ("x-request-id", "r-1")) == "r-1"
