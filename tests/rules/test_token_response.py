"""The token endpoint's answers, body by body (cloudbeds-facts.md section 2, F19 to F30): classified, never guessed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.drawing import CALM

from cloudbeds_auth.rules.credential import FOREVER
from cloudbeds_auth.rules.model import CredentialKind, Pair
from cloudbeds_auth.rules.token_response import (
    DEFAULT_LIFETIME,
    LONGEST_LIFETIME,
    LONGEST_TOKEN,
    SHORTEST_LIFETIME,
    Ambiguous,
    Answer,
    Issued,
    KeyAnswer,
    NotOffered,
    Refused,
    RefusedClient,
    Sent,
    UnauthorizedClient,
    classify,
    classify_exchange,
)

JSON = "application/json"
REFRESH, CODE = Sent.TOKEN, Sent.CODE
DEAD = {"error": "invalid_request", "message": "The refresh token is invalid."}
NO_CODE = {"error": "server_error", "error_description": "The authorization code is invalid or has expired."}
NO_CLIENT = {
    "error": "server_error",
    "error_description": "Entity not found: CloudBeds\\MyFrontDesk\\API\\Models\\Client",
}
BAD_SECRET = {"error": "invalid_client", "message": "Client authentication failed"}
MISSING = {"error": "invalid_request", "message": "The request is missing a required parameter.", "hint": "Check"}
GOOD: dict[str, Any] = {
    "access_token": "A", "token_type": "Bearer", "expires_in": 28800, "refresh_token": "R",
    "resources": [{"type": "property", "id": "12345"}, {"type": "association", "id": "999"}],
}  # fmt: skip


def answer(status: int, body: object, *, sent: Sent = REFRESH, content_type: str = JSON) -> Answer:
    """Classify this body."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify(status, content_type, raw, sent=sent)


def issued(**changes: Any) -> Pair:
    """The pair of a good answer with changes; None leaves a member out."""
    body = {name: value for name, value in (GOOD | changes).items() if value is not None}
    found = answer(200, body)
    assert isinstance(found, Issued), found
    return found.pair


# --- refusals


@pytest.mark.parametrize("status", [400, 401])
@pytest.mark.parametrize(
    ("body", "sent", "kind"),
    [
        (DEAD, REFRESH, Refused),
        ({"error": "invalid_request", "error_description": "The refresh token is invalid"}, REFRESH, Refused),
        ({"error": "invalid_grant"}, REFRESH, Refused),
        ({"error": "invalid_grant", "error_description": "whatever"}, CODE, Refused),
        (NO_CODE, CODE, Refused),
        ({"error": "invalid_request", "message": "The authorization code is invalid."}, CODE, Refused),
        # names something else, or nothing, or mentions a token and refuses nothing
        ({"error": "access_denied", "hint": "the Refresh Token was revoked"}, REFRESH, Ambiguous),
        ({"error": "x", "detail": "unknown refresh token"}, REFRESH, Ambiguous),
        ({"error": "invalid_request", "message": "The refresh token is invalid. Or busy."}, REFRESH, Ambiguous),
        (DEAD, CODE, Ambiguous),
        (NO_CODE, REFRESH, Ambiguous),
        ({"error": "server_error", "message": "The refresh token is invalid."}, REFRESH, Ambiguous),
        (MISSING, REFRESH, Ambiguous),
        ({"error": "unsupported_grant_type"}, REFRESH, Ambiguous),
        ({"error": {"code": 401, "message": {}}}, REFRESH, Ambiguous),
        ({"error": ["invalid_grant"]}, REFRESH, Ambiguous),
        ({"error": None, "message": ["refresh token"]}, REFRESH, Ambiguous),
        ({}, REFRESH, Ambiguous),
        (GOOD, REFRESH, Ambiguous),
        # the client, not the hotel
        (NO_CLIENT, REFRESH, RefusedClient),
        (NO_CLIENT, CODE, RefusedClient),
        (BAD_SECRET, REFRESH, RefusedClient),
        ({"error": "unauthorized_client"}, CODE, UnauthorizedClient),
        ({"error": "unauthorized_client"}, REFRESH, UnauthorizedClient),
        (DEAD | {"hint": "Token is not linked to client"}, REFRESH, UnauthorizedClient),
        ({"error": "invalid_client", "message": "The refresh token is invalid."}, REFRESH, RefusedClient),
    ],
)
def test_a_client_error_in_json(status: int, body: object, sent: Sent, kind: type) -> None:
    """A refusal names what was sent; `server_error` is never one of a refresh token; the client comes first."""
    assert type(answer(status, body, sent=sent)) is kind


@pytest.mark.parametrize("member", ["message", "error_description", "hint", "detail"])
def test_where_a_refusal_may_be_written(member: str) -> None:
    """Each of the members in which the vendor writes its words, here and in its other answers."""
    assert isinstance(answer(400, {"error": "invalid_request", member: "The refresh token is invalid."}), Refused)


@pytest.mark.row("F94")
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (
            400,
            {"error": "temporarily_unavailable", "message": "The refresh token could not be checked, try again later."},
        ),
        (400, {"error": "invalid_request", "message": "The refresh token could not be checked, try again later."}),
        (403, {"error": "access_denied", "message": "Too many refresh token requests"}),
        (403, DEAD),
        (403, {"error": "invalid_grant"}),
        (409, DEAD),
        (422, DEAD),
        (429, DEAD),
    ],
)
def test_a_client_error_that_mentions_the_refresh_token(status: int, body: object) -> None:
    """It refuses nothing: a table of sentences decides, in a 400 or a 401, and never a word somewhere."""
    assert isinstance(answer(status, body), Ambiguous)


def test_what_tells_one_unknown_refusal_from_another() -> None:
    """The status and the error's name, where that is one of RFC 6749's; no answer of an outage is a refusal."""
    found = {
        (400, b"{}"): "HTTP 400, another error",
        (400, b'{"error": ["access_denied"]}'): "HTTP 400, another error",
        (403, b'{"error": "access_denied"}'): "HTTP 403, access_denied",
        (403, b"<html>"): "HTTP 403, another error",
        (429, b"{}"): None,
        (408, b"<html>"): None,
        (500, b"<html>"): None,
        (503, b"<html>"): None,
        (200, b"<html>"): None,
    }
    for (status, body), told in found.items():
        said = answer(status, body)
        assert isinstance(said, Ambiguous)
        assert said.unrecognized == told


@pytest.mark.parametrize("status", [100, 103, 204, 302, 307, 308, 408, 425, 429, 500, 502, 503, 504, 599])
@pytest.mark.parametrize("body", [DEAD, {"error": "invalid_grant"}, NO_CLIENT, BAD_SECRET, NO_CODE])
def test_another_status(status: int, body: object) -> None:
    """Redirects, 408, 425, 429 and 5xx say nothing about a token or a client, whatever their body says."""
    assert isinstance(answer(status, body), Ambiguous)
    assert isinstance(answer(status, body, sent=CODE), Ambiguous)


@pytest.mark.parametrize("content_type", ["text/html", "text/plain", "", "application/jsonp", "json", "text/json+x"])
@pytest.mark.parametrize("status", [200, 400, 401])
def test_another_content_type(content_type: str, status: int) -> None:
    """Not JSON by its own word: ambiguous, also when the bytes would be."""
    for body in (GOOD, DEAD):
        assert isinstance(answer(status, body, content_type=content_type), Ambiguous)


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/problem+json"]
)
def test_json_by_another_name(content_type: str) -> None:
    """Parameters, case and suffixes are JSON."""
    assert isinstance(answer(400, DEAD, content_type=content_type), Refused)


NO_ANSWER = {
    "empty": b"",
    "a page": b"<html>The refresh token is invalid.</html>",
    "cut": json.dumps(DEAD).encode()[:-3],
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps(DEAD).encode(),
    "UTF-16": json.dumps(DEAD).encode("utf-16"),
    "no UTF-8": b'{"error": "invalid_grant\xff"}',
    "twice the same key": b'{"error": "invalid_grant", "error": "x"}',
    "NaN": b'{"error": "invalid_grant", "n": NaN}',
    "-Infinity": b'{"error": "invalid_grant", "n": -Infinity}',
    "a long number": b'{"error": "invalid_grant", "n": ' + b"9" * 5000 + b"}",
    "lists without end": b"[" * 100_000,
    "objects without end": b'{"error":' * 10_000,
    "a text": b'"invalid_grant"',
    "a list": b'[{"error": "invalid_grant"}]',
    "null": b"null",
}


@pytest.mark.parametrize("body", NO_ANSWER.values(), ids=NO_ANSWER)
@pytest.mark.parametrize("status", [200, 400, 401])
def test_bytes_that_are_no_answer(status: int, body: bytes) -> None:
    """Cut, malformed, in another encoding, nested without end, twice the same key: ambiguous."""
    assert isinstance(answer(status, body), Ambiguous)


# --- pairs


def test_the_documented_answer() -> None:
    """Every member where it belongs."""
    pair = issued()
    assert (pair.access.reveal(), pair.refresh and pair.refresh.reveal(), pair.lifetime) == ("A", "R", 28800.0)
    assert (pair.property_ids, pair.scopes, pair.kind) == (("12345",), None, CredentialKind.OAUTH)


def test_a_scope_member() -> None:
    """Read if present; anything but text is as if absent."""
    assert issued(scope="read:hotel  write:rate").scopes == ("read:hotel", "write:rate")
    assert issued(scope="").scopes == ()
    assert issued(scope=["read:hotel"]).scopes is None


@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "BEARER", None])
def test_token_types(token_type: str | None) -> None:
    """Compared without case; missing means Bearer."""
    assert issued(token_type=token_type).access.reveal() == "A"


@pytest.mark.parametrize("token_type", ["mac", "", 7, ["Bearer"]])
def test_another_token_type(token_type: object) -> None:
    """Something that is not Bearer cannot be used."""
    assert isinstance(answer(200, GOOD | {"token_type": token_type}), Ambiguous)


UNFIT = [
    "",
    7,
    True,
    ["A"],
    {"a": 1},
    "a b",
    "a\r\nX-Evil: 1",
    "a\0b",
    "\u00e9",
    "a\t",
    "\ud800",
    "\x7f",
    "A" * (LONGEST_TOKEN + 1),
]


@pytest.mark.parametrize("token", [*UNFIT, None])
def test_an_unfit_access_token(token: object) -> None:
    """Missing, of a wrong type, or nothing that may go into a header: ambiguous."""
    assert isinstance(answer(200, GOOD | {"access_token": token}), Ambiguous)


@pytest.mark.parametrize("token", UNFIT)
def test_an_unfit_refresh_token(token: object) -> None:
    """The same; but none at all is allowed (RFC 6749 section 6)."""
    assert isinstance(answer(200, GOOD | {"refresh_token": token}), Ambiguous)


@pytest.mark.parametrize("present", [True, False])
def test_no_refresh_token(present: bool) -> None:
    """Absent or null: the one that was sent goes on."""
    body = {name: value for name, value in GOOD.items() if name != "refresh_token"}
    found = answer(200, body | ({"refresh_token": None} if present else {}))
    assert isinstance(found, Issued)
    assert found.pair.refresh is None


def test_the_longest_token() -> None:
    """16 KiB is allowed."""
    assert len(issued(access_token="A" * LONGEST_TOKEN).access.reveal()) == LONGEST_TOKEN


@pytest.mark.parametrize(
    ("given", "lifetime"),
    [
        (28800, 28800.0), (3600.5, 3600.5), ("28800", 28800.0), (None, DEFAULT_LIFETIME), (0, DEFAULT_LIFETIME),
        (-5, DEFAULT_LIFETIME), (True, DEFAULT_LIFETIME), ("", DEFAULT_LIFETIME), ("soon", DEFAULT_LIFETIME),
        ("-5", DEFAULT_LIFETIME), ("9" * 30, DEFAULT_LIFETIME), (1, SHORTEST_LIFETIME), ("1", SHORTEST_LIFETIME),
        (1e12, LONGEST_LIFETIME), (10**400, LONGEST_LIFETIME), (1e300, LONGEST_LIFETIME), (-1e300, DEFAULT_LIFETIME),
    ],
)  # fmt: skip
def test_lifetimes(given: object, lifetime: float) -> None:
    """From a number or digits; defaulted when absent or not positive, clamped when absurd."""
    assert issued(expires_in=given).lifetime == lifetime


@pytest.mark.parametrize("given", [b"1e400", b"-1e400", b"[]", b"{}"])
def test_a_lifetime_that_is_no_number(given: bytes) -> None:
    """Not finite, or not a number at all: ambiguous."""
    assert isinstance(answer(200, b'{"access_token":"A","expires_in":' + given + b"}"), Ambiguous)


@pytest.mark.parametrize(
    ("resources", "ids"),
    [
        (None, ()), ([], ()), ("12345", ()), (7, ()), ([None, 7, "x", []], ()), ({"propertyID": "1"}, ("1",)),
        ({"propertyID": 315701}, ("315701",)), ({"id": "2"}, ("2",)), ({}, ()), ({"propertyID": ["1"]}, ()),
        ([{"type": "property", "id": "1"}, {"type": "property", "id": 2}, {"type": "property", "id": "1"}], ("1", "2")),
        ([{"type": "property"}, {"type": "property", "id": ""}, {"type": "property", "id": {}}], ()),
        ([{"type": "property", "id": True}], ()), ([{"type": "association", "id": "9"}], ()),
        ([{"type": "property", "id": "\ud8001\n"}], ("1",)),
    ],
)  # fmt: skip
def test_resources(resources: object, ids: tuple[str, ...]) -> None:
    """A list, an object or nothing; ids as strings, each once, what cannot be stored left out."""
    assert issued(resources=resources).property_ids == ids


@pytest.mark.parametrize(
    "beside",
    [
        {}, {"expires_in": None}, {"expires_in": 60}, {"expires_in": "soon"}, {"expires_in": []},
        {"token_type": "ApiKey"}, {"refresh_token": 7}, {"refresh_token": "a b"},
    ],
)  # fmt: skip
def test_an_api_key(beside: dict[str, object]) -> None:
    """`cbat_` is never refreshed and never ends: whatever stands beside it is not even read."""
    pair = issued(access_token="cbat_1", **beside)
    assert (pair.kind, pair.refresh, pair.lifetime) == (CredentialKind.API_KEY, None, FOREVER)


def test_an_answer_with_a_key_alone() -> None:
    """As documented; and one that could not go into a header is none."""
    assert isinstance(answer(200, {"access_token": "cbat_1"}), Issued)
    assert isinstance(answer(200, {"access_token": "cbat_ 1"}), Ambiguous)


# --- the exchange of a refresh token for a key


def exchanged(status: int, content: object, content_type: str = JSON) -> KeyAnswer:
    """What an answer to the exchange means."""
    return classify_exchange(status, content_type, json.dumps(content).encode())


def test_an_exchange_that_is_answered() -> None:
    """With a key; a pair in its place is dropped unused, so that the token that was sent lives on."""
    found = exchanged(200, {"access_token": "cbat_1"})
    assert isinstance(found, Issued)
    assert found.pair.kind is CredentialKind.API_KEY
    assert exchanged(200, GOOD) == Ambiguous("the answer holds no API key")


@pytest.mark.parametrize("error", ["unsupported_grant_type", "unauthorized_client"])
def test_an_exchange_that_was_not_arranged(error: str) -> None:
    """This client may not make it: nothing happened, and the client's secret is as good as before."""
    for status in (400, 401):
        told = f"HTTP {status}: this client may not exchange refresh tokens for API keys"
        assert exchanged(status, {"error": error, "message": "no"}) == NotOffered(told)


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (400, DEAD, Refused), (401, NO_CLIENT, RefusedClient), (401, BAD_SECRET, RefusedClient),
        (400, MISSING, Ambiguous), (500, {"error": "unsupported_grant_type"}, Ambiguous), (429, DEAD, Ambiguous),
        (404, [], Ambiguous), (403, {"error": "unsupported_grant_type"}, Ambiguous),
    ],
)  # fmt: skip
def test_an_exchange_that_is_not_answered(status: int, content: object, kind: type[object]) -> None:
    """As a refresh with the same token would be judged."""
    assert type(exchanged(status, content)) is kind


def test_an_exchange_that_meets_a_gateway() -> None:
    """A page of HTML is no refusal."""
    assert type(exchanged(404, {}, "text/html")) is Ambiguous


# --- anything at all

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["invalid_grant", REFRESH])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
MEMBERS = st.sampled_from(
    ["error", "message", "hint", "detail", "error_description", "access_token", "refresh_token", "expires_in", "scope",
     "token_type", "resources", "success"]
)  # fmt: skip
STATUS = st.integers(100, 599)
TYPES = st.sampled_from([JSON, "application/problem+json", "text/html", ""]) | st.text(max_size=20)


@CALM
@given(STATUS, TYPES, st.binary(max_size=200), st.sampled_from([REFRESH, CODE]))
def test_any_bytes(status: int, content_type: str, body: bytes, sent: Sent) -> None:
    """Never raises, and bytes of nobody are nearly always ambiguous: certainly no pair and no refusal without JSON."""
    found = classify(status, content_type, body, sent=sent)
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        assert isinstance(found, Ambiguous)


@CALM
@given(STATUS, TYPES, st.dictionaries(MEMBERS, VALUES, max_size=6), st.sampled_from([REFRESH, CODE]))
@example(400, JSON, {"error": {}}, REFRESH)
@example(200, JSON, {"access_token": "A", "expires_in": 10**400}, REFRESH)
def test_any_object(status: int, content_type: str, body: dict[str, object], sent: Sent) -> None:
    """Never raises; a refusal only with a client error that says so, a pair only with 2xx and a fit token."""
    found = classify(status, content_type, json.dumps(body).encode(), sent=sent)
    words = " ".join(str(value) for value in body.values()).lower()
    if isinstance(found, Refused):
        assert 400 <= status < 500
        assert status not in {408, 425, 429}
        assert "json" in content_type.lower()
        assert "invalid_grant" in words or sent in words
    if isinstance(found, RefusedClient):
        assert 400 <= status < 500
        assert "client" in words
    if isinstance(found, Issued):
        assert 200 <= status < 300
        assert found.pair.access.reveal() == body["access_token"]
        assert SHORTEST_LIFETIME <= found.pair.lifetime <= LONGEST_LIFETIME
        ids = found.pair.property_ids
        assert all(one and one.isprintable() for one in ids)


def test_reasons_never_repeat_the_answer() -> None:
    """What came is shown to people and written to logs: a token in it is not."""
    for status in (200, 400, 500):
        for body in (b'{"access_token": "canary 1"}', b"canary", b'{"error": "canary"}', b'{"canary": NaN}'):
            found = answer(status, body)
            assert isinstance(found, Ambiguous)
            assert "canary" not in repr(found)
