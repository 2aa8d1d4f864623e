"""Callers of hotels that nobody asked about for a while, each of another one, all at one moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from benchmarks import stage
from benchmarks.hotels import Fleet
from cloudbeds_auth import TokenVault

OF_ONE_ADDRESS = 50  # calls that the proxy makes at a time for one address: so no caller waits for another one's


@dataclass(frozen=True, slots=True)
class Answers:
    """Milliseconds until each caller was answered, in order; and how many had a token, or a 200."""

    waits: Sequence[float]
    served: int

    @property
    def p99(self) -> float:
        """Within this time 99 of 100 were."""
        return self.waits[len(self.waits) * 99 // 100]

    @property
    def failed(self) -> int:
        """How many had none."""
        return len(self.waits) - self.served


async def through_the_vault(fleet: Fleet, connections: Sequence[str]) -> Answers:
    """A vault that was just opened."""
    async with TokenVault.open(fleet.settings) as vault:

        async def ask(connection: str) -> bool:
            return bool((await vault.access_token(connection)).reveal())

        return await all_at_once([partial(ask, one) for one in connections])


async def through_the_proxy(target: stage.Target, connections: Sequence[str]) -> Answers:
    """A service that was just started; its callers are connected already."""
    base = target.url.rpartition("/")[0]
    host, _, port = base.removeprefix("http://").partition("/")[0].partition(":")
    headers = "".join(f"{name}: {value}\r\n" for name, value in target.headers.items())
    open_ = [
        await asyncio.open_connection(host, int(port), local_addr=(f"127.0.1.{at // OF_ONE_ADDRESS + 1}", 0))
        for at in range(len(connections))
    ]

    async def ask(at: int) -> bool:
        reader, writer = open_[at]
        head = f"GET /proxy/{connections[at]}{stage.METHOD} HTTP/1.1\r\nHost: {host}:{port}\r\n{headers}\r\n"
        writer.write(head.encode())
        answered = await reader.readuntil(b"\r\n\r\n")
        return answered.startswith(b"HTTP/1.1 200 ")

    try:
        return await all_at_once([partial(ask, at) for at in range(len(connections))])
    finally:
        for _, writer in open_:
            writer.close()


async def all_at_once(callers: Sequence[Callable[[], Awaitable[bool]]]) -> Answers:
    """Run them, a task each; one that raises was not served."""
    began = time.perf_counter()

    async def timed(ask: Callable[[], Awaitable[bool]]) -> tuple[float, bool]:
        served = False
        with suppress(Exception):
            served = await ask()
        return (time.perf_counter() - began) * 1e3, served

    found = await asyncio.gather(*map(timed, callers))
    return Answers(sorted(wait for wait, _ in found), sum(served for _, served in found))
