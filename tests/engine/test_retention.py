"""What is too old is deleted behind the callers, and one hotel is forgotten on request."""

from __future__ import annotations

from itertools import pairwise

import pytest
from tests.support.fakes import ADA, pair
from tests.support.stage import Process, Stage

from cloudbeds_auth.engine import history
from cloudbeds_auth.engine.history import SWEPT_EVERY, Retention
from cloudbeds_auth.errors import InvalidRequest, StoreUnavailable, UnknownConnection
from cloudbeds_auth.transactions.candidates import promote
from cloudbeds_auth.transactions.connections import disconnect

DAY = 86400.0
APPROVAL = 1  # row of the state with which the hotel came: it goes with the first batch


def forgets(process: Process, days: int = 400) -> Retention:
    return Retention(process.world, days)


async def test_a_batch_at_a_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as are due, and an hour later again; the observer is told once of all that was deleted."""
    grant = await stage.connected(pair(1))
    lines = len(await stage.kinds(grant.connection_id))
    assert lines > 1
    monkeypatch.setattr(history, "DELETED_AT_ONCE", 1)
    await stage.clock.sleep(2 * DAY)
    stage.one.driver.seen.clear()
    assert await forgets(stage.one, 1).tick() == SWEPT_EVERY
    assert await stage.kinds(grant.connection_id) == []
    assert stage.one.driver.seen["old_events"] == lines + 1
    assert await forgets(stage.one, 1).tick() == SWEPT_EVERY
    assert [note["rows"] for note in stage.notes.facts("swept")] == [lines + APPROVAL]


async def test_most_of_the_time_is_for_everything_else(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a batch it waits three times as long as that took; after a minute it says how far it is, and goes on."""
    grant = await stage.connected(pair(1))
    monkeypatch.setattr(history, "DELETED_AT_ONCE", 1)
    monkeypatch.setattr(history, "SWEPT_FOR", 7.0)
    await stage.clock.sleep(2 * DAY)
    begun: list[float] = []

    async def slow() -> None:
        begun.append(stage.clock.steady())
        stage.one.driver.after("old_events", slow)
        await stage.clock.sleep(1.0)

    stage.one.driver.after("old_events", slow)
    assert await forgets(stage.one, 1).tick() == 0.0
    assert [later - earlier for earlier, later in pairwise(begun)] == [4.0]
    assert [note["rows"] for note in stage.notes.facts("swept")] == [2 + APPROVAL]
    while await forgets(stage.one, 1).tick() == 0.0:
        pass
    assert (await stage.kinds(grant.connection_id)) == []


async def test_a_database_that_goes_away_meanwhile(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was deleted until then is said, and the tick fails."""
    await stage.connected(pair(1))
    monkeypatch.setattr(history, "DELETED_AT_ONCE", 1)
    await stage.clock.sleep(2 * DAY)

    async def gone() -> None:
        stage.one.driver.refuse("old_events")

    stage.one.driver.after("old_events", gone)
    with pytest.raises(StoreUnavailable):
        await forgets(stage.one, 1).tick()
    assert [note["rows"] for note in stage.notes.facts("swept")] == [1 + APPROVAL]


async def test_a_hotel_is_forgotten(stage: Stage) -> None:
    """Once it is disconnected, and not before."""
    grant = await stage.connected(pair(1), proven=False)
    await stage.one.store.write(promote(grant.connection_id, grant.id, grant.generation, ADA, ()))
    forgotten = forgets(stage.one)
    with pytest.raises(InvalidRequest, match="still connected"):
        await forgotten.forget(grant.connection_id)
    await stage.one.store.write(disconnect(grant.connection_id))
    await forgotten.forget(grant.connection_id)
    assert (await stage.one.views.connection(grant.connection_id)).authorizing_user is None
    with pytest.raises(UnknownConnection):
        await forgotten.forget("con_unknown")
