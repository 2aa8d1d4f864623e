"""By what callers name a connection: its id, or a property's, which stands for it a minute without another look."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.support.fakes import APP, pair
from tests.support.stage import Stage

from cloudbeds_auth.engine.access import LOOK_AGAIN
from cloudbeds_auth.errors import AmbiguousProperty, InvalidRequest, StoreUnavailable, UnknownConnection
from cloudbeds_auth.rules.model import Grant
from cloudbeds_auth.rules.token_response import Issued


async def test_resolving(stage: Stage) -> None:
    """One, none, several."""
    first = await stage.connected(pair(1, property_ids=("1000", "1001")))
    await stage.connected(pair(2, property_ids=("1001",)), app="other")
    ids = stage.one.ids
    assert await ids.resolve(first.connection_id) == first.connection_id
    assert await ids.resolve("1000") == first.connection_id
    for unknown in ("9999", "con_unknown"):
        with pytest.raises(UnknownConnection, match=unknown):
            await ids.resolve(unknown)
    with pytest.raises(AmbiguousProperty, match="2 connections"):
        await ids.resolve("1001")


@pytest.mark.parametrize("named", [["1000"], 1000], ids=repr)
async def test_what_is_no_text_is_in_no_memory(stage: Stage, named: Any) -> None:
    """A list is refused as a number is, although no dictionary can be asked for it."""
    with pytest.raises(InvalidRequest, match="is a string"):
        stage.one.access.cached(named, 0.0)


async def test_an_id_of_a_connection_is_not_looked_for(stage: Stage) -> None:
    """What is done with it says that there is none; what no database takes is unknown at once."""
    stage.one.driver.dark = True
    assert await stage.one.ids.find("con_unknown") == "con_unknown"
    assert stage.one.ids.recent("con_unknown") == stage.one.ids.last("con_unknown") == "con_unknown"
    with pytest.raises(UnknownConnection):
        await stage.one.ids.find("con_\x00")


async def test_a_property_is_known_for_a_minute(stage: Stage) -> None:
    """Without a look at the database; then it is read again. What was last read is still known for what only counts."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    ids = stage.one.ids
    assert ids.recent("1000") is ids.last("1000") is None
    assert await ids.find("1000") == grant.connection_id
    stage.one.driver.dark = True
    await stage.clock.sleep(LOOK_AGAIN - 1)
    assert ids.recent("1000") == grant.connection_id
    await stage.clock.sleep(1)
    assert ids.recent("1000") is None
    assert ids.last("1000") == grant.connection_id


async def test_a_fresh_token_is_found_by_a_property(stage: Stage) -> None:
    """Once its connection was read, and as long as that is taken without a look."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    ids, access = stage.one.ids, stage.one.access
    token = await access.access_token(grant.connection_id)
    assert access.cached("1000", 60.0) is None
    await ids.find("1000")
    assert access.cached("1000", 60.0) is access.cached(grant.connection_id, 60.0) is token
    await stage.clock.sleep(LOOK_AGAIN)
    await access.access_token(grant.connection_id)
    assert access.cached("1000", 60.0) is None


async def test_a_property_that_moved_to_another_connection(stage: Stage) -> None:
    """Whatever is done under its id, other than lending a fresh token, is done where it is now; that follows within a
    minute.
    """
    former = await stage.connected(pair(1, property_ids=("1000",)))
    ids = stage.one.ids
    assert await ids.find("1000") == former.connection_id
    later = await stage.connected(pair(2, property_ids=("2000",)))
    stage.sql("DELETE FROM properties WHERE grant_id = ?", former.id)
    stage.sql("UPDATE properties SET property_id = '1000' WHERE grant_id = ?", later.id)
    assert ids.recent("1000") == former.connection_id
    await stage.clock.sleep(LOOK_AGAIN)
    assert ids.recent("1000") is None
    assert await ids.find("1000") == ids.recent("1000") == later.connection_id


async def lent(stage: Stage, named: str) -> Grant:
    """A connection whose property was read, and whose fresh token is in memory."""
    grant = await stage.connected(pair(1, property_ids=(named,)))
    assert await stage.one.find_to_relay(named) == grant.connection_id
    await stage.one.access.access_token(grant.connection_id)
    return grant


async def test_a_call_with_a_token_in_memory(stage: Stage) -> None:
    """The database is not asked which connection is meant, for a minute at most: what other processes change is known
    then, and not later than the token is read again.
    """
    former = await lent(stage, "1000")
    later = await stage.connected(pair(2, property_ids=("2000",)))
    stage.sql("UPDATE properties SET property_id = '3000' WHERE grant_id = ?", former.id)
    stage.sql("UPDATE properties SET property_id = '1000' WHERE grant_id = ?", later.id)
    await stage.clock.sleep(LOOK_AGAIN - 1)
    assert await stage.one.find_to_relay("1000") == former.connection_id
    await stage.clock.sleep(1)
    assert await stage.one.find_to_relay("1000") == later.connection_id


async def test_a_property_that_another_process_connects_once_more(stage: Stage) -> None:
    """Which of the two is meant is asked within a minute."""
    grant = await lent(stage, "1000")
    await stage.connected(pair(2, property_ids=("1000",)), app="other")
    assert await stage.one.find_to_relay("1000") == grant.connection_id
    await stage.clock.sleep(LOOK_AGAIN)
    with pytest.raises(AmbiguousProperty):
        await stage.one.find_to_relay("1000")


async def test_a_property_that_is_connected_once_more_here(stage: Stage) -> None:
    """This process knows it at once."""
    await lent(stage, "1000")
    stage.apps["other"] = replace(APP, id="other", client_id="client-2")
    await stage.approve(Issued(pair(2, property_ids=("1000",))), app="other")
    with pytest.raises(AmbiguousProperty):
        await stage.one.find_to_relay("1000")


async def test_a_read_that_began_before_a_connection_came_into_use(stage: Stage) -> None:
    """It may have seen what was before: the property is read once more."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    reading = asyncio.create_task(stage.one.ids.find("1000"))
    await asyncio.sleep(0)
    stage.one.ids.look_again()
    assert await reading == grant.connection_id
    assert stage.one.ids.recent("1000") is None


async def test_a_hotel_that_is_disconnected_here(stage: Stage) -> None:
    """With its token its property is forgotten, at once."""
    grant = await lent(stage, "1000")
    await stage.one.disconnecter.disconnect(grant.connection_id, forget=True)
    with pytest.raises(UnknownConnection):
        await stage.one.find_to_relay("1000")


async def test_a_property_that_is_covered_no_more(stage: Stage) -> None:
    """Once that is seen it is forgotten: no token is lent under its id, also while the database is away."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    ids = stage.one.ids
    await ids.find("1000")
    stage.sql("DELETE FROM properties WHERE grant_id = ?", grant.id)
    with pytest.raises(UnknownConnection):
        await ids.find("1000")
    assert ids.recent("1000") is ids.last("1000") is None
    stage.one.driver.dark = True
    with pytest.raises(StoreUnavailable):
        await ids.find_to_call("1000")


@pytest.mark.row("F62")
async def test_the_database_is_away(stage: Stage) -> None:
    """To call, the connection that was read last; to change something, none."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    ids = stage.one.ids
    await ids.find("1000")
    stage.one.driver.dark = True
    await stage.clock.sleep(LOOK_AGAIN)
    assert await ids.find_to_call("1000") == await stage.one.find_to_relay("1000") == grant.connection_id
    with pytest.raises(StoreUnavailable):
        await ids.find("1000")


async def test_what_is_only_counted(stage: Stage) -> None:
    """Whatever was read last will do, at any age and without the database; where nothing was, it is read."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    ids = stage.one.ids
    assert await ids.find_to_count("1000") == grant.connection_id
    stage.one.driver.dark = True
    await stage.clock.sleep(2 * LOOK_AGAIN)
    assert await ids.find_to_count("1000") == grant.connection_id


async def test_no_connection_is_named(stage: Stage) -> None:
    """An approval of a new hotel names none."""
    assert await stage.one.ids.find(None) is None


@pytest.mark.parametrize("named", [1000, b"1000", True])
async def test_an_id_that_is_no_text(stage: Stage, named: Any) -> None:
    """As JSON gives a property id: refused in words, and nothing is looked for."""
    for ask in (stage.one.ids.find, stage.one.ids.find_to_call):
        with pytest.raises(InvalidRequest, match="a string"):
            await ask(named)
    with pytest.raises(InvalidRequest, match="a string"):
        stage.one.ids.recent(named)
