"""What an answer of `/userinfo` means (cloudbeds-facts.md sections 5 and 6): a proof is judged strictly."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.drawing import CALM

from cloudbeds_auth.rules.api_errors import DeadGrant, DeadToken, Inconclusive, Proof, dead_grant, judge_userinfo
from cloudbeds_auth.rules.model import User

JSON = "application/json"
ADA = {"user_id": "123", "first_name": "Ada", "last_name": "L", "email": "a@example.com", "acl": None, "roles": None}
INACTIVE = {"success": False, "message": "User who approved this connection is not active anymore"}
UNAVAILABLE = {
    "success": False,
    "message": "Application is not available to be connected. Reach out to Partner support for any questions.",
}
DENIED = "The resource owner or authorization server denied the request."


def judge(status: int, body: object, content_type: str = JSON) -> object:
    """Judge this body."""
    return judge_userinfo(status, content_type, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_proof(status: int) -> None:
    """A 2xx with the documented object, and who approved."""
    assert judge(status, ADA) == Proof(User("123", "Ada L", "a@example.com"))


@pytest.mark.parametrize(
    ("body", "user"),
    [
        (ADA | {"user_id": 123}, User("123", "Ada L", "a@example.com")),
        (ADA | {"first_name": None, "email": 7}, User("123", "L", "7")),
        (
            ADA | {"first_name": "A\nda\x1b[0m", "last_name": "x" * 300},
            User("123", "Ada[0m " + "x" * 100, "a@example.com"),
        ),
        (ADA | {"user_id": "9" * 100}, User("9" * 64, "Ada L", "a@example.com")),
        ({"user_id": "1"}, User("1", "", "")),
    ],
)
def test_who_approved(body: object, user: User) -> None:
    """Ids as strings and integers; everything one printable line; a proof also without a name."""
    assert judge(200, body) == Proof(user)


@pytest.mark.row("F101")
@pytest.mark.parametrize(
    "body", [{}, {"user_id": ""}, {"user_id": True}, {"user_id": ["1"]}, {"user_id": "\ud800"}, []]
)
def test_a_2xx_that_names_no_user(body: object) -> None:
    """An empty object, a list, a page from somewhere else: no proof, so no kept token is dropped for it."""
    assert isinstance(judge(200, ADA | body if isinstance(body, dict) and body else body), Inconclusive)


@pytest.mark.parametrize(
    ("body", "documented"),
    [
        ({"error": "access_denied", "message": DENIED}, True),
        ({"error": "access_denied", "error_description": DENIED, "hint": 'Missing "Authorization" header'}, True),
        ({"error": "access_denied", "hint": "Access token is invalid"}, True),
        ({"error": "invalid_token"}, False),
        ({"type": "unauthorized", "title": "Unauthorized", "status": 401, "detail": "401 UNAUTHORIZED"}, True),
        ({"error": {"code": 401, "status": "x", "description": "y", "message": {}}}, False),
    ],
)
def test_a_dead_token(body: object, documented: bool) -> None:
    """A 401 in one of the vendor's own shapes, two of which it shows for a revoked key; no other status is one."""
    assert judge(401, body) == DeadToken(documented)
    for status in (200, 403, 500):
        assert isinstance(judge(status, body), Inconclusive | Proof)
        assert not isinstance(judge(403, body), Proof)


@pytest.mark.row("F100")
@pytest.mark.parametrize(
    "body",
    [
        *({}, {"error": "x"}, {"error": ["access_denied"]}, {"error": {"code": 403}}, ADA),
        *({"message": "Unauthorized"}, {"success": False, "message": "no"}, {"error": "unauthorized"}),
        *(b"", b"<html>no</html>", b"[]", b'{"user_id": 1'),
    ],
)
def test_a_401_in_an_unknown_shape(body: object) -> None:
    """The access token counts as rejected, whatever the shape; nothing says that a key was revoked."""
    assert judge(401, body) == DeadToken(documented=False)


@pytest.mark.parametrize("status", [200, 401, 403])
@pytest.mark.parametrize(("body", "reason"), [(INACTIVE, "user_inactive"), (UNAVAILABLE, "revoked")])
def test_a_dead_grant(status: int, body: dict[str, object], reason: str) -> None:
    """The documented sentences, whatever the case and the type of `success`."""
    assert judge(status, body) == DeadGrant(reason)
    assert judge(status, body | {"success": "False"}) == DeadGrant(reason)
    assert judge(status, body | {"message": str(body["message"]).upper()}) == DeadGrant(reason)


@pytest.mark.parametrize("success", [True, "true", None, 0, "no"])
def test_the_sentence_without_a_failure(success: object) -> None:
    """Only a `success` that says no makes it a refusal."""
    assert dead_grant(INACTIVE | {"success": success}) is None


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize(
    "body",
    [
        {"success": False},
        {"success": "false", "user_id": "1"},
        {"success": False, "message": "Scope required for this call was not granted by property."},
        {"success": False, "message": "The property(ies) you are accessing have an invalid status."},
        {"status": False, "error": "Unknown method."},
        {"error": None},
        {"error": "access_denied"},
    ],
)
def test_a_2xx_that_says_no(status: int, body: object) -> None:
    """Neither a proof nor a death."""
    assert isinstance(judge(status, body), Inconclusive)


@pytest.mark.parametrize("status", [100, 301, 302, 400, 403, 404, 408, 422, 429, 500, 502, 503])
def test_another_status(status: int) -> None:
    """A 404, a 429, a redirect, an outage prove nothing (V5)."""
    assert isinstance(judge(status, ADA), Inconclusive)
    assert isinstance(judge(status, {"error": "access_denied", "message": DENIED}), Inconclusive)


@pytest.mark.parametrize(
    "body", [b"", b"<html>welcome</html>", b"[]", b'"x"', b'{"user_id": 1', b'{"user_id":' + b"9" * 5000 + b"}"]
)
def test_what_is_no_json_object(body: bytes) -> None:
    """A captive portal's 200 is no proof."""
    assert isinstance(judge(200, body), Inconclusive)


def test_another_content_type() -> None:
    """JSON bytes in a page's clothes."""
    assert isinstance(judge(200, ADA, "text/html"), Inconclusive)


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.lists(st.integers(), max_size=2)
NAMES = st.sampled_from(["error", "type", "success", "message", "user_id", "first_name", "email", "status"])


@CALM
@given(st.integers(100, 599), st.dictionaries(NAMES, VALUES | st.dictionaries(st.text(), VALUES, max_size=2)))
def test_any_object(status: int, body: dict[str, object]) -> None:
    """Never raises; a proof only of a 2xx without `error`; a death only of a 401, or of the documented words."""
    verdict = judge(status, body)
    if isinstance(verdict, Proof):
        assert 200 <= status < 300
        assert "error" not in body
        assert body.get("success") is not False
        assert verdict.user is None or (verdict.user.id and verdict.user.name.isprintable())
    if isinstance(verdict, DeadToken):
        assert status == 401
    assert not isinstance(verdict, DeadGrant)


@CALM
@given(st.integers(100, 599), st.text(max_size=30), st.binary(max_size=100))
def test_any_bytes(status: int, content_type: str, body: bytes) -> None:
    """Never raises."""
    verdict = judge_userinfo(status, content_type, body)
    assert isinstance(verdict, Inconclusive | Proof | DeadToken)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [("propertyID", 1000, ("1000",)), ("propertyId", " 1000 ", ("1000",)), ("property_id", True, ()), ("x", "1", ())],
)
def test_a_property_that_it_names(name: str, value: object, found: tuple[str, ...]) -> None:
    """The documented body has none; one that it has is read, and never taken from a list."""
    user = User("1", "", "")
    assert judge(200, {"user_id": "1", name: value}) == Proof(user, found)
    assert judge(200, {"user_id": "1", name: [value]}) == Proof(user, ())
