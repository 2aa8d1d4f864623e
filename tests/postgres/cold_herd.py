"""How long callers of cold hotels wait, each of another hotel, all at one moment, with PostgreSQL far away.

    python -m tests.postgres.cold_herd [CALLERS] [SECONDS EACH WAY]

Prints how they were answered, and when half of them, 99 of 100, and the last were.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack

from tests.support.failing import FailingDriver
from tests.support.fakes import APP, ISSUER, Dice, Notebook, ScriptedEndpoint, ScriptedVendor
from tests.support.far import far
from tests.support.postgres import database, server
from tests.support.processes import Processes
from tests.support.stage import Process

from cloudbeds_auth import system
from cloudbeds_auth.database.postgres import PostgresDriver
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.errors import Error
from cloudbeds_auth.rules.refresh import Timing


async def process(over: Processes, url: str) -> Process:
    """One of ours whose database is at `url`; it has looked at nothing yet."""
    driver = await over.opened(PostgresDriver(url))
    world = World(
        clock=system.SystemClock(),
        entropy=Dice(),
        db=await over.store(driver),
        token_endpoint=ScriptedEndpoint(),
        vendor=ScriptedVendor(),
        observer=Notebook(),
        timing=Timing(),
        apps={"default": APP},
        owner="process-1",
        issuer=ISSUER,
    )
    return Process(world, FailingDriver(driver))


async def main(callers: int, seconds: float) -> None:
    """Once."""
    async with AsyncExitStack() as stack:
        url = stack.enter_context(database(stack.enter_context(server()).url))
        over = Processes(url, stack)
        homes = await over.hotels(await over.store(), callers)
        one = await process(over, stack.enter_context(far(url, seconds)))
        began, told = time.monotonic(), Counter[str]()
        waits: list[float] = []

        async def call(home: str) -> None:
            try:
                await one.access.access_token(home)
            except Error as error:
                told[f"{type(error).__name__}: {error.detail}"] += 1
            else:
                told["a token"] += 1
            waits.append(time.monotonic() - began)

        await asyncio.gather(*map(call, homes))
        waits.sort()
        print(f"{callers} callers, {seconds * 1000:g} ms each way:", dict(told))
        half, most = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
        print(f"half {half:.2f} s, 99 of 100 {most:.2f} s, last {waits[-1]:.2f} s")


if __name__ == "__main__":
    asyncio.run(main(int((sys.argv[1:2] or ["2000"])[0]), float((sys.argv[2:3] or ["0.002"])[0])))
