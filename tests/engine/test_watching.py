"""What people who look are given of what changes, by one watcher, and only while they look."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.fakes import pair
from tests.support.stage import Stage

from cloudbeds_auth.engine import watching
from cloudbeds_auth.engine.watching import EVERY, WITHIN
from cloudbeds_auth.errors import RateLimited
from cloudbeds_auth.transactions.connections import disconnect

QUERY = "recent_events"


async def test_viewers_share_one_watcher(stage: Stage) -> None:
    """Each is given every change once; the database is asked once a second for all of them, and by nobody else."""
    grant = await stage.connected()
    await stage.clock.sleep(WITHIN)
    watcher = stage.one.watcher
    with watcher.viewing() as one, watcher.viewing() as other:
        assert await one.changes(1.5 * EVERY) == []
        stage.one.driver.seen.clear()
        await stage.one.store.write(disconnect(grant.connection_id))
        for viewer in (one, other):
            assert await viewer.changes(1.5 * EVERY) == [grant.connection_id]
        assert await one.changes(10 * EVERY) == []
        assert await other.changes(0.0) == []
        assert 10 <= stage.one.driver.seen[QUERY] <= 12
    stage.one.driver.seen.clear()
    await stage.clock.sleep(60.0)
    assert stage.one.driver.seen[QUERY] == 0


async def test_what_another_process_does(stage: Stage) -> None:
    """Is seen alike; of several changes of one hotel there is one."""
    grant, other = await stage.connected(), await stage.process()
    await stage.clock.sleep(WITHIN)
    with stage.one.watcher.viewing() as viewer:
        await viewer.changes(EVERY)
        await other.commit(grant, 2)
        await other.store.write(disconnect(grant.connection_id))
        assert await viewer.changes(2 * EVERY) == [grant.connection_id]


async def test_what_changed_just_before(stage: Stage) -> None:
    """Between the page and its first look: it is given at once, by a watcher that begins and by one that runs."""
    first = await stage.connected(pair(1, property_ids=("1000",)))
    watcher = stage.one.watcher
    with watcher.viewing() as one:
        assert await one.changes(EVERY) == [first.connection_id]
        with watcher.viewing() as late:
            assert await late.changes(0.0) == [first.connection_id]


async def test_while_the_database_is_away(stage: Stage) -> None:
    """Nothing ends; what changed is seen when it is back."""
    grant, other = await stage.connected(), await stage.process()
    await stage.clock.sleep(WITHIN)
    with stage.one.watcher.viewing() as viewer:
        await viewer.changes(EVERY)
        stage.one.driver.dark = True
        await other.store.write(disconnect(grant.connection_id))
        assert await viewer.changes(3 * EVERY) == []
        stage.one.driver.dark = False
        assert await viewer.changes(2 * EVERY) == [grant.connection_id]


async def test_a_look_that_fails_otherwise(stage: Stage) -> None:
    """Is reported, and is not the last: a page that says that it is live would be wrong from then on."""
    grant = await stage.connected()
    await stage.clock.sleep(WITHIN)
    with stage.one.watcher.viewing() as viewer:
        await viewer.changes(EVERY)
        stage.one.driver.refuse(QUERY, times=2, error=OSError(24, "too many open files"))
        assert await viewer.changes(2 * EVERY) == []
        await stage.one.store.write(disconnect(grant.connection_id))
        assert await viewer.changes(2 * EVERY) == [grant.connection_id]
    assert stage.notes.facts("background_failed") == [{"error": "OSError"}] * 2


async def test_too_many_viewers(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is told when to come again, and there is room as soon as one leaves."""
    monkeypatch.setattr(watching, "MOST_VIEWERS", 1)
    watcher = stage.one.watcher
    with watcher.viewing():
        with pytest.raises(RateLimited) as refused, watcher.viewing():
            raise AssertionError
        assert refused.value.retry_after == 60
    with watcher.viewing():
        pass
    await asyncio.sleep(0)
    assert "watch for viewers" not in {task.get_name() for task in asyncio.all_tasks()}
