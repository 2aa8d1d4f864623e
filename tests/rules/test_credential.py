"""What is shown to Cloudbeds, and in which header: one place, for every client."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx2
import pytest

from cloudbeds_auth.rules.credential import FOREVER, KeyHeader, header_of, is_api_key, show
from cloudbeds_auth.rules.model import AccessToken, end_moment
from cloudbeds_auth.rules.secret import Secret

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize("keys", KeyHeader)
def test_an_access_token_is_always_a_bearer(keys: KeyHeader) -> None:
    """The setting is for keys alone."""
    assert header_of(Secret("token"), keys) == ("Authorization", "Bearer token")


def test_a_key_travels_as_the_setting_says() -> None:
    """As a bearer, or in the vendor's own header; an AccessToken and a Secret alike."""
    key = AccessToken(Secret("cbat_1"), None, 1)
    assert header_of(key, "bearer") == ("Authorization", "Bearer cbat_1")
    assert header_of(key, "x-api-key") == header_of(key.value, "x-api-key") == ("x-api-key", "cbat_1")


@pytest.mark.parametrize(
    ("value", "keys", "left"),
    [
        ("token", "x-api-key", {"authorization": "Bearer token"}),
        ("cbat_1", "x-api-key", {"x-api-key": "cbat_1"}),
        ("cbat_1", "bearer", {"authorization": "Bearer cbat_1"}),
    ],
)
def test_exactly_one_header_is_sent(value: str, keys: str, left: dict[str, str]) -> None:
    """Whatever was there before: a caller's own, or that of the token which a key has replaced."""
    headers = httpx2.Headers({"AUTHORIZATION": "Bearer old", "X-API-Key": "old", "accept": "*/*"})
    show(headers, Secret(value), keys)
    assert dict(headers) == {"accept": "*/*", **left}


def test_what_a_key_is_known_by() -> None:
    """The prefix, and nothing else."""
    assert is_api_key("cbat_")
    assert not is_api_key("CBAT_1")
    assert not is_api_key("x-cbat_1")


def test_a_key_has_no_end() -> None:
    """Forever is no moment."""
    assert end_moment(NOW.timestamp() + FOREVER) is None
    assert end_moment(NOW.timestamp()) == NOW
