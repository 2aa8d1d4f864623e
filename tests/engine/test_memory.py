"""What a process remembers of hotels is bounded."""

from __future__ import annotations

import pytest
from tests.support.fakes import pair
from tests.support.stage import Stage

from cloudbeds_auth.engine import memory
from cloudbeds_auth.engine.access import LOOK_AGAIN


async def test_the_hotel_that_was_used_longest_ago_is_forgotten(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is used goes on being remembered, although it came first; what is forgotten is read when it is used."""
    monkeypatch.setattr(memory, "MOST", 3)
    homes = [(await stage.connected(pair(number, property_ids=(f"{number}",)))).connection_id for number in range(5)]
    access, ids = stage.one.access, stage.one.ids
    for number, home in enumerate(homes):
        await access.access_token(homes[0])
        await access.access_token(home)
        await ids.find(f"{number}")
        await stage.clock.sleep(LOOK_AGAIN)
    assert set(access._cache) == {homes[0], *homes[3:]}
    assert ids.last("0") is None
    assert ids.last("4") == homes[4]
    assert (await access.access_token(homes[1])).grant_id == (await stage.row(f"gra_{homes[1][4:]}")).id
    assert len(access._cache) == len(access.apps._apps) == 3
