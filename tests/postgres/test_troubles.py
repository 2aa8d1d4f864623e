"""What a database server does to a transaction: lost connections, deadlocks, timeouts, restarts, a COMMIT in doubt."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from tests.support.fakes import APP, Notebook, pair
from tests.support.postgres import PostgresServer
from tests.support.postgres_fixtures import END_OTHERS
from tests.support.processes import Processes, leased, row, when_it_is_back

from cloudbeds_auth.database import postgres
from cloudbeds_auth.database.postgres import PostgresDriver
from cloudbeds_auth.engine.rate_limiter import RateLimiter, Shared
from cloudbeds_auth.errors import RateLimited, StoreUnavailable, VaultClosed
from cloudbeds_auth.rules.rate_limit import WINDOW, Limit, Rate
from cloudbeds_auth.system import SystemClock
from cloudbeds_auth.transactions.grants import Written, commit_pair, take_lease, write_intent
from cloudbeds_auth.transactions.rate_limit import reserve_turn
from cloudbeds_auth.transactions.statements import Body, Instant, Statement, Transaction, query, query_one

T = TypeVar("T")


def setting(name: str) -> Body[str]:
    """A transaction that asks for a setting."""

    def body(now: Instant) -> Transaction[str]:
        rows = yield Statement("setting", f"SELECT current_setting('{name}') AS value", {})
        value: str = rows[0]["value"]
        return value

    return body


def noted(name: str, before: Callable[[], None] = lambda: None) -> Body[int]:
    """A transaction that counts in `meta` how often it was committed; `before` runs when the count was read."""

    def body(now: Instant) -> Transaction[int]:
        found = yield from query_one("meta", name=name)
        number = int(found["value"]) + 1 if found else 1
        before()
        yield from query("set_meta", name=name, value=str(number))
        return number

    return body


def end_others(url: str) -> None:
    """End every other session of this database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(END_OTHERS)


@pytest.mark.row("F65")
async def test_a_connection_lost_in_a_transaction(processes: Processes) -> None:
    """Nothing of it is there, and it is run again on another connection."""
    driver, cut = await processes.driver(), [1, 1]

    def once() -> None:
        if cut:
            cut.pop()
            end_others(processes.url)

    assert await driver.write(noted("runs", once)) == 1
    assert await driver.write(noted("runs")) == 2
    assert cut == []


@pytest.mark.row("F12")
async def test_what_need_not_be_flushed(processes: Processes) -> None:
    """`synchronous_commit` is off in that transaction alone, whichever connection it ran on."""
    driver = await processes.driver()
    for _ in range(3):
        assert await driver.write(setting("synchronous_commit"), synced=False) == "off"
        found = await asyncio.gather(*(driver.write(setting("synchronous_commit")) for _ in range(10)))
        assert set(found) == {"on"}
    assert await driver.read(setting("synchronous_commit")) == "on"


@pytest.mark.row("F65")
async def test_connections_that_died_while_idle(processes: Processes) -> None:
    """A pool full of dead connections is no obstacle: a transaction meets each of them, and then a new one."""
    driver = await processes.driver()
    await driver.read(setting("server_version"))
    async with AsyncExitStack() as held:
        for _ in range(postgres.MOST_CONNECTIONS):
            await held.enter_async_context(driver._pool.connection())
    end_others(processes.url)
    assert await driver.write(noted("runs")) == 1


async def test_told_to_stop_while_a_connection_is_handed_out(processes: Processes) -> None:
    """Whenever it is cancelled, the task ends. A lease is renewed by such a task, which must not live on."""
    driver = await processes.driver()
    await driver.write(noted("runs"))

    async def without_end() -> None:
        while True:
            await driver.write(noted("runs"))

    for steps in range(20):
        held = [driver._pool.connection() for _ in range(postgres.MOST_CONNECTIONS)]
        for one in held:
            await one.__aenter__()
        writing = asyncio.create_task(without_end())
        while not driver._pool.get_stats()["requests_waiting"]:
            await asyncio.sleep(0)
        back = asyncio.create_task(held[0].__aexit__(None, None, None))
        for _ in range(steps):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing], timeout=10)
        assert writing.cancelled(), f"it lives on, told so {steps} steps after"
        await back
        for one in held[1:]:
            await one.__aexit__(None, None, None)


def both(first: str, second: str) -> Body[None]:
    """Adds a letter to two rows, in this order."""

    def body(now: Instant) -> Transaction[None]:
        for name in (first, second):
            yield Statement("add", f"UPDATE meta SET value = value || 'x' WHERE name = '{name}'", {})
            yield Statement("pause", "SELECT pg_sleep(0.2)", {})

    return body


@pytest.mark.row("F65")
async def test_a_deadlock(processes: Processes) -> None:
    """Two transactions take two rows in opposite order: one is ended by the server, run again, and both are done."""
    one, two = await processes.driver(), await processes.driver()
    for name in ("a", "b"):
        await one.write(lambda now, name=name: query("set_meta", name=name, value=""))  # type: ignore[misc]
    await asyncio.gather(one.write(both("a", "b")), two.write(both("b", "a")))
    for name in ("a", "b"):
        found = await one.read(lambda now, name=name: query_one("meta", name=name))  # type: ignore[misc]
        assert found is not None
        assert found["value"] == "xx"


@pytest.mark.row("F65")
async def test_a_serialization_failure(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a stricter isolation than ours the server may refuse a transaction at any statement: it is run again."""
    monkeypatch.setattr(postgres, "BEGIN_WRITE", postgres.BEGIN_WRITE.replace("READ COMMITTED", "SERIALIZABLE"))
    driver = await processes.driver()
    found = await asyncio.gather(*(driver.write(noted("runs")) for _ in range(4)))
    assert sorted(found) == [1, 2, 3, 4]


@pytest.mark.row("F65")
@pytest.mark.parametrize("timeout", ["statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout"])
async def test_a_timeout(processes: Processes, monkeypatch: pytest.MonkeyPatch, timeout: str) -> None:
    """A statement, a lock or a pause that takes too long: rolled back and run again; without end, store unavailable."""
    begin = re.sub(rf"{timeout} = '\d+s'", f"{timeout} = '500ms'", postgres.BEGIN_WRITE)
    assert begin != postgres.BEGIN_WRITE
    monkeypatch.setattr(postgres, "BEGIN_WRITE", begin)
    driver, slow = await processes.driver(), [1]

    def body(now: Instant) -> Transaction[str]:
        if slow:
            slow.pop()
            if timeout == "statement_timeout":
                yield Statement("slow", "SELECT pg_sleep(5)", {})
            elif timeout == "lock_timeout":
                yield Statement("slow", "SELECT pg_advisory_xact_lock(1)", {})
            else:
                with psycopg.connect(processes.url) as connection:  # while the session of ours is idle
                    connection.execute("SELECT pg_sleep(1.5)")
        yield from query("set_meta", name="done", value="yes")
        return "done"

    with psycopg.connect(processes.url) as other:
        other.execute("SELECT pg_advisory_xact_lock(1)")
        assert await driver.write(body) == "done"
    assert slow == []


class Doubtful(PostgresDriver):
    """Loses the answer of the next COMMIT: `cut` does it before the server gets it, else after."""

    doubt = ""

    async def _commit(self, connection: Any, moment: Any, result: object) -> None:
        doubt, self.doubt = self.doubt, ""
        if doubt == "after":
            await connection.execute("COMMIT")
        if doubt:
            end_others(self._conninfo)
        await super()._commit(connection, moment, result)


@pytest.mark.row("F63")
@pytest.mark.parametrize("doubt", ["before", "after"])
async def test_a_commit_without_an_answer(processes: Processes, doubt: str) -> None:
    """The server is asked what became of it: committed is done, rolled back is done again; it is done once."""
    driver = await processes.opened(Doubtful(processes.url))
    driver.doubt = doubt
    assert await driver.write(noted("runs")) == 1
    found = await driver.read(lambda now: query_one("meta", name="runs"))
    assert found is not None
    assert found["value"] == "1"


@pytest.mark.row("F63")
@pytest.mark.parametrize("doubt", ["before", "after"])
async def test_a_pair_whose_commit_is_in_doubt(processes: Processes, doubt: str) -> None:
    """The pair of a refresh is stored once, as the next generation, whatever became of the first COMMIT."""
    driver = await processes.opened(Doubtful(processes.url))
    store = await processes.store(driver)
    grant = await processes.hotel(store)
    fence = await leased(store, grant)
    assert await store.write(write_intent(fence, grant.tokens[-1].position, lease=30.0, hold=20.0))
    driver.doubt = doubt
    assert await store.write(commit_pair(fence, grant.tokens[-1], pair(2), stale_after=3240.0)) is Written.DONE
    after = await row(store, grant.id)
    assert (after.generation, after.access.reveal()) == (2, "A-2")
    assert [token.value.reveal() for token in after.tokens] == ["R-1", "R-2"]
    assert await store.write(commit_pair(fence, grant.tokens[-1], pair(2), stale_after=3240.0)) is Written.DONE
    assert (await row(store, grant.id)).generation == 2


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_a_restart_under_a_pool(
    own_server: PostgresServer, over_own_server: Processes, how: signal.Signals
) -> None:
    """Fast or as after a crash: while it is away the store is unavailable, what was committed is there afterwards."""
    store = await over_own_server.store()
    grant = await over_own_server.hotel(store)
    own_server.stop(how)
    with pytest.raises(StoreUnavailable):
        await store.write(take_lease(grant.id, "us", 30.0))
    own_server.start()
    assert (await when_it_is_back(lambda: row(store, grant.id))).access.reveal() == "A-1"
    await when_it_is_back(lambda: leased(store, grant))


@pytest.mark.parametrize("how", ["stopped", "crashed", "a process of it killed"])
async def test_turns_after_another_start(own_server: PostgresServer, over_own_server: Processes, how: str) -> None:
    """It may have forgotten some that were not flushed: one window is waited out, and not more."""
    store, rate = await over_own_server.store(), Rate(3)
    limiter = RateLimiter(store, SystemClock(), Notebook(), Shared(), Limit(rate), app=APP.id, client_id=APP.client_id)
    for _ in range(2):
        await limiter.spend(0.0)
    if how == "a process of it killed":
        own_server.kill_one_process()
    else:
        own_server.stop(signal.SIGINT if how == "stopped" else signal.SIGQUIT)
        own_server.start()
    with pytest.raises(RateLimited) as caught:
        await when_it_is_back(lambda: limiter.spend(0.0))
    # From when it was first found: that may have been by what was asked while the server was away.
    assert 0.0 < (caught.value.retry_after or 0.0) <= WINDOW + 1e-6
    assert 0.0 < await store.write(reserve_turn(APP.client_id, rate, 0.0)) < WINDOW
    await limiter.stop()


async def test_killed_and_started_again(own_server: PostgresServer, over_own_server: Processes) -> None:
    """kill -9 of the server at any moment: what it had acknowledged is there."""
    store = await over_own_server.store()
    done = 0
    for _ in range(3):
        for _ in range(5):
            done = await when_it_is_back(lambda: store._driver.write(noted("runs")))
        own_server.kill()
        own_server.start()
        found = await when_it_is_back(lambda: store._driver.read(lambda now: query_one("meta", name="runs")))
        assert found is not None
        assert int(found["value"]) == done


@pytest.mark.row("F65")
async def test_a_server_that_took_no_writes(over_own_server: Processes) -> None:
    """When it does again, a session from before fails once at most. Behind PgBouncer the sessions are the bouncer's."""
    await over_own_server.driver()  # makes the tables
    name = sql.Identifier(urlsplit(over_own_server.url).path.strip("/"))
    with psycopg.connect(over_own_server.url, autocommit=True) as operator:
        operator.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
        try:
            driver = await over_own_server.opened(PostgresDriver(over_own_server.url))
            with pytest.raises(StoreUnavailable, match="ReadOnlySqlTransaction"):
                await driver.write(noted("runs"))
        finally:
            operator.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(name))
    for _ in range(postgres.MOST_CONNECTIONS):
        with suppress(StoreUnavailable):
            await driver.write(noted("runs"))
    assert await driver.write(noted("runs"))


@pytest.mark.parametrize("failure", ["permission denied", "the index is corrupted"])
async def test_what_only_the_operator_of_the_server_mends(processes: Processes, failure: str) -> None:
    """A right that was taken away, or damage: the store is unavailable until it is mended, and the reason is named."""
    driver = await processes.driver()
    state = {"permission denied": "insufficient_privilege", "the index is corrupted": "index_corrupted"}[failure]

    def body(now: Instant) -> Transaction[None]:
        yield Statement("refused", f"DO $$ BEGIN RAISE '{failure}' USING ERRCODE = '{state}'; END $$", {})

    with pytest.raises(StoreUnavailable, match=failure):
        await driver.write(body)
    assert await driver.write(noted("runs")) == 1


async def test_a_broken_rule_is_no_trouble_of_the_database(processes: Processes) -> None:
    """A row that breaks a constraint each time is a bug of ours: told as such, not as something that heals."""
    driver = await processes.driver()

    def body(now: Instant) -> Transaction[None]:
        yield Statement("twice", "INSERT INTO meta (name, value) VALUES ('schema_version', '1')", {})

    with pytest.raises(psycopg.errors.UniqueViolation):
        await driver.write(body)


@pytest.mark.long
async def test_a_silent_server(
    own_server: PostgresServer, over_own_server: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of everything: the caller is told in bounded time, and it heals when the server goes on."""
    store = await over_own_server.store()
    grant = await over_own_server.hotel(store)
    monkeypatch.setattr(postgres, "WITHIN", 0.5)
    own_server.pause()
    try:
        with pytest.raises(StoreUnavailable):
            await store.write(take_lease(grant.id, "us", 30.0))
    finally:
        own_server.resume()
    monkeypatch.undo()
    await when_it_is_back(lambda: leased(store, grant))


@pytest.mark.row("F106")
async def test_what_is_asked_around_a_close(processes: Processes) -> None:
    """What waits for a connection then, and what is asked for later, meets a typed error; no connection is made."""
    driver = await processes.driver()
    held = [driver._pool.connection() for _ in range(postgres.MOST_CONNECTIONS)]
    for one in held:
        await one.__aenter__()
    waiting = asyncio.create_task(driver.read(setting("server_version")))
    while not driver._pool.get_stats()["requests_waiting"]:
        await asyncio.sleep(0)
    await driver.close()
    for ask in (driver.read, driver.write):
        with pytest.raises(VaultClosed, match="were closed"):
            await ask(setting("server_version"))
    with pytest.raises(VaultClosed):
        await waiting
    assert driver._pool.closed
    for one in held:
        await one.__aexit__(None, None, None)
    await driver.open()
    assert await driver.read(setting("server_version"))
