"""The PostgreSQL driver: the same transactions over a pool of connections, for any number of machines.

There is no session state: each transaction sets what it needs, so it also runs behind a pooler in transaction mode. The
clock is the server's (`clock_timestamp()`), never a host's. A transaction that was ended by a lost connection, a
deadlock or a timeout is run again from its start; if the answer to a COMMIT is lost, the server is asked what became of
it, so that nothing is done twice (F63).
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
from contextlib import suppress
from functools import cache, partial
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from cloudbeds_auth.database import schema
from cloudbeds_auth.database.notify import NOTIFY, NOTIFYING, Listener
from cloudbeds_auth.database.postgres_migration import BULK_WITHIN, LOCK_TIMEOUT, alone
from cloudbeds_auth.database.postgres_server import DENIED, denied, first_look, said
from cloudbeds_auth.errors import StoreUnavailable, VaultClosed
from cloudbeds_auth.transactions.statements import (
    Body,
    Insert,
    Instant,
    Row,
    Rows,
    SelectForUpdate,
    Statement,
    drive_async,
    load,
)

PLACEHOLDER = re.compile(r"(?<![:\w]):([a-z_]+)")
# Identifies this start of the server. Its counters are also reset when it recovers from the crash of a process.
STARTED = (
    "concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()), "
    "extract(epoch FROM pg_stat_get_bgwriter_stat_reset_time()))"
)
# What became of a transaction. After a crash, the server gives the ids of transactions that it lost to new ones, and
# may report on one of those.
STATUS = f"SELECT pg_xact_status(CAST(%(xid)s AS xid8)) AS status, {STARTED} <> %(started)s AS crashed"


@cache
def placeholders(sql: str) -> str:
    """`:name` as psycopg writes it, `%(name)s`; a percent sign beside placeholders is doubled."""
    if not PLACEHOLDER.search(sql):
        return sql
    return PLACEHOLDER.sub(r"%(\1)s", sql.replace("%", "%%"))


SQL = {name: placeholders(sql) for name, sql in load("postgres.sql").items()}


def in_bulk(begin: str) -> str:
    """The beginning of a transaction, with the statement timeout of bulk work."""
    return re.sub(r"statement_timeout = '\w+'", f"statement_timeout = '{BULK_WITHIN:.0f}s'", begin)


T = TypeVar("T")
Connection = psycopg.AsyncConnection[DictRow]

WITHIN = 10.0  # seconds for one transaction with all its repetitions
MOST_CONNECTIONS = 8  # of one process
MOST_RUNS = 2 * MOST_CONNECTIONS  # attempts at one transaction: each connection in the pool may be dead
CONNECTED_WITHIN = 3.0  # seconds a transaction waits for a connection
TIMEOUTS = f"{LOCK_TIMEOUT}; SET LOCAL statement_timeout = '5s'; SET LOCAL idle_in_transaction_session_timeout = '10s'"
NOW = "extract(epoch FROM clock_timestamp())::float8"
MOMENT = f"SELECT {NOW} AS wall, {STARTED} AS started"
BEGIN_READ = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {TIMEOUTS}; {MOMENT}, NULL AS xid"
# The transaction's id is read in advance: if the answer to its COMMIT is lost, the server is asked about it.
BEGIN_WRITE = f"BEGIN ISOLATION LEVEL READ COMMITTED; {TIMEOUTS}; {MOMENT}, pg_current_xact_id()::text AS xid"
BEGIN_UNSYNCED = BEGIN_WRITE.replace(TIMEOUTS, f"{TIMEOUTS}; SET LOCAL synchronous_commit = off")

# Connection parameters, unless the URL sets them: with these, a server that has gone silent is noticed.
DEFAULTS = {
    "application_name": "cloudbeds-auth",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}

# After these, a transaction is run again: another transaction or a timeout ended it. A constraint may be violated by a
# row that another transaction added at the same moment; one that is violated each time is a bug, and is raised.
AGAIN = (
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.LockNotAvailable,
    errors.QueryCanceled,
    errors.UniqueViolation,
)
GONE = (psycopg.OperationalError, psycopg.InterfaceError, errors.IdleInTransactionSessionTimeout)
NOT_NOW = (*AGAIN, *GONE, *DENIED, psycopg.InternalError, errors.InsufficientResources)


class UnknownCommit(Exception):
    """COMMIT was sent and no answer came. `result` is the transaction's result, if it was committed.

    `moment`: the transaction's id, when it began, and at which start of the server.
    """

    def __init__(self, moment: DictRow, result: Any) -> None:
        super().__init__(moment["xid"])
        self.moment = moment
        self.result = result


class PostgresDriver:
    """Runs transactions over a pool; opens a pool of its own in a child after `fork()`.

    `bulk`: for work on every row, a transaction and each of its statements have an hour instead of seconds. Their
    timeout for locks remains the same.
    """

    def __init__(self, url: str, *, bulk: bool = False) -> None:
        self._bulk: Final = bulk
        given = conninfo_to_dict(url)
        self.database: Final = str(given.get("dbname") or given.get("user") or "")
        self._conninfo = make_conninfo(**{**DEFAULTS, **{name: str(value) for name, value in given.items()}})
        self.wakeups: Listener = Listener(self._conninfo)
        self._clock_id = ""
        self._opened_by = 0
        self._closed = False
        self._left_behind: list[object] = []
        self._pool: AsyncConnectionPool[Connection]

    @property
    def place(self) -> str:
        """Which database this is: the server's system identifier and its name. Known once `open` has returned."""
        return f"{self._clock_id}/{self.database}"

    async def open(self) -> int:
        """Connect, check that commits are durable, bring the schema up to date; returns the schema found (0: none).

        Raises ConfigurationError where a person has to change something, StoreUnavailable for a temporary failure; then
        nothing is left open.
        """
        self._closed = False
        try:
            return await self._open()
        except BaseException as error:
            await self.close()
            if isinstance(error.__cause__, DENIED):
                raise denied(error.__cause__) from error
            raise

    async def _open(self) -> int:
        facts = await first_look(self._conninfo)
        self._clock_id = f"postgresql:{facts['system']}"
        before = await self.read(schema.version)
        for number, sql in schema.beyond(before):
            await self._migrate(partial(schema.step, number=number, sql=sql))
        return before

    async def read(self, body: Body[T]) -> T:
        """One consistent view, read only."""
        return await self._run(body, BEGIN_READ)

    async def write(self, body: Body[T], *, synced: bool = True) -> T:
        """Committed when this returns and, if `synced`, flushed to disk by the server."""
        return await self._run(body, BEGIN_WRITE if synced else BEGIN_UNSYNCED)

    async def _migrate(self, step: Body[None]) -> None:
        await self._run(partial(alone, step), in_bulk(BEGIN_WRITE), BULK_WITHIN)

    async def close(self) -> None:
        """Close the pool, and stop listening. A transaction without a connection yet, or a later one, raises
        VaultClosed.
        """
        self._closed = True
        await self.wakeups.close()
        if self._opened_by == os.getpid():
            await self._pool.close()
            self._opened_by = 0

    # --- one transaction, as often as it takes

    async def _run(self, body: Body[T], begin: str, within: float = WITHIN) -> T:
        if self._bulk:
            begin, within = in_bulk(begin), BULK_WITHIN
        if self._opened_by != os.getpid() and not self._closed:
            await self._begin_in_this_process()
        failure: Exception = TimeoutError("no answer in time")
        cancelled = _cancelled()
        try:
            async with asyncio.timeout(within):
                for _ in range(MOST_RUNS):
                    try:
                        return await self._once(body, begin, cancelled)
                    except UnknownCommit as unknown:
                        failure = unknown
                        was_committed = await self._was_committed(unknown.moment)
                        _heed(cancelled)
                        if was_committed:
                            result: T = unknown.result
                            return result
                    except PoolTimeout:
                        raise  # no connection in time: a caller that tries again later may get one
                    except (*AGAIN, *GONE) as error:
                        failure = error
        except (TimeoutError, PoolTimeout, *NOT_NOW) as error:
            failure = error if str(error) else failure
        if isinstance(failure, errors.UniqueViolation):
            raise failure
        raise StoreUnavailable(f"PostgreSQL cannot be used: {said(failure)}") from failure

    async def _once(self, body: Body[T], begin: str, cancelled: int) -> T:
        if self._closed:
            raise VaultClosed(f"the connections to the database {self.database} were closed")
        async with self._pool.connection() as connection:
            _heed(cancelled)
            try:
                cursor = await connection.execute(begin)
                while cursor.nextset():
                    pass
                moment = await cursor.fetchone()
                assert moment is not None  # noqa: S101 - a SELECT without FROM has one row
                now = Instant(moment["wall"], moment["wall"], self._clock_id, moment["started"])
                result = await drive_async(body(now), partial(_execute, connection))
            except errors.ReadOnlySqlTransaction:
                await connection.close()  # what makes a server read-only may last for as long as the session does
                raise
            except BaseException:
                await _give_up(connection)
                raise
            await self._commit(connection, moment, result)
            return result

    async def _commit(self, connection: Connection, moment: DictRow, result: object) -> None:
        try:
            await connection.execute("COMMIT")
        except AGAIN:
            raise  # the server answered: it is rolled back
        except GONE as error:
            if moment["xid"] is None:
                raise
            raise UnknownCommit(moment, result) from error

    async def _was_committed(self, moment: DictRow) -> bool:
        """Whether a transaction was committed; waits while it is in progress, and for a connection.

        Raises StoreUnavailable if that cannot be known: a caller that tries again reads what is stored.
        """
        xid = moment["xid"]
        while True:
            with suppress(*GONE):
                async with self._pool.connection() as connection:
                    try:
                        (row,) = await (await connection.execute(STATUS, moment)).fetchall()
                    except errors.InvalidParameterValue:
                        return False  # "in the future": the server crashed before it recorded the id
                    if row["crashed"] and row["status"] != "aborted":
                        raise StoreUnavailable(f"PostgreSQL crashed while transaction {xid} was being committed")
                    if row["status"] is None:
                        raise StoreUnavailable(f"PostgreSQL no longer knows what became of transaction {xid}")
                    if row["status"] != "in progress":
                        return bool(row["status"] == "committed")
                    await connection.execute("SELECT pg_sleep(0.05)")

    async def _begin_in_this_process(self) -> None:
        if self._opened_by:
            # The pool's sockets are the parent's: closing them here would end the parent's sessions.
            self._left_behind.append(self._pool)
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self._conninfo,
            connection_class=Connection,
            kwargs={"autocommit": True, "prepare_threshold": None, "row_factory": dict_row},
            min_size=1,
            max_size=MOST_CONNECTIONS,
            timeout=CONNECTED_WITHIN,
            reconnect_timeout=CONNECTED_WITHIN,
            open=False,
            name="cloudbeds-auth",
        )
        await pool.open()
        self._pool = pool
        self._opened_by = os.getpid()


def _cancelled() -> int:
    """How often cancellation of this task has been requested."""
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def _heed(before: int) -> None:
    """Raise CancelledError if cancellation was requested since: `wait_for` of Python 3.11, which the pool uses, may
    swallow it.
    """
    if _cancelled() > before:
        raise asyncio.CancelledError


async def _execute(connection: Connection, statement: Statement) -> Rows:
    if isinstance(statement, Insert):
        await connection.execute(
            _all_at_once(statement), {"rows": json.dumps([*map(_sayable, statement.rows)], default=_as_text)}
        )
        return ()
    sql = SQL.get(statement.name) or placeholders(statement.sql)
    if isinstance(statement, SelectForUpdate):
        sql += " FOR NO KEY UPDATE SKIP LOCKED"  # rows that refer to it may still be added
    cursor = await connection.execute(sql, statement.parameters or None)
    # Not `description`, which creates an object for each column.
    rows = await cursor.fetchall() if cursor.rownumber is not None else ()
    if statement.name in NOTIFYING:
        await connection.execute(NOTIFY, statement.parameters)  # delivered when this is committed, and not before
    return rows


def _sayable(row: Row) -> Row:
    """The row for JSON, which has no infinity: PostgreSQL reads it from a text."""
    return {name: "Infinity" if value == math.inf else value for name, value in row.items()}


def _all_at_once(insert: Insert) -> str:
    """The INSERT with all rows as one parameter: several times as fast as one row after the other."""
    columns = ", ".join(insert.rows[0])
    return (
        f"INSERT INTO {insert.table} ({columns}) SELECT {columns} "  # noqa: S608 - our own names
        f"FROM json_populate_recordset(CAST(NULL AS {insert.table}), CAST(%(rows)s AS json)) {insert.unless}"
    )


def _as_text(value: bytes) -> str:
    return f"\\x{value.hex()}"


async def _give_up(connection: Connection) -> None:
    """Roll back what did not reach its COMMIT; a connection that cannot even do that is closed."""
    try:
        async with asyncio.timeout(1.0):
            await connection.execute("ROLLBACK")
    except (TimeoutError, psycopg.Error, asyncio.CancelledError):
        with suppress(psycopg.Error):
            await connection.close()
