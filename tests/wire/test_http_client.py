"""The policy of every HTTP client of ours."""

from __future__ import annotations

import re
from functools import partial

import httpx2
import pytest

from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.wire import http_client


def test_user_agent() -> None:
    """Product, version, Python."""
    assert re.fullmatch(r"cloudbeds-auth/\d[\w.]* \(\+python 3\.\d+\.\d+\S*\)", http_client.user_agent())


def test_timeouts() -> None:
    """Connecting has its own limit, every other step at most the deadline."""
    timeouts = http_client.timeouts(Timing.of(20.0))
    assert (timeouts.connect, timeouts.read, timeouts.write, timeouts.pool) == (5.0, 20.0, 20.0, 5.0)


@pytest.mark.row("A32")
async def test_client() -> None:
    """Environment unread, redirects unfollowed, cookies refused."""
    client = http_client.client(Timing(), None, keep_alive=0)
    assert client.trust_env is False
    assert client.follow_redirects is False
    response = httpx2.Response(200, headers={"Set-Cookie": "a=b"}, request=httpx2.Request("GET", "https://x.example/"))
    client.cookies.extract_cookies(response)
    assert not client.cookies
    await client.aclose()


async def test_limit_holds_to_the_byte() -> None:
    """One byte more is refused."""
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, stream=httpx2.ByteStream(b"x" * 11)))
    asked = partial(http_client.ask, Timing(), transport, "GET", "https://x.example/")
    with pytest.raises(http_client.Unusable, match="larger"):
        await asked(limit=10)
    assert (await asked(limit=11)).body == b"x" * 11
