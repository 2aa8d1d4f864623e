"""The vault over the real SQL store on a real file, with scripted ports: what a test of the protocol plays on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import apsw
from tests.support.fakes import APP, HOUR, ISSUER, Dice, Notebook, Reply, ScriptedEndpoint, ScriptedVendor, pair
from tests.support.keys import KEY
from tests.support.template import begin_with_schema
from tests.support.virtual import VirtualClock

from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.database.sqlite import SqliteDriver
from cloudbeds_auth.engine.authorize import spend
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.single_flight import Served
from cloudbeds_auth.engine.wiring import Engine, wire
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.ports.token_endpoint import TokenEndpoint
from cloudbeds_auth.ports.vendor import Hook, Vendor
from cloudbeds_auth.ports.webhooks import Deliverer
from cloudbeds_auth.rules.model import App, Finished, Grant, Pair
from cloudbeds_auth.rules.origins import Source
from cloudbeds_auth.rules.refresh import Ask, Timing
from cloudbeds_auth.settings import Settings, further_app
from cloudbeds_auth.transactions.authorizations import NewAuthorization, add_authorization
from cloudbeds_auth.transactions.candidates import add_candidate, promote
from cloudbeds_auth.transactions.grants import read_grant
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.refusals import confirm
from cloudbeds_auth.transactions.runner import Database, Driver
from cloudbeds_auth.transactions.statements import Body, Instant, Transaction

T = TypeVar("T")
SETTINGS = Settings(scopes=("read:hotel",))


class FailingDriver:
    """A driver over another one that refuses the transactions in which a named statement occurs.

    `refuse(name, times, error)`: rolled back. `forget(name, times)`: committed, and the answer lost (F63).
    `after(name, act)`: once, when such a transaction is done and before anything else. `dark`: everything, reads too.
    `writes_fail`: every write, as on a full disk. `seen` counts the statements by name.
    """

    wakeups = None

    def __init__(self, inner: Driver) -> None:
        self.inner = inner
        self.dark = False
        self.writes_fail = False
        self.seen: Counter[str] = Counter()
        self._refused: dict[str, int] = {}
        self._errors: dict[str, Exception] = {}
        self._forgotten: dict[str, int] = {}
        self._afterwards: dict[str, Callable[[], Awaitable[object]]] = {}

    def refuse(self, name: str, times: int = 1, error: Exception | None = None) -> None:
        self._refused[name] = times
        self._errors[name] = error or StoreUnavailable(f"the test refused {name}")

    def forget(self, name: str, times: int = 1) -> None:
        self._forgotten[name] = times

    def after(self, name: str, act: Callable[[], Awaitable[object]]) -> None:
        self._afterwards[name] = act

    async def read(self, body: Body[T]) -> T:
        if self.dark:
            raise StoreUnavailable("the test took the database away")
        seen: list[str] = []
        result = await self.inner.read(self._watched(body, seen))
        await self._act_after(seen)
        return result

    async def write(self, body: Body[T]) -> T:
        if self.dark or self.writes_fail:
            raise StoreUnavailable("the test took the disk away")
        seen: list[str] = []
        result = await self.inner.write(self._watched(body, seen))
        if any(_count_down(self._forgotten, name) for name in seen):
            raise StoreUnavailable("the test lost the answer of a commit")
        await self._act_after(seen)
        return result

    async def close(self) -> None:
        await self.inner.close()

    async def _act_after(self, seen: list[str]) -> None:
        for name in seen:
            act = self._afterwards.pop(name, None)
            if act is not None:
                await act()

    def _watched(self, body: Body[T], seen: list[str]) -> Body[T]:
        def watched(now: Instant) -> Transaction[T]:
            running = body(now)
            try:
                statement = next(running)
                while True:
                    seen.append(statement.name)
                    self.seen[statement.name] += 1
                    if _count_down(self._refused, statement.name):
                        raise self._errors[statement.name]
                    statement = running.send((yield statement))
            except StopIteration as done:
                value: T = done.value
                return value

        return watched


def _count_down(counts: dict[str, int], name: str) -> bool:
    if counts.get(name, 0) <= 0:
        return False
    counts[name] -= 1
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Process(Engine):
    """One process of ours over the stage's database."""

    driver: FailingDriver

    @property
    def store(self) -> Database:
        assert isinstance(self.world.db, Database)
        return self.world.db

    async def refresh(self, grant_id: str, seen: int, rejected: int | None = None, **more: Any) -> Served:
        """Ask for a refresh."""
        return await self.refresher.refresh(Ask(grant_id, seen, rejected, **more))


def process_over(
    world: World, driver: FailingDriver, hook: Hook | None = None, deliverer: Deliverer | None = None
) -> Process:
    """A process over this driver's database."""
    kind, checked = partial(Process, driver=driver), partial(further_app, SETTINGS)
    return wire(kind, world, checked, retention_days=SETTINGS.retention_days, hook=hook, deliverer=deliverer)


def another(process: Process, *, hook: Hook | None = None, deliverer: Deliverer | None = None, **world: Any) -> Process:
    """The process once more, over the same database, with something else in its world or its settings."""
    changed = replace(process.world, **world)
    return process_over(changed, process.driver, hook, deliverer)


class StageDatabase(Protocol):
    """What a stage rests on: SQLite here, PostgreSQL in `postgres_stage`."""

    async def driver(self, instant: Callable[[], Instant]) -> Driver:
        """One more process's driver, open, by this clock."""
        ...

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Behind everybody's back."""
        ...


@dataclass
class SqliteDatabase:
    """A file."""

    path: Path

    async def driver(self, instant: Callable[[], Instant]) -> Driver:
        begin_with_schema(self.path)
        made = SqliteDriver(self.path, instant)
        await made.open()
        return made

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """With the SQLite that the driver uses: a second library in one process would drop its locks (F61)."""
        with closing(apsw.Connection(str(self.path))) as connection:
            return connection.execute(statement, values).fetchall()


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
        self.processes.append(process_over(world, driver))
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
            assert await store.write(promote(connection, f"gra_{number}", None, ()))
            await store.write(confirm(f"gra_{number}", 1))
        return await self.row(f"gra_{number}")

    async def expired(self, first: Pair | None = None, **parts: Any) -> Grant:
        """A connected hotel whose access token has run out."""
        grant = await self.connected(first, **parts)
        await self.clock.sleep(HOUR)
        return grant

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

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Look into the database, or alter it, behind everybody's back; `?` for each value."""
        return self.database.sql(statement, *values)


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


Maker = Callable[[], Any]
