"""Processes of ours over one PostgreSQL, each with the driver and the store that ship."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from typing import TypeVar

from tests.support.fakes import pair

from cloudbeds_auth.core.nouns import Fence, Grant
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.ports.authorizations import NewAuthorization
from cloudbeds_auth.ports.grants import Leased
from cloudbeds_auth.store.sealing import AesGcmSealer
from cloudbeds_auth.store.sql.postgres import PostgresDriver
from cloudbeds_auth.store.sql.store import SqlStore

T = TypeVar("T")
D = TypeVar("D", bound=PostgresDriver)
KEY = bytes(range(32))


class Processes:
    """Stores over the database at `url`; `stack` closes them."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.url = url
        self._stack = stack
        self._numbers = count(1)

    async def driver(self) -> PostgresDriver:
        """An open driver."""
        return await self.opened(PostgresDriver(self.url))

    async def opened(self, made: D) -> D:
        """This driver, opened, and closed at the end."""
        self._stack.push_async_callback(made.close)
        await made.open()
        return made

    async def store(self, driver: PostgresDriver | None = None) -> SqlStore:
        """The store of one more process."""
        made = SqlStore(driver or await self.driver(), AesGcmSealer([KEY]), lambda *_: False)
        await made.open()
        return made

    async def hotel(self, store: SqlStore) -> Grant:
        """A connected hotel, proven, with A-1 and R-1."""
        number = next(self._numbers)
        new = NewAuthorization(f"aut_{number}", "default", f"state-{number}", None, None, None, None, None, 600.0)
        await store.add_authorization(new)
        await store.spend_state(new.state_hash, None, "code")
        grant_id, first = f"gra_{number}", pair(1, property_ids=(str(1000 + number),))
        home = await store.add_candidate(new.id, f"con_{number}", grant_id, first, stale_after=3240.0)
        assert await store.promote(home, grant_id, None, ())
        await store.confirm(grant_id, 1)
        return await row(store, grant_id)


async def row(store: SqlStore, grant_id: str) -> Grant:
    """The grant as it rests."""
    found = await store.grant(grant_id)
    assert found is not None
    return found


async def leased(store: SqlStore, grant: Grant, seconds: float = 30.0) -> Fence:
    """The fence of a lease just taken."""
    taken = await store.take_lease(grant.id, "us", seconds)
    assert isinstance(taken, Leased)
    return Fence(grant.id, (await row(store, grant.id)).generation, taken.epoch)


async def when_it_is_back(work: Callable[[], Awaitable[T]]) -> T:
    """Try until the database can be used; a test that waits in vain ends with pytest's timeout."""
    while True:
        try:
            return await work()
        except StoreUnavailable:
            await asyncio.sleep(0.05)
