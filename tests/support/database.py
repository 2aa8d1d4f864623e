"""The SQL store on a real file, over its real driver, with a clock that a test sets by hand."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.support.fakes import pair

from cloudbeds_auth.core.nouns import Fence, Grant, Pair
from cloudbeds_auth.ports.store import Leased, NewAuthorization, NewLink
from cloudbeds_auth.store.sealing import AesGcmSealer
from cloudbeds_auth.store.sql.sqlite import SqliteDriver
from cloudbeds_auth.store.sql.store import SqlStore
from cloudbeds_auth.store.sql.transactions import Instant

KEY = bytes(range(32))


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
        return Instant(self.wall, self.steady, self.boot)


@dataclass
class Database:
    """One file, its first store, and what a test needs to say about them."""

    path: Path
    clock: HandClock = field(default_factory=HandClock)
    dead: set[str] = field(default_factory=set)
    opened: list[SqlStore] = field(default_factory=list)
    numbers: Any = field(default_factory=lambda: count(1))

    async def open(self, *keys: bytes, version: int | None = None) -> SqlStore:
        """Another store over the same file, as another process has it."""
        driver = SqliteDriver(self.path, self.clock.instant, version=version)
        store = SqlStore(driver, AesGcmSealer(list(keys) or [KEY]), lambda owner, _: owner in self.dead)
        self.opened.append(store)
        await driver.open()
        await store.open()
        return store

    @property
    def store(self) -> SqlStore:
        return self.opened[0]

    async def close(self) -> None:
        for store in self.opened:
            await store.close()

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Look into the file, or alter it, behind everybody's back.

        With the SQLite that the driver uses: a second library in one process would drop its locks (F61).
        """
        with closing(apsw.Connection(str(self.path))) as connection:
            return connection.execute(statement, values).fetchall()

    # --- steps

    def state(self, **more: Any) -> NewAuthorization:
        """A state about to be issued, unlike all others."""
        number = next(self.numbers)
        parts: dict[str, Any] = {
            "id": f"aut_{number}", "app": "default", "state_hash": f"state-{number}", "browser_hash": None,
            "reference": None, "return_to": None, "connection_id": None, "link_hash": None, "lifetime": 600.0,
        }  # fmt: skip
        return NewAuthorization(**(parts | more))

    async def approved(self, first: Pair | None = None, **more: Any) -> Grant:
        """A candidate, as it comes in."""
        new, number = self.state(**more), next(self.numbers)
        await self.store.add_authorization(new)
        await self.store.spend_state(new.state_hash, new.browser_hash, "code")
        first = first or pair(number, property_ids=(str(1000 + number),))
        await self.store.add_candidate(
            new.id, f"con_{number:03d}", f"gra_{number:03d}", first, stale_after=0.9 * first.lifetime
        )
        return await self.row(f"gra_{number:03d}")

    async def connected(self, first: Pair | None = None, **more: Any) -> Grant:
        """A connected hotel, proven."""
        grant = await self.approved(first, **more)
        assert await self.store.promote(grant.connection_id, grant.id, None, ())
        await self.store.confirm(grant.id, grant.generation)
        return await self.row(grant.id)

    async def leased(self, grant: Grant, owner: str = "us", seconds: float = 30.0) -> Fence:
        """The fence of a lease just taken."""
        taken = await self.store.take_lease(grant.id, owner, seconds)
        assert isinstance(taken, Leased)
        return Fence(grant.id, (await self.row(grant.id)).generation, taken.epoch)

    async def intent(self, grant: Grant, position: int = 1) -> Fence:
        """A fence with its intent written."""
        fence = await self.leased(grant)
        assert await self.store.write_intent(fence, position, lease=30.0, hold=20.0)
        return fence

    async def row(self, grant_id: str) -> Grant:
        found = await self.store.grant(grant_id)
        assert found is not None
        return found

    async def tokens(self, grant_id: str) -> list[str]:
        """The stored refresh tokens, oldest first."""
        return [token.value.reveal() for token in (await self.row(grant_id)).tokens]

    async def kinds(self, connection_id: str) -> list[str]:
        """The kinds of the history, oldest first."""
        return [event.kind for event in reversed(await self.store.events(connection_id))]


def link(name: str, **more: Any) -> NewLink:
    """A one-time link about to be issued."""
    parts: dict[str, Any] = {
        "hash": name, "app": "default", "reference": None, "return_to": None, "connection_id": None, "lifetime": 60.0
    }  # fmt: skip
    return NewLink(**(parts | more))
