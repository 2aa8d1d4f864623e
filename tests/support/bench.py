"""The stores under one contract: each on its bench, with a clock that a test sets by hand.

`MAKERS` is the registry: another store adds its bench there, and every test of the contract runs over it too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.support.fakes import pair
from tests.support.genuine import PostgresSql, altered, written
from tests.support.keys import KEY
from tests.support.postgres_stage import KeptDriver
from tests.support.shown import wrongly_shown
from tests.support.stage import SqliteDatabase
from tests.support.template import begin_with_schema

from cloudbeds_auth.database.clone_guard import Identity, recognise
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.database.sqlite import SqliteDriver
from cloudbeds_auth.engine.authorize import spend
from cloudbeds_auth.errors import Error
from cloudbeds_auth.rules.model import Connection, Fence, Grant, Pair
from cloudbeds_auth.rules.properties import PropertyChanges
from cloudbeds_auth.transactions.authorizations import NewAuthorization, NewLink, add_authorization
from cloudbeds_auth.transactions.candidates import add_candidate, promote
from cloudbeds_auth.transactions.connections import read_connection
from cloudbeds_auth.transactions.grants import (
    Leased,
    Written,
    commit_pair,
    read_grant,
    release_lease,
    take_lease,
    write_intent,
)
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.refusals import confirm
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.statements import Instant


def about(seconds: float) -> Any:
    """Equal to this number of seconds, as floats are."""
    return pytest.approx(seconds)


@dataclass
class HandClock:
    """The store's time: `pass_` lets time pass, `wall` and `boot` are set alone."""

    wall: float = 1_800_000_000.0
    steady: float = 1_000.0
    boot: str = "boot-1"

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def reboot(self) -> None:
        """Steady time begins anew, under another name."""
        self.boot, self.steady = "boot-2", 5.0

    def instant(self) -> Instant:
        return Instant(self.wall, self.steady, self.boot, self.boot)


class Bench(ABC):
    """One store of processes that come and go, and what a test needs to say about them.

    `path`: a file that it may rest in. `dead`: the owners known dead.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = HandClock()
        self.dead: set[str] = set()
        self.opened: list[Database] = []
        self.attacked = False  # rows were altered that are not as the product wrote them
        self._numbers = count(1)

    @abstractmethod
    async def another(self, *keys: bytes) -> Database:
        """One more store over the same rows, as another process has it; with these keys, or with the same."""

    @abstractmethod
    async def copy(self) -> Database:
        """A store of an installation that found these rows to be a copy of another's: read-only."""

    @abstractmethod
    def latch(self, grant_id: str) -> None:
        """Set the no-refresh latch of a grant (rule 15) alone, behind the back of the port."""

    @abstractmethod
    def raw(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Behind everybody's back; `?` for each value."""

    def attack(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """As somebody who writes to the database and has no key."""
        self.attacked = True
        return self.raw(statement, *values)

    @property
    def store(self) -> Database:
        return self.opened[0]

    async def close(self) -> None:
        for store in self.opened:
            with suppress(Error):  # of a store that a test took away
                assert self.attacked or await store.read(wrongly_shown()) == []
                found = [] if self.attacked else await altered(store)
                assert found == [], found
            await store.close()

    def is_dead(self, owner: str, clock_id: str) -> bool:
        return owner in self.dead

    # --- steps

    def state(self, **more: Any) -> NewAuthorization:
        """A state about to be issued, unlike all others."""
        number = next(self._numbers)
        parts: dict[str, Any] = {
            "id": f"aut_{number}", "app": "default", "state_hash": f"state-{number}", "browser_hash": None,
            "reference": None, "return_to": None, "connection_id": None, "link_hash": None, "lifetime": 600.0,
            "trusted": True,
        }  # fmt: skip
        return NewAuthorization(**(parts | more))

    async def approved(self, first: Pair | None = None, **more: Any) -> Grant:
        """A candidate, as it comes in."""
        new, number = self.state(**more), next(self._numbers)
        await self.store.write(add_authorization(new))
        await spend(self.store, new.state_hash, new.browser_hash, "code")
        first = first or pair(number, property_ids=(str(1000 + number),))
        await self.store.write(
            add_candidate(new.id, f"con_{number:03d}", f"gra_{number:03d}", first, stale_after=0.9 * first.lifetime)
        )
        return await self.row(f"gra_{number:03d}")

    async def connected(self, first: Pair | None = None, **more: Any) -> Grant:
        """A connected hotel, proven."""
        grant = await self.approved(first, **more)
        assert await self.promoted(grant.id)
        await self.store.write(confirm(grant.id, grant.generation))
        return await self.row(grant.id)

    async def promoted(self, grant_id: str, learnt: tuple[str, ...] = ()) -> PropertyChanges | None:
        """The candidate's stored pair worked."""
        row = await self.row(grant_id)
        return await self.store.write(promote(row.connection_id, grant_id, row.generation, None, learnt))

    async def hotel(self) -> Grant:
        """A connected hotel of property 1000 with R-1."""
        return await self.connected(pair(1, property_ids=("1000",)))

    async def leased(self, grant: Grant, owner: str = "us", seconds: float = 30.0) -> Fence:
        """The fence of a lease just taken."""
        taken = await self.store.write(take_lease(grant.id, owner, seconds))
        assert isinstance(taken, Leased)
        return Fence(grant.id, (await self.row(grant.id)).generation, taken.epoch)

    async def intent(self, grant: Grant, position: int = 1) -> Fence:
        """A fence with its intent written."""
        fence = await self.leased(grant)
        assert await self.store.write(write_intent(fence, position, lease=30.0, hold=20.0))
        return fence

    async def committed(self, grant: Grant, *numbers: int | str, at: int = -1) -> Grant:
        """Pairs committed one after another, unproven, each over the token at index `at`."""
        for number in numbers:
            row = await self.row(grant.id)
            fence = await self.leased(grant)
            sent = row.tokens[at]
            assert await self.store.write(write_intent(fence, sent.position, lease=30.0, hold=20.0))
            assert await self.store.write(commit_pair(fence, sent, pair(number), stale_after=3000.0)) is Written.DONE
            await self.store.write(release_lease(grant.id, fence.epoch))
        return await self.row(grant.id)

    # --- what rests

    async def row(self, grant_id: str) -> Grant:
        found = await self.store.read(read_grant(grant_id))
        assert found is not None
        return found

    async def look(self, connection_id: str) -> Connection:
        """The connection as it is seen."""
        found = await self.store.read(read_connection(connection_id))
        assert found is not None
        return found

    async def tokens(self, grant_id: str) -> list[str]:
        """The stored refresh tokens, oldest first."""
        return [token.value.reveal() for token in (await self.row(grant_id)).tokens]

    async def kinds(self, connection_id: str) -> list[str]:
        """The kinds of the history, oldest first."""
        return [event.kind for event in reversed(await self.store.read(read_history(connection_id)))]


class SqliteBench(Bench):
    """The SQL store on a real file, over its real driver."""

    async def another(self, *keys: bytes) -> Database:
        return await self.open(*keys)

    async def open(self, *keys: bytes, version: int | None = None) -> Database:
        """Another store over the same file, with these keys, on this build of SQLite."""
        begin_with_schema(self.path)
        driver = SqliteDriver(self.path, self.clock.instant, version=version)
        store = Database(driver, AesGcmSealer(list(keys) or [KEY]), self.is_dead, driver.browse)
        self.opened.append(store)
        await driver.open()
        await store.open()
        return store

    async def copy(self) -> Database:
        store = await self.open()
        await store.open(partial(recognise, identity=Identity("ins_1", "here")))
        await store.open(partial(recognise, identity=Identity("ins_1", "elsewhere")))
        return store

    def latch(self, grant_id: str) -> None:
        self.sql("UPDATE grants SET latched = 1 WHERE id = ?", grant_id)

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Look into the file, or alter it, behind everybody's back, as if the product had."""
        return written(self.raw, statement, *values)

    def raw(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return SqliteDatabase(self.path).sql(statement, *values)


class PostgresBench(Bench):
    """The SQL store on a real server, over its real driver, which is one for all tests; the fixture says where."""

    url: str
    driver: KeptDriver

    async def another(self, *keys: bytes) -> Database:
        driver = self.driver.by(self.clock.instant)
        store = Database(driver, AesGcmSealer(list(keys) or [KEY]), self.is_dead)
        self.opened.append(store)
        await store.open()
        return store

    async def copy(self) -> Database:
        store = await self.another()
        await store.open(partial(recognise, identity=Identity("ins_1", "here")))
        await store.open(partial(recognise, identity=Identity("ins_1", "elsewhere")))
        return store

    def raw(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return PostgresSql(connection)(statement, *values)

    def latch(self, grant_id: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("UPDATE grants SET latched = 1 WHERE id = %s", (grant_id,))


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[SqliteBench]:
    """An empty database with one store open."""
    made = SqliteBench(tmp_path / "vault.sqlite3")
    await made.open()
    yield made
    await made.close()


MAKERS: dict[str, type[SqliteBench] | type[PostgresBench]] = {
    "sqlite": SqliteBench,
    "postgresql": PostgresBench,
}


def link(name: str, **more: Any) -> NewLink:
    """A one-time link about to be issued."""
    parts: dict[str, Any] = {
        "hash": name, "app": "default", "reference": None, "return_to": None, "connection_id": None, "lifetime": 60.0
    }  # fmt: skip
    return NewLink(**(parts | more))
