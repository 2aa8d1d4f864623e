"""Processes of ours over one PostgreSQL, each with the driver and the store that ship."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from typing import TypeVar

import psycopg
from psycopg.rows import dict_row
from tests.support.fakes import pair
from tests.support.genuine import PostgresSql, take_as_it_is
from tests.support.keys import KEY

from cloudbeds_auth.database.postgres import PostgresDriver
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.engine.authorize import spend
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.ports import Place
from cloudbeds_auth.rules.model import Fence, Grant
from cloudbeds_auth.transactions.authorizations import NewAuthorization, add_authorization
from cloudbeds_auth.transactions.candidates import add_candidate, promote
from cloudbeds_auth.transactions.grants import Leased, read_grant, take_lease
from cloudbeds_auth.transactions.refusals import confirm
from cloudbeds_auth.transactions.rows import access_place, token_place
from cloudbeds_auth.transactions.runner import Database

T = TypeVar("T")
D = TypeVar("D", bound=PostgresDriver)
# What a hotel is made of: a table, its column that is sealed, and the place that it is sealed for.
COPIED: tuple[tuple[str, str | None, Callable[[str, int], Place]], ...] = (
    ("connections", None, access_place),
    ("grants", "access_sealed", access_place),
    ("tokens", "sealed", lambda grant_id, generation: token_place(grant_id, 1, generation)),
)


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

    async def store(self, driver: PostgresDriver | None = None) -> Database:
        """The store of one more process."""
        made = Database(driver or await self.driver(), AesGcmSealer([KEY]), lambda *_: False)
        await made.open()
        return made

    async def hotel(self, store: Database) -> Grant:
        """A connected hotel, proven, with A-1 and R-1."""
        number = next(self._numbers)
        new = NewAuthorization(f"aut_{number}", "default", f"state-{number}", None, None, None, None, None, 600.0)
        await store.write(add_authorization(new))
        await spend(store, new.state_hash, None, "code")
        grant_id, first = f"gra_{number}", pair(1, property_ids=(str(1000 + number),))
        home = await store.write(add_candidate(new.id, f"con_{number}", grant_id, first, stale_after=3240.0))
        assert await store.write(promote(home, grant_id, 1, None, ()))
        await store.write(confirm(grant_id, 1))
        return await row(store, grant_id)

    async def hotels(self, store: Database, number: int) -> list[str]:
        """The connection ids of so many more hotels, each a copy of one that was connected, sealed for its place."""
        await self.hotel(store)
        return copies(self.url, number)


def copies(url: str, number: int) -> list[str]:
    """Copy the one hotel that is connected there, sealed anew for each place; the connection ids."""
    sealer = AesGcmSealer([KEY])
    with psycopg.connect(url, row_factory=dict_row) as connection:
        ((home, grant_id),) = [
            tuple(row.values()) for row in connection.execute("SELECT connection_id, id FROM grants")
        ]
        names = [(f"{home}_{copy}", f"{grant_id}_{copy}") for copy in range(number)]
        for table, secret, place in COPIED:
            (one,) = connection.execute(f"SELECT * FROM {table}").fetchall()
            made = []
            for new_home, new_grant in names:
                new = {home: new_home, grant_id: new_grant}
                copy = {name: new.get(value, value) if isinstance(value, str) else value for name, value in one.items()}
                if secret is not None:
                    copy[secret] = sealer.seal(sealer.open(one[secret], place(grant_id, 1)), place(new_grant, 1))
                made.append(tuple(copy.values()))
            columns, values = ", ".join(one), ", ".join(["%s"] * len(one))
            connection.cursor().executemany(f"INSERT INTO {table} ({columns}) VALUES ({values})", made)
    with psycopg.connect(url) as connection:
        take_as_it_is(PostgresSql(connection))
    return [new_home for new_home, _ in names]


async def row(store: Database, grant_id: str) -> Grant:
    """The grant as it rests."""
    found = await store.read(read_grant(grant_id))
    assert found is not None
    return found


async def leased(store: Database, grant: Grant, seconds: float = 30.0) -> Fence:
    """The fence of a lease just taken."""
    taken = await store.write(take_lease(grant.id, "us", seconds))
    assert isinstance(taken, Leased)
    return Fence(grant.id, (await row(store, grant.id)).generation, taken.epoch)


async def when_it_is_back(work: Callable[[], Awaitable[T]]) -> T:
    """Try until the database can be used; a test that waits in vain ends with pytest's timeout."""
    while True:
        try:
            return await work()
        except StoreUnavailable:
            await asyncio.sleep(0.05)
