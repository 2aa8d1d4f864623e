"""Behind PgBouncer in transaction mode: `make test-pgbouncer` runs these, and what else rests on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
from tests.support.fakes import pair
from tests.support.pgbouncer import bouncer
from tests.support.postgres import database, server
from tests.support.processes import Processes, leased, row

from cloudbeds_auth.transactions.grants import Written, commit_pair, release_lease, take_lease, write_intent
from cloudbeds_auth.transactions.refusals import confirm
from cloudbeds_auth.transactions.statements import Instant, Statement, Transaction

BACKEND = Statement("backend", "SELECT pg_backend_pid() AS pid, current_setting('lock_timeout') AS lock_timeout", {})


@pytest.fixture(scope="module")
def pooled() -> Iterator[str]:
    """An empty database behind the pooler."""
    with server() as behind, bouncer(behind) as url, database(url) as made:
        yield made


@pytest.fixture
async def processes(pooled: str) -> AsyncIterator[Processes]:
    """Processes of ours behind it."""
    async with AsyncExitStack() as stack:
        yield Processes(pooled, stack)


def asked(now: Instant) -> Transaction[tuple[int, str]]:
    """Which server connection it is, and what is set in the transaction."""
    (found,) = yield BACKEND
    return found["pid"], found["lock_timeout"]


@pytest.mark.row("F66")
async def test_each_transaction_on_another_server_connection(processes: Processes) -> None:
    """One connection of ours runs on whichever of the server's is free; what a transaction needs is set in it."""
    one, two = await processes.driver(), await processes.driver()
    seen: set[int] = set()

    def holding(now: Instant) -> Transaction[int]:
        """Takes a server connection for itself, so that the other's next transaction has to run on another one."""
        (found,) = yield BACKEND
        yield Statement("pause", "SELECT pg_sleep(0.2)", {})
        pid: int = found["pid"]
        return pid

    for _ in range(3):
        held = asyncio.create_task(two.write(holding))
        await asyncio.sleep(0.05)
        pid, timeout = await one.write(asked)
        assert timeout == "2s"
        seen |= {pid, await held}
        pid, timeout = await one.write(asked)
        seen.add(pid)
    assert len(seen) > 1


@pytest.mark.row("F66")
async def test_a_refresh_over_many_server_connections(processes: Processes) -> None:
    """Lease, intent, commit and proof of one refresh hold, each on another server connection; nothing is prepared."""
    store, other = await processes.store(), await processes.store()
    grant = await processes.hotel(store)
    for number in range(2, 12):  # more often than a driver that prepares statements would wait
        before = await row(store, grant.id)
        fence = await leased(store, before)
        assert await other.write(take_lease(grant.id, "them", 30.0)) is not None
        assert await store.write(write_intent(fence, before.tokens[-1].position, lease=30.0, hold=0.0))
        written = await store.write(commit_pair(fence, before.tokens[-1], pair(number), stale_after=3240.0))
        assert written is Written.DONE
        assert await other.write(confirm(grant.id, number))
        await store.write(release_lease(grant.id, fence.epoch))
    assert [token.value.reveal() for token in (await row(other, grant.id)).tokens] == ["R-11"]


async def test_nothing_is_listened_to(processes: Processes) -> None:
    """A session is nobody's own there: LISTEN would soon be somebody else's. The row is polled."""
    store, waiting = await processes.store(), await processes.driver()
    with waiting.wakeups.hearing("gra_1", 0.25) as heard:
        task = waiting.wakeups._task
        assert task is not None
        await task
        assert not waiting.wakeups.listening
        await store.write(release_lease("gra_1", 1))
        await heard.wait(600.0)
        assert heard.longest == 0.25
