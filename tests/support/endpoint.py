"""A program's own endpoint, which webhooks are posted to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Endpoint:
    """Where webhooks are posted; `statuses` are the next answers, 200 afterwards."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    came: asyncio.Queue[tuple[dict[str, str], Any]] = field(default_factory=asyncio.Queue)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Take what is posted."""
        self.came.put_nowait((dict(request.headers), await request.json()))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@asynccontextmanager
async def listening() -> AsyncIterator[Endpoint]:
    """On a free port."""
    made = Endpoint()
    runner = web.ServerRunner(web.Server(made.handle))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hotel-events"
        yield made
    finally:
        await runner.cleanup()
