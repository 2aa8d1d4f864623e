"""`python -m benchmarks.children.added SUBJECT`: microseconds that authorization adds to a call over a client, without
a network, and what it takes without authorization is taken off. httpx2 has its own transport, whose connections answer
by themselves, so that what an authorization makes of its events counts; requests has an adapter that answers.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

from benchmarks.children import answering
from benchmarks.children.hotel import connected

CALLS = 2_000  # in one measurement
TIMES = 9
TOKEN = {"access_token": "token", "token_type": "Bearer", "expires_in": 28_800, "expires_at": time.time() + 28_800}
PATH = "/api/v1.3/getHotelDetails"


def added(plain: Callable[[], object], authorized: Callable[[], object]) -> float:
    """By how much the median of the second is above that of the first, measured in turns."""
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(TIMES):
        for work, values in zip((plain, authorized), found, strict=True):
            begun = time.perf_counter()
            for _ in range(CALLS):
                work()
            values.append((time.perf_counter() - begun) / CALLS * 1e6)
    return median(found[1]) - median(found[0])


async def added_awaited(plain: Callable[[], Awaitable[object]], authorized: Callable[[], Awaitable[object]]) -> float:
    """The same of coroutines."""
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(TIMES):
        for work, values in zip((plain, authorized), found, strict=True):
            begun = time.perf_counter()
            for _ in range(CALLS):
                await work()
            values.append((time.perf_counter() - begun) / CALLS * 1e6)
    return median(found[1]) - median(found[0])


def ours_httpx2() -> float:
    """`vault.auth()` with a blocking client of httpx2."""
    import httpx2

    from cloudbeds_auth.sync import TokenVault

    with connected(rate_limit=0) as (settings, connection), TokenVault.open(settings) as vault:
        auth = vault.auth(connection.id)
        with httpx2.Client(base_url=vault.base_url, transport=answering.transport()) as http:
            http.get(PATH, auth=auth)
            return added(lambda: http.get(PATH), lambda: http.get(PATH, auth=auth))


def ours_httpx2_async() -> float:
    """`vault.auth()` with an asynchronous client of httpx2."""
    import httpx2

    from cloudbeds_auth import TokenVault

    async def run() -> float:
        transport = answering.awaited_transport()
        with connected(rate_limit=0) as (settings, connection):
            async with TokenVault.open(settings) as vault:
                auth = vault.auth(connection.id)
                async with httpx2.AsyncClient(base_url=vault.base_url, transport=transport) as http:
                    await http.get(PATH, auth=auth)
                    return await added_awaited(lambda: http.get(PATH), lambda: http.get(PATH, auth=auth))

    return asyncio.run(run())


def canned() -> Any:
    """A transport of requests that answers by itself."""
    import requests
    from requests.adapters import BaseAdapter

    class Canned(BaseAdapter):
        def send(self, request: Any, *args: object, **kwargs: object) -> Any:
            answer = requests.Response()
            answer.status_code, answer.request, answer.url, answer._content = 200, request, request.url, b"{}"
            return answer

        def close(self) -> None:
            """Nothing is open."""

    return Canned()


def ours_requests() -> float:
    """`contrib.requests` with a session of requests."""
    import requests

    from cloudbeds_auth.contrib.requests import RequestsAuth
    from cloudbeds_auth.sync import TokenVault

    with connected(rate_limit=0) as (settings, connection), TokenVault.open(settings) as vault:
        auth, url = RequestsAuth(vault, connection.id), vault.base_url + PATH
        with requests.Session() as http:
            http.trust_env = False
            http.mount("http://", canned())
            http.get(url, auth=auth)
            return added(lambda: http.get(url), lambda: http.get(url, auth=auth))


def _of_requests(session: Any) -> float:
    """A session of requests that authorizes by itself, beside a plain one."""
    import requests

    url, plain = "https://api.cloudbeds.com" + PATH, requests.Session()
    for http in (session, plain):
        http.trust_env = False
        http.mount("https://", canned())
    return added(lambda: plain.get(url), lambda: session.get(url))


def requests_oauthlib() -> float:
    """OAuth2Session of requests-oauthlib."""
    from requests_oauthlib import OAuth2Session

    return _of_requests(OAuth2Session(client_id="client", token=TOKEN))


def authlib_requests() -> float:
    """Authlib's session."""
    from authlib.integrations.requests_client import OAuth2Session

    return _of_requests(OAuth2Session(client_id="client", token=TOKEN))


def authlib_httpx() -> float:
    """Authlib's client beside a plain one of httpx2."""
    import httpx2
    from authlib.integrations.httpx_client import OAuth2Client

    transport = answering.transport()
    parts: dict[str, Any] = {"base_url": "https://api.cloudbeds.com", "transport": transport}
    session, plain = OAuth2Client(client_id="client", token=TOKEN, **parts), httpx2.Client(**parts)
    return added(lambda: plain.get(PATH), lambda: session.get(PATH))


def authlib_httpx_async() -> float:
    """Authlib's asynchronous client beside a plain one of httpx2."""
    import httpx2
    from authlib.integrations.httpx_client import AsyncOAuth2Client

    async def run() -> float:
        transport = answering.awaited_transport()
        parts: dict[str, Any] = {"base_url": "https://api.cloudbeds.com", "transport": transport}
        session, plain = AsyncOAuth2Client(client_id="client", token=TOKEN, **parts), httpx2.AsyncClient(**parts)
        return await added_awaited(lambda: plain.get(PATH), lambda: session.get(PATH))

    return asyncio.run(run())


SUBJECTS: dict[str, Callable[[], float]] = {
    "cloudbeds-auth, httpx2": ours_httpx2,
    "cloudbeds-auth, httpx2 (async)": ours_httpx2_async,
    "cloudbeds-auth, requests": ours_requests,
    "Authlib, httpx2": authlib_httpx,
    "Authlib, httpx2 (async)": authlib_httpx_async,
    "Authlib, requests": authlib_requests,
    "requests-oauthlib, requests": requests_oauthlib,
}

if __name__ == "__main__":
    sys.stdout.write(f"{SUBJECTS[sys.argv[1]]()}\n")
