"""What stops a start on PostgreSQL, and what it says."""

from __future__ import annotations

import asyncio
import os
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql
from tests.support.ports import free_port
from tests.support.postgres import database, server
from tests.support.postgres_fixtures import END_OTHERS
from tests.support.processes import Processes

from cloudbeds_auth.database import postgres
from cloudbeds_auth.database import schema as schemas
from cloudbeds_auth.database.postgres import PostgresDriver
from cloudbeds_auth.errors import ConfigurationError, StoreUnavailable
from cloudbeds_auth.transactions.statements import Body, Transaction

T = TypeVar("T")


def altered(url: str, setting: str, value: str) -> None:
    """Make it this database's own."""
    name = sql.Identifier(urlsplit(url).path.strip("/"))
    statement = sql.SQL("ALTER DATABASE {} SET {} = {}").format(name, sql.Identifier(setting), sql.Literal(value))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


@pytest.mark.row("F12")
@pytest.mark.parametrize("value", ["off", "local", "remote_write"])
async def test_commits_that_a_crash_may_undo(postgres_server: str, value: str) -> None:
    """synchronous_commit weaker than `on`: the start stops and names it, and nothing was written."""
    with database(postgres_server) as url:
        altered(url, "synchronous_commit", value)
        with pytest.raises(ConfigurationError, match=f"synchronous_commit is '{value}'") as stopped:
            await PostgresDriver(url).open()
        assert "synchronous_commit = on" in stopped.value.next_step
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall() == []


@pytest.mark.long
@pytest.mark.row("F12")
@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
async def test_a_server_that_does_not_sync(setting: str) -> None:
    """fsync or full_page_writes off: the start stops and names it."""
    with server(**{setting: "off"}) as made, pytest.raises(ConfigurationError, match=f"{setting} is 'off'"):
        await PostgresDriver(made.url).open()


async def test_a_server_that_is_not_there() -> None:
    """For the moment: the same start may work later."""
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await PostgresDriver(f"postgresql://postgres@127.0.0.1:{free_port()}/hotels").open()


@pytest.mark.row("A46")
@pytest.mark.parametrize(("part", "found"), [("path", "/no_such_database"), ("netloc", "no_such_user@{host}")])
async def test_a_wrong_address(postgres_url: str, part: str, found: str) -> None:
    """A database or user that there is not: a person mends the setting; the password is not told."""
    parts = urlsplit(postgres_url)
    host = parts.netloc.rpartition("@")[2]
    wrong = parts._replace(**{part: found.format(host=host)})
    wrong = wrong._replace(netloc=wrong.netloc.replace("@", ":canary-password@"))
    with pytest.raises(ConfigurationError, match="does not exist") as stopped:
        await PostgresDriver(urlunsplit(wrong)).open()
    assert "canary" not in str(stopped.value)


@pytest.mark.row("F89")
async def test_a_newer_schema(processes: Processes) -> None:
    """An older version refuses a database that a newer one upgraded, and says so."""
    await processes.driver()
    with psycopg.connect(processes.url, autocommit=True) as connection:
        (known,) = connection.execute("SELECT value FROM meta WHERE name = 'schema_version'").fetchall()[0]
        connection.execute("UPDATE meta SET value = '99' WHERE name = 'schema_version'")
        try:
            refused = PostgresDriver(processes.url)
            with pytest.raises(ConfigurationError, match=f"schema 99, this version of cloudbeds-auth knows {known}"):
                await refused.open()
            assert refused._pool.closed, "nothing is left open"
        finally:
            connection.execute("UPDATE meta SET value = %s WHERE name = 'schema_version'", (known,))


HIDDEN = {
    "no table may be made": ["REVOKE CREATE ON SCHEMA public FROM PUBLIC"],
    "no table may be seen": ["REVOKE ALL ON SCHEMA public FROM PUBLIC"],
    "the tables are another's": ["GRANT ALL ON SCHEMA public TO PUBLIC", "CREATE TABLE meta (name text, value text)"],
    "only some may be changed": [
        "GRANT ALL ON SCHEMA public TO PUBLIC", "CREATE TABLE meta (name text, value text)",
        "INSERT INTO meta VALUES ('schema_version', '1')", "CREATE TABLE grants (id text)",
        "GRANT ALL ON meta TO PUBLIC",
    ],
}  # fmt: skip


@pytest.mark.parametrize("hidden", HIDDEN)
async def test_a_role_that_may_not_use_the_schema(postgres_server: str, hidden: str) -> None:
    """A person has to grant it: named, with the statement."""
    role = f"stranger_{os.getpid()}"
    with database(postgres_server) as url, psycopg.connect(url, autocommit=True) as owner:
        owner.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        for statement in HIDDEN[hidden]:
            owner.execute(statement)
        parts = urlsplit(url)
        theirs = urlunsplit(parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}"))
        driver = PostgresDriver(theirs)
        try:
            with pytest.raises(ConfigurationError, match="does not let this role use its schema") as stopped:
                await driver.open()
            assert "GRANT USAGE, CREATE ON SCHEMA public" in stopped.value.next_step
            assert driver._pool.closed, "nothing is left open"
        finally:
            owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


class Killed(PostgresDriver):
    """Ends its own sessions, at the server, whenever it comes to this statement of a migration (one past the last: the
    note that it is done).
    """

    def __init__(self, url: str, number: int, position: int) -> None:
        super().__init__(url)
        self.kills = 0
        self._number = str(number)
        self._name = f"migration_{number}_{position}"

    async def _migrate(self, step: Body[None]) -> None:
        await super()._migrate(lambda now: self._watched(step(now)))

    def _watched(self, running: Transaction[T]) -> Transaction[T]:
        try:
            statement = next(running)
            while True:
                if statement.name == self._name or statement.parameters.get("value") == self._number:
                    self.kills += 1
                    with psycopg.connect(self._conninfo, autocommit=True) as connection:
                        connection.execute(END_OTHERS)
                statement = running.send((yield statement))
        except StopIteration as done:
            value: T = done.value
            return value


def schema(url: str) -> list[tuple[object, ...]]:
    """Every column, and the version noted."""
    with psycopg.connect(url) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY 1, 2"
        ).fetchall()
        return [*columns, *connection.execute("SELECT value FROM meta WHERE name = 'schema_version'").fetchall()]


NEWEST = schemas.migrations()[-1]


@pytest.mark.long
@pytest.mark.row("F89")
@pytest.mark.parametrize("position", range(len(schemas.statements(NEWEST[1])) + 1))
async def test_a_migration_killed_at_each_statement(postgres_server: str, postgres_home: str, position: int) -> None:
    """The session ends before this statement, each time: the schema before it is whole, and the next start goes on."""
    with database(postgres_server) as url:
        driver = Killed(url, NEWEST[0], position)
        with pytest.raises(StoreUnavailable):
            await driver.open()
        await driver.close()
        assert driver.kills > 1, "it was tried again"
        assert schema(url)[-1] == (str(schemas.migrations()[-2][0]),)
        again = PostgresDriver(url)
        await again.open()
        await again.close()
        assert schema(url) == schema(postgres_home)


@pytest.mark.row("F107")
async def test_a_migration_of_very_many_rows(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of the schema has an hour for each statement, where a call of a hotel has five seconds."""
    further = (NEWEST[0] + 1, "CREATE TABLE IF NOT EXISTS seen AS SELECT current_setting('statement_timeout') AS said")
    with database(postgres_url) as url:
        steps = (*schemas.migrations(), further)
        monkeypatch.setattr(schemas, "migrations", lambda: steps)
        driver = PostgresDriver(url)
        await driver.open()
        await driver.close()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT said FROM seen").fetchall() == [("1h",)]


async def test_while_another_process_migrates(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A second start waits for as long as it takes, and says so; its own step waits for a lock as short as ever."""
    further = (NEWEST[0] + 1, "CREATE TABLE IF NOT EXISTS seen AS SELECT current_setting('lock_timeout') AS said")
    impatient = postgres.BEGIN_WRITE.replace("lock_timeout = '2s'", "lock_timeout = '1ms'")
    with database(postgres_url) as url, psycopg.connect(url) as other:
        first = PostgresDriver(url)
        await first.open()
        await first.close()
        steps = (*schemas.migrations(), further)
        monkeypatch.setattr(schemas, "migrations", lambda: steps)
        monkeypatch.setattr(postgres, "BEGIN_WRITE", impatient)
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (schemas.WORK,))
        second = PostgresDriver(url)
        opening = asyncio.create_task(second.open())
        while "waiting until it is done" not in caplog.text:
            await asyncio.sleep(0.01)
        waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while other.execute(waiting).fetchone() is None:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # a hundred times what it waits for other locks
        assert not opening.done()
        other.rollback()
        assert await opening == NEWEST[0]
        await second.close()
        assert other.execute("SELECT said FROM seen").fetchall() == [("2s",)]


async def test_many_first_starts_at_once(postgres_server: str, postgres_home: str) -> None:
    """Eight processes meet an empty database together: one makes the schema, the others find it."""
    with database(postgres_server) as url:
        drivers = [PostgresDriver(url) for _ in range(8)]
        await asyncio.gather(*(driver.open() for driver in drivers))
        for driver in drivers:
            await driver.close()
        assert schema(url) == schema(postgres_home)
