"""Bulk work over a hundred thousand rows, with the limits of a call scaled down: in batches, killed in the middle and
resumed, while the databases are in use.
"""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest
from tests.acceptance.processes import Process
from tests.support.installation import filled, opened, secrets, settings, silent
from tests.support.keys import KEY_TEXT
from tests.support.postgres_fixtures import kept
from tests.support.processes import row

from cloudbeds_auth.database import bulk, maintenance, opening, postgres, sqlite_file
from cloudbeds_auth.database.postgres import PostgresDriver
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.transactions.grants import take_lease
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.runner import Database, Driver
from cloudbeds_auth.transactions.statements import Instant, Row, Statement, Transaction

COPIES = 2_000  # of one hotel: with its events and lines of calls a hundred thousand rows
EVENTS, LINES = 41, 5
BATCH = 500
CALL = "200ms"  # the statement timeout of a call, for this test

Content = dict[str, list[tuple[Any, ...]]]


class Killed(Exception):
    """The process ends here."""


class Shown:
    """The progress; `kill_at` ends the work at the first batch of something that is done and not the last one."""

    def __init__(self, kill_at: str | None = None) -> None:
        self.steps: dict[str, list[int]] = defaultdict(list)
        self._kill_at = kill_at

    def __call__(self, what: str, done: int, total: int) -> None:
        self.steps[what].append(done)
        if what == self._kill_at and 0 < done < total:
            raise Killed


@pytest.fixture(params=["sqlite to postgresql", "postgresql to sqlite"])
async def ways(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Settings, Settings]:
    """Source, with a hundred thousand rows, and target; a call's statement may take 200 ms."""
    urls = {"sqlite": f"sqlite:///{tmp_path}/hotels.db", "postgresql": request.getfixturevalue("postgres_url")}
    source, target = (settings(urls[kind]) for kind in request.param.split(" to "))
    monkeypatch.setattr(bulk, "BATCH", BATCH)
    for begin in ("BEGIN_READ", "BEGIN_WRITE"):
        scaled = re.sub(r"statement_timeout = '\w+'", f"statement_timeout = '{CALL}'", getattr(postgres, begin))
        monkeypatch.setattr(postgres, begin, scaled)
    await filled(source)
    async with driver(source) as one:
        await multiplied(one)
    return source, target


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each statement read or wrote, in either database."""
    counts: list[int] = []
    run, execute = sqlite_file._execute, psycopg.AsyncCursor.execute

    def counting(connection: apsw.Connection, statement: Statement) -> Any:
        before = connection.total_changes()
        rows = run(connection, statement)
        counts.append(max(len(rows), connection.total_changes() - before))
        return rows

    async def counting_too(self: Any, *args: Any, **parts: Any) -> Any:
        found = await execute(self, *args, **parts)
        counts.append(self.rowcount)
        return found

    monkeypatch.setattr(sqlite_file, "_execute", counting)
    monkeypatch.setattr(psycopg.AsyncCursor, "execute", counting_too)
    return counts


@asynccontextmanager
async def driver(where: Settings) -> AsyncIterator[Driver]:
    """As bulk work has it."""
    made, _ = await opening.open_driver(where, bulk=True)
    try:
        yield made
    finally:
        await made.close()


async def content(where: Settings) -> Content:
    """Every row of every table, by key; a grant's latch is what it will be in the target."""
    found: Content = {}
    async with driver(where) as one:
        for table in bulk.TABLES:
            rows: list[Row] = []

            async def take(batch: bulk.Batch, rows: list[Row] = rows, one: Driver = one) -> None:
                rows += await one.read(partial(bulk.rows, batch))

            await bulk.each(one, table, take, silent)
            if table == "grants":
                rows = [{**row, "latched": row["latched"] % 2} for row in rows]
            found[table] = sorted(tuple(map(str, dict(sorted(row.items())).values())) for row in rows)
    return found


async def multiplied(one: Driver) -> None:
    """Hotels like con_1, with histories."""
    like: dict[str, Row] = {}
    for table in ("connections", "grants", "tokens", "properties", "events"):
        found = await one.read(partial(_all, table))
        like[table] = next(row for row in found if {"con_1", "gra_1"} & set(row.values()))
    line = (await one.read(partial(_all, "calls")))[0]
    for first in range(0, COPIES, 250):
        names = [(f"con_1_{number}", f"gra_1_{number}") for number in range(first, first + 250)]
        rows: dict[str, list[Row]] = defaultdict(list)
        for home, grant in names:
            own = partial(_renamed, {"con_1": home, "gra_1": grant})
            for table in ("connections", "grants", "tokens", "properties"):
                rows[table].append(own(like[table]))
            rows["events"] += [{**own(like["events"]), "sequence": number + 1} for number in range(EVENTS)]
            rows["calls"] += [
                {**line, "connection_id": home, "grant_id": grant, "line": f"x/{number}"} for number in range(LINES)
            ]
        for table, made in rows.items():
            await one.write(lambda now, table=table, made=made: bulk.insert(table, made))  # type: ignore[misc]


def _renamed(names: Mapping[str, str], row: Row) -> Row:
    return {column: names.get(value, value) if isinstance(value, str) else value for column, value in row.items()}


def _all(table: str, now: Instant) -> Transaction[Any]:
    return (yield Statement("all", f"SELECT * FROM {table}", {}))


HOTELS_KILLED_AT = (
    "hotels latched", "hotels closed", "grants", "properties", "grants of an earlier attempt", "newest events",
)  # fmt: skip


@pytest.mark.long
@pytest.mark.row("F107")
@pytest.mark.timeout(300)
async def test_a_move_that_is_killed_and_repeated(ways: tuple[Settings, Settings], written: list[int]) -> None:
    """Killed in the middle of each part and run again: all is there once, no statement touched more rows than a batch
    has, and the history was resumed where it was.
    """
    source, target = ways
    before = await content(source)
    assert sum(map(len, before.values())) > 100_000
    written.clear()
    for what in HOTELS_KILLED_AT:
        shown = Shown(kill_at=what)
        with pytest.raises(Killed):
            await maintenance.copy(source, target.database_url, shown)
    shown = Shown(kill_at="hotels")
    with pytest.raises(Killed):
        await maintenance.adopt(source, shown)
    await maintenance.adopt(source, silent)
    assert max(written) <= BATCH
    async with driver(source) as one:
        assert {grant["latched"] for grant in await one.read(partial(_all, "grants"))} == {0}, "it can be given up"
    written.clear()
    copied = await maintenance.copy(source, target.database_url, silent)
    assert (copied["grants"], copied["events"]) == (len(before["grants"]), len(before["connections"]))
    async with opened(source) as here, opened(target) as there:
        assert (here.read_only, there.read_only) == (True, False)
    for what in ("events", "calls"):
        shown = Shown(kill_at=what)
        with pytest.raises(Killed):
            await maintenance.copy_history(source, target.database_url, shown)
    assert await maintenance.copy(source, target.database_url, silent) == {}
    shown = Shown()
    assert await maintenance.copy_history(source, target.database_url, shown) == {"calls": len(before["calls"]) - BATCH}
    assert shown.steps["calls"][:2] == [0, BATCH], "shown as it goes on"
    assert await maintenance.copy_history(source, target.database_url, silent) == {}
    assert max(written) <= BATCH
    found = await content(target)
    assert set(before.pop("audit")) < set(found.pop("audit")), "and that it was adopted"
    assert found == before


@pytest.mark.long
@pytest.mark.row("F107")
@pytest.mark.timeout(300)
async def test_calls_go_on_beside_it(ways: tuple[Settings, Settings]) -> None:
    """Hotels of the source are read while they are latched; those of the target are leased and read while their
    histories come: none fails, and none waits until the end.
    """
    source, target = ways
    async with opened(source) as here:
        await beside(here, maintenance.copy(source, target.database_url, silent), reads_and_notes)
    async with opened(target) as there:
        assert len(await secrets(there)) > 0
        await beside(there, maintenance.copy_history(source, target.database_url, silent), leases)
        assert len(await there.read(read_history("con_1_7"))) == EVENTS + LINES


async def beside(store: Database, work: Any, calls: Any) -> None:
    """Do the one while the other is done again and again."""
    running = asyncio.ensure_future(work)
    done = 0
    while not running.done():
        await calls(store, f"gra_1_{done % COPIES}")
        done += 1
    await running
    assert done > COPIES // BATCH


async def reads_and_notes(store: Database, grant_id: str) -> None:
    """What a call does, and the look whether the database can be written."""
    await row(store, "gra_1")
    await store.check()


async def leases(store: Database, grant_id: str) -> None:
    """A refresh begins."""
    await store.write(take_lease(grant_id, "us", 0.0))


@pytest.mark.long
@pytest.mark.row("F107")
@pytest.mark.timeout(300)
async def test_the_command_is_killed(tmp_path: Path, postgres_url: str) -> None:
    """SIGKILL while it moves hotels, and while it copies histories; run once more, everything is there once."""
    source, target = settings(f"sqlite:///{tmp_path}/hotels.db"), settings(postgres_url)
    await filled(source)
    async with driver(source) as one:
        await multiplied(one)
    before = await content(source)
    with psycopg.connect(kept(postgres_url), autocommit=True) as looking:
        for condition in (
            "EXISTS (SELECT 1 FROM grants)",
            "EXISTS (SELECT 1 FROM properties)",
            f"(SELECT COUNT(*) FROM events) > {2 * COPIES}",
            "EXISTS (SELECT 1 FROM calls)",
        ):
            command = copying(source, target)
            while command.popen.poll() is None and looking.execute(f"SELECT {condition}").fetchone() != (True,):
                time.sleep(0.005)
            assert command.stop(signal.SIGKILL) == -signal.SIGKILL, command.output
    command = copying(source, target)
    assert command.popen.wait(120) == 0, command.output
    command.stop()
    assert "had already moved" in command.output
    assert await content(target) == before


def copying(source: Settings, target: Settings) -> Process:
    """The command as an operator types it."""
    environment = {
        "CLOUDBEDS_AUTH_DATABASE_URL": source.database_url,
        "CLOUDBEDS_AUTH_ENCRYPTION_KEYS": KEY_TEXT,
        "CLOUDBEDS_AUTH_ADMIN_TOKEN": "an-admin-token-of-more-than-32-characters",
    }
    arguments = ("database", "copy", "--to", target.database_url)
    return Process("cloudbeds_auth", *arguments, env=environment, cwd=source.database_path.parent)


@pytest.mark.row("F107")
async def test_bulk_work_has_limits_of_its_own(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that takes longer than a call's may is done, and a call's own is not."""
    scaled = re.sub(r"statement_timeout = '\w+'", "statement_timeout = '50ms'", postgres.BEGIN_WRITE)
    monkeypatch.setattr(postgres, "BEGIN_WRITE", scaled)
    monkeypatch.setattr(postgres, "MOST_RUNS", 1)

    def slow(now: Instant) -> Transaction[None]:
        yield Statement("slow", "SELECT pg_sleep(0.2)", {})

    call, work = PostgresDriver(postgres_url), PostgresDriver(postgres_url, bulk=True)
    try:
        await call.open()
        with pytest.raises(StoreUnavailable):
            await call.write(slow)
        await work.open()
        await work.write(slow)
    finally:
        await call.close()
        await work.close()
