"""How long lists, counts and what is due take among very many hotels, over both databases.

    .venv/bin/python -m benchmarks.lists [--hotels 1000000] [--only sqlite]

The rows are made in a temporary folder and deleted: more than a gigabyte for a million hotels. Each transaction is the
one that ships, timed as a caller waits for it: the first time, and the best of seven.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import apsw
from tests.support.keys import KEY
from tests.support.many import NOW, app_of, fill_postgres, fill_sqlite, tables
from tests.support.postgres import database, server
from tests.support.template import begin_with_schema

from cloudbeds_auth.database.postgres import PostgresDriver
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.database.sqlite import SqliteDriver
from cloudbeds_auth.engine.refused_cohorts import LIVING
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.origins import Cohort, Source
from cloudbeds_auth.transactions.connections import (
    NOTHING,
    Trouble,
    claim_listings,
    count_states,
    list_connections,
    list_troubled,
    read_cohorts,
)
from cloudbeds_auth.transactions.origins import read_foreign
from cloudbeds_auth.transactions.outbox import read_outbox
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.statements import Body, Call, Instant
from cloudbeds_auth.transactions.upkeep import claim_due, claim_polls, claim_retries

TIMES = 7
T = TypeVar("T")


def instant() -> Instant:
    """The moment at which all these hotels were made."""
    return Instant(NOW, 1_000.0, "clock", "clock")


def cohort(app: str) -> Cohort:
    """The one that all hotels of this app are of (`tests.support.many`)."""
    return Cohort(app, app, "oauth", Source("https://api.cloudbeds.com", "client-1"))


def reads(last: str) -> dict[str, Call[object]]:
    """By what is asked; `last`: the cursor of the last page."""
    filters: dict[str, dict[str, object]] = {
        "all": {}, "app": {"app": "app-05"}, "app of nine in ten": {"app": "default"},
        "reference": {"reference": "tenant-33"}, "property": {"property_id": "100050"},
        **{f"state {one}": {"states": [one]} for one in State if one not in {State.CLIENT_REFUSED, State.READ_ONLY}},
        "state and app": {"states": [State.FRESH], "app": "app-05"},
        "refused, one app": {"states": LIVING, "cohorts": [cohort("app-05")]},
        "refused, nine in ten": {"states": LIVING, "cohorts": [cohort("default")]},
        "stale, of 21 cohorts": {"states": [State.STALE], "cohorts": [*map(cohort, {*map(app_of, range(200))})]},
    }  # fmt: skip
    pages = {
        f"{name}, {page} page": list_connections(**more, cursor=cursor)  # type: ignore[arg-type]
        for name, more in filters.items()
        for page, cursor in (("first", None), ("last", last))
    }
    return {
        **pages,
        **{f"{one.name.lower()}s": list_troubled(one, cursor=None, limit=200) for one in Trouble},
        "cohorts": read_cohorts(),
        "what came from elsewhere": read_foreign("https://api.cloudbeds.com", {"default": "client-1"}),
        "a part of the count of states": count_states(),
        "outbox": read_outbox(),
    }


def claims() -> dict[str, Call[object]]:
    """A tick of each job, with nothing due."""
    return {
        "due": claim_due(4, 60.0), "retries": claim_retries(4, 60.0), "app states": claim_polls(4, 60.0),
        "listings": claim_listings(4, 60.0),
    }  # fmt: skip


class TimedDriver(PostgresDriver):
    """Its transactions go by that moment, and not by the server's clock."""

    async def read(self, body: Body[T]) -> T:
        """As its base class."""
        return await super().read(lambda _: body(instant()))

    async def write(self, body: Body[T], *, synced: bool = True) -> T:
        """As its base class."""
        return await super().write(lambda _: body(instant()), synced=synced)


async def measured(where: Path | str, hotels: int) -> None:
    """Print a line for each, over a database with so many hotels: a file of SQLite, or the URL of PostgreSQL."""
    name = "sqlite" if isinstance(where, Path) else "postgresql"
    driver = SqliteDriver(where, instant) if isinstance(where, Path) else TimedDriver(where)
    await driver.open()
    db = Database(driver, AesGcmSealer([KEY]), lambda owner, clock: False)
    for what, call in {**reads(f"con_{150:026}"), **claims()}.items():
        ask = db.write if what in claims() else db.read
        took: list[float] = []
        for _ in range(TIMES):
            begun = time.perf_counter()
            await ask(call)
            took.append((time.perf_counter() - begun) * 1000)
        print(f"{name}: {what}: first {took[0]:,.1f} ms, best {min(took):,.1f} ms", flush=True)
    begun, part = time.perf_counter(), NOTHING
    while not part.whole:
        part = await db.read(count_states(part))
    print(f"{name}: all {hotels:,} counted by state in {(time.perf_counter() - begun) * 1000:,.0f} ms", flush=True)
    await db.close()


@contextmanager
def sqlite(hotels: int) -> Iterator[Path]:
    """A file that nobody has analyzed, as a program has it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "vault.sqlite3"
        begin_with_schema(path)
        with closing(apsw.Connection(str(path))) as connection:
            fill_sqlite(connection, tables(hotels))
        yield path


async def migrated(url: str) -> None:
    """An empty database has this version's schema from now on."""
    driver = PostgresDriver(url)
    await driver.open()
    await driver.close()


@contextmanager
def postgresql(hotels: int) -> Iterator[str]:
    """A server of its own."""
    with server() as made, database(made.url) as url:
        asyncio.run(migrated(url))
        fill_postgres(url, tables(hotels))
        yield url


def run(hotels: int, only: str | None) -> None:
    """One database after the other."""
    if only != "postgresql":
        with sqlite(hotels) as path:
            asyncio.run(measured(path, hotels))
    if only != "sqlite":
        with postgresql(hotels) as url:
            asyncio.run(measured(url, hotels))


def main() -> None:
    """As many hotels as asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hotels", type=int, default=1_000_000)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    asked = parser.parse_args()
    run(asked.hotels, asked.only)


if __name__ == "__main__":
    main()
