"""`python -m benchmarks.children.herd SUBJECT CALLERS`: one process of a herd, whose callers all ask at one moment.

Each line of its standard input is one herd, an object: `at`, the unix second at which all of them ask, and what the
subject needs. The line that answers it has the milliseconds from that moment until each caller had a token, how many
callers have which token, how many failed, and the refresh token that the process would continue with.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Herd = Mapping[str, Any]


async def herds() -> AsyncIterator[Herd]:
    """What is read, one after another; the first line that is written says that this process is ready."""
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield json.loads(line)


def told(answers: Sequence[tuple[str | None, float]], refresh_token: str = "") -> None:
    """Write what the callers of one herd have; None: an error."""
    found = {
        "waits": [wait for token, wait in answers if token is not None],
        "tokens": Counter(token for token, _ in answers if token is not None),
        "failed": sum(token is None for token, _ in answers),
        "refresh_token": refresh_token,
    }
    print(json.dumps(found), flush=True)


async def asked(ask: Callable[[], Awaitable[str]], callers: int, at: float) -> Sequence[tuple[str | None, float]]:
    """What each caller has, a task each, and after how many milliseconds."""

    async def caller() -> tuple[str | None, float]:
        token: str | None = None
        try:
            token = await ask()
        except Exception as error:  # noqa: BLE001 - it failed, and that is counted
            print(repr(error), file=sys.stderr)
        return token, (time.time() - at) * 1e3

    await asyncio.sleep(at - time.time())
    return await asyncio.gather(*(caller() for _ in range(callers)))


async def ours(callers: int) -> None:
    """`vault.access_token`, with the settings of the environment."""
    from cloudbeds_auth import TokenVault

    async with TokenVault.open() as vault:
        async for herd in herds():

            async def ask(connection: str = herd["connection"]) -> str:
                return (await vault.access_token(connection)).reveal()

            told(await asked(ask, callers, herd["at"]))


async def authlib(callers: int) -> None:
    """Authlib's asynchronous client, which lets one task at a time refresh."""
    from authlib.integrations.httpx_client import AsyncOAuth2Client

    async for herd in herds():
        async with AsyncOAuth2Client(**herd["client"]) as client:

            async def ask(client: Any = client) -> str:
                await client.ensure_active_token(client.token)
                return str(client.token["access_token"])

            told(await asked(ask, callers, herd["at"]), client.token["refresh_token"])


async def authlib_threads(callers: int) -> None:
    """Authlib's blocking client, shared by threads."""
    from authlib.integrations.httpx_client import OAuth2Client

    async for herd in herds():
        with OAuth2Client(**herd["client"]) as client, ThreadPoolExecutor(callers) as threads:

            def ask(at: float = herd["at"], client: Any = client) -> tuple[str | None, float]:
                time.sleep(at - time.time())
                token: str | None = None
                try:
                    client.ensure_active_token()
                    token = client.token["access_token"]
                except Exception as error:  # noqa: BLE001 - it failed, and that is counted
                    print(repr(error), file=sys.stderr)
                return token, (time.time() - at) * 1e3

            answers = [asking.result() for asking in [threads.submit(ask) for _ in range(callers)]]
            told(answers, client.token["refresh_token"])


SUBJECTS: dict[str, Callable[[int], Awaitable[None]]] = {
    "cloudbeds-auth": ours,
    "Authlib, tasks": authlib,
    "Authlib, threads": authlib_threads,
}


async def main(subject: str, callers: int) -> None:
    """Until its standard input ends."""
    await SUBJECTS[subject](callers)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
