"""What the vendor has just issued is kept in memory until it is stored, through every failure (rule-7, F57, F102)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.errors import StateMismatch, VaultClosed
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.refresh import backoff

T = TypeVar("T")
FINAL = (VaultClosed, StateMismatch)
"""The vault's own end; and the database's answer, not a failure, that nothing is to be stored: the same for ever."""


async def until_stored(world: World, connection_id: str, attempt: Callable[[], Awaitable[T]]) -> T:
    """What `attempt` returns, made again for as long as it raises: it stores what may be the only living credential.

    A full disk, a shortage of descriptors, threads or memory, a mistake in the configuration, a bug: after each of them
    the credential is still good. Only cancellation ends it, and FINAL. `attempt` may have been carried out when it
    raises, so it must be one that can be repeated. Each failure is reported as `commit_waits`.
    """
    failures = 0
    while True:
        try:
            return await attempt()
        except FINAL:
            raise
        except Exception as error:  # noqa: BLE001 - see above
            failures += 1
            reason = type(error).__name__
        world.observer.happened(Happening.COMMIT_WAITS, connection=connection_id, failures=failures, error=reason)
        await _pause(world, failures)


async def _pause(world: World, failures: int) -> None:
    """Before the next attempt. What the last one ran out of, this may lack as well: then others have their turn."""
    with suppress(Exception):
        await world.clock.sleep(backoff(failures, world.timing, world.entropy.unit()))
        return
    await asyncio.sleep(0)  # noqa: TID251 - no time passes
