"""What another process did to a connection whose token is in this one's memory: known within a minute."""

from __future__ import annotations

import pytest
from tests.support.fakes import issued, key
from tests.support.stage import Process, Stage

from cloudbeds_auth.engine.access import LOOK_AGAIN
from cloudbeds_auth.errors import ConnectionDisconnected, Error, ReauthorizationRequired
from cloudbeds_auth.rules.model import Grant


async def lending_twice(stage: Stage) -> tuple[Grant, Process]:
    """A hotel, and another process that lends its token too."""
    grant = await stage.connected()
    other = await stage.process()
    for process in (stage.one, other):
        assert (await process.access.access_token(grant.connection_id)).reveal() == "A-1"
    return grant, other


async def refused(process: Process, grant: Grant) -> type[Error] | None:
    """How this process refuses to lend; None: it lends."""
    try:
        await process.access.access_token(grant.connection_id)
    except Error as error:
        return type(error)
    return None


@pytest.mark.parametrize("forget", [False, True])
async def test_a_hotel_that_was_disconnected(stage: Stage, forget: bool) -> None:
    """At once in the process that did it, within a minute in others, for whom nothing ends the token at Cloudbeds."""
    grant, other = await lending_twice(stage)
    await stage.one.disconnecter.disconnect(grant.connection_id, forget=forget, actor="operator")
    assert await refused(stage.one, grant) is ConnectionDisconnected
    await stage.clock.sleep(LOOK_AGAIN)
    assert await refused(other, grant) is ConnectionDisconnected
    assert stage.endpoint.sent == []


async def test_a_hotel_that_must_approve_again(stage: Stage) -> None:
    """Its token would be lent for hours, and every call with it refused."""
    grant, other = await lending_twice(stage)
    stage.sql("UPDATE grants SET reauth = 'user_inactive' WHERE id = ?", grant.id)
    assert await refused(other, grant) is None
    await stage.clock.sleep(LOOK_AGAIN)
    assert await refused(other, grant) is ReauthorizationRequired


@pytest.mark.row("F90")
async def test_a_hotel_that_was_moved_to_a_key(stage: Stage) -> None:
    """OAuth ends for it everywhere: its next calls go with the key."""
    grant, other = await lending_twice(stage)
    stage.endpoint.will(key(1))
    await stage.one.migrator.migrate(grant.connection_id)
    await stage.clock.sleep(LOOK_AGAIN)
    assert (await other.access.access_token(grant.connection_id)).reveal() == "cbat_1"


async def test_a_token_that_was_renewed(stage: Stage) -> None:
    """Lent without a 401 that would tell of it."""
    grant, other = await lending_twice(stage)
    stage.endpoint.will(issued(2))
    await stage.one.access.refresh_now(grant.connection_id)
    await stage.one.idle()
    await stage.clock.sleep(LOOK_AGAIN)
    assert (await other.access.access_token(grant.connection_id)).reveal() == "A-2"


async def test_a_token_in_use_costs_one_look_a_minute(stage: Stage) -> None:
    """However many calls there are."""
    grant, other = await lending_twice(stage)
    before = other.driver.seen["current"]
    for _ in range(100):
        await other.access.access_token(grant.connection_id)
        await stage.clock.sleep(LOOK_AGAIN / 25)
    assert other.driver.seen["current"] - before == 3
