"""What runs behind the callers: counted calls are written to the history."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from cloudbeds_auth.compose import Engine

EVERY = 0.5  # seconds between looks at what is due


class Background:
    """Loops of one open vault, started with it and stopped before it drains."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._write_calls(), name="write calls")

    async def stop(self) -> None:
        """End; whatever is counted by then is written by `Engine.drain`."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _write_calls(self) -> None:
        while True:
            await self._engine.world.clock.sleep(EVERY)
            try:
                await self._engine.calls.flush()
            except Exception as error:  # noqa: BLE001 - the loop outlives whatever goes wrong in it
                self._engine.world.observer.happened("background_failed", error=type(error).__name__)
