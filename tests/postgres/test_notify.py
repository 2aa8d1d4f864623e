"""LISTEN and NOTIFY: whoever waits for another process's refresh is woken by its COMMIT, and loses nothing without."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from tests.support.fakes import pair
from tests.support.processes import Processes, leased, row

from cloudbeds_auth.database.notify import Listener
from cloudbeds_auth.database.postgres import PostgresDriver
from cloudbeds_auth.rules.model import Grant
from cloudbeds_auth.transactions.grants import Written, commit_pair, release_lease
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.statements import Instant, Statement, Transaction

NEVER = 600.0  # seconds: a test that is not woken ends with pytest's timeout
SESSIONS = Statement(
    "sessions", "SELECT pid, query FROM pg_stat_activity WHERE application_name = 'cloudbeds-auth'", {}
)


async def patient(processes: Processes) -> PostgresDriver:
    """A process that looks at the row only when it is woken."""
    driver = await processes.driver()
    driver.wakeups = Listener(processes.url, longest=NEVER)
    return driver


async def until(true: Callable[[], bool]) -> None:
    """Wait for it."""
    while not true():
        await asyncio.sleep(0.005)


async def woken_by(driver: PostgresDriver, grant: Grant, act: Callable[[], Awaitable[object]]) -> None:
    """Wait for this grant, and return when `act`, done meanwhile by somebody else, was heard of."""
    with driver.wakeups.hearing(grant.id, NEVER) as heard:
        await until(lambda: driver.wakeups.listening)
        await act()
        await heard.wait(NEVER)


async def test_a_commit_wakes_who_waits_for_that_grant(processes: Processes) -> None:
    """On another connection, as on another machine; what was committed is in the row by then."""
    one, waiting = await processes.store(), await patient(processes)
    grant = await processes.hotel(one)
    fence = await leased(one, grant)

    async def commits() -> None:
        assert await one.write(commit_pair(fence, grant.tokens[-1], pair(2), stale_after=3240.0)) is Written.DONE

    await woken_by(waiting, grant, commits)
    assert (await row(await processes.store(waiting), grant.id)).generation == 2
    await waiting.wakeups.close()


async def test_a_lease_given_back_wakes_who_waits_for_it(processes: Processes) -> None:
    """Also where no pair came of it."""
    one, waiting = await processes.store(), await patient(processes)
    grant = await processes.hotel(one)
    fence = await leased(one, grant)
    await woken_by(waiting, grant, lambda: one.write(release_lease(grant.id, fence.epoch)))
    await waiting.wakeups.close()


async def test_another_grants_commit_wakes_nobody(processes: Processes) -> None:
    """Each bell is rung for its own grant."""
    one, waiting = await processes.store(), await patient(processes)
    grant, other = await processes.hotel(one), await processes.hotel(one)
    fence = await leased(one, grant)
    with waiting.wakeups.hearing(other.id, NEVER) as elsewhere:
        await woken_by(waiting, grant, lambda: one.write(release_lease(grant.id, fence.epoch)))
        deaf = asyncio.create_task(elsewhere.wait(NEVER))
        await woken_by(waiting, grant, lambda: one.write(release_lease(grant.id, fence.epoch)))
        assert not deaf.done()
        deaf.cancel()
    await waiting.wakeups.close()


async def test_a_transaction_that_is_rolled_back_wakes_nobody(processes: Processes) -> None:
    """What is told belongs to the transaction."""
    one, waiting = await processes.store(), await patient(processes)
    grant, other = await processes.hotel(one), await processes.hotel(one)
    driver = await processes.driver()

    def fails(now: Instant) -> Transaction[None]:
        yield Statement("release_lease", "SELECT 1", {"grant_id": other.id, "epoch": 1})
        raise KeyError

    with waiting.wakeups.hearing(other.id, NEVER) as elsewhere:
        deaf = asyncio.create_task(elsewhere.wait(NEVER))

        async def act() -> None:
            try:
                await driver.write(fails)
            except KeyError:
                await one.write(release_lease(grant.id, 1))

        await woken_by(waiting, grant, act)
        assert not deaf.done()
        deaf.cancel()
    await waiting.wakeups.close()


async def test_a_connection_that_is_lost_is_a_reason_to_look(processes: Processes) -> None:
    """What was told meanwhile was not heard: everybody looks, and polls until it is heard again."""
    one, waiting = await processes.store(), await patient(processes)
    grant = await processes.hotel(one)
    with waiting.wakeups.hearing(grant.id, NEVER) as heard:
        await until(lambda: waiting.wakeups.listening)
        listening = asyncio.create_task(heard.wait(NEVER))
        await one_session_ends(waiting)
        await listening
        assert not waiting.wakeups.listening
        assert await longest_wait(waiting, grant) == 0.25
    await waiting.wakeups.close()


async def one_session_ends(driver: PostgresDriver) -> None:
    """As when a firewall forgets it."""
    sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN cloudbeds_auth'"
    await driver.write(lambda now: _run(Statement("end", sql, {})))


async def longest_wait(driver: PostgresDriver, grant: Grant) -> float:
    """The seconds that a wait would last at most now."""
    with driver.wakeups.hearing(grant.id, 0.25) as heard:
        await heard.wait(0.0)
        return heard.longest


def _run(statement: Statement) -> Transaction[list[dict[str, object]]]:
    return list((yield statement))  # type: ignore[arg-type]


async def test_who_never_waits_opens_no_connection_for_it(processes: Processes) -> None:
    """And who has waited closes it with the driver."""
    driver = await processes.driver()
    store = await processes.store(driver)
    grant = await processes.hotel(store)
    assert not await _listening_sessions(driver)
    with driver.wakeups.hearing(grant.id, 0.25):
        await until(lambda: driver.wakeups.listening)
    assert len(await _listening_sessions(driver)) == 1
    await driver.close()
    other = await processes.driver()
    while await _listening_sessions(other):
        await asyncio.sleep(0.01)


async def _listening_sessions(driver: PostgresDriver) -> list[dict[str, object]]:
    rows = await driver.read(lambda now: _run(SESSIONS))
    return [one for one in rows if "LISTEN" in str(one["query"])]


async def test_a_child_listens_for_itself(processes: Processes) -> None:
    """After `fork()` the parent's connection is the parent's."""
    store: Database = await processes.store()
    driver = await patient(processes)
    grant = await processes.hotel(store)
    with driver.wakeups.hearing(grant.id, NEVER):
        await until(lambda: driver.wakeups.listening)
        before = driver.wakeups._task
        child = os.fork()
        if child == 0:
            os._exit(_in_the_child(driver.wakeups, grant, before))
        assert await asyncio.to_thread(_ended, child) == 0
        fence = await leased(store, grant)
        await woken_by(driver, grant, lambda: store.write(release_lease(grant.id, fence.epoch)))
    await driver.wakeups.close()


def _in_the_child(listener: Listener, grant: Grant, before: object) -> int:
    async def listens() -> bool:
        with listener.hearing(grant.id, NEVER):
            await until(lambda: listener.listening)
            other = listener._task is not before
        await listener.close()
        return other

    asyncio.events._set_running_loop(None)
    return 0 if asyncio.new_event_loop().run_until_complete(listens()) else 1


def _ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
