"""What becomes of transactions, as it is reported: how long each took, or why the database could not do it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from psycopg import errors
from tests.support.bench import HandClock
from tests.support.fakes import Notebook
from tests.support.postgres import server

from cloudbeds_auth.database.measured import MeasuredDriver, reason_of
from cloudbeds_auth.database.postgres import PostgresDriver
from cloudbeds_auth.database.sqlite import SqliteDriver
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.rules.happenings import STORE_REASONS, Happening
from cloudbeds_auth.system import SystemClock
from cloudbeds_auth.transactions.statements import Body, Instant, Statement, Transaction, query, query_one


def noting(value: str) -> Body[None]:
    """A transaction that writes one row."""

    def body(now: Instant) -> Transaction[None]:
        yield from query("set_meta", name="noted", value=value)

    return body


def look(now: Instant) -> Transaction[str]:
    """… and one that reads it."""
    row = yield from query_one("meta", name="noted")
    assert row is not None
    value: str = row["value"]
    return value


def full(now: Instant) -> Transaction[None]:
    """A transaction for which there is no room: a real SQLITE_FULL, of a file that may not grow."""
    yield Statement("bound", "PRAGMA max_page_count = 1", {})
    yield from query("set_meta", name="noted", value="x" * 1_000_000)


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteDriver]:
    """A file."""
    driver = SqliteDriver(tmp_path / "vault.sqlite3", HandClock().instant)
    await driver.open()
    yield driver
    await driver.close()


async def test_a_transaction_is_timed(sqlite: SqliteDriver) -> None:
    """From when it is asked for: what the disk, and those before it, take is a part of it."""
    notes = Notebook()
    driver = MeasuredDriver(sqlite, SystemClock(), notes)
    await driver.write(noting("a"))
    await driver.write(noting("b"), synced=False)
    assert await driver.read(look) == "b"
    assert [(what, facts["operation"]) for what, facts in notes.told] == [
        ("transaction", "write"), ("transaction", "write"), ("transaction", "read"),
    ]  # fmt: skip
    assert all(0 < float(str(facts["seconds"])) < 60 for _, facts in notes.told)
    assert driver.wakeups is sqlite.wakeups


async def test_a_file_that_cannot_grow(sqlite: SqliteDriver) -> None:
    """It is full: nothing was written, and no time is counted."""
    notes = Notebook()
    driver = MeasuredDriver(sqlite, SystemClock(), notes)
    await driver.write(noting("a"))
    with pytest.raises(StoreUnavailable):
        await driver.write(full)
    assert notes.told[1:] == [
        (Happening.STORE_FAILED, {"operation": "write", "reason": "disk_full", "error": "FullError"})
    ]
    assert await driver.read(look) == "a"


async def test_a_file_that_another_program_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is busy."""
    monkeypatch.setattr("cloudbeds_auth.database.sqlite_file.BUSY_MILLISECONDS", 10)
    path, notes = tmp_path / "vault.sqlite3", Notebook()
    sqlite = SqliteDriver(path, HandClock().instant)
    await sqlite.open()
    driver = MeasuredDriver(sqlite, SystemClock(), notes)
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            await driver.write(noting("a"))
    await driver.close()
    assert notes.told == [("store_failed", {"operation": "write", "reason": "busy", "error": "BusyError"})]


async def test_a_file_that_is_gone(sqlite: SqliteDriver, tmp_path: Path) -> None:
    """No error of the database is behind it."""
    notes = Notebook()
    (tmp_path / "vault.sqlite3").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable):
        await MeasuredDriver(sqlite, SystemClock(), notes).read(look)
    assert notes.told == [("store_failed", {"operation": "read", "reason": "other", "error": "StoreUnavailable"})]


async def test_a_server_that_is_stopped() -> None:
    """It cannot be reached; back again, it is timed as before."""
    notes = Notebook()
    with server() as postgres:
        inner = PostgresDriver(postgres.url)
        await inner.open()
        driver = MeasuredDriver(inner, SystemClock(), notes)
        await driver.write(noting("a"))
        postgres.stop()
        with pytest.raises(StoreUnavailable):
            await driver.read(look)
        postgres.start()
        await driver.close()
    (_, (what, facts)) = notes.told
    assert (what, facts["operation"], facts["reason"]) == ("store_failed", "read", "unreachable")


async def test_a_bug_is_not_the_databases(sqlite: SqliteDriver) -> None:
    """It is raised as it is, and nothing is said of the database."""
    notes = Notebook()

    def wrong(now: Instant) -> Transaction[None]:
        yield Statement("wrong", "SELECT nothing FROM nowhere", {})

    with pytest.raises(apsw.SQLError):
        await MeasuredDriver(sqlite, SystemClock(), notes).read(wrong)
    assert notes.told == []


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (errors.DiskFull(), "disk_full"),
        (errors.QueryCanceled(), "busy"),
        (errors.DeadlockDetected(), "busy"),
        (errors.SerializationFailure(), "busy"),
        (errors.LockNotAvailable(), "busy"),
        (errors.ReadOnlySqlTransaction(), "read_only"),
        (errors.AdminShutdown(), "unreachable"),
        (errors.ConnectionException(), "unreachable"),
        (TimeoutError(), "unreachable"),
        (apsw.ReadOnlyError(), "read_only"),
        (apsw.IOError(), "io"),
        (apsw.CantOpenError(), "io"),
        (apsw.LockedError(), "busy"),
        (apsw.CorruptError(), "other"),
        (None, "other"),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else str(one),
)
def test_what_an_error_means(cause: Exception | None, reason: str) -> None:
    """The same words for both databases; one that is more than another has the nearer word."""
    error = StoreUnavailable("it cannot be used")
    error.__cause__ = cause
    assert reason_of(error) == reason
    assert reason in STORE_REASONS
