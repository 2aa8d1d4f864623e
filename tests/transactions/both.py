"""SQLite and PostgreSQL under one clock that is set by hand: asked the same, they must answer and store the same."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tests.support.bench import HandClock
from tests.support.genuine import altered
from tests.support.keys import KEY
from tests.support.postgres_stage import Elsewhere
from tests.support.shown import wrongly_shown

from cloudbeds_auth.database.bulk import TABLES
from cloudbeds_auth.database.postgres import PostgresDriver
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.database.sqlite_file import SqliteFile
from cloudbeds_auth.engine.context import current_grant, resolve
from cloudbeds_auth.errors import RefreshPending, StateMismatch
from cloudbeds_auth.rules.lifecycle import IllegalMove, State
from cloudbeds_auth.rules.model import Grant
from cloudbeds_auth.transactions.apps import (
    RedirectUris,
    open_circuits,
    read_apps,
    read_redirect_uris,
)
from cloudbeds_auth.transactions.authorizations import read_link, read_link_outcome
from cloudbeds_auth.transactions.candidates import read_candidate
from cloudbeds_auth.transactions.connections import count_states, list_connections, read_connection
from cloudbeds_auth.transactions.grants import read_grant
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.outbox import next_message, read_outbox
from cloudbeds_auth.transactions.reconnect import read_covered
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.statements import Body, Instant, Row, Statement, Transaction, query
from cloudbeds_auth.transactions.upkeep import next_due

T = TypeVar("T")


class SqliteInline:
    """A driver of SQLite that runs each transaction in the caller's thread."""

    wakeups = None

    def __init__(self, file: SqliteFile) -> None:
        self.file = file

    async def read(self, body: Body[T]) -> T:
        return self.file.run(body, "BEGIN")

    async def write(self, body: Body[T], *, synced: bool = True) -> T:
        return self.file.run(body, "BEGIN IMMEDIATE", synced=synced)

    async def close(self) -> None:
        self.file.close()


class PostgresInline:
    """The driver of PostgreSQL, which the caller's thread waits for; transactions go by the clock of the test."""

    wakeups = None

    def __init__(self, url: str, elsewhere: Elsewhere, instant: Callable[[], Instant]) -> None:
        self._driver, self._elsewhere, self._instant = PostgresDriver(url), elsewhere, instant
        self.written = False
        elsewhere.run(self._driver.open())

    async def read(self, body: Body[T]) -> T:
        now = self._instant()
        return self._elsewhere.run(self._driver.read(lambda _: body(now)))

    async def write(self, body: Body[T], *, synced: bool = True) -> T:
        now, self.written = self._instant(), True
        return self._elsewhere.run(self._driver.write(lambda _: body(now), synced=synced))

    async def close(self) -> None:
        self._elsewhere.run(self._driver.close())


class Both:
    """One store over each database, each asked everything; `dead`: owners known dead to both."""

    def __init__(self, url: str, elsewhere: Elsewhere) -> None:
        """`url`: an empty PostgreSQL database of this version's schema."""
        self.clock = HandClock()
        self.dead: set[str] = set()
        self._loop = asyncio.new_event_loop()  # what is read together is a task of its own
        self._folder = tempfile.TemporaryDirectory()
        self._sqlite = SqliteInline(SqliteFile(Path(self._folder.name) / "vault", self.clock.instant))
        self._postgres = PostgresInline(url, elsewhere, self.clock.instant)
        self._stores = [Database(driver, _sealer(), self._is_dead) for driver in (self._sqlite, self._postgres)]
        ended(self._postgres.write(_unopened))
        for store in self._stores:
            ended(store.open())

    def _is_dead(self, owner: str, clock_id: str) -> bool:
        return owner in self.dead

    def begin_anew(self) -> None:
        """Both are empty, and it is the beginning of time."""
        vars(self.clock).update(vars(HandClock()))
        self.dead.clear()
        for driver in (self._sqlite, self._postgres):
            ended(driver.write(_emptied))

    def close(self) -> None:
        """Nothing is left open."""
        for store in self._stores:
            ended(store.close())
        self._loop.close()
        self._folder.cleanup()

    def ask(self, question: Callable[[Database], Coroutine[Any, Any, T]]) -> T | None:
        """Ask both: the same answer, or the same refusal (then None)."""
        answers: list[tuple[str, T | None]] = []
        for store in self._stores:
            try:
                answers.append(("answered", self._loop.run_until_complete(question(store))))
            except (IllegalMove, RefreshPending, StateMismatch) as error:
                answers.append((type(error).__name__, None))
        assert answers[0] == answers[1], f"{answers[0]}\n{answers[1]}"
        found: T | None = answers[0][1]
        return found

    def grants(self) -> list[str]:
        """The grants that there are."""
        return [row["id"] for row in ended(self._sqlite.read(lambda now: _rows("grants")))]

    def row(self, grant_id: str) -> Grant:
        """A grant as it is stored."""
        found: Grant = ended(self._stores[0].read(read_grant(grant_id)))
        return found

    def compare_rows(self) -> None:
        """Every column of every row is the same in both, unless nothing was written since that was found."""
        if self._postgres.written:
            sqlite, postgres = (ended(driver.read(_tables)) for driver in (self._sqlite, self._postgres))
            for table in TABLES:
                assert sqlite[table] == postgres[table], table
            assert self.ask(lambda store: store.read(wrongly_shown())) == []
            found = self.ask(altered)
            assert found == [], found
        self._postgres.written = False

    def compare(self, grants: Sequence[str], homes: Sequence[str]) -> None:
        """These grants and connections are read alike, with their histories."""
        self.ask(lambda store: store.read(next_due()))
        self.ask(lambda store: store.read(next_message()))
        self.ask(lambda store: store.read(read_outbox()))
        for name in grants:
            self.ask(partial(_grant, grant_id=name))
        for home in homes:
            self.ask(partial(_connection, connection_id=home))

    def compare_lists(self, apps: Sequence[str], properties: Sequence[str], links: Sequence[str]) -> None:
        """What is found by searching is alike."""
        self.ask(lambda store: store.read(list_connections(limit=2)))
        self.ask(lambda store: store.read(list_connections(property_id=properties[0])))
        self.ask(lambda store: store.read(list_connections(states=[State.FRESH, State.STALE, State.DISCONNECTED])))
        self.ask(lambda store: store.read(count_states(limit=2)))
        self.ask(_apps)
        self.ask(partial(_found, apps=apps, properties=properties, links=links))


def _sealer() -> AesGcmSealer:
    """Seals the same value at the same place to the same bytes, so that rows can be compared."""
    return AesGcmSealer([KEY], random=bytes)


def _unopened(now: Instant) -> Transaction[None]:
    """The key of its MACs is made by the next opening, from these dice."""
    for name in ("key_canary", "mac_key"):
        yield from query("forget_meta", name=name)


def _emptied(now: Instant) -> Transaction[None]:
    for table in reversed(TABLES):
        yield Statement(f"clear_{table}", f"DELETE FROM {table}", {})


def _tables(now: Instant) -> Transaction[dict[str, list[Row]]]:
    found: dict[str, list[Row]] = {}
    for table in TABLES:
        found[table] = yield from _rows(table)
    return found


def _rows(table: str) -> Transaction[list[Row]]:
    """All of a table, ordered here: databases order text in ways of their own."""
    rows = yield Statement(f"all_{table}", f"SELECT * FROM {table}", {})
    return sorted(rows, key=lambda row: [row[column] for column in TABLES[table]])


def ended(running: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never pauses."""
    try:
        running.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a driver of these paused")


async def _grant(store: Database, grant_id: str) -> Grant | None:
    return await store.read(read_grant(grant_id))


async def _connection(store: Database, connection_id: str) -> list[object]:
    return [
        await store.read(read_connection(connection_id)),
        await current_grant(store, connection_id),
        await store.read(read_candidate(connection_id)),
        await store.read(read_covered(connection_id)),
        await store.read(read_history(connection_id, limit=20)),
    ]


async def _apps(store: Database) -> list[object]:
    return [*await store.read(read_apps()), await store.read(read_redirect_uris(RedirectUris()))]


async def _found(store: Database, apps: Sequence[str], properties: Sequence[str], links: Sequence[str]) -> list[object]:
    return [
        [await store.read(open_circuits(app)) for app in apps],
        [sorted(await resolve(store, one)) for one in properties],
        [await store.read(read_link(one)) for one in links],
        [await store.read(read_link_outcome(one)) for one in links],
    ]
