"""What is measured: each a thing that a program does with every call, done COUNT times over a database that is there.

    python -m tests.instructions.measured DATABASE BASE_URL CONNECTION NAME COUNT

A process of its own, for callgrind: see `test_instructions.py`. Whatever else it does, it does for every COUNT alike.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2

from cloudbeds_auth import Secret, Settings, TokenVault

CLIENT, SECRET = "simulated-app", "simulated-secret"  # of tests.support.simulator, which imports a server
Once = Callable[[], Awaitable[Any]]


def look_up(vault: TokenVault, connection_id: str) -> Once:
    """A token of which memory knows that it is fresh."""
    return lambda: vault.access_token(connection_id)


def plain_call(vault: TokenVault, connection_id: str) -> Once:
    """httpx2 alone, without a network."""
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(_answer))
    return lambda: client.get(f"{vault.base_url}/api/v1.3/getHotels")


def call(vault: TokenVault, connection_id: str) -> Once:
    """httpx2 with the hotel's credential, without a network."""
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(_answer), auth=vault.auth(connection_id))
    return lambda: client.get(f"{vault.base_url}/api/v1.3/getHotels")


def _answer(request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, json={"success": True, "data": []})


TABLE: dict[str, Callable[[TokenVault, str], Once]] = {
    "access_token": look_up,
    "plain call": plain_call,
    "call": call,
}


async def measure(database: str, base_url: str, connection_id: str, name: str, count: int) -> None:
    """Do it that often, after one that everything is made for."""
    settings = Settings(
        client_id=CLIENT, client_secret=Secret(SECRET), base_url=base_url, database_url=database, rate_limit=0
    )
    async with TokenVault.open(settings) as vault:
        await vault.access_token(connection_id)
        once = TABLE[name](vault, connection_id)
        for _ in range(1 + count):
            await once()


if __name__ == "__main__":
    database, base_url, connection_id, name, count = sys.argv[1:]
    asyncio.run(measure(database, base_url, connection_id, name, int(count)))
