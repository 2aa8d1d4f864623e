"""`python -m benchmarks.children.lookup SUBJECT`: microseconds of one look-up of a token that is fresh."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.children.hotel import connected

NUMBER = 100_000
LONG = 28_800.0
URL = "https://api.cloudbeds.com/api/v1.3/userinfo"


def each(work: Callable[[], object], number: int = NUMBER) -> float:
    """Microseconds of one, in a loop that costs little itself; the best of five, as `timeit` advises."""
    found = []
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(number):
            work()
        found.append((time.perf_counter() - begun) / number)
    return min(found) * 1e6


async def each_awaited(work: Callable[[], Any], number: int = NUMBER) -> float:
    """The same of a coroutine that does not yield."""
    found = []
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(number):
            await work()
        found.append((time.perf_counter() - begun) / number)
    return min(found) * 1e6


def dictionary() -> float:
    """The least that a look-up can be: a dictionary and a clock, in a coroutine."""
    tokens = {"con_1": ("token", time.monotonic() + LONG)}

    async def access_token(connection_id: str) -> str:
        token, ends = tokens[connection_id]
        if ends - time.monotonic() < 60:
            raise LookupError
        return token

    return asyncio.run(each_awaited(lambda: access_token("con_1")))


def ours() -> float:
    """`vault.access_token(id)`."""
    from cloudbeds_auth import TokenVault

    async def run() -> float:
        with connected() as (settings, connection):
            async with TokenVault.open(settings) as vault:
                await vault.access_token(connection.id)
                return await each_awaited(lambda: vault.access_token(connection.id))

    return asyncio.run(run())


def requests_oauthlib() -> float:
    """What a session does before it sends: is it expired, and the header."""
    from requests_oauthlib import OAuth2Session

    token = {"access_token": "token", "token_type": "Bearer", "expires_in": LONG}
    session = OAuth2Session(client_id="client", token=token)
    return each(lambda: session._client.add_token(URL, http_method="GET", headers={}))


def authlib() -> float:
    """The same of Authlib's client for requests."""
    from authlib.integrations.requests_client import OAuth2Session

    token = {"access_token": "token", "token_type": "Bearer", "expires_at": time.time() + LONG}
    session = OAuth2Session(client_id="client", token=token)

    def look() -> None:
        session.ensure_active_token(session.token)
        session.token_auth.prepare(URL, {}, None)

    return each(look)


def google_auth() -> float:
    """`credentials.before_request`."""
    from google.oauth2.credentials import Credentials

    credentials = Credentials(token="token", expiry=(datetime.now(UTC) + timedelta(seconds=LONG)).replace(tzinfo=None))
    return each(lambda: credentials.before_request(None, "GET", URL, {}))


class _NoNetwork:
    """What MSAL asks at its start, answered here; afterwards its cache answers."""

    def get(self, url: str, **_: object) -> object:
        base = "https://login.microsoftonline.com/common"
        return _Answer({"authorization_endpoint": base, "token_endpoint": base, "issuer": base})

    def post(self, url: str, **_: object) -> object:
        return _Answer({"access_token": "token", "token_type": "Bearer", "expires_in": int(LONG)})

    def close(self) -> None:
        """Nothing is open."""


class _Answer:
    status_code = 200

    def __init__(self, body: object) -> None:
        self.headers: dict[str, str] = {}
        self.text = json.dumps(body)

    def raise_for_status(self) -> None:
        """It is a 200."""


def msal() -> float:
    """`acquire_token_for_client`, from its cache."""
    from msal import ConfidentialClientApplication

    app = ConfidentialClientApplication(
        "client", client_credential="secret", http_client=_NoNetwork(), instance_discovery=False,
        authority="https://login.microsoftonline.com/common",
    )  # fmt: skip
    app.acquire_token_for_client(["scope"])
    return each(lambda: app.acquire_token_for_client(["scope"]), NUMBER // 20)


SUBJECTS: dict[str, Callable[[], float]] = {
    "dictionary and clock": dictionary,
    "cloudbeds-auth": ours,
    "requests-oauthlib": requests_oauthlib,
    "Authlib": authlib,
    "google-auth": google_auth,
    "MSAL": msal,
}

if __name__ == "__main__":
    sys.stdout.write(f"{SUBJECTS[sys.argv[1]]()}\n")
