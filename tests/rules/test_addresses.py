"""Addresses that a caller sends to the proxy: how often they may be encoded, and what never travels in one."""

from __future__ import annotations

import pytest

from cloudbeds_auth.errors import InvalidRequest
from cloudbeds_auth.rules.proxy_policy import refuse_token, upstream_path


def test_as_many_escapes_as_are_followed_to_the_end() -> None:
    """A percent sign encoded four times over is plain after as many looks, and goes on as it was sent."""
    assert upstream_path(b"/proxy/con_1/100%252525").path == "/100%252525"


def test_one_more_is_refused() -> None:
    """What is still encoded after the last look was not looked at: 400."""
    with pytest.raises(InvalidRequest, match="too many times"):
        upstream_path(b"/proxy/con_1/a%2525252525b")


def test_no_query_holds_no_token() -> None:
    """An empty query is what most calls have; every spelling of the token's name is refused (A45)."""
    refuse_token(b"")
    for query in (b"access_token=x", b"a=1&access_token=x", b"ACCESS%5Ftoken=x", b"+access_token=x", b"access_token"):
        with pytest.raises(InvalidRequest, match="must not be part of a URL"):
            refuse_token(query)
    refuse_token(b"a=access_token")
