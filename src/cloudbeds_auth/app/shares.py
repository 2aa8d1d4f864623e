"""Of the connections to Cloudbeds no caller has more than its share, and those that it has do not wait for it (A72)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cloudbeds_auth.app.limits import Limits
from cloudbeds_auth.app.problems import TooManyCalls


@dataclass(slots=True)
class _Share:
    """Of one address: its free places, and how many calls have or want one."""

    places: asyncio.Semaphore
    calls: int = 0


class Shares:
    """By address, for as long as callers have no keys of their own."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._shares: dict[str, _Share] = {}

    @asynccontextmanager
    async def place(self, address: str) -> AsyncIterator[None]:
        """One call of this address, from its body's first byte to its answer's last. Raises TooManyCalls."""
        share = self._shares.setdefault(address, _Share(asyncio.Semaphore(self._limits.calls_per_address)))
        share.calls += 1
        try:
            if share.places.locked():
                await self._waited_for(share)
            else:
                await share.places.acquire()  # at once
            try:
                yield
            finally:
                share.places.release()
        finally:
            share.calls -= 1
            if not share.calls:
                del self._shares[address]

    async def _waited_for(self, share: _Share) -> None:
        """A place, in the order in which they came."""
        try:
            async with asyncio.timeout(self._limits.call_wait):
                await share.places.acquire()
        except TimeoutError:
            raise TooManyCalls(
                f"{self._limits.calls_per_address} calls of this address are under way; nothing was sent", retry_after=1
            ) from None
