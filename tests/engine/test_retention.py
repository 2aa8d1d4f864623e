"""What is too old is deleted behind the callers, and one hotel is forgotten on request."""

from __future__ import annotations

import pytest
from tests.support.fakes import ADA, pair
from tests.support.stage import Process, Stage

from cloudbeds_auth.engine import history
from cloudbeds_auth.engine.history import SWEPT_EVERY, Retention
from cloudbeds_auth.errors import InvalidRequest, UnknownConnection
from cloudbeds_auth.transactions.candidates import promote
from cloudbeds_auth.transactions.connections import disconnect

DAY = 86400.0


def forgets(process: Process, days: int = 400) -> Retention:
    return Retention(process.world, days)


async def test_a_batch_at_a_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """While there is more, soon again; then an hour later at most. The observer is told of what was deleted."""
    grant = await stage.connected(pair(1))
    lines = len(await stage.kinds(grant.connection_id))
    monkeypatch.setattr(history, "DELETED_AT_ONCE", lines - 1)
    await stage.clock.sleep(2 * DAY)
    assert await forgets(stage.one, 1).tick() <= 1.0
    assert len(await stage.kinds(grant.connection_id)) == 1
    assert 1.0 < await forgets(stage.one, 1).tick() <= SWEPT_EVERY
    assert await stage.kinds(grant.connection_id) == []
    assert await forgets(stage.one, 1).tick() > 1.0
    assert stage.notes.times("swept") == 2


async def test_a_hotel_is_forgotten(stage: Stage) -> None:
    """Once it is disconnected, and not before."""
    grant = await stage.connected(pair(1), proven=False)
    await stage.one.store.write(promote(grant.connection_id, grant.id, ADA, ()))
    forgotten = forgets(stage.one)
    with pytest.raises(InvalidRequest, match="still connected"):
        await forgotten.forget(grant.connection_id, actor="operator")
    await stage.one.store.write(disconnect(grant.connection_id, actor="operator"))
    await forgotten.forget(grant.connection_id, actor="operator")
    assert (await stage.one.views.connection(grant.connection_id)).authorizing_user is None
    with pytest.raises(UnknownConnection):
        await forgotten.forget("con_unknown", actor="operator")
