"""The drill: a primary dies, its standby takes over, and what that costs with a synchronous and an asynchronous one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import psycopg
import pytest
from tests.support.fakes import pair
from tests.support.postgres import PostgresServer, server
from tests.support.processes import Processes, leased, row, when_it_is_back

from cloudbeds_auth.rules.model import Grant
from cloudbeds_auth.transactions.grants import Written, commit_pair, release_lease, write_intent
from cloudbeds_auth.transactions.runner import Database

pytestmark = pytest.mark.long  # processes that live for seconds


@pytest.fixture
def primary() -> Iterator[PostgresServer]:
    """A server that standbys may follow."""
    with server(wal_level="replica", max_wal_senders="4") as made:
        yield made


@pytest.fixture
def standby(primary: PostgresServer) -> Iterator[PostgresServer]:
    """One that follows it."""
    with primary.standby() as made:
        yield made


@pytest.fixture
async def processes(primary: PostgresServer, standby: PostgresServer) -> AsyncIterator[Processes]:
    """Processes of ours that know both servers and go where they can write."""
    hosts = ",".join(f"127.0.0.1:{one.port}" for one in (primary, standby))
    async with AsyncExitStack() as stack:
        yield Processes(f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write", stack)


async def refreshed(store: Database, grant: Grant) -> None:
    """One more pair, committed."""
    before = await row(store, grant.id)
    fence = await leased(store, before)
    assert await store.write(write_intent(fence, before.tokens[-1].position, lease=30.0, hold=0.0))
    written = await store.write(commit_pair(fence, before.tokens[-1], pair(before.generation + 1), stale_after=3240.0))
    assert written is Written.DONE
    await store.write(release_lease(grant.id, fence.epoch))


async def tokens(store: Database, grant: Grant) -> list[str]:
    """The stored refresh tokens."""
    return [token.value.reveal() for token in (await when_it_is_back(lambda: row(store, grant.id))).tokens]


@pytest.mark.row("F64")
async def test_a_synchronous_standby_has_every_pair(
    processes: Processes, primary: PostgresServer, standby: PostgresServer
) -> None:
    """Every commit is there before it is answered: after the failover the same process goes on with the newest pair."""
    with psycopg.connect(primary.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        connection.execute("SELECT pg_reload_conf()")
    primary.wait_for("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
    store = await processes.store()
    grant = await processes.hotel(store)
    await refreshed(store, grant)
    primary.kill()
    standby.promote()
    assert await tokens(store, grant) == ["R-1", "R-2"]
    await when_it_is_back(lambda: refreshed(store, grant))
    assert await tokens(store, grant) == ["R-1", "R-2", "R-3"]
    assert not (await processes.store()).read_only, "the standby is the same installation's"


@pytest.mark.row("F64")
async def test_an_asynchronous_standby_may_miss_the_last_pair(
    processes: Processes, primary: PostgresServer, standby: PostgresServer
) -> None:
    """What it did not get is gone and no more: the token before is there, and works unless the new one was used."""
    store = await processes.store()
    grant = await processes.hotel(store)
    primary.wait_for("SELECT 1 FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()")
    standby.stop()
    await refreshed(store, grant)
    primary.kill()
    standby.start()
    standby.promote()
    assert await tokens(store, grant) == ["R-1"]
    await when_it_is_back(lambda: refreshed(store, grant))
    assert await tokens(store, grant) == ["R-1", "R-2"]
