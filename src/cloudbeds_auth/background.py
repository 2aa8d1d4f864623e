"""What runs behind the callers: counted calls are written to the history; with upkeep, what is due is done and told."""

from __future__ import annotations

import asyncio

from cloudbeds_auth.engine.hooks import Inbound
from cloudbeds_auth.engine.properties import Groups
from cloudbeds_auth.engine.upkeep import AFTER_FAILURE, LONGEST
from cloudbeds_auth.engine.webhooks import Outbound
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.runtime import Engine

EVERY = 0.5  # seconds between looks at the counted calls


class Background:
    """Loops of one open vault, started with it and stopped before it drains. With `upkeep`, `engine.upkeep` is one."""

    def __init__(self, engine: Engine, *, upkeep: bool = False) -> None:
        self._engine = engine
        self._upkeep = upkeep
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self._tasks.append(asyncio.create_task(self._write_calls(), name="write calls"))
        if self._upkeep:
            self._tasks.append(asyncio.create_task(self._keep_up(), name="upkeep"))
            self._tasks.append(asyncio.create_task(self._forget(), name="retention"))
            self._tasks.append(asyncio.create_task(self._ask(self._engine.inbound), name="app states"))
            self._tasks.append(asyncio.create_task(self._ask(self._engine.groups), name="groups"))
            if self._engine.outbound is not None:
                self._tasks.append(asyncio.create_task(self._deliver(self._engine.outbound), name="webhooks"))

    async def stop(self) -> None:
        """End. What a tick has begun to send goes on, and `Engine.drain` waits for it and writes what is counted."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write_calls(self) -> None:
        while True:
            await self._engine.world.clock.sleep(EVERY)
            try:
                await self._engine.calls.flush()
            except Exception as error:  # noqa: BLE001 - the loop outlives whatever goes wrong in it
                self._failed(error)

    async def _keep_up(self) -> None:
        clock, upkeep = self._engine.world.clock, self._engine.upkeep
        await clock.sleep(upkeep.pause(AFTER_FAILURE))
        while True:
            try:
                seconds = await upkeep.tick()
            except Exception as error:  # noqa: BLE001 - as above
                self._failed(error)
                seconds = upkeep.pause(LONGEST)
            await clock.sleep(seconds)

    async def _forget(self) -> None:
        clock, retention = self._engine.world.clock, self._engine.retention
        await clock.sleep(self._engine.upkeep.pause(LONGEST))
        while True:
            try:
                seconds = await retention.tick()
            except Exception as error:  # noqa: BLE001 - as above
                self._failed(error)
                seconds = self._engine.upkeep.pause(LONGEST)
            await clock.sleep(seconds)

    async def _ask(self, asking: Inbound | Groups) -> None:
        while True:
            await self._engine.world.clock.sleep(asking.pause())
            try:
                while await asking.tick() == 0.0:
                    pass
            except Exception as error:  # noqa: BLE001 - as above
                self._failed(error)

    async def _deliver(self, outbound: Outbound) -> None:
        while True:
            try:
                seconds = await outbound.tick()
            except Exception as error:  # noqa: BLE001 - as above
                self._failed(error)
                seconds = LONGEST * self._engine.world.entropy.unit()
            await self._engine.world.clock.sleep(seconds)

    def _failed(self, error: Exception) -> None:
        self._engine.world.observer.happened(Happening.BACKGROUND_FAILED, error=type(error).__name__)
