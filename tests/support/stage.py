"""The vault over the real SQL store on a real file, with scripted ports: what a test of the protocol plays on."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import apsw
from tests.support.failing import FailingDriver
from tests.support.fakes import APP, HOUR, ISSUER, Dice, Notebook, Reply, ScriptedEndpoint, ScriptedVendor, pair
from tests.support.genuine import Sql, altered, written
from tests.support.keys import KEY
from tests.support.shown import wrongly_shown
from tests.support.template import begin_with_schema
from tests.support.virtual import VirtualClock

from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.database.sqlite import SqliteDriver
from cloudbeds_auth.engine.authorize import spend
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.single_flight import ServedToken
from cloudbeds_auth.engine.wiring import Engine
from cloudbeds_auth.errors import Error
from cloudbeds_auth.ports import Deliverer, TokenEndpoint, Vendor
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import App, Fence, Finished, Grant, Pair
from cloudbeds_auth.rules.origins import Source
from cloudbeds_auth.rules.refresh import Ask, Timing
from cloudbeds_auth.rules.subscriptions import Wanted
from cloudbeds_auth.rules.token_response import Refused
from cloudbeds_auth.settings import Settings, further_app
from cloudbeds_auth.transactions.authorizations import NewAuthorization, add_authorization
from cloudbeds_auth.transactions.candidates import add_candidate, promote
from cloudbeds_auth.transactions.grants import Leased, Written, commit_pair, read_grant, release_lease, take_lease
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.refusals import confirm
from cloudbeds_auth.transactions.runner import Database, Driver
from cloudbeds_auth.transactions.statements import Instant

T = TypeVar("T")
SETTINGS = Settings(client_id="client-1", scopes=("read:hotel",))


class Process(Engine):
    """One process of ours over this driver's database."""

    def __init__(
        self,
        world: World,
        driver: FailingDriver,
        wanted: Sequence[Wanted] = (),
        deliverer: Deliverer | None = None,
        *,
        decided: bool = True,
    ) -> None:
        checked, days = partial(further_app, SETTINGS), SETTINGS.retention_days
        super().__init__(world, checked, retention_days=days, wanted=wanted, decided=decided, deliverer=deliverer)
        self.driver = driver

    @property
    def store(self) -> Database:
        assert isinstance(self.world.db, Database)
        return self.world.db

    async def refresh(self, grant_id: str, seen: int, rejected: int | None = None, **more: Any) -> ServedToken:
        """Ask for a refresh."""
        return await self.refresher.refresh(Ask(grant_id, seen, rejected, **more))

    async def commit(self, grant: Grant, number: int | str) -> None:
        """Refresh this grant: take the lease, commit (A-number, R-number), give the lease back."""
        taken = await self.store.write(take_lease(grant.id, self.world.owner, 30.0))
        assert isinstance(taken, Leased)
        row = await self.store.read(read_grant(grant.id))
        assert row is not None
        fence = Fence(grant.id, row.generation, taken.epoch)
        written = await self.store.write(commit_pair(fence, row.tokens[-1], pair(number), stale_after=3240.0))
        assert written is Written.DONE
        await self.store.write(release_lease(grant.id, taken.epoch))


def another(
    process: Process,
    *,
    wanted: Sequence[Wanted] = (),
    decided: bool = True,
    deliverer: Deliverer | None = None,
    **world: Any,
) -> Process:
    """The process once more, over the same database, with something else in its world or its settings."""
    changed = replace(process.world, **world)
    return Process(changed, process.driver, wanted, deliverer, decided=decided)


class StageDatabase(ABC):
    """What a stage rests on: SQLite here, PostgreSQL in `postgres_stage`."""

    @abstractmethod
    async def driver(self, instant: Callable[[], Instant]) -> Driver:
        """One more process's driver, open, by this clock."""

    @abstractmethod
    def connected(self) -> AbstractContextManager[Sql]:
        """Statements over one connection, behind everybody's back."""

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Behind everybody's back."""
        with self.connected() as sql:
            return sql(statement, *values)


@dataclass
class SqliteDatabase(StageDatabase):
    """A file."""

    path: Path

    async def driver(self, instant: Callable[[], Instant]) -> Driver:
        begin_with_schema(self.path)
        made = SqliteDriver(self.path, instant)
        await made.open()
        return made

    @contextmanager
    def connected(self) -> Iterator[Sql]:
        """With the SQLite that the driver uses: a second library in one process would drop its locks (F61)."""
        with closing(apsw.Connection(str(self.path))) as connection:
            yield lambda statement, *values: connection.execute(statement, values).fetchall()


@dataclass
class Stage:
    """A database, a vendor, and as many processes of ours as a test wants; `one` is the first."""

    database: StageDatabase
    clock: VirtualClock = field(default_factory=VirtualClock)
    timing: Timing = field(default_factory=Timing)
    endpoint: ScriptedEndpoint = field(default_factory=ScriptedEndpoint)
    vendor: ScriptedVendor = field(default_factory=ScriptedVendor)
    notes: Notebook = field(default_factory=Notebook)
    dice: Dice = field(default_factory=Dice)
    apps: dict[str, App] = field(default_factory=lambda: {"default": APP})
    dead: set[str] = field(default_factory=set)
    processes: list[Process] = field(default_factory=list)
    killed: list[Process] = field(default_factory=list)
    attacked: bool = False  # rows were altered that are not as the product wrote them
    one: Process = field(init=False)

    async def process(
        self,
        *,
        endpoint: TokenEndpoint | None = None,
        vendor: Vendor | None = None,
        apps: dict[str, App] | None = None,
        issuer: str = ISSUER,
    ) -> Process:
        """Start another process of ours."""
        driver = FailingDriver(await self.database.driver(self.clock.instant))
        store = Database(driver, AesGcmSealer([KEY]), lambda owner, _: owner in self.dead)
        await store.open()
        world = World(
            clock=self.clock,
            entropy=self.dice,
            db=store,
            token_endpoint=endpoint or self.endpoint,
            vendor=vendor or self.vendor,
            observer=self.notes,
            timing=self.timing,
            apps=apps or self.apps,
            owner=f"process-{len(self.processes) + 1}",
            issuer=issuer,
        )
        self.processes.append(Process(world, driver))
        return self.processes[-1]

    async def kill(self, process: Process) -> None:
        """As kill -9: whatever it was doing stops where it is; its lease is known to be a dead process's."""
        flights = process.refresher.flights._flights.values()
        for task in [*(flight.task for flight in flights), *process.migrator.moves._running.values()]:
            task.cancel()
        process.driver.dark = True
        self.dead.add(process.world.owner)
        self.killed.append(process)
        await asyncio.sleep(0)

    async def close(self) -> None:
        for process in self.processes:
            process.driver.dark = process.driver.writes_fail = False
            if process not in self.killed:
                await process.drain()
            assert self.attacked or await process.store.read(wrongly_shown()) == []
            found = [] if self.attacked else await altered(process.store)
            assert found == [], found
            await process.store.close()

    # --- what rests

    async def connected(
        self, first: Pair | None = None, *, app: str = "default", proven: bool = True, source: Source | None = None
    ) -> Grant:
        """A connected hotel with `first` (A-1, R-1) as its pair: as a finished authorization leaves it."""
        store, number = self.one.store, self.dice.identifier("")
        state = f"state-{number}"
        await store.write(
            add_authorization(NewAuthorization(f"aut_{number}", app, state, None, None, None, None, None, 600.0))
        )
        await spend(store, state, None, "code")
        here = Source(ISSUER, self.apps[app].client_id if app in self.apps else None)
        first = replace(first or pair(1, property_ids=("1000",)), source=source or here)
        connection = await store.write(
            add_candidate(f"aut_{number}", f"con_{number}", f"gra_{number}", first, stale_after=0.9 * first.lifetime)
        )
        if proven:
            assert await store.write(promote(connection, f"gra_{number}", 1, None, ()))
            await store.write(confirm(f"gra_{number}", 1))
        return await self.row(f"gra_{number}")

    async def expired(self, first: Pair | None = None, **parts: Any) -> Grant:
        """A connected hotel whose access token has run out."""
        grant = await self.connected(first, **parts)
        await self.clock.sleep(HOUR)
        return grant

    async def marked(self, grant: Grant) -> Grant:
        """The hotel after its access token ran out and everything was refused, twice."""
        await self.clock.sleep(max(0.0, (await self.row(grant.id)).valid_for))
        self.endpoint.script = [Refused("dead"), Refused("dead")]
        for _ in range(2):
            with suppress(Error):
                await self.one.access.access_token(grant.connection_id)
            await self.clock.sleep(self.timing.refusal_interval)
        row = await self.row(grant.id)
        assert row.reauth == "revoked"
        return row

    async def approve(self, *answers: Reply, **parts: Any) -> Finished:
        """The whole way in at the first process; the exchange is answered so."""
        begun = await self.one.authorizer.begin(**parts)
        self.endpoint.will(*answers)
        return await self.one.authorizer.finish(code="code", state=begun.state)

    async def candidate(self, home: str, first: Pair) -> Grant:
        """A newer grant of the same connection, not proven yet."""
        store, number = self.one.store, self.dice.identifier("")
        await store.write(
            add_authorization(
                NewAuthorization(f"aut_{number}", "default", f"state-{number}", None, None, None, home, None, 600.0)
            )
        )
        await spend(store, f"state-{number}", None, "code")
        await store.write(
            add_candidate(f"aut_{number}", "unused", f"gra_{number}", first, stale_after=0.9 * first.lifetime)
        )
        return await self.row(f"gra_{number}")

    async def row(self, grant_id: str) -> Grant:
        """The grant's row."""
        found = await self.one.store.read(read_grant(grant_id))
        assert found is not None
        return found

    async def tokens(self, grant_id: str) -> list[str]:
        """The stored refresh tokens, oldest first."""
        return [token.value.reveal() for token in (await self.row(grant_id)).tokens]

    async def kinds(self, connection_id: str) -> list[str]:
        """The kinds of the history, oldest first."""
        return [event.kind for event in reversed(await self.one.store.read(read_history(connection_id, limit=1000)))]

    async def shown(self, grant: Grant) -> tuple[State, str | None]:
        """How people see the grant's connection: its state, and its problem."""
        found = await self.one.views.connection(grant.connection_id)
        return found.state, found.problem

    async def delete(self, grant: Grant) -> None:
        """An operator deletes the row by hand."""
        self.attacked = True
        for table, column in (("tokens", "grant_id"), ("properties", "grant_id"), ("grants", "id")):
            self.sql(f"DELETE FROM {table} WHERE {column} = ?", grant.id)

    def later(self, seconds: float, reply: T) -> Callable[[], Awaitable[T]]:
        """What is answered so, and takes so many seconds."""

        async def slow() -> T:
            await self.clock.sleep(seconds)
            return reply

        return slow

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Look into the database, or alter it, behind everybody's back, as if the product had; `?` for each value."""
        self.attacked |= statement.startswith("DELETE FROM grants") or "role = 'superseded'" in statement
        with self.database.connected() as sql:
            return written(sql, statement, *values)


@asynccontextmanager
async def stage(place: Path | StageDatabase, **parts: Any) -> AsyncIterator[Stage]:
    """A stage with one process, closed at the end: over this database, or over a new file in this folder."""
    database = SqliteDatabase(place / "vault.sqlite3") if isinstance(place, Path) else place
    made = Stage(database, **parts)
    made.one = await made.process()
    try:
        yield made
    finally:
        await made.close()


def with_secrets(*secrets: Any) -> App:
    """The default app with other client secrets."""
    return replace(APP, secrets=secrets)
